"""What must an adapter to a provider do, and how may it fail?

A provider speaks one wire format and decides nothing: no retry, no cache, no limits, no clock.
`docs/reference/provider.md` walks through writing one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Protocol, runtime_checkable

from synth_actors.frozen import quick_init
from synth_actors.types import NO_USAGE, Request, StopReason, Usage

MAX_RESPONSE_BYTES = 64 * 2**20
"""The usual bound of one answer."""

Emit = Callable[[str], None]
"""Takes one piece of text as it arrives; never blocks, never raises."""


class Fault(Enum):
    """Why a call failed, in the only terms that the retry policy knows."""

    RATE_LIMITED = "rate_limited"  # 429: refused before work, nothing was charged
    OVERLOADED = "overloaded"  # 529, 503: refused before work, nothing was charged
    UNREACHABLE = "unreachable"  # no connection, name or TLS: nothing was sent
    SCHEMA_REFUSED = "schema_refused"  # no structured output here; the provider asks in the prompt from now on
    FAILED = "failed"  # 5xx, a broken or cut connection, nonsense: it may have been charged
    TIMED_OUT = "timed_out"  # one of the endpoint's four timeouts: it may have been charged
    TOO_LARGE = "too_large"  # longer than max_response_bytes: charged, and it would be as long again
    OUTPUT_INVALID = "output_invalid"  # whole, charged, and not what output_schema asks for
    REJECTED = "rejected"  # 400, 413, 422: this request will never succeed here
    FATAL = "fatal"  # 401, 402, 403, unknown model, quota used up: no request will succeed here
    BUG = "bug"  # an exception that the provider did not translate: it may have been charged


class ProviderError(Exception):
    """The one exception a provider raises on purpose; `__cause__` is the client library's own.

    `usage` counts the tokens that are known to be used although the call failed, `retry_after_s` is the server's own
    wish, `status` the HTTP status where there was one.  The text that was emitted before is kept by the engine.
    """

    def __init__(
        self,
        fault: Fault,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        usage: Usage = NO_USAGE,
    ) -> None:
        super().__init__(message)
        self.fault = fault
        self.status = status
        self.retry_after_s = retry_after_s
        self.usage = usage


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """One rate limit as the server described it in the headers of an answer; None where it said nothing.

    `limit` is the most per minute, `remaining` what was left when the server looked, this call already taken off, and
    `reset_s` the seconds from then until all of it is back.
    """

    limit: float | None = None
    remaining: float | None = None
    reset_s: float | None = None


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """What the headers of one answer say about the endpoint's rate limits; None for a limit that they do not name.

    `tokens` is a limit for input and output together.
    """

    requests: Allowance | None = None
    input_tokens: Allowance | None = None
    output_tokens: Allowance | None = None
    tokens: Allowance | None = None


def _note_nothing(_what: object) -> None:
    """Nobody counts."""


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What one attempt asks a provider for.

    `json_schema` is the full schema of the output, None for free text; the provider sends the subset that its API
    accepts, the engine validates every keyword afterwards.  `note_usage` takes the tokens known so far, all of them
    each time: what a call that is cut off later had used is known only by this.  `note_limits` takes what the headers
    say about rate limits, as soon as they have arrived, also those of an error; it is heard from a `RemoteProvider`,
    and where the endpoint has limits per minute of its own.  An answer of more than `max_response_bytes` is not read to
    its end: it fails as TOO_LARGE.
    """

    request: Request
    json_schema: dict[str, Any] | None
    note_usage: Callable[[Usage], None] = _note_nothing
    note_limits: Callable[[RateLimits], None] = _note_nothing
    max_response_bytes: int = MAX_RESPONSE_BYTES


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A whole answer, returned only when the server's terminal event arrived.

    `usage` holds tokens; its `cost_usd` is filled in by the engine from the endpoint's price.  `model` is the name that
    the server gave, None when it gave none.
    """

    text: str
    stop_reason: StopReason
    usage: Usage
    model: str | None = None


Metering = Literal["meter", "reserve"]
"""How a server counts output tokens against its limit: as they are made, or `max_tokens` when the call begins."""


@runtime_checkable
class Provider(Protocol):
    """An adapter to one model behind one address.

    `name` is what users call the endpoint, `model` the model's name, and `identity` says what made an answer: two
    providers with equal identity give interchangeable answers, so a cached answer of one serves the other, also in
    another run and another process.  It says all that changes answers and is not in the request, and nothing secret: it
    is kept in files.
    """

    name: str
    model: str
    identity: str

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        """Make one call and return the whole answer.

        With `emit` the call is streamed: every piece of text is given to `emit` as it arrives, and their concatenation
        is `Completion.text`.  Without, the answer is fetched in one piece.  Cancellation must close the connection.

        Raises:
            ProviderError: whatever went wrong with the call, translated.  Any other exception is taken for a bug of the
                provider: the request fails, nothing is retried, and nothing else stops.
        """
        ...

    async def aclose(self) -> None:
        """Close connections.  Called once, when the engine ends."""
        ...


@runtime_checkable
class RemoteProvider(Provider, Protocol):
    """A provider in front of a server whose limits have to be found and kept.

    The engine begins with few calls at once and adapts their number to what the server bears.  A provider without
    `output_metering` runs in this process, or knows its limits: it gets all the calls that it may.
    """

    output_metering: Metering


@runtime_checkable
class ConnectingProvider(Provider, Protocol):
    """A provider that tells how long opening a connection took."""

    def watch_connections(self, opened: Callable[[float], None]) -> None:
        """Call `opened` with the seconds that each new connection took, name lookup and TLS included."""
        ...
