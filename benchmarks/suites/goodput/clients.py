"""What does one write by hand in front of a rate limit?

Plain trio loops.  `Fixed` is what a semaphore and a retry make: so many workers, each of which waits out the
`retry-after` of its own request, or a second.  `Aimd` is TCP's additive increase and multiplicative decrease (Chiu and
Jain, 1989) on the number of calls at once, and holds everything back until `retry-after` is over.
"""

from __future__ import annotations

from collections.abc import Iterator

import trio

from synth_actors.providers.base import Call, ProviderError
from synth_actors.testing import SimulatedProvider
from synth_actors.types import Request

NO_RETRY_AFTER_S = 1.0
"""How long a client waits that was not told."""
FIRST_LIMIT = 32.0
"""Where AIMD begins: from 1 it would take minutes to get anywhere."""


class Fixed:
    """`workers` at once, always."""

    def __init__(self, provider: SimulatedProvider, requests: Iterator[Request], workers: int) -> None:
        self._provider = provider
        self._requests = requests
        self._workers = workers

    async def run(self) -> None:
        """Send until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(self._workers):
                nursery.start_soon(self._worker)

    async def _worker(self) -> None:
        for request in self._requests:
            call = Call(request=request, json_schema=None)
            while (wait_s := await _try(self._provider, call)) is not None:  # noqa: ASYNC110  (what the server said)
                await trio.sleep(wait_s)


class Aimd:
    """One more at once for each round of successes, half as many after a refusal; one cut a round."""

    def __init__(self, provider: SimulatedProvider, requests: Iterator[Request], most: int) -> None:
        self._provider = provider
        self._requests = requests
        self._most = most
        self._limit = FIRST_LIMIT
        self._in_flight = 0
        self._cut_at = -1.0
        self._resume_at = -1.0
        self._waiting: list[Call] = []  # refused, to be sent again
        self._changed = trio.Event()

    async def run(self) -> None:
        """Send until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep_until(self._resume_at)
                if self._in_flight < int(self._limit):
                    call = (
                        self._waiting.pop() if self._waiting else Call(request=next(self._requests), json_schema=None)
                    )
                    self._in_flight += 1
                    nursery.start_soon(self._one, call)
                else:
                    self._changed = trio.Event()
                    await self._changed.wait()

    def _next(self) -> Call:
        return self._waiting.pop() if self._waiting else Call(request=next(self._requests), json_schema=None)

    async def _one(self, call: Call) -> None:
        began = trio.current_time()
        wait_s = await _try(self._provider, call)
        self._in_flight -= 1
        if wait_s is None:
            self._limit = min(float(self._most), self._limit + 1.0 / self._limit)
        else:
            self._refused(call, began, wait_s)
        self._changed.set()

    def _refused(self, call: Call, began: float, wait_s: float) -> None:
        now = trio.current_time()
        self._waiting.append(call)
        self._resume_at = max(self._resume_at, now + wait_s)
        if began >= self._cut_at:  # those under way at the last cut say nothing new
            self._limit = max(1.0, self._limit / 2.0)
            self._cut_at = now


async def _try(provider: SimulatedProvider, call: Call) -> float | None:
    """Make the call: None when it was answered, else how long to wait before the next try."""
    try:
        await provider.generate(call, None)
    except ProviderError as exc:
        return NO_RETRY_AFTER_S if exc.retry_after_s is None else exc.retry_after_s
    return None
