"""How fast is a simulated server, and what goes wrong there?"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from zlib import crc32

from synth_actors.providers.base import Fault
from synth_actors.testing.distributions import Constant, Distribution, LogNormal
from synth_actors.testing.prompts import tokens_of
from synth_actors.types import Request

_AT_ONCE = Constant(value=0.0)
_USUAL_TTFT_S = LogNormal(median=0.4, sigma=0.3)
_USUAL_TOKEN_S = Constant(value=0.01)
_USUAL_OUTPUT_TOKENS = LogNormal(median=200, sigma=0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a call takes.

    A call travels `network_s`, waits for one of `slots` (None: there is always one; else first come, first served, and
    nobody is refused), thinks for `ttft_s` until its first token, and then makes a token every `token_s` seconds, as
    many as `output_tokens` says and its `max_tokens` allows.  A refusal takes `refusal_s` to come back.  A streamed
    answer arrives in `pieces`.
    """

    network_s: Distribution = _AT_ONCE
    ttft_s: Distribution = _USUAL_TTFT_S
    token_s: Distribution = _USUAL_TOKEN_S
    output_tokens: Distribution = _USUAL_OUTPUT_TOKENS
    slots: int | None = None
    refusal_s: float = 0.02
    pieces: int = 4

    def __post_init__(self) -> None:
        for name in ("network_s", "ttft_s", "token_s", "output_tokens"):
            if not hasattr(getattr(self, name), "draw"):
                value = getattr(self, name)
                raise ValueError(f"Pace: {name}={value!r}: give a distribution such as Constant(value={value!r})")
        if self.slots is not None and not self.slots >= 1:
            raise ValueError(f"Pace: slots={self.slots!r}: give 1 or more, or None for any number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """For `length_s` seconds from `start_s` on, every call fails with `fault`.

    OVERLOADED and UNREACHABLE are refusals, before work; with FAILED the calls are accepted and fail when their answer
    would be whole.  Those under way when it begins are not touched.
    """

    start_s: float
    length_s: float
    fault: Fault = Fault.OVERLOADED

    def __post_init__(self) -> None:
        if self.fault not in (Fault.OVERLOADED, Fault.UNREACHABLE, Fault.FAILED):
            raise ValueError(f"Outage: fault={self.fault}: give OVERLOADED, UNREACHABLE or FAILED")

    def holds(self, now_s: float) -> bool:
        """Whether it is going on."""
        return self.start_s <= now_s < self.start_s + self.length_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What goes wrong.

    `overloaded_share` of all calls are refused with 529 whatever the load, with `retry_after_s` if that is not None;
    `failed_share` are accepted, worked on and fail with 500.  A schema that holds one of `refused_keywords` is answered
    with 400, once: from then on the schema is asked for in the prompt.
    """

    outages: tuple[Outage, ...] = ()
    overloaded_share: float = 0.0
    failed_share: float = 0.0
    retry_after_s: float | None = None
    refused_keywords: frozenset[str] = frozenset()

    def outage(self, now_s: float) -> Fault | None:
        """How calls that arrive now fail, None when they do not."""
        return next((outage.fault for outage in self.outages if outage.holds(now_s)), None)


@dataclass(slots=True)
class Fate:
    """What is drawn for one call that is let in."""

    ttft_s: float
    token_s: float
    output_tokens: int
    input_tokens: int
    is_cut: bool  # by its max_tokens
    breaks: bool = False  # at the end
    made_tokens: int = 0  # in the end

    @property
    def output_s(self) -> float:
        """How long it makes output."""
        return self.token_s * self.output_tokens

    @property
    def work_s(self) -> float:
        """How long it holds a slot."""
        return self.ttft_s + self.output_s

    def made_after(self, output_s: float) -> int:
        """The tokens made in the first `output_s` seconds of its output."""
        return min(self.output_tokens, int(output_s / self.token_s)) if self.token_s > 0 else self.output_tokens


class Dice:
    """The randomness of one simulation.

    What a call takes once it is let in is drawn from its request, so it is the same whoever sends it, when, and how
    often; its way there and the noise that it meets depend on how many calls came before.
    """

    __slots__ = ("_noise", "_pace", "_seed", "_source", "_way")

    def __init__(self, pace: Pace, seed: int) -> None:
        self._pace = pace
        self._seed = seed
        self._source = random.Random()
        self._way = random.Random(seed)
        self._noise = random.Random(seed + 1)

    def network_s(self) -> float:
        """How long the next call is on its way."""
        return self._pace.network_s.draw(self._way)

    def fate(self, request: Request, prompt: str) -> Fate:
        """What this call takes."""
        pace, source = self._pace, self._source
        source.seed(crc32(prompt.encode("utf-8", "surrogatepass")) ^ (request.sample_index << 32) ^ (self._seed << 64))
        wanted = max(1, round(pace.output_tokens.draw(source)))
        return Fate(
            ttft_s=pace.ttft_s.draw(source),
            token_s=pace.token_s.draw(source),
            output_tokens=min(wanted, request.max_tokens),
            input_tokens=tokens_of(prompt),
            is_cut=wanted > request.max_tokens,
        )

    def hits(self, share: float) -> bool:
        """True for `share` of the times."""
        return share > 0 and self._noise.random() < share


@dataclass(slots=True, kw_only=True)
class Counts:
    """What a simulated server has seen.

    `attempts` = accepted + rejected + those cancelled on their way there; `accepted` = completed + failed + those
    cancelled in flight + those in flight.  `busy_s` is the time that slots, or places without a limit, were held by
    calls that completed.  `accepted_at_s` are times since the start; `ttft_s` is from acceptance to the first token,
    waiting for a slot included, of every call that came so far.
    """

    attempts: int = 0
    accepted: int = 0
    rejected: dict[Fault, int] = field(default_factory=dict)
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    peak_in_flight: int = 0
    busy_s: float = 0.0
    ttft_s: list[float] = field(default_factory=list)
    accepted_at_s: list[float] = field(default_factory=list)

    def accept(self, input_tokens: int, in_flight: int, now_s: float) -> None:
        """A call is let in, and is one of `in_flight` now."""
        self.accepted += 1
        self.accepted_at_s.append(now_s)
        self.input_tokens += input_tokens
        self.peak_in_flight = max(self.peak_in_flight, in_flight)

    @property
    def rejected_in_all(self) -> int:
        """Refusals of every kind."""
        return sum(self.rejected.values())
