"""What is told about a request while it goes through the engine?

The seam where traces hang: give a `Tracing` to `open_engine`, and it hears where each request waits and what is done
for it.  What it makes of a request travels inside the messages, from the caller's task to the cache, the router and the
generator, so that what they do is told to the right one: no context variable crosses a mailbox by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from synth_actors.snapshot import Snapshot
from synth_actors.types import Answer, Request, Response
from synth_actors.usage import Usage

logger = logging.getLogger("synth_actors")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where the calls of one endpoint go.

    `endpoint` is its name, `provider` "anthropic", "openai", "local" or the name of the user's own provider.  `address`
    and `port` are the server's, both None when it runs in this process or nobody knows.
    """

    endpoint: str
    provider: str
    model: str
    address: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class AttemptStart:
    """A call is about to be made: the `number`-th of its request, from 1, at `at_s` of the engine's clock."""

    destination: Destination
    number: int
    streamed: bool
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnd:
    """How a call ended, at `at_s` of the engine's clock.

    With `answer` it went well and `fault` is None.  Else `fault` is a value of `Fault` or `Ended`, `message` what an
    error says of it, which can hold a part of the answer, and `status` the HTTP status where there was one.
    """

    at_s: float
    usage: Usage
    answer: Answer | None = None
    fault: str | None = None
    message: str = ""
    status: int | None = None


class AttemptTrace(Protocol):
    """The trace of one call.  It begins and ends in the task that makes the call, and may be current meanwhile."""

    def chunk(self, at_s: float) -> None:
        """A piece of a streamed answer has come, at `at_s` of the engine's clock."""
        ...

    def ended(self, end: AttemptEnd) -> None:
        """The call is over.  Told exactly once."""
        ...


class RequestTrace(Protocol):
    """The trace of one request.  Everything is told, nothing awaited, and in trio's thread.

    A flight is told to the trace of the request that led it, also after that one has left: then `ended` comes before
    the rest.  Those who follow it are told so by `joined`, unless they have left before.
    """

    def joined(self, leader: RequestTrace) -> None:
        """Somebody asks the same already: this request waits for the answer to `leader`."""
        ...

    def fetch_began(self) -> None:
        """The durable tier of the cache is asked."""
        ...

    def fetch_ended(self, *, found: bool) -> None:
        """The durable tier has answered, or nobody wants to know any more.  May be told when it was not asked."""
        ...

    def queue_began(self) -> None:
        """A call is needed, the first or another one: the request waits to be sent."""
        ...

    def queue_ended(self, endpoint: str | None) -> None:
        """It goes to `endpoint`; None: nowhere.  May be told when nothing was waiting."""
        ...

    def attempt_began(self, start: AttemptStart) -> AttemptTrace | None:
        """A call is made.  None: this one is not traced."""
        ...

    def ended(self, outcome: Response | Exception | None) -> None:
        """The caller has the response or the error; None: it has left.  Told exactly once, in the caller's task."""
        ...


@runtime_checkable
class Tracing(Protocol):
    """Makes the trace of each request.  What it raises reaches nobody: it is logged once, and the trace has a hole."""

    def request(self, request: Request, *, number: int, streamed: bool) -> RequestTrace | None:
        """A request begins, in the task of its caller, under whatever is current there.  None: it is not traced.

        `number` counts the requests of one engine from 1: `Response.request_id` is `req-NUMBER`.
        """
        ...


@runtime_checkable
class MeteredTracing(Tracing, Protocol):
    """A `Tracing` that also wants the engine's own figures."""

    def opened(self, take: Callable[[], Snapshot]) -> Callable[[], None]:
        """An engine has opened; what is returned is called when it has closed.

        `take` gives a snapshot of this moment; it may only be called in trio's thread, the last time while the returned
        function is being called.
        """
        ...


class GuardedTracing:
    """A `MeteredTracing` around another, out of which no exception comes: what is told must not stop who tells it."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self.problems = 0  # exceptions so far

    def request(self, request: Request, *, number: int, streamed: bool) -> RequestTrace | None:
        """As `Tracing.request`."""
        begin = self._tracing.request
        trace = self.guard(lambda: begin(request, number=number, streamed=streamed))
        return None if trace is None else _GuardedRequest(self, trace)

    def opened(self, take: Callable[[], Snapshot]) -> Callable[[], None]:
        """As `MeteredTracing.opened`; nothing happens when the other one is none."""
        tracing = self._tracing
        close = self.guard(lambda: tracing.opened(take)) if isinstance(tracing, MeteredTracing) else None
        return (lambda: None) if close is None else lambda: self.guard(close)

    def guard(self, call: Callable[[], T]) -> T | None:
        """What `call` returns; None when it raised."""
        try:
            return call()
        except Exception as exc:  # somebody else's code in the middle of the engine's
            self.problems += 1
            if self.problems == 1:
                logger.warning("%s raised %r; what it shows has holes", type(self._tracing).__name__, exc, exc_info=exc)
            return None

    def __repr__(self) -> str:
        return f"<GuardedTracing {type(self._tracing).__name__} problems={self.problems}>"


class _GuardedRequest:
    """A `RequestTrace` out of which no exception comes."""

    __slots__ = ("_guard", "_trace")

    def __init__(self, guard: GuardedTracing, trace: RequestTrace) -> None:
        self._guard = guard
        self._trace = trace

    def joined(self, leader: RequestTrace) -> None:
        other = leader._trace if isinstance(leader, _GuardedRequest) else leader
        self._guard.guard(lambda: self._trace.joined(other))

    def fetch_began(self) -> None:
        self._guard.guard(self._trace.fetch_began)

    def fetch_ended(self, *, found: bool) -> None:
        self._guard.guard(lambda: self._trace.fetch_ended(found=found))

    def queue_began(self) -> None:
        self._guard.guard(self._trace.queue_began)

    def queue_ended(self, endpoint: str | None) -> None:
        self._guard.guard(lambda: self._trace.queue_ended(endpoint))

    def attempt_began(self, start: AttemptStart) -> AttemptTrace | None:
        attempt = self._guard.guard(lambda: self._trace.attempt_began(start))
        return None if attempt is None else _GuardedAttempt(self._guard, attempt)

    def ended(self, outcome: Response | Exception | None) -> None:
        self._guard.guard(lambda: self._trace.ended(outcome))


class _GuardedAttempt:
    """An `AttemptTrace` out of which no exception comes."""

    __slots__ = ("_guard", "_trace")

    def __init__(self, guard: GuardedTracing, trace: AttemptTrace) -> None:
        self._guard = guard
        self._trace = trace

    def chunk(self, at_s: float) -> None:
        self._guard.guard(lambda: self._trace.chunk(at_s))

    def ended(self, end: AttemptEnd) -> None:
        self._guard.guard(lambda: self._trace.ended(end))
