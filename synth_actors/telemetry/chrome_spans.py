"""What is drawn of one request on its way through the actors?

One instance of `RequestSpans` for each request, told by callers, CacheActor, RouterActor and generators; what it says
never holds a text of a prompt, of an answer or of an error.
"""

from __future__ import annotations

from time import perf_counter

import trio

from synth_actors.telemetry.chrome_events import Args, EventLog, Lane, Span, Value, plain
from synth_actors.telemetry.chrome_figures import CALLERS, CALLERS_ORDER, EngineFigures, actor_group, endpoint_group
from synth_actors.tracing import AttemptEnd, AttemptStart, Destination, RequestTrace
from synth_actors.types import Request, Response
from synth_actors.usage import Usage

MOST_CHUNKS = 100
"""Of one call; the others are only counted."""


class Groups:
    """Where the spans of requests stand."""

    def __init__(self, log: EventLog) -> None:
        self.began_s = perf_counter()
        self.log = log
        self.callers = log.group(CALLERS, CALLERS_ORDER)
        self.cache, self.router, self.generators = (
            actor_group(log, name) for name in ("cache", "router", "generators")
        )


class Run:
    """One trio run: its engines, its clock, and how that one's seconds become microseconds of the trace.

    A run begins in the trace when it begins on the wall, but never before the end of another: where clocks are
    simulated they stand one behind the other all the same.
    """

    def __init__(self, groups: Groups, clock: trio.abc.Clock, interval_s: float) -> None:
        self.groups = groups
        self.figures: dict[int, EngineFigures] = {}
        self._clock = clock
        began_s = max(perf_counter() - groups.began_s, groups.log.latest_us / 1e6)
        self._zero_s = clock.current_time() - began_s
        self._interval_us = round(interval_s * 1e6)
        self._look_us = 0
        self._lanes: dict[trio.lowlevel.Task, Lane | None] = {}

    def now_us(self) -> int:
        """This moment."""
        return self.at_us(self._clock.current_time())

    def at_us(self, at_s: float) -> int:
        """A moment of the run's clock."""
        return round((at_s - self._zero_s) * 1e6)

    def look(self) -> None:
        """Draw the figures of the engines, if it is time.  Only where no decider is at work: they are asked."""
        now_us = self.now_us()
        if now_us >= self._look_us and not self.groups.log.is_closed:
            self._look_us = now_us + self._interval_us
            for figures in list(self.figures.values()):
                figures.look(now_us)

    def generator_lane(self) -> Lane | None:
        """That of the generator in whose task this is; None when there are too many."""
        task = trio.lowlevel.current_task()
        if task not in self._lanes:
            self._lanes[task] = self.groups.generators.take()
        return self._lanes[task]

    def left(self) -> None:
        """When no engine is open, all generators are gone, and their lanes are free for others."""
        if not self.figures:
            for lane in filter(None, self._lanes.values()):
                self.groups.generators.give_back(lane)
            self._lanes.clear()


class RequestSpans:
    """A `RequestTrace`."""

    __slots__ = ("_fetch", "_flight", "_lookup", "_name", "_queue", "_run", "_whole")

    def __init__(self, run: Run, request: Request, number: int, streamed: bool) -> None:
        groups, now_us = run.groups, run.now_us()
        self._run = run
        self._name: Args = {"request": f"req-{number}"}
        args = {**self._name, "cache": request.cache, "max_tokens": request.max_tokens}
        self._whole = groups.callers.begin("stream" if streamed else "generate", now_us, args)
        self._lookup: Span | None = groups.cache.begin("lookup", now_us, self._name)
        self._fetch: Span | None = None
        self._flight: Span | None = None
        self._queue: Span | None = None

    def joined(self, leader: RequestTrace) -> None:
        """As `RequestTrace.joined`."""
        self._found("joined")
        args = {**self._name, "leader": leader._name["request"]} if isinstance(leader, RequestSpans) else self._name
        self._flight = self._run.groups.cache.begin("flight joined", self._run.now_us(), args)

    def fetch_began(self) -> None:
        """As `RequestTrace.fetch_began`."""
        self._found("not in memory")
        self._fetch = self._run.groups.cache.begin("fetch", self._run.now_us(), self._name)

    def fetch_ended(self, *, found: bool) -> None:
        """As `RequestTrace.fetch_ended`."""
        span, self._fetch = self._fetch, None
        if span is not None:
            span.end(self._run.now_us(), {"found": found})

    def queue_began(self) -> None:
        """As `RequestTrace.queue_began`."""
        self._found("a call is needed")
        self._queue = self._run.groups.router.begin("queue", self._run.now_us(), self._name)

    def queue_ended(self, endpoint: str | None) -> None:
        """As `RequestTrace.queue_ended`."""
        span, self._queue = self._queue, None
        if span is not None:
            span.end(self._run.now_us(), {"endpoint": "none" if endpoint is None else plain(endpoint)})

    def attempt_began(self, start: AttemptStart) -> CallSpans:
        """As `RequestTrace.attempt_began`."""
        args = {**self._name, "attempt": start.number, "streamed": start.streamed, **_destination(start.destination)}
        return CallSpans(self._run, start, args)

    def ended(self, outcome: Response | Exception | None) -> None:
        """As `RequestTrace.ended`."""
        now_us, args = self._run.now_us(), dict(_outcome(outcome))
        self._found(str(args.get("source", args["outcome"])))
        if self._flight is not None:
            self._flight.end(now_us, {"outcome": args["outcome"]})
        self._whole.end(now_us, args)
        self._run.look()

    def _found(self, what: str) -> None:
        """The lookup has come to something."""
        span, self._lookup = self._lookup, None
        if span is not None:
            span.end(self._run.now_us(), {"found": what})


class CallSpans:
    """An `AttemptTrace`: a call in the lane of its endpoint, and in that of the generator that makes it."""

    __slots__ = ("_chunks", "_in_endpoint", "_in_generator", "_run")

    def __init__(self, run: Run, start: AttemptStart, args: Args) -> None:
        at_us = run.at_us(start.at_s)
        self._run = run
        self._chunks = 0
        name = f"call {plain(start.destination.model)}".rstrip()
        self._in_endpoint = endpoint_group(run.groups.log, start.destination.endpoint).begin(name, at_us, args)
        self._in_generator = run.groups.generators.begin_in(run.generator_lane(), "call", at_us, args)

    def chunk(self, at_s: float) -> None:
        """As `AttemptTrace.chunk`."""
        at_us = self._run.at_us(at_s)
        self._chunks += 1
        if self._chunks == 1:
            self._in_endpoint.part("to first chunk", at_us)
        if self._chunks <= MOST_CHUNKS:
            self._in_endpoint.mark("chunk", at_us, {"number": self._chunks})
        self._run.look()

    def ended(self, end: AttemptEnd) -> None:
        """As `AttemptTrace.ended`."""
        at_us = self._run.at_us(end.at_s)
        args: dict[str, Value] = {"outcome": end.fault or "success", **_usage(end.usage)}
        if end.status is not None:
            args["status"] = end.status
        if self._chunks:
            args["chunks"] = self._chunks
        self._in_endpoint.end(at_us, args)
        self._in_generator.end(at_us, {"outcome": args["outcome"]})
        self._run.look()


def _destination(destination: Destination) -> Args:
    return {"endpoint": plain(destination.endpoint), "model": plain(destination.model)}


def _outcome(outcome: Response | Exception | None) -> Args:
    """How a request ended; of an error its kind, since its text may hold a part of an answer."""
    if outcome is None:
        return {"outcome": "cancelled"}
    if isinstance(outcome, Exception):
        return {"outcome": "failed", "error": type(outcome).__name__}
    return {
        "outcome": "succeeded",
        "source": outcome.source,
        "endpoint": plain(outcome.endpoint),
        "attempts": outcome.attempts,
        "stop_reason": outcome.stop_reason,
        **_usage(outcome.usage),
    }


def _usage(usage: Usage) -> Args:
    """Tokens and dollars; what is not known, or not used, is not there."""
    counts = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cost_usd": usage.cost_usd,
    }
    return {name: count for name, count in counts.items() if count}
