"""Where do latency samples wait until somebody folds them?

Appending a float to a list is the cheapest thing a hot path can do; folding into a histogram is dearer and is done
later, by the MetricsActor.  Samples may be lost when it does not come in time, and what is lost is counted.
"""

from __future__ import annotations

from typing import NamedTuple

CAPACITY = 65_536
"""Samples of one series that wait at most."""


class SeriesKey(NamedTuple):
    """Which series a sample belongs to; see `SeriesSnapshot`."""

    name: str
    endpoint: str
    outcome: str
    actor: str = ""


class SampleBuffer:
    """Seconds by series, since the last `take`.  With `enabled=False` none are kept."""

    __slots__ = ("_by_key", "_enabled", "dropped")

    def __init__(self, *, enabled: bool = True) -> None:
        self.dropped = 0
        self._enabled = enabled
        self._by_key: dict[tuple[str, str, str], list[float]] = {}

    def add_cached(self, endpoint: str, response_s: float) -> None:
        """A hit was answered; `endpoint` had made the answer."""
        self._add(("cached_response", endpoint, "cache"), response_s)

    def add_shared(self, endpoint: str, response_s: float) -> None:
        """A follower was answered by a call that somebody else had led to."""
        self._add(("response", endpoint, "shared"), response_s)

    def add_call(self, endpoint: str, response_s: float, queue_s: float) -> None:
        """A request was answered by a call of its own."""
        self._add(("response", endpoint, "call"), response_s)
        self._add(("queue", endpoint, "call"), queue_s)

    def add_failed(self, endpoint: str, outcome: str, response_s: float) -> None:
        """A request ended without an answer, `response_s` after it was submitted."""
        self._add(("response", endpoint, outcome), response_s)

    def add_attempt(
        self, endpoint: str, outcome: str, service_s: float, ttft_s: float | None, tpot_s: float | None
    ) -> None:
        """An attempt ended; `ttft_s` is None when no first token came, or none was to be told apart."""
        self._add(("service", endpoint, outcome), service_s)
        if ttft_s is not None:
            self._add(("ttft", endpoint, outcome), ttft_s)
            if tpot_s is not None:
                self._add(("tpot", endpoint, outcome), tpot_s)

    def add_connection(self, endpoint: str, connect_s: float) -> None:
        """A connection was opened."""
        self._add(("connect", endpoint, "success"), connect_s)

    def _add(self, key: tuple[str, str, str], sample_s: float) -> None:
        samples = self._by_key.get(key)
        if samples is None:
            if not self._enabled:
                return
            samples = self._by_key[key] = []
        if len(samples) < CAPACITY:
            samples.append(sample_s)
        else:
            self.dropped += 1

    @property
    def waiting(self) -> int:
        """Samples that have not been taken."""
        return sum(map(len, self._by_key.values()))

    def take(self) -> dict[SeriesKey, list[float]]:
        """The samples by series; the buffer is empty afterwards."""
        taken, self._by_key = self._by_key, {}
        return {SeriesKey(*key): samples for key, samples in taken.items()}
