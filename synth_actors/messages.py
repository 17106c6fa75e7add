"""Which values cross a mailbox?

Forward messages are requests (imperative), backward messages are facts (past tense).  Plain slotted dataclasses,
compared by identity: a message is also the handle by which later messages name it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import Any

import trio

from synth_actors.feed import Feed, Held
from synth_actors.policy.answers import Made
from synth_actors.policy.endpoints import Begun
from synth_actors.policy.single_flight import Flight
from synth_actors.providers.base import Fault, ProviderError
from synth_actors.reply import Reply
from synth_actors.schema import Output
from synth_actors.tracing import AttemptEnd, RequestTrace
from synth_actors.types import NO_USAGE, Answer, Request, Source, Usage

WRITING_S = 30.0
"""How long the log may take to write down an answer once the attempt was cancelled: it is paid."""

# ------------------------------------------------------------------------------------------------ engine -> cache


@dataclass(slots=True, eq=False)
class Lookup:
    """Answer with the entry, or join the flight and answer when it lands.  The flight's `payload` is its `Route`.

    `reply` gets an `Answer` (a hit), a `Landed`, or, with `hit_only`, `NO_HIT` at once.  A reader of a stream finds
    the flight here, and with it the feed, as soon as the lookup was handled.
    """

    key: bytes
    request: Request
    stream: bool
    submitted_at: float
    number: int  # of the request within its engine
    hit_only: bool = False
    output: Output | None = None
    reply: Reply[Any] = field(default_factory=Reply)
    flight: Flight[bytes, Any] | None = None
    settled: bool = False  # it has its part of the bill already, or will never have one
    trace: RequestTrace | None = None

    @property
    def route(self) -> Route | None:
        """What the flight has the router do; None before the lookup was handled, and after a hit."""
        return None if self.flight is None else self.flight.payload


@dataclass(slots=True, eq=False)
class Abandoned:
    """Whoever waited for `lookup` has left; its place at the door goes back when this is taken."""

    lookup: Lookup


class NoHit(Enum):
    """The answer to a `hit_only` lookup that found nothing."""

    NO_HIT = 0


NO_HIT = NoHit.NO_HIT

# ---------------------------------------------------------------------------------------------- watchdog -> cache


@dataclass(slots=True, eq=False)
class Shrink:
    """Give up about `wanted_bytes` accounted bytes, coldest first, in bounded turns."""

    wanted_bytes: int


@dataclass(slots=True, eq=False)
class BoundCache:
    """Occupy no more than `footprint_bytes` from now on: what comes makes its own room, coldest first."""

    footprint_bytes: int


@dataclass(slots=True, eq=False)
class DropExpired:
    """Drop every expired entry and give back what the dead ones hold; `reply` gets how many expired."""

    reply: Reply[int] = field(default_factory=Reply)


# -------------------------------------------------------------------------------------------------- wiring -> cache


@dataclass(slots=True, eq=False)
class AwaitFetches:
    """`reply` gets True when nothing is asked of the durable tier any more: all that is open is the router's."""

    reply: Reply[bool] = field(default_factory=Reply)


# ------------------------------------------------------------------------------------------------- cache <-> store


@dataclass(slots=True, eq=False)
class Fetch:
    """Look these up in the durable tier.  Exactly one `Fetched` answers it."""

    routes: list[Route]


@dataclass(slots=True, eq=False)
class Keep:
    """Write this answer down; nobody waits for it."""

    key: bytes
    made: Made


@dataclass(slots=True, eq=False)
class Loaded:
    """The durable tier has it, made by an endpoint of this engine; it lives `remaining_s` more, None for ever."""

    made: Made
    remaining_s: float | None


class Absent(Enum):
    """The durable tier has nothing that may be served."""

    ABSENT = 0


ABSENT = Absent.ABSENT


@dataclass(slots=True, eq=False)
class Fetched:
    """What the durable tier has: one verdict for each route of `fetch`, in its order."""

    fetch: Fetch
    found: list[Loaded | Absent]


# ------------------------------------------------------------------------------------------------ cache -> router


@dataclass(slots=True, eq=False)
class Route:
    """Get this generated.  Exactly one `Generated` answers it, unless a `Drop` takes it back.

    `number` and `trace` are those of the request that led to it, also when that one has left.  `calls` and `usage` are
    the router's, for everybody to read: what was tried so far and what it used.  `log_key` is the generator's: what an
    `AttemptLog` knows the request by from its first call on, whoever changes it meanwhile.
    """

    key: bytes
    request: Request
    output: Output | None
    stream: bool
    feed: Feed
    number: int
    trace: RequestTrace | None
    calls: int = 0
    usage: Usage = NO_USAGE
    noted: Usage = NO_USAGE  # by an attempt that the router has not heard the end of
    log_key: bytes = b""

    @property
    def used(self) -> Usage:
        """What is known to be used so far, by an attempt under way, too."""
        return self.usage + self.noted


@dataclass(slots=True, eq=False)
class Drop:
    """Nobody waits for `route` any more: unpaid if it is queued, cancelled if it is running."""

    route: Route


# -------------------------------------------------------------------------------------------- router -> generator


@dataclass(slots=True, eq=False)
class Attempt:
    """One call to one endpoint.  It borrows one token of the limiter from dispatch until `Finished`."""

    route: Route
    number: int
    endpoint: str
    output: Output | None
    streamed: bool
    dispatched_at: float
    reserved_usd: float
    call: Begun  # what its endpoint keeps of it
    held: Held  # where the generator adds what has come so far, until the attempt is over
    deadline: float = inf  # of the call, moved by the generator; the router looks whether it is over
    scope: trio.CancelScope | None = None  # while a generator makes it
    writing: trio.CancelScope | None = None  # while its answer is written down
    cancelled: bool = False
    abandoned: bool = False  # cancelled because nobody wants it: not the fault of the endpoint

    def abandon(self) -> None:
        """Nobody wants it any more."""
        self.abandoned = True
        self.cancel()

    def cancel(self) -> None:
        """End the call if it runs; if it has not begun, it never will."""
        self.cancelled = True
        if self.scope is not None:
            self.scope.cancel()
        if self.writing is not None:
            self.writing.deadline = min(self.writing.deadline, trio.current_time() + WRITING_S)


@dataclass(slots=True, eq=False)
class Generate:
    """Make one attempt.  Whoever takes this owes exactly one `Finished`."""

    attempt: Attempt


# -------------------------------------------------------------------------------------------- generator -> router


class Ended(Enum):
    """Reasons for a failure that are not a provider's."""

    ABANDONED = "abandoned"
    BUDGET = "budget"
    CLOSED = "closed"
    LOG = "log"  # the attempt log has refused the call, or could not write its answer down


@dataclass(slots=True, eq=False)
class Success:
    """A whole answer, valid by the request's schema."""

    answer: Answer
    identity: str
    usage: Usage
    dispatched_at: float
    service_s: float
    ttft_s: float | None

    def as_end(self, at_s: float) -> AttemptEnd:
        """What a trace is told of it, when the attempt has ended at `at_s`."""
        return AttemptEnd(at_s=at_s, usage=self.usage, answer=self.answer)


@dataclass(slots=True, eq=False)
class Failure:
    """A failed attempt, or a request that was given up.  A value: every waiter makes its own exception from it."""

    fault: Fault | Ended
    message: str
    endpoint: str | None
    usage: Usage
    partial: str = ""
    retry_after_s: float | None = None
    unsent: bool = False  # it ended before anything was sent
    truncated: bool = False  # cut at max_tokens: the same request would be cut again
    cause: BaseException | None = None

    @property
    def status(self) -> int | None:
        """The HTTP status that the server gave, None when there was none."""
        return self.cause.status if isinstance(self.cause, ProviderError) else None

    def as_end(self, at_s: float) -> AttemptEnd:
        """What a trace is told of it, when the attempt has ended at `at_s`."""
        fault, message, status = self.fault.value, self.message, self.status
        return AttemptEnd(at_s=at_s, usage=self.usage, fault=fault, message=message, status=status)


@dataclass(slots=True, eq=False)
class FirstToken:
    """The first text of a streamed answer has come, `ttft_s` after the dispatch."""

    attempt: Attempt
    ttft_s: float


@dataclass(slots=True, eq=False)
class Finished:
    """The attempt is over and its token is back."""

    attempt: Attempt
    result: Success | Failure


# ------------------------------------------------------------------------------------------------ router -> cache


@dataclass(slots=True, eq=False)
class Generated:
    """What became of a `Route`."""

    route: Route
    result: Success | Failure


# ------------------------------------------------------------------------------------------------ cache -> engine


@dataclass(slots=True, eq=False)
class Landed:
    """A flight's answer for one waiter; `usage` is what this waiter adds to the bill."""

    answer: Answer
    usage: Usage
    source: Source
    attempts: int
    queue_s: float
    service_s: float
    ttft_s: float | None


# ---------------------------------------------------------------------------------- watchdog and engine -> router


@dataclass(slots=True, eq=False)
class SetConcurrencyCap:
    """At most `cap` attempts at once from now on; those above it may finish."""

    cap: int


@dataclass(slots=True, eq=False)
class CloseRouter:
    """Fail the backlog and cancel the attempts, with `drain` let them finish; `reply` gets True when none is left."""

    drain: bool
    reply: Reply[bool] = field(default_factory=Reply)


# -------------------------------------------------------------------------------- engine -> metrics and watchdog


@dataclass(slots=True, eq=False)
class TakeSnapshot:
    """Fold what is waiting; `reply` gets the `Snapshot`, with all counts of its series if `histograms`."""

    histograms: bool = False
    reply: Reply[Any] = field(default_factory=Reply)


@dataclass(slots=True, eq=False)
class Optimize:
    """Drop expired entries and trim; `reply` gets the resident bytes that were really given back."""

    reply: Reply[int] = field(default_factory=Reply)


@dataclass(slots=True, eq=False)
class SetMemoryLimit:
    """The process is to stay below `limit_bytes` resident from now on; `reply` gets True once that was looked at.

    Not public: what a job may use is settled when the engine opens.  It is here to show what a tighter limit does.
    """

    limit_bytes: int
    reply: Reply[bool] = field(default_factory=Reply)
