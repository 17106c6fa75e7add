"""Where do latency samples wait until somebody folds them?

Appending a float to a list is the cheapest thing a hot path can do; folding into a histogram is fifty times dearer and
is done later, by the MetricsActor.  Samples may be lost when it does not come in time, and what is lost is counted.
"""

from __future__ import annotations

from synth_actors.snapshot import SERIES

CAPACITY = 65_536
"""Samples of one series that wait at most."""


class SampleBuffer:
    """Seconds by series, since the last `take`."""

    __slots__ = ("_cached", "_queue", "_response", "_service", "_ttft", "dropped")

    def __init__(self) -> None:
        self.dropped = 0
        self._response: list[float] = []
        self._queue: list[float] = []
        self._service: list[float] = []
        self._ttft: list[float] = []
        self._cached: list[float] = []

    def add_cached(self, response_s: float) -> None:
        """A hit was answered."""
        samples = self._cached
        if len(samples) < CAPACITY:
            samples.append(response_s)
        else:
            self.dropped += 1

    def add_shared(self, response_s: float) -> None:
        """A follower was answered."""
        if len(self._response) < CAPACITY:
            self._response.append(response_s)
        else:
            self.dropped += 1

    def add_call(self, response_s: float, queue_s: float, service_s: float, ttft_s: float | None) -> None:
        """A request was answered by a call of its own; `ttft_s` is None when it was not streamed."""
        if len(self._response) >= CAPACITY:
            self.dropped += 1
            return
        self._response.append(response_s)
        self._queue.append(queue_s)
        self._service.append(service_s)
        if ttft_s is not None:
            self._ttft.append(ttft_s)

    @property
    def waiting(self) -> int:
        """Samples that have not been taken."""
        return len(self._response) + len(self._queue) + len(self._service) + len(self._ttft) + len(self._cached)

    def take(self) -> dict[str, list[float]]:
        """The samples by series name; the buffer is empty afterwards."""
        taken = dict(zip(SERIES, (self._response, self._queue, self._service, self._ttft, self._cached), strict=True))
        self._response, self._queue, self._service, self._ttft, self._cached = [], [], [], [], []
        return taken
