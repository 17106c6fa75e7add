from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.policy.endpoints import Begun, EndpointState
from synth_actors.policy.limits import Need
from synth_actors.policy.pace import TRY_AGAIN_CALLS, TRY_AGAIN_S
from synth_actors.policy.routing import (
    STRATEGIES,
    Strategy,
    cheapest,
    fastest,
    is_streamed,
    least_loaded,
    preference,
    weighted,
)
from synth_actors.providers.base import Fault
from synth_actors.types import NO_USAGE, Usage
from tests.policy.support import NEED, Told, endpoint, succeed


@dataclass(frozen=True)
class Price:
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cache_read_usd_per_mtok: float = 0.0
    cache_write_usd_per_mtok: float = 0.0

    def at(self, prompt_tokens: float) -> Price:
        return self


# What one call at an endpoint comes to: how long it takes, and whether it is answered.
Behaviour = dict[str, tuple[float, bool]]


def run(
    rows: list[EndpointState], behaviour: Behaviour, *, calls: int, at_once: int, gap_s: float = 0.0
) -> list[tuple[float, str]]:
    """When and where so many calls go by `fastest`; `gap_s` after one has ended the next one begins."""
    chosen: list[tuple[float, str]] = []
    ends: list[tuple[float, int, EndpointState, Begun]] = []
    numbers, now = count(), 0.0
    while len(chosen) < calls:
        if len(ends) < at_once:
            state = fastest(rows, NEED, now)
            chosen.append((now, state.name))
            heappush(ends, (now + behaviour[state.name][0], next(numbers), state, state.begin(NEED, now)))
            continue
        now, _number, state, call = heappop(ends)
        service_s, is_good = behaviour[state.name]
        if is_good:
            state.succeeded(call, NO_USAGE, service_s, None, now)
        else:
            state.failed(call, Fault.FAILED, Told("failed"), now)
        now += gap_s
    return chosen


def names(chosen: list[tuple[float, str]]) -> list[str]:
    return [name for _at, name in chosen]


def test_preference_is_the_order_of_the_user() -> None:
    rows = [endpoint("b", 1), endpoint("a", 0, in_flight=99), endpoint("c", 2)]
    assert preference(rows, NEED, 0.0).name == "a"
    assert preference(rows[::2], NEED, 0.0).name == "b"


@pytest.mark.parametrize(
    ("loads", "chosen"),
    [
        ([(3, 10), (7, 30)], "1"),  # 30 % against 23 %
        ([(3, 10), (9, 30)], "0"),  # equal shares: the preferred one
        ([(0, None), (0, None)], "0"),
        ([(2, None), (1, None)], "1"),
        ([(3, 1000), (2, None)], "1"),  # one has no limit: calls are compared
    ],
)
def test_the_least_loaded(loads: list[tuple[int, int | None]], chosen: str) -> None:
    rows = [endpoint(str(rank), rank, in_flight, max_concurrency=most) for rank, (in_flight, most) in enumerate(loads)]
    assert least_loaded(rows, NEED, 0.0).name == chosen
    assert least_loaded(rows[::-1], NEED, 0.0).name == chosen, "the order in which they are given decides nothing"


def test_the_strategies_that_exist() -> None:
    assert set(STRATEGIES) == {"preference", "least_loaded", "fastest", "cheapest", "weighted"}


@pytest.mark.parametrize("strategy", STRATEGIES.values())
def test_where_one_is_open_it_is_chosen(strategy: Strategy) -> None:
    only = endpoint("only", 3, in_flight=7)
    assert strategy([only], NEED, 5.0) is only


# -------------------------------------------------------------------------------------------------------------- fastest


def test_each_gets_one_call_before_anything_is_known_and_then_they_share() -> None:
    rows = [endpoint(name, rank) for rank, name in enumerate("abc")]
    assert names(run(rows, dict.fromkeys("abc", (1.0, True)), calls=9, at_once=9)) == list("abcabcabc")


def test_a_slow_endpoint_gets_the_call_that_measures_it_and_then_one_from_time_to_time() -> None:
    for slow_rank in (0, 1):
        rows = [endpoint("slow", slow_rank), endpoint("quick", 1 - slow_rank)]
        behaviour = {"slow": (0.5, True), "quick": (0.05, True)}
        chosen = Counter(names(run(rows, behaviour, calls=600, at_once=20)))
        assert chosen["slow"] < 0.05 * 600
        chosen = Counter(names(run(rows, behaviour, calls=1_000, at_once=1)))
        took_s = chosen["quick"] * 0.05 + chosen["slow"] * 0.5
        assert chosen["slow"] == pytest.approx(took_s / TRY_AGAIN_S, abs=1.5)


@given(st.integers(0, 1), st.integers(2, 40), st.floats(0.001, 0.1), st.floats(0.2, 2.0))
def test_an_endpoint_that_fails_fast_never_wins(rank: int, at_once: int, fails_s: float, answers_s: float) -> None:
    rows = [endpoint("fails", rank), endpoint("answers", 1 - rank)]
    chosen = run(rows, {"fails": (fails_s, False), "answers": (answers_s, True)}, calls=300, at_once=at_once)
    later = [at for at, name in chosen if name == "fails" and at > answers_s]
    assert len(later) <= 1 + (chosen[-1][0] - answers_s) / TRY_AGAIN_S, "it is measured from time to time, that is all"
    assert names(chosen).count("answers") > 20


def test_one_that_has_only_failed_loses_against_one_that_has_not_answered_yet() -> None:
    rows = [endpoint("fails", 0), endpoint("waits", 1)]
    chosen = names(run(rows, {"fails": (0.01, False), "waits": (5.0, True)}, calls=40, at_once=40))
    assert chosen.count("fails") == 20, "nothing is known"
    rows = [endpoint("fails", 0), endpoint("waits", 1)]
    chosen = names(run(rows, {"fails": (0.01, False), "waits": (5.0, True)}, calls=8, at_once=4))
    assert chosen.count("fails") == 2


def test_one_that_begins_to_fail_fast_loses_at_once_though_it_was_the_fastest() -> None:
    rows = [endpoint("was", 0), endpoint("is", 1)]
    behaviour = {"was": (0.005, True), "is": (0.5, True)}
    assert Counter(names(run(rows, behaviour, calls=1000, at_once=4)))["was"] > 900
    for row in rows:
        row.in_flight = 0
    now, chosen = 5.0, []
    for _ in range(50):
        state = fastest(rows, NEED, now)
        chosen.append(state.name)
        call = state.begin(NEED, now)
        if state.name == "was":
            state.failed(call, Fault.FAILED, Told("failed"), now)
        else:
            state.succeeded(call, NO_USAGE, 0.5, None, now)
        now += 0.01
    assert chosen.count("was") <= 8, "as many as it takes to see that a third fails"
    assert set(chosen[8:]) == {"is"}


def test_one_that_was_idle_for_long_gets_exactly_one_call() -> None:
    rows = [endpoint("slow", 0), endpoint("quick", 1)]
    succeed(rows[0], 1.0, service_s=1.0)
    succeed(rows[1], 1.0, service_s=0.1)
    assert fastest(rows, NEED, TRY_AGAIN_S - 0.001).name == "quick"
    rows[1].begin(NEED, TRY_AGAIN_S)
    assert fastest(rows, NEED, TRY_AGAIN_S).name == "quick", "others had too few calls meanwhile"
    rows[0].pace.passed_over = TRY_AGAIN_CALLS
    chosen = []
    for number in range(20):
        state = fastest(rows, NEED, TRY_AGAIN_S + 0.1 * number)
        state.begin(NEED, TRY_AGAIN_S + 0.1 * number)
        chosen.append(state.name)
    assert chosen == ["slow"] + ["quick"] * 19


@pytest.mark.parametrize("others", [1, 4])
def test_where_calls_are_rare_a_slow_one_gets_a_fiftieth_of_them_at_most(others: int) -> None:
    rows = [endpoint(str(rank), rank) for rank in range(others + 1)]
    behaviour = {str(rank): (0.5 if rank else 0.05, True) for rank in range(others + 1)}
    calls = 4 * TRY_AGAIN_CALLS * (others + 1)
    counts = Counter(names(run(rows, behaviour, calls=calls, at_once=1, gap_s=TRY_AGAIN_S + 1.0)))
    assert sum(counts[str(rank)] for rank in range(1, others + 1)) <= calls / TRY_AGAIN_CALLS + others
    assert all(counts[row.name] >= 2 for row in rows), "none is forgotten"


def test_equally_fast_ones_share_by_calls_in_flight_then_by_preference() -> None:
    rows = [endpoint("a", 1), endpoint("b", 0), endpoint("c", 2)]
    for row in rows:
        succeed(row, 1.0, service_s=0.2)
    rows[1].in_flight = 1
    assert fastest(rows, NEED, 2.0).name == "a"
    rows[0].in_flight = 1
    assert fastest(rows[:2], NEED, 2.0).name == "b"


# ------------------------------------------------------------------------------------------------------------- cheapest


def priced(name: str, rank: int, per_input: float, per_output: float) -> EndpointState:
    return endpoint(name, rank, price=Price(per_input, per_output), metering="meter")


def test_the_cheapest_depends_on_what_the_call_needs() -> None:
    rows = [priced("reads", 0, 0.1, 20.0), priced("writes", 1, 5.0, 1.0), endpoint("unpriced", 2)]
    assert cheapest(rows, Need(10_000.0, 100), 0.0).name == "reads"
    assert cheapest(rows, Need(100.0, 10_000), 0.0).name == "writes"
    assert cheapest(rows[2:], NEED, 0.0).name == "unpriced", "only where there is no other"


def test_a_price_of_nothing_wins_over_all_and_no_price_over_none() -> None:
    rows = [endpoint("unpriced", 0), priced("dear", 1, 100.0, 100.0), priced("free", 2, 0.0, 0.0)]
    assert cheapest(rows, NEED, 0.0).name == "free"
    assert cheapest(rows[:2], NEED, 0.0).name == "dear"


def test_what_answers_usually_need_counts_where_it_is_known() -> None:
    rows = [priced("reads", 0, 1.0, 20.0), priced("writes", 1, 5.0, 1.0)]
    need = Need(1000.0, 1000)
    assert cheapest(rows, need, 0.0).name == "writes"
    for row, output in zip(rows, (100, 200), strict=True):
        row.succeeded(row.begin(need, 0.0), Usage(input_tokens=1000, output_tokens=output), 1.0, None, 0.0)
    assert cheapest(rows, need, 0.0).name == "reads", "150 tokens, as they have made on average"
    assert cheapest(rows, replace(need, max_tokens=5), 0.0).name == "reads"
    assert cheapest(rows[::-1], Need(10.0, 5), 0.0).name == "writes"


def test_equally_cheap_ones_share_by_calls_in_flight_then_by_preference() -> None:
    rows = [priced("a", 1, 1.0, 1.0), priced("b", 0, 1.0, 1.0)]
    assert cheapest(rows, NEED, 0.0).name == "b"
    rows[1].in_flight = 1
    assert cheapest(rows, NEED, 0.0).name == "a"


# ------------------------------------------------------------------------------------------------------------- weighted

weights = st.floats(0.01, 100.0) | st.integers(1, 9)


@given(st.lists(weights, min_size=1, max_size=4))
def test_up_to_four_get_their_share_of_any_prefix_within_one_call(shares: list[float]) -> None:
    rows = [endpoint(str(rank), rank, weight=share) for rank, share in enumerate(shares)]
    counts: Counter[str] = Counter()
    for number in range(1, 80):
        counts[weighted(rows, NEED, 0.0).name] += 1
        for row in rows:
            assert abs(counts[row.name] - number * row.weight / sum(shares)) <= 1.0 + 1e-9


@given(st.lists(weights, min_size=5, max_size=9))
def test_many_get_their_share_of_any_prefix_within_two_calls(shares: list[float]) -> None:
    rows = [endpoint(str(rank), rank, weight=share) for rank, share in enumerate(shares)]
    counts: Counter[str] = Counter()
    for number in range(1, 80):
        counts[weighted(rows, NEED, 0.0).name] += 1
        assert all(abs(counts[row.name] - number * row.weight / sum(shares)) <= 2.0 for row in rows)


def test_the_weights_are_mixed_evenly_and_ties_go_to_the_preferred_one() -> None:
    rows = [endpoint("a", 0, weight=5.0), endpoint("b", 1), endpoint("c", 2)]
    assert "".join(weighted(rows, NEED, 0.0).name for _ in range(14)) == "aabacaa" * 2
    assert weighted([endpoint("late", 1), endpoint("early", 0)], NEED, 0.0).name == "early"


def test_who_could_take_no_call_is_owed_nothing_afterwards() -> None:
    rows = [endpoint("a", 0), endpoint("b", 1)]
    for _ in range(100):
        weighted(rows[:1], NEED, 0.0)
    assert "".join(weighted(rows, NEED, 0.0).name for _ in range(6)) == "ababab"


@pytest.mark.parametrize(
    ("mode", "wanted", "max_tokens", "streamed"),
    [
        ("auto", False, 1000, False),
        ("auto", False, 1001, True),
        ("auto", True, 1, True),
        ("always", False, 1, True),
        ("never", True, 9999, False),
    ],
)
def test_which_calls_are_streamed(mode: str, wanted: bool, max_tokens: int, streamed: bool) -> None:
    assert is_streamed(mode, wanted=wanted, max_tokens=max_tokens) is streamed  # type: ignore[arg-type]
