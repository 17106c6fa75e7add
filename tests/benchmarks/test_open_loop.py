"""Does an open loop send at its times whatever was answered, and see a stall that a closed loop hides?"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.arrivals import TRACES_VARIABLE, Arrival, arrivals_in, excerpt, poisson, trace
from benchmarks.case import Load, NotMeasured
from benchmarks.closed_loop import Loop, closed_loop
from benchmarks.open_loop import open_loop
from benchmarks.suites.latency import stalled
from synth_actors import GenerationError

LINES = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:04.0319600,3180,8
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:05,110,27
"""


async def test_none_waits_for_another(autojump_clock: trio.testing.MockClock) -> None:
    began: list[float] = []
    start_s = trio.current_time()

    async def call() -> None:
        began.append(trio.current_time() - start_s)
        await trio.sleep(100.0)

    loop = await open_loop((float(at_s), call) for at_s in (0, 1, 1, 4))
    assert began == pytest.approx([0, 1, 1, 4])
    assert loop.durations_s == pytest.approx([100.0] * 4)
    assert loop.elapsed_s == pytest.approx(104.0)
    assert loop.per_s == pytest.approx(4 / 104)


async def test_who_is_sent_late_is_late_by_the_time_that_it_was_to_be_sent() -> None:
    """The sender falls behind: the clock jumps by a second with each look."""
    now = iter(range(1000))
    loop = await open_loop([(0.0, trio.lowlevel.checkpoint), (0.5, trio.lowlevel.checkpoint)], lambda: float(next(now)))
    assert sum(duration >= 1.5 for duration in loop.durations_s) == 2


async def test_a_closed_loop_has_no_more_under_way_than_callers(autojump_clock: trio.testing.MockClock) -> None:
    under_way = most = 0

    async def call() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await trio.sleep(1.0)
        under_way -= 1

    loop = await closed_loop(3, [call] * 10, trio.current_time)
    assert (most, len(loop.durations_s)) == (3, 10)
    assert loop.elapsed_s == pytest.approx(4.0)


async def test_what_fails_is_counted_by_its_kind_and_no_duration() -> None:
    async def call(number: int) -> None:
        if number % 2:
            raise GenerationError("no", attempts=1, partial="", retryable=False)

    loop = await closed_loop(2, [partial(call, number) for number in range(10)])
    assert (len(loop.durations_s), loop.failed, loop.failures) == (5, {"GenerationError": 5}, 5)
    with pytest.raises(NotMeasured, match="5 calls failed, 5 were answered"):
        loop.check()


def test_one_failure_in_a_hundred_is_still_a_figure_and_no_answer_is_none() -> None:
    Loop(durations_s=[1.0] * 99, failed={"X": 1}).check()
    with pytest.raises(NotMeasured):
        Loop(durations_s=[1.0] * 98, failed={"X": 2}).check()
    with pytest.raises(NotMeasured):
        Loop().check()


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=60), st.floats(0.001, 1.0))
def test_a_percentile_is_the_smallest_sample_that_covers_its_share(samples: list[float], share: float) -> None:
    found = Loop(durations_s=samples).percentile_s(share)
    exact = [value for value in samples if sum(each <= value for each in samples) >= share * len(samples) - 1e-9]
    assert found == min(exact)


def test_a_share_that_floats_round_up_is_covered_by_the_sample_of_its_rank() -> None:
    assert 0.14 * 50 > 7
    assert Loop(durations_s=[float(n) for n in range(1, 51)]).percentile_s(0.14) == 7.0


# the stall


def test_a_stall_of_ten_seconds_shows_in_the_open_loop_and_hides_in_the_closed_one() -> None:
    closed, opened = stalled.both()
    assert opened.percentile_s(0.99) == pytest.approx(9.0, abs=0.1)
    assert opened.percentile_s(0.5) == pytest.approx(stalled.SERVICE_S)
    assert closed.percentile_s(0.99) == pytest.approx(stalled.SERVICE_S)
    assert max(closed.durations_s) == pytest.approx(stalled.STALLS_FOR_S, abs=0.1), "its callers saw it, once each"
    assert sum(duration > 1.0 for duration in closed.durations_s) == stalled.CALLERS
    assert len(opened.durations_s) == stalled.LASTS_S * stalled.OPEN_PER_S
    assert not closed.failures
    assert not opened.failures


def test_the_row_is_the_open_loop_beside_the_closed_one() -> None:
    measured = stalled.p99(Load())
    assert measured.value > 100 * measured.beside["closed loop"]


# arrivals


@given(st.floats(0.1, 1000.0), st.integers(0, 50), st.integers(0, 2**32))
def test_poisson_arrivals_are_in_order_and_the_same_for_a_seed(per_s: float, count: int, seed: int) -> None:
    times = list(poisson(per_s, count, Random(seed)))
    assert len(times) == count
    assert all(a <= b for a, b in pairwise([0.0, *times]))
    assert times == list(poisson(per_s, count, Random(seed)))


def test_poisson_arrivals_come_at_their_rate_and_know_nothing_of_each_other() -> None:
    times = list(poisson(50.0, 20_000, Random(1)))
    gaps = [b - a for a, b in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    spread = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert mean == pytest.approx(0.02, rel=0.03)
    assert spread / mean == pytest.approx(1.0, abs=0.03)


def test_a_trace_is_read_in_order_of_time() -> None:
    found = arrivals_in(iter(LINES.splitlines()))
    assert [(round(each.at_s, 6), each.input_tokens, each.output_tokens) for each in found] == [
        (0.0, 4808, 10),
        (0.052, 3180, 8),
        (1.02004, 110, 27),
    ]


@given(
    st.lists(st.tuples(st.floats(0.0, 1e4), st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=30),
    st.integers(1, 40),
    st.integers(0, 99),
)
def test_an_excerpt_is_neighbours_with_their_gaps_in_proportion(
    rows: list[tuple[float, int, int]], count: int, seed: int
) -> None:
    arrivals = [Arrival(*row) for row in sorted(rows)]
    found = excerpt(arrivals, count=count, lasting_s=2.0, random=Random(seed))
    assert len(found) == min(count, len(arrivals))
    sizes = [(each.input_tokens, each.output_tokens) for each in arrivals]
    starts = range(len(arrivals) - len(found) + 1)
    assert any(sizes[s : s + len(found)] == [(e.input_tokens, e.output_tokens) for e in found] for s in starts)
    assert found[0].at_s == 0.0
    assert found[-1].at_s in (0.0, pytest.approx(2.0))
    assert all(a.at_s <= b.at_s for a, b in pairwise(found))


def test_a_trace_that_is_not_there_or_is_none_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACES_VARIABLE, str(tmp_path))
    with pytest.raises(NotMeasured, match=f"azure_code.csv is not there: .* or set {TRACES_VARIABLE}"):
        trace("azure_code")
    (tmp_path / "azure_code.csv").write_text(LINES)
    assert len(trace("azure_code")) == 3
    for wrong in ("", "a,b\n1,2\n", LINES.replace("3180", "many")):
        (tmp_path / "azure_code.csv").write_text(wrong)
        with pytest.raises(NotMeasured, match=r"azure_code\.csv is no trace of TIMESTAMP, ContextTokens"):
            trace("azure_code")
