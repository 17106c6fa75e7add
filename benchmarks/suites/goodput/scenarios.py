"""In front of which servers, and what should come out?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.case import Aim
from benchmarks.suites.goodput.figures import Figures
from synth_actors.testing import Constant, HiddenLimits, LogNormal, Outage, Pace, SimulatedProvider, Trouble

NETWORK_S = LogNormal(median=0.03, sigma=0.4)
TTFT_S = LogNormal(median=0.4, sigma=0.3)
TOKEN_S = Constant(value=0.01)
OUTPUT_TOKENS = LogNormal(median=200, sigma=0.5)
"""At 2.7 seconds for a call, as a small model has them; 1,000 requests a minute keep about 45 in flight."""

PACE = Pace(network_s=NETWORK_S, ttft_s=TTFT_S, token_s=TOKEN_S, output_tokens=OUTPUT_TOKENS, refusal_s=0.0)
KNEE = replace(PACE, slots=64)

UNLIMITED = HiddenLimits()
NO_TROUBLE = Trouble()
OUTAGE = Outage(start_s=60.0, length_s=60.0)
RECOVERY_S = 5.0
RATE_WINDOW_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One line of the report: a share or a multiple, of what, and the aim it has."""

    name: str
    of: str
    figure: Callable[[Figures], float]
    aim: Aim | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A simulated server, the demand, and the goals.

    There is always more to send.  `requests_per_minute` is what the endpoint is configured with; `stream` as there.
    `max_concurrency` is the engine's.
    """

    name: str
    hidden: HiddenLimits = UNLIMITED
    pace: Pace = PACE
    trouble: Trouble = NO_TROUBLE
    duration_s: float = 300.0
    max_tokens: int = 500
    max_concurrency: int = 512
    requests_per_minute: int | None = None
    stream: Literal["auto", "always"] = "auto"
    goals: tuple[Goal, ...] = ()

    def provider(self, seed: int) -> SimulatedProvider:
        """A server of its own for one run."""
        return SimulatedProvider(self.hidden, self.pace, self.trouble, seed=seed)


def _at_least(limit: float) -> Aim:
    return Aim(limit=limit, at="least")


def _rejected(most: float | None) -> Goal:
    aim = None if most is None else Aim(limit=most)
    return Goal(name="rejected", of="attempts", figure=lambda figures: figures.rejected_share, aim=aim)


def _requests(allowed: int, least: float) -> Goal:
    return Goal(
        name="accepted",
        of=f"{allowed:,} requests",
        figure=lambda figures: figures.accepted / figures.allowed_requests,
        aim=_at_least(least),
    )


def _tokens(allowed: int, least: float) -> Goal:
    return Goal(
        name="used",
        of=f"{allowed:,} tokens",
        figure=lambda figures: figures.used_tokens / figures.allowed_tokens,
        aim=_at_least(least),
    )


_BUSY = Goal(
    name="slots busy", of="the time", figure=lambda figures: figures.busy_s / figures.slots_s, aim=_at_least(0.90)
)
_TTFT = Goal(
    name="p99 time to first token",
    of="the median without load",
    figure=lambda figures: figures.ttft_p99_s / TTFT_S.median,
    aim=Aim(limit=5.0),
)
_WASTED = Goal(name="wasted", of="attempts", figure=lambda figures: figures.wasted_share, aim=Aim(limit=0.02))


def _recovered(figures: Figures) -> float:
    back_s = OUTAGE.start_s + OUTAGE.length_s + RECOVERY_S
    before = figures.accepted_per_s(OUTAGE.start_s - RATE_WINDOW_S, OUTAGE.start_s)
    return figures.accepted_per_s(back_s, back_s + RATE_WINDOW_S) / before


_RECOVERED = Goal(
    name=f"accepted from {RECOVERY_S:g} s after it on",
    of="the rate before it",
    figure=_recovered,
    aim=_at_least(0.95),
)


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        name="1,000 requests/min in the headers",
        hidden=HiddenLimits(requests_per_minute=1000),
        goals=(_requests(6_000, 0.97), _rejected(0.005)),
    ),
    Scenario(
        name="1,000 requests/min, no headers, configured",
        hidden=HiddenLimits(requests_per_minute=1000, headers=False),
        requests_per_minute=1000,
        goals=(_requests(6_000, 0.97), _rejected(0.005)),
    ),
    Scenario(
        name="300,000 output tokens/min, metered",
        hidden=HiddenLimits(output_tokens_per_minute=300_000),
        goals=(_tokens(1_800_000, 0.97), _rejected(0.005)),
    ),
    Scenario(
        name="600,000 tokens/min, reserved",
        hidden=HiddenLimits(tokens_per_minute=600_000),
        goals=(_tokens(3_600_000, 0.97), _rejected(0.005)),
    ),
    Scenario(
        name="2,000 requests/min, halved in flight",
        hidden=HiddenLimits(requests_per_minute=2000, changes=((90.0, 0.5),)),
        goals=(_requests(8_500, 0.97), _rejected(0.005)),
    ),
    Scenario(
        name="2,000 requests/min, a neighbour eats half",
        hidden=HiddenLimits(requests_per_minute=2000, neighbour_share=0.5, neighbour_from_s=60.0),
        goals=(_requests(8_000, 0.95), _rejected(0.02)),
    ),
    Scenario(
        name="2,000 requests/min, 2 % random 529",
        hidden=HiddenLimits(requests_per_minute=2000),
        trouble=Trouble(overloaded_share=0.02),
        goals=(_requests(12_000, 0.98), _rejected(None)),
    ),
    Scenario(name="64 slots, no limit", pace=KNEE, stream="always", goals=(_BUSY, _TTFT, _rejected(None))),
    Scenario(
        name="60 s outage",
        trouble=Trouble(outages=(OUTAGE,)),
        duration_s=160.0,
        max_concurrency=64,
        goals=(_WASTED, _RECOVERED),
    ),
)
