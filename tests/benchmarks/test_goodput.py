"""Does the engine get what servers allow, and are the figures of the goodput suite what they say?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count, pairwise
from math import inf

import pytest
import trio

from benchmarks.case import Load
from benchmarks.suites.goodput import case_of, goodput, runs
from benchmarks.suites.goodput.clients import FIRST_LIMIT, Aimd, Fixed
from benchmarks.suites.goodput.figures import Figures, figures_of
from benchmarks.suites.goodput.runs import BY_HAND, run_by_hand, run_engine
from benchmarks.suites.goodput.scenarios import SCENARIOS, Scenario
from synth_actors.providers.base import Call, Completion, Emit, Fault
from synth_actors.testing import Constant, HiddenLimits, Pace, SimulatedProvider, Trouble, simulate
from synth_actors.types import Request

SMALL = 0.2
"""So much of the rates; what has none is small enough, and too coarse with fewer places or slots."""

LIMITS = ("requests_per_minute", "input_tokens_per_minute", "output_tokens_per_minute", "tokens_per_minute")


def small(scenario: Scenario) -> Scenario:
    hidden, configured = scenario.hidden, scenario.requests_per_minute
    scaled = {name: limit * SMALL for name in LIMITS if (limit := getattr(hidden, name)) is not None}
    return replace(
        scenario,
        hidden=replace(hidden, **scaled),
        max_concurrency=round(scenario.max_concurrency * SMALL) if scaled else scenario.max_concurrency,
        requests_per_minute=None if configured is None else round(configured * SMALL),
    )


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_engine_gets_what_the_server_allows_and_is_hardly_refused(scenario: Scenario) -> None:
    figures = run_engine(small(scenario), seed=1)
    reached = {goal.name: (goal.figure(figures), goal.aim) for goal in scenario.goals if goal.aim is not None}
    missed = {name: figure for name, (figure, aim) in reached.items() if not aim.is_met(figure)}
    assert missed == {}, str(figures)
    assert figures.lost == 0


def requests() -> Iterator[Request]:
    return (Request(prompt=f"p{number}", max_tokens=50) for number in count())


class Noting(SimulatedProvider):
    """Notes when each request comes."""

    came: dict[str, list[float]]

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        self.came.setdefault(call.request.prompt or "", []).append(trio.current_time())
        return await super().generate(call, emit)


STEADY = Pace(ttft_s=Constant(value=1.0), token_s=Constant(value=0.0), output_tokens=Constant(value=5), refusal_s=0.0)


async def _for_a_while(kind: str, duration_s: float, hidden: HiddenLimits, trouble: Trouble) -> Noting:
    provider = Noting(hidden, STEADY, trouble)
    provider.came = {}
    client = Fixed(provider, requests(), 10) if kind == "fixed" else Aimd(provider, requests(), 100)
    with trio.move_on_after(duration_s):
        await client.run()
    return provider


def test_fixed_has_its_number_at_once_and_waits_out_retry_after() -> None:
    hidden = HiddenLimits(requests_per_minute=6, capacity_s=200, headers=False)  # 20 at once, then one in 10 s
    provider = simulate(_for_a_while, "fixed", 30.5, hidden, Trouble())
    assert provider.counts.peak_in_flight == 10
    assert provider.counts.accepted == 20 + 2  # at 11 s and at 21 s; the next one would be at 31 s
    waits_s = [later - sooner for times in provider.came.values() for sooner, later in pairwise(times)]
    assert waits_s
    assert set(waits_s) <= set(range(1, 11))


def test_fixed_waits_a_second_when_it_is_not_told() -> None:
    provider = simulate(_for_a_while, "fixed", 5.5, HiddenLimits(), Trouble(overloaded_share=1.0))
    assert provider.came["p0"] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert provider.counts.rejected == {Fault.OVERLOADED: 60}


def test_aimd_grows_by_one_a_round() -> None:
    provider = simulate(_for_a_while, "aimd", 10.5, HiddenLimits(), Trouble())
    assert provider.counts.peak_in_flight == FIRST_LIMIT + 9  # a little less than one for each of 10 rounds


def test_aimd_halves_once_for_a_round_that_was_refused_and_loses_no_request() -> None:
    hidden = HiddenLimits(max_concurrency=20)
    provider = simulate(_for_a_while, "aimd", 100.0, hidden, Trouble())
    counts = provider.counts
    assert counts.peak_in_flight == 20
    assert counts.rejected[Fault.RATE_LIMITED] == FIRST_LIMIT - 20 + (counts.rejected_in_all - 12)
    assert counts.rejected_in_all / counts.attempts < 0.05  # one for each climb, after the first round
    sent = len(provider.came)
    assert counts.accepted >= sent - 20
    assert counts.completed > 20 * 100 / 2


def test_the_figures_are_those_of_the_server() -> None:
    async def run() -> Figures:
        provider = SimulatedProvider(HiddenLimits(requests_per_minute=60, capacity_s=5), STEADY)
        with trio.move_on_after(10.0):
            await Fixed(provider, requests(), 10).run()
        return figures_of("me", provider, slots=10, lost=3)

    figures = simulate(run)
    assert (figures.client, figures.duration_s, figures.lost) == ("me", 10.0, 3)
    assert figures.peak_in_flight in (5, 6)  # one may come in the moment in which one leaves
    assert (figures.allowed_requests, figures.accepted) == (15.0, 14)  # at 10.0 the last one is on its way
    assert figures.attempts == figures.accepted + figures.rejected
    assert figures.rejected_share == figures.wasted_share == figures.rejected / figures.attempts
    assert (figures.ttft_p50_s, figures.ttft_p99_s, figures.slots_s) == (1.0, 1.0, 100.0)
    assert figures.accepted_per_s(0.0, 0.5) == 10.0
    assert figures.accepted_per_s(1.5, 9.5) == 1.0
    assert "14/15 requests" in str(figures)


def test_a_client_that_is_only_refused_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MOST_ATTEMPTS", 1000)
    figures = run_by_hand("fixed 128", Scenario(name="closed", trouble=Trouble(overloaded_share=1.0)))
    assert figures.duration_s < 12
    assert 1000 <= figures.attempts < 1300


def test_a_case_shows_the_engine_beside_everybody_else() -> None:
    scenario = replace(small(SCENARIOS[0]), duration_s=8.0)
    case = case_of(scenario, scenario.goals[0])
    measured = case.measure(Load(repeat=2))
    assert case.name == f"{scenario.name}: {scenario.goals[0].name}"
    assert set(measured.beside) == set(BY_HAND) == {"fixed 32", "fixed 128", "fixed 512", "AIMD"}
    assert measured.value == scenario.goals[0].figure(run_engine(scenario, seed=2))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_report_names_what_the_limits_really_allow(scenario: Scenario) -> None:
    provider = scenario.provider(seed=0)
    allowed = (
        provider.allowed_requests(0.0, scenario.duration_s),
        provider.allowed_tokens(0.0, scenario.duration_s),
    )
    named = [goal.of for goal in scenario.goals if goal.name in ("accepted", "used")]
    shown = [f"{most:,.0f} {what}" for most, what in zip(allowed, ("requests", "tokens"), strict=True) if most < inf]
    assert named == shown


def test_every_scenario_has_an_aim_and_a_name_of_its_own() -> None:
    names = [case.name for case in goodput(100)]
    assert len(set(names)) == len(names)
    assert all(any(goal.aim for goal in scenario.goals) for scenario in SCENARIOS)
