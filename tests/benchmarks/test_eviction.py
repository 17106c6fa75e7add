"""Are the figures of the eviction suite what they say, and are its aims met?"""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.case import Load
from benchmarks.suites.eviction import QUESTIONS_PER_CONCURRENCY, cases_of, outcomes
from benchmarks.suites.eviction.offline import belady, upper_bound
from benchmarks.suites.eviction.replay import ROOMY, Bounds, accounted_bytes, bounds_of, replay
from benchmarks.suites.eviction.rerun import paid_again
from benchmarks.suites.eviction.workloads import SCENARIOS, Question, Scenario, Workload
from synth_actors.policy.cache_index import ENTRY_OVERHEAD_BYTES

SMALL = Load(concurrency=10, repeat=1)
all_scenarios = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


@all_scenarios
def test_what_saves_money_is_never_below_lru_and_every_aim_is_met(scenario: Scenario) -> None:
    aims = {case.name: (case.aim, case.measure(SMALL)) for case in cases_of(scenario) if case.aim is not None}
    assert len(aims) == 2
    missed = {name: measured for name, (aim, measured) in aims.items() if not aim.is_met(aim.figure(measured))}
    assert missed == {}


@all_scenarios
def test_nobody_beats_the_bound(scenario: Scenario) -> None:
    found = outcomes(scenario, SMALL)
    for saved in (found.cost, found.lru, found.belady):
        assert saved.hits <= found.bound.hits + 1e-9
        assert saved.dollars <= found.bound.dollars + 1e-9
    for saved in (found.cost_durable, found.lru_durable):
        assert saved.dollars == pytest.approx(found.bound_durable.dollars), "nothing is paid for twice"


@pytest.mark.parametrize("name", ["loop x4, 50 %", "shuffled re-run x4, 90 %"])
def test_with_the_durable_tier_a_re_run_pays_only_the_first_time(name: str) -> None:
    found = outcomes(next(scenario for scenario in SCENARIOS if scenario.name == name), SMALL)
    assert found.cost_durable.dollars == pytest.approx(0.75)
    assert found.lru_durable.dollars == pytest.approx(0.75)


@all_scenarios
def test_a_workload_depends_on_its_seed_and_on_nothing_else(scenario: Scenario) -> None:
    assert scenario.make(100, seed=1) == scenario.make(100, seed=1)
    assert scenario.make(100, seed=1) != scenario.make(100, seed=2)


def test_the_workloads_ask_what_their_names_say() -> None:
    by_name = {scenario.name: Counter(scenario.make(200, seed=1).asked) for scenario in SCENARIOS}
    for name, counts in by_name.items():
        if "x4" in name:
            assert set(counts.values()) == {4}
        elif "one-shots" in name:
            assert {counts[number] for number in counts if number >= 200} == {1}
            assert sum(counts[number] for number in counts if number >= 200) == counts.total() // 2
        else:
            exponent = float(name.split()[1].rstrip(","))
            assert counts[0] / counts[9] == pytest.approx(10**exponent, rel=0.3)


def question(size: int, cost_usd: float = 1.0) -> Question:
    return Question(size, 1, cost_usd)


asked = st.lists(st.integers(0, 4), min_size=1, max_size=9)


def best(workload: Workload, bounds: Bounds) -> tuple[float, float]:
    """The most hits and the most dollars saved of all caches, by trying all."""

    @cache
    def after(time: int, held: frozenset[int], by_dollars: bool) -> float:
        if time == len(workload.asked):
            return 0.0
        number = workload.asked[time]
        gained = (workload.questions[number].cost_usd if by_dollars else 1.0) if number in held else 0.0
        kept = [
            frozenset(some)
            for count in range(len(held) + 2)
            for some in combinations(held | {number}, count)
            if count <= bounds.max_entries
            and sum(accounted_bytes(workload.questions[one]) for one in some) <= bounds.max_bytes
        ]
        return gained + max(after(time + 1, some, by_dollars) for some in kept)

    return after(0, frozenset(), False), after(0, frozenset(), True)


@given(asked=asked, places=st.integers(1, 4))
def test_belady_has_the_most_hits_when_all_answers_are_equally_large(asked: list[int], places: int) -> None:
    workload = Workload((question(10),) * 5, tuple(asked))
    bounds = Bounds(places, ROOMY)
    hits, _dollars = best(workload, bounds)
    assert belady(workload, bounds).hits * len(asked) == pytest.approx(hits)


@given(
    asked=asked,
    sizes=st.lists(st.sampled_from([0, 700, 3000]), min_size=5, max_size=5),
    prices=st.lists(st.sampled_from([0.1, 1.0, 9.0]), min_size=5, max_size=5),
    max_bytes=st.sampled_from([ENTRY_OVERHEAD_BYTES, 2000, 5000]),
)
def test_the_bound_is_never_below_the_best_of_all_caches(
    asked: list[int], sizes: list[int], prices: list[float], max_bytes: int
) -> None:
    workload = Workload(tuple(map(question, sizes, prices)), tuple(asked))
    bounds = Bounds(5, max_bytes)
    hits, dollars = best(workload, bounds)
    bound = upper_bound(workload, bounds)
    spent = sum(workload.questions[number].cost_usd for number in asked)
    assert bound.hits * len(asked) >= hits - 1e-9
    assert bound.dollars * spent >= dollars - 1e-9


def test_the_replay_of_lru_is_that_of_a_list() -> None:
    random = Random(1)
    numbers = [random.randrange(40) for _ in range(2_000)]
    workload = Workload((question(10),) * 40, tuple(numbers))
    held: list[int] = []
    hits = 0
    for number in numbers:
        hits += number in held
        held = [*[other for other in held if other != number][-9:], number]
    assert replay(workload, Bounds(10, ROOMY), "lru").hits == hits / len(numbers)


def test_the_capacity_is_a_share_of_what_comes_again() -> None:
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == "Zipf 0.9 and one-shots, 10 %")
    questions = QUESTIONS_PER_CONCURRENCY
    workload = scenario.make(questions, seed=1)
    again = sum(accounted_bytes(question) for question in workload.questions[:questions])
    assert bounds_of(scenario, workload, questions).max_bytes == round(0.1 * again)


def test_a_finished_workload_with_a_durable_file_costs_nothing_again() -> None:
    measured = paid_again(Load(concurrency=3))
    assert (measured.value, measured.beside["first run"]) == (0, 30)
