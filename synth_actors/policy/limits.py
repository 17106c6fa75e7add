"""May an endpoint take one more call, and if not, when?

Two limits at once: how many calls are under way (`concurrency.py`), and how fast they follow each other (`buckets.py`).
There is a bucket for each limit that the configuration names, and one for each that the server names in the headers of
its answers; a call needs room in all of them.

A header is old when it arrives: what it says is aged by what was sent since, and by what came back since then.  Calls
that were sent within `BURST_S` may have come to the server in any order, so of those of one burst the lowest level
holds, and all that have not been heard of count as sent since.  Output tokens that a server meters as they are made are
taken off as expected when a call begins, and settled when it ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from math import inf

from synth_actors.policy.buckets import Bucket, ServerBucket, Unsure
from synth_actors.policy.concurrency import AdaptiveLimit
from synth_actors.policy.pricing import longest_answer_tokens
from synth_actors.providers.base import Allowance, Metering, RateLimits
from synth_actors.schema import Output
from synth_actors.snapshot import RateLimitSnapshot
from synth_actors.types import Request, Usage

CHARS_PER_TOKEN = 4.0
"""Until the endpoint has counted some prompts."""
BURST_S = 0.1
MOST_BURSTS = 600
"""At most a minute's worth is remembered: a server may cease to say anything."""
LEARNED_SHARE = 0.05
"""How far one call moves what is expected of the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerMinute:
    """The limits that the configuration names; None for none."""

    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


NO_LIMITS = PerMinute()


class Kind(Enum):
    """What a limit counts."""

    REQUESTS = "requests"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    TOKENS = "tokens"  # of both kinds


@dataclass(slots=True)
class Need:
    """What one call takes: tokens of its prompt, and of its answer at most, as far as one knows before."""

    input_tokens: float
    max_tokens: int


def need_of(request: Request, output: Output | None) -> Need:
    """What a call for `request` takes, reckoned from the length of its texts."""
    chars = len(request.prompt or "") + len(request.system or "") + (len(output.tag) if output is not None else 0)
    for message in request.messages or ():
        chars += len(message.content)
    return Need(chars / CHARS_PER_TOKEN, longest_answer_tokens(request, {}) if request.extra else request.max_tokens)


@dataclass(slots=True)
class Totals:
    """What was sent to an endpoint so far, refused or not.

    Of metered output, `output` is what was made and what is expected of the calls under way, `output_done` what those
    that have ended have made.
    """

    requests: float = 0.0
    input: float = 0.0
    output: float = 0.0
    output_done: float = 0.0


@dataclass(slots=True)
class Taken:
    """What was taken off the limits."""

    requests: float = 0.0
    input: float = 0.0
    output: float = 0.0

    def of(self, kind: Kind) -> float:
        """The part that counts against a limit of that kind."""
        if kind is Kind.REQUESTS:
            return self.requests
        if kind is Kind.INPUT_TOKENS:
            return self.input
        return self.output if kind is Kind.OUTPUT_TOKENS else self.input + self.output

    def add(self, other: Taken, sign: float) -> None:
        """Add `other`, or take it away."""
        self.requests += sign * other.requests
        self.input += sign * other.input
        self.output += sign * other.output


@dataclass(slots=True, eq=False)
class Burst:
    """Calls sent at nearly the same time: all that were not refused, and those that were not heard of yet."""

    number: int
    began_at: float
    sent: Taken
    unheard: Taken


@dataclass(slots=True, eq=False)
class Ticket:
    """One call under way: when it began, what it needs, what was taken for it, and the metered output ended by then."""

    at: float
    need: Need
    taken: Taken
    burst: Burst
    output_done: float
    is_heard: bool = False
    is_refused: bool = False


class EndpointLimits:
    """The limits of one endpoint.

    Without `metering` it is not in front of a server: it takes what it is given, and headers are not heard.
    """

    __slots__ = (
        "_buckets",
        "_bursts",
        "_counts",
        "_fixed",
        "_input_ratio",
        "_meters",
        "_output",
        "_output_done",
        "at_once",
        "named",
        "usual_output",
    )

    def __init__(
        self, *, maximum: float, metering: Metering | None, per_minute: PerMinute = NO_LIMITS, now: float = 0.0
    ) -> None:
        self.at_once = None if metering is None else AdaptiveLimit(maximum)
        self._fixed = maximum
        self._meters = metering != "reserve"
        wanted = (
            (Kind.REQUESTS, per_minute.requests),
            (Kind.INPUT_TOKENS, per_minute.input_tokens),
            (Kind.OUTPUT_TOKENS, per_minute.output_tokens),
        )
        self._buckets = {kind: Bucket(most, now) for kind, most in wanted if most is not None}
        self.named: dict[Kind, ServerBucket] = {}  # by the server
        self._counts = metering is not None or bool(self._buckets)  # else what is sent need not be counted
        first = Burst(0, -inf, Taken(), Taken())
        self._bursts = deque([first], maxlen=MOST_BURSTS)  # from the newest one on whose headers were heard
        self._output = 0.0  # metered: made by all calls so far, and expected of those under way
        self._output_done = 0.0  # made by those that have ended
        self._input_ratio = 1.0  # tokens that the server counted, over those reckoned
        self.usual_output: float | None = None  # tokens of an answer, once there was one

    # ------------------------------------------------------------------------------------------------ asking

    @property
    def limit(self) -> float:
        """How many calls may be under way; `inf` for any number."""
        return self._fixed if self.at_once is None else self.at_once.limit

    def has_room(self, in_flight: int) -> bool:
        """Whether one more may be under way."""
        return in_flight + 1 <= self.limit

    @property
    def has_buckets(self) -> bool:
        """Whether any limit of calls or tokens per minute is known."""
        return bool(self._buckets or self.named)

    def ready_at(self, need: Need, now: float) -> float:
        """When every bucket holds what `need` takes, `now` or later."""
        return max((bucket.ready_at(self._amount(kind, need), now) for kind, bucket in self._all()), default=now)

    def is_used_up(self, limits: RateLimits | None, need: Need) -> bool:
        """Whether the server says that a limit has nothing left for such a call."""
        for kind in Kind if limits is not None else ():
            allowance = getattr(limits, kind.value)
            if allowance is not None and allowance.remaining is not None:
                is_metered = self._meters and kind in (Kind.OUTPUT_TOKENS, Kind.TOKENS)
                enough = 1.0 if is_metered else min(self._amount(kind, need), allowance.limit or inf)
                if allowance.remaining < enough:
                    return True
        return False

    def snapshot(self, now: float) -> dict[str, RateLimitSnapshot]:
        """What is left of each limit; of the tighter one where both sides name it."""
        found: dict[str, RateLimitSnapshot] = {}
        for kind, bucket in self._all():
            own = bucket is self._buckets.get(kind)
            one = RateLimitSnapshot(per_minute=bucket.capacity, remaining=bucket.level(now), is_configured=own)
            if kind.value not in found or one.remaining < found[kind.value].remaining:
                found[kind.value] = one
        return found

    def _all(self) -> Iterator[tuple[Kind, Bucket]]:
        yield from self._buckets.items()
        for kind, named in self.named.items():
            yield kind, named.bucket

    def _amount(self, kind: Kind, need: Need) -> float:
        return Taken(1.0, self._input_of(need), self.output_of(need)).of(kind)

    def _input_of(self, need: Need) -> float:
        return need.input_tokens * self._input_ratio

    def output_of(self, need: Need) -> float:
        """The output tokens that are taken off for a call: all it may make where the server reserves them."""
        if self._meters and self.usual_output is not None:
            return min(self.usual_output, float(need.max_tokens))
        return float(need.max_tokens)

    # ------------------------------------------------------------------------------------------------ a call's way

    def begin(self, need: Need, now: float) -> Ticket | None:
        """A call is sent; None, which all that follows take, when there is nothing to count."""
        if not self._counts:
            return None
        taken = Taken(1.0, self._input_of(need), self.output_of(need))
        burst = self._bursts[-1]
        if now - burst.began_at > BURST_S:
            burst = Burst(burst.number + 1, now, Taken(), Taken())
            self._bursts.append(burst)
        burst.sent.add(taken, +1.0)
        burst.unheard.add(taken, +1.0)
        self._output += taken.output
        self._take(taken, now)
        return Ticket(now, need, taken, burst, self._output_done)

    def heard(self, ticket: Ticket | None, limits: RateLimits | None, now: float) -> None:
        """Its answer has begun; `limits` is what the headers say, if anything.  A second time says nothing new."""
        if ticket is None or ticket.is_heard:
            return
        ticket.is_heard = True
        burst, bursts = ticket.burst, self._bursts
        burst.unheard.add(ticket.taken, -1.0)
        if limits is None or burst.number < bursts[0].number:
            return  # it tells nothing, or a newer call has told more
        is_newest = burst is not bursts[0]
        while bursts[0] is not burst:
            bursts.popleft()
        outstanding = self._outstanding(ticket)
        for kind in Kind:
            if (allowance := getattr(limits, kind.value)) is not None:
                self._correct(kind, allowance, outstanding.of(kind), ticket, is_newest, now)

    def _correct(
        self, kind: Kind, allowance: Allowance, outstanding: float, ticket: Ticket, is_newest: bool, now: float
    ) -> None:
        is_metered = self._meters and kind in (Kind.OUTPUT_TOKENS, Kind.TOKENS)
        own = 0.0 if ticket.is_refused else ticket.taken.of(kind)
        unsure = None if is_metered else Unsure(ticket.burst.unheard.of(kind), own)
        if (named := self.named.get(kind)) is not None:
            named.heard(allowance, outstanding, ticket.at, now, at_most=not is_newest, unsure=unsure)
        elif allowance.limit:
            self.named[kind] = ServerBucket(allowance, outstanding, ticket.at, now, unsure=unsure)

    def refused(self, ticket: Ticket | None, limits: RateLimits | None, now: float, *, counted: bool) -> None:
        """It was refused before work: nothing was used.

        `counted`: the request may have been counted.  Where the server names a limit its headers will tell; where only
        the configuration does, it stays taken.
        """
        if ticket is None:
            return
        ticket.is_refused = True
        taken, nothing = ticket.taken, Taken()
        back = Taken(-taken.requests, -taken.input, -taken.output)
        for kind, bucket in self._buckets.items():
            bucket.take(0.0 if counted and kind is Kind.REQUESTS else back.of(kind), now)
        is_old = ticket.burst.number < self._bursts[0].number  # then the server told its level without it
        for kind, named in self.named.items():
            named.bucket.take((nothing if is_old else back).of(kind), now)
        ticket.burst.sent.add(taken, -1.0)
        self._output -= taken.output
        self.heard(ticket, limits, now)

    def ended(self, ticket: Ticket | None, usage: Usage, now: float) -> None:
        """It ended after it was let in; what is not known to be used counts as expected.

        A server that names its limits knew its input when it told of it.  Of metered output it only knew what was made
        until then: what is expected stands in the level, and is corrected.
        """
        if ticket is None:
            return
        taken, more = ticket.taken, Taken()
        if usage.input_tokens or usage.output_tokens:  # else nobody said what was used
            more.input = usage.input_tokens + usage.cache_write_tokens - taken.input
            more.output = usage.output_tokens - taken.output if self._meters else 0.0
        for kind, bucket in self._buckets.items():
            bucket.take(more.of(kind), now)
        for kind, named in self.named.items():
            named.bucket.take(Taken(output=more.output).of(kind), now)
        self._output += more.output
        self._output_done += taken.output + more.output

    def learn(self, ticket: Ticket | None, usage: Usage) -> None:
        """A whole answer tells what to expect of the next."""
        if usage.output_tokens:
            old, made = self.usual_output, float(usage.output_tokens)
            self.usual_output = made if old is None else old + LEARNED_SHARE * (made - old)
        if ticket is not None and ticket.need.input_tokens and usage.input_tokens:
            seen = (usage.input_tokens + usage.cache_write_tokens) / ticket.need.input_tokens
            self._input_ratio += LEARNED_SHARE * (seen - self._input_ratio)

    def _take(self, taken: Taken, now: float) -> None:
        for kind, bucket in self._all():
            bucket.take(taken.of(kind), now)

    def _outstanding(self, ticket: Ticket) -> Taken:
        """What the server did not know of yet, or may not have known, when it let that call in."""
        since = Taken()
        since.add(ticket.burst.unheard, +1.0)
        for burst in self._bursts:
            if burst is not ticket.burst:
                since.add(burst.sent, +1.0)
        if self._meters:
            since.output = self._output - ticket.output_done
        return since
