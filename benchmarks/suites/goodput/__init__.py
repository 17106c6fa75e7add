"""How much of what a server allows does the engine get, and how much of what it sends is refused?

Time is simulated, so the figures do not depend on the machine.
"""

from __future__ import annotations

from functools import lru_cache, partial

from benchmarks.case import Case, Load, Measured
from benchmarks.suites.goodput.figures import Figures
from benchmarks.suites.goodput.runs import BY_HAND, run_by_hand, run_engine
from benchmarks.suites.goodput.scenarios import SCENARIOS, Goal, Scenario


def goodput(concurrency: int) -> tuple[Case, ...]:  # noqa: ARG001  (a scenario says how many may be sent at once)
    """The suite: a case for each goal of each scenario."""
    return tuple(case_of(scenario, goal) for scenario in SCENARIOS for goal in scenario.goals)


def case_of(scenario: Scenario, goal: Goal) -> Case:
    """One figure of the runs of `scenario`; the seed is the number of the repeat."""
    measure = partial(_measure, scenario, goal)
    return Case(name=f"{scenario.name}: {goal.name}", unit=f"of {goal.of}", measure=measure, aim=goal.aim)


def _measure(scenario: Scenario, goal: Goal, load: Load) -> Measured:
    engine, by_hand = _all_clients(scenario, load.repeat)
    return Measured(
        value=goal.figure(engine),
        beside={figures.client: goal.figure(figures) for figures in by_hand},
    )


@lru_cache(maxsize=1)
def _all_clients(scenario: Scenario, seed: int) -> tuple[Figures, tuple[Figures, ...]]:
    """The goals of one scenario are figures of the same runs."""
    return run_engine(scenario, seed), tuple(run_by_hand(client, scenario, seed) for client in BY_HAND)
