"""How much does the cache save, beside LRU, beside one that knows the future, and beside what none can beat?

Nothing is timed: the figures depend on the seed, the number of the repeat, and not on the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final

from benchmarks.case import Aim, Case, Load, Measured
from benchmarks.suites.eviction.offline import belady, upper_bound
from benchmarks.suites.eviction.replay import Saved, bounds_of, replay, with_durable_tier
from benchmarks.suites.eviction.rerun import REQUESTS_PER_CONCURRENCY, paid_again
from benchmarks.suites.eviction.workloads import SCENARIOS, Scenario

QUESTIONS_PER_CONCURRENCY: Final = 50

AIMED_POINTS: Final = {"Zipf 0.9, 10 %": 2.5}
"""So many points of the dollars above LRU; elsewhere none below."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Of one workload with one capacity."""

    cost: Saved
    lru: Saved
    belady: Saved
    bound: Saved
    cost_durable: Saved
    lru_durable: Saved
    bound_durable: Saved


def eviction(concurrency: int) -> tuple[Case, ...]:
    """The suite; 50 questions that come again for each of the concurrency."""
    cases = tuple(case for scenario in SCENARIOS for case in cases_of(scenario))
    again = f"{REQUESTS_PER_CONCURRENCY * concurrency:,} requests again, from the durable tier"
    return (*cases, Case(name=again, unit="paid calls", measure=paid_again, aim=Aim(limit=0)))


def cases_of(scenario: Scenario) -> tuple[Case, ...]:
    """Of memory alone: hits, dollars, how far above LRU.  With the durable tier: dollars, all that were paid before."""
    name = scenario.name
    least = Aim(limit=AIMED_POINTS.get(name, 0.0), at="least")
    return (
        Case(name=f"{name}: hits", unit="%", measure=partial(_hits, scenario)),
        Case(name=f"{name}: saved", unit="% of dollars", measure=partial(_dollars, scenario)),
        Case(name=f"{name}: saved above LRU", unit="points", measure=partial(_points, scenario), aim=least),
        Case(
            name=f"{name}, durable tier: saved",
            unit="% of dollars",
            measure=partial(_durable, scenario),
            aim=Aim(limit=0.999, of="ideal", at="least"),
        ),
    )


def _hits(scenario: Scenario, load: Load) -> Measured:
    found = outcomes(scenario, load)
    beside = {"LRU": 100 * found.lru.hits, "Belady": 100 * found.belady.hits}
    return Measured(value=100 * found.cost.hits, beside=beside, ideal=100 * found.bound.hits)


def _dollars(scenario: Scenario, load: Load) -> Measured:
    found = outcomes(scenario, load)
    beside = {"LRU": 100 * found.lru.dollars, "Belady": 100 * found.belady.dollars}
    return Measured(value=100 * found.cost.dollars, beside=beside, ideal=100 * found.bound.dollars)


def _points(scenario: Scenario, load: Load) -> Measured:
    found = outcomes(scenario, load)
    return Measured(value=100 * (found.cost.dollars - found.lru.dollars))


def _durable(scenario: Scenario, load: Load) -> Measured:
    found = outcomes(scenario, load)
    beside = {"LRU": 100 * found.lru_durable.dollars}
    return Measured(value=100 * found.cost_durable.dollars, beside=beside, ideal=100 * found.bound_durable.dollars)


@lru_cache(maxsize=1)
def outcomes(scenario: Scenario, load: Load) -> Outcomes:
    """The cases of a scenario are figures of the same runs."""
    questions = QUESTIONS_PER_CONCURRENCY * load.concurrency
    workload = scenario.make(questions, seed=load.repeat)
    memory = bounds_of(scenario, workload, questions)
    both = with_durable_tier(memory)
    return Outcomes(
        cost=replay(workload, memory, "cost"),
        lru=replay(workload, memory, "lru"),
        belady=belady(workload, memory),
        bound=upper_bound(workload, memory),
        cost_durable=replay(workload, both, "cost"),
        lru_durable=replay(workload, both, "lru"),
        bound_durable=upper_bound(workload, both),
    )
