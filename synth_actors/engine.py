"""What can one ask of the engine?

This is the face of it; how it is put together stands in `wiring.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Unpack, overload

import trio

from synth_actors.attempt_log import AttemptLog
from synth_actors.batch import Outcomes, Requests, open_batch
from synth_actors.config import Endpoint, EngineConfig
from synth_actors.errors import ConfigError, EngineClosedError
from synth_actors.intervals import checked_interval
from synth_actors.messages import Optimize, TakeSnapshot
from synth_actors.providers.base import Provider
from synth_actors.scopes import nursery_for_body, whole_context
from synth_actors.snapshot import Snapshot
from synth_actors.stream import ResponseStream
from synth_actors.tracing import Tracing
from synth_actors.types import Outcome, Request, RequestFields, Response
from synth_actors.wiring import Wiring


class Engine:
    """What `open_engine` gives.  Every method may be called from any task of the same trio run."""

    def __init__(self, wiring: Wiring) -> None:
        self.config = wiring.config
        self._wiring = wiring
        self._front = wiring.front
        self._token = trio.lowlevel.current_trio_token()

    @overload
    async def generate(self, request: Request, /) -> Response: ...
    @overload
    async def generate(self, request: str, /, **fields: Unpack[RequestFields]) -> Response: ...
    async def generate(self, request: Request | str, /, **fields: Any) -> Response:
        """Send one request, a `Request` or a prompt with its fields as keywords, and wait for its response.

        Raises:
            ConfigError: the request is wrong, or names an endpoint that this engine does not have.
            OverloadedError: the engine is full and `on_full="refuse"`.
            BudgetExceededError: the call might pass `budget_usd`.
            DeadlineExceededError: `timeout_s` is over.
            RateLimitedError: every endpoint was closed for longer than `outage_patience_s`.
            OutputInvalidError: the model did not give what `output_schema` asks for.
            GenerationError: anything else that went wrong with the call; it says what it cost.
            EngineClosedError: the engine was closed meanwhile.
        """
        return await self._front.generate(as_request(request, fields))

    @overload
    def stream(self, request: Request, /) -> AbstractAsyncContextManager[ResponseStream]: ...
    @overload
    def stream(
        self, request: str, /, **fields: Unpack[RequestFields]
    ) -> AbstractAsyncContextManager[ResponseStream]: ...
    @whole_context
    async def stream(self, request: Request | str, /, **fields: Any) -> AsyncIterator[ResponseStream]:
        """Read an answer while it is made: an async context manager that gives a `ReceiveChannel` of `Chunk`.

        Leaving the block leaves the stream; a call that nobody waits for any more is cancelled.

        Raises:
            ConfigError, OverloadedError, EngineClosedError: on entering, as `generate`.  The errors of a call are
                raised by the stream's `receive` and `response`.
        """
        stream = await ResponseStream.open(self._front, as_request(request, fields))
        try:
            yield stream
        finally:
            stream.close()

    @whole_context
    async def batch(
        self, requests: Requests[Request | str], **fields: Unpack[RequestFields]
    ) -> AsyncIterator[Outcomes]:
        """Make many requests: an async context manager that gives a `ReceiveChannel` of `Outcome`, as they complete.

        `requests` is an iterable or async iterable of `Request` or prompts (which take `fields`); it is read as
        outcomes are, never more than 2 x `max_concurrency` ahead.  An exception that it raises reaches the reader
        after the outcomes of what was read before.  Leaving the block stops what only this batch awaits.
        """
        if isinstance(requests, str | Request):  # both can be iterated, and nobody means that
            raise ConfigError(f"batch: {requests!r} is one request; give a list of them: [{requests!r}]")

        async def generate(item: Request | str) -> Response:
            return await self._front.generate(as_request(item, fields if isinstance(item, str) else {}))

        async with open_batch(requests, generate, room=2 * self.config.max_concurrency) as outcomes:
            yield outcomes

    async def generate_batch(self, requests: Requests[Request | str], **fields: Unpack[RequestFields]) -> list[Outcome]:
        """The outcomes of many requests in the order of the input.  A failed one never loses the others."""
        found: list[Outcome] = []
        async with self.batch(requests, **fields) as outcomes:
            async for outcome in outcomes:
                found.append(outcome)  # noqa: PERF401  (an async comprehension would hide the loop that may raise)
        return sorted(found, key=lambda outcome: outcome.index)

    async def metrics(self) -> Snapshot:
        """Everything the engine knows about itself at this moment, frozen.

        Raises:
            EngineClosedError: the engine was closed.
            ConfigError: this is not the engine's trio run.
        """
        self._check_run("metrics")
        snapshot: Snapshot = await self._wiring.metrics.ask(TakeSnapshot())
        return snapshot

    def metrics_now(self, *, histograms: bool = False, whole: bool = False) -> Snapshot:
        """The same at once, for exporters; with `histograms`, the series come with all their counts.

        It must be called in the engine's trio run.  At most 1,000 samples are folded for it, of at most ten series: of
        the durations since the last quarter of a second, the rest is in a later one.  With `whole` all of them are in
        it, and nothing else runs for as long as that takes: 0.3 to 0.9 us a sample, 50 us a series.

        Raises:
            EngineClosedError: the engine was closed.
            ConfigError: this is not the engine's trio run.
        """
        self._check_run("metrics_now")
        return self._wiring.snapshot_now(histograms=histograms, whole=whole)

    @whole_context
    async def watch_metrics(self, interval_s: float = 1.0) -> AsyncIterator[trio.MemoryReceiveChannel[Snapshot]]:
        """A snapshot every `interval_s` seconds: an async context manager that gives a `ReceiveChannel`.

        A slow reader never slows the engine: it gets the newest snapshot, those it missed are gone.

        Raises:
            ConfigError: `interval_s` is no number above 0, or this is not the engine's trio run.
            EngineClosedError: the engine was closed.
        """
        interval_s = checked_interval("watch_metrics", interval_s)
        self._check_run("watch_metrics")
        send, receive = trio.open_memory_channel[Snapshot](1)
        async with nursery_for_body() as nursery:
            nursery.start_soon(self._publish, send, receive, interval_s)
            yield receive

    async def _publish(
        self, send: trio.MemorySendChannel[Snapshot], stale: trio.MemoryReceiveChannel[Snapshot], interval_s: float
    ) -> None:
        due = trio.current_time()
        with send, suppress(EngineClosedError, trio.BrokenResourceError):  # nothing to see, or nobody who looks
            while True:
                due += interval_s
                await trio.sleep_until(due)
                snapshot = await self.metrics()
                if send.statistics().current_buffer_used:
                    stale.receive_nowait()
                send.send_nowait(snapshot)

    async def optimize(self) -> int:
        """Drop expired entries, give memory back to the system, and return how many resident bytes that freed."""
        freed: int = await self._wiring.watchdog.ask(Optimize())
        return freed

    def _check_run(self, who: str) -> None:
        """Figures are read where they are written: in another run another clock goes, and nothing protects them."""
        self._wiring.metrics.check_open()
        where = "call it in the trio run of open_engine; from a thread: trio.from_thread.run_sync(engine.metrics_now)"
        if not trio.lowlevel.in_trio_run():
            raise ConfigError(f"{who}: there is no trio run here; {where}")
        if trio.lowlevel.current_trio_token() is not self._token:
            raise ConfigError(f"{who}: this is another trio run than the engine's; {where}")

    def __repr__(self) -> str:
        return f"<Engine {self._wiring!r}>"


@whole_context
async def open_engine(
    endpoints: str | Endpoint | Provider | Sequence[str | Endpoint | Provider],
    config: EngineConfig | None = None,
    *,
    attempt_log: AttemptLog | None = None,
    tracing: Tracing | None = None,
    spent_usd: float = 0.0,
) -> AsyncIterator[Engine]:
    """Open an engine for as long as the `async with` block runs.

    `endpoints` are strings (`"anthropic:MODEL"`, `"openai:MODEL@BASE_URL"`, `"local"`), `Endpoint`s or `Provider`s, in
    the order of preference.  `attempt_log` hears of every call, `tracing` (an `OpenTelemetryTracing`, for example) of
    every request.  `spent_usd` dollars of `config.budget_usd` are spent already.  On a normal exit requests under way
    get `config.drain_timeout_s` to finish; after an exception or a cancellation they are stopped at once.  An exception
    raised in the block leaves as itself.

    Raises:
        ConfigError: an endpoint or the configuration is wrong, a key is missing, memory is over its limit already, or
            the cache's `path` cannot be a cache.
        Exception: a bug in the engine leaves as itself, after everybody who waited got an `EngineClosedError`.
    """
    if not trio.lowlevel.in_trio_run():
        raise ConfigError("open_engine: the engine runs under trio; from asyncio, run it in a thread with trio.run")
    wiring = Wiring(endpoints, EngineConfig() if config is None else config, attempt_log, tracing, spent_usd)
    interrupted = False
    try:
        async with wiring.open_tier() as tier, nursery_for_body() as nursery:
            try:
                wiring.start(nursery, tier)
                yield Engine(wiring)
                await wiring.drain()
            finally:
                await wiring.stop()
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        if wiring.cause is not None and not interrupted:
            raise wiring.cause


def as_request(value: Request | str, fields: Any) -> Request:
    """A `Request` as it is, or one made of a prompt and its fields.

    Raises:
        ConfigError: fields are wrong, or were given beside a `Request`.
    """
    if isinstance(value, str):
        return Request(prompt=value, **fields)
    if not isinstance(value, Request):
        raise ConfigError(f"request: {value!r} is neither a str nor a Request")
    if fields:
        raise ConfigError(f"request: put {', '.join(sorted(fields))} into the Request; keywords go with a str prompt")
    return value
