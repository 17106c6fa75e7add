"""Are the cases run in the order that keeps noise apart, and does every case of every suite really run?"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

import pytest

from benchmarks.__main__ import main, make_report
from benchmarks.arguments import parse
from benchmarks.case import Case, Claim, Load, Measured, NotMeasured
from benchmarks.result import Spread
from benchmarks.runner import run
from benchmarks.suites import SUITES
from benchmarks.timing import Spent, side_by_side, timed_callers

TINY = Load(concurrency=2, operations=60)


def test_all_cases_of_a_repeat_come_before_the_next_repeat_and_warm_ups_do_not_count() -> None:
    done: list[tuple[str, int]] = []

    def case(name: str) -> Case:
        def measure(load: Load) -> Measured:
            done.append((name, load.repeat))
            return Measured(value=float(load.repeat))

        return Case(name=name, unit="s", measure=measure)

    shown: list[tuple[int, str]] = []
    suites = {"one": (case("a"),), "two": (case("b"),)}
    found = run(suites, TINY, iterations=3, warmup=2, progress=lambda repeat, name: shown.append((repeat, name)))
    assert done == [(name, repeat) for repeat in (-2, -1, 0, 1, 2) for name in ("a", "b")]
    assert shown == [(repeat, name) for name, repeat in done]
    assert [(row.suite, row.name, row.value.min, row.value.median, row.value.max) for row in found.rows] == [
        ("one", "a", 0.0, 1.0, 2.0),
        ("two", "b", 0.0, 1.0, 2.0),
    ]


def test_what_was_measured_before_ctrl_c_is_kept() -> None:
    def case(name: str, interrupts: bool) -> Case:
        def measure(load: Load) -> Measured:
            if interrupts and load.repeat == 1:
                raise KeyboardInterrupt
            return Measured(value=float(load.repeat))

        return Case(name=name, unit="s", measure=measure, is_warmed_up=name != "never")

    suites = {"one": (case("a", False), case("b", True)), "two": (case("c", False),)}
    found = run(suites, TINY, iterations=3, warmup=0, progress=lambda _repeat, _name: None)
    assert found.is_interrupted
    assert [(row.name, row.value.max) for row in found.rows] == [("a", 1.0), ("b", 0.0), ("c", 0.0)]

    suites = {"one": (case("a", False), case("b", True)), "two": (case("never", False),)}
    found = run(suites, TINY, iterations=3, warmup=1, progress=_interrupt_at("never"))
    assert [(row.name, row.value.max) for row in found.rows] == [("a", 0.0), ("b", 0.0)]
    assert [(case.name, case.reason) for case in found.missing] == [("never", "interrupted before it was measured")]


def _interrupt_at(name: str) -> Callable[[int, str], None]:
    def progress(_repeat: int, case: str) -> None:
        if case == name:
            raise KeyboardInterrupt

    return progress


def test_a_case_that_cannot_be_measured_here_says_why_once_and_is_not_tried_again() -> None:
    tried: list[int] = []

    def measure(load: Load) -> Measured:
        tried.append(load.repeat)
        raise NotMeasured("no such thing here")

    suites = {"one": (Case(name="a", unit="s", measure=measure),)}
    found = run(suites, TINY, iterations=3, warmup=1, progress=lambda _repeat, _name: None)
    assert (found.rows, tried) == ((), [-1])
    assert [(case.suite, case.name, case.reason) for case in found.missing] == [("one", "a", "no such thing here")]


def test_a_claim_is_a_multiple_of_the_same_repeat_and_above_one_is_better() -> None:
    def case(better: Literal["more", "less"], beside: float) -> Case:
        def measure(load: Load) -> Measured:
            return Measured(value=1.0 + load.repeat, beside={"other": beside})

        return Case(name=better, unit="s", measure=measure, claim=Claim(text="t", than="other", better=better))

    suites = {"one": (case("more", 0.5), case("less", 6.0)), "two": (case("less", 0.0),)}
    rows = run(suites, TINY, iterations=3, warmup=0, progress=lambda _repeat, _name: None).rows
    multiples = [None if row.claim is None else row.claim.multiple for row in rows]
    assert multiples == [Spread(min=2.0, median=4.0, max=6.0), Spread(min=2.0, median=3.0, max=6.0), None]


@pytest.mark.parametrize(
    ("repeat", "order"), [(0, ["bare", "engine"]), (1, ["engine", "bare"]), (-1, ["engine", "bare"])]
)
def test_engine_and_bare_loop_take_turns_at_being_first(repeat: int, order: list[str]) -> None:
    done: list[str] = []

    async def engine() -> Spent:
        done.append("engine")
        return Spent(1.0, 2.0)

    async def bare() -> Spent:
        done.append("bare")
        return Spent(3.0, 4.0)

    pair = side_by_side(repeat, engine, bare)
    assert done == order
    assert (pair.engine.cpu_s, pair.bare.cpu_s) == (1.0, 3.0)


@pytest.mark.parametrize(("callers", "operations", "each"), [(1, 10, 10), (4, 10, 2), (5, 3, 1)])
async def test_callers_share_the_operations(callers: int, operations: int, each: int) -> None:
    counts: list[int] = []

    async def loop(count: int) -> None:
        counts.append(count)

    await timed_callers(callers, operations, loop)
    assert counts == [each] * callers


@pytest.mark.usefixtures("frozen_heap")
def test_every_case_of_the_engine_suite_runs_at_a_tiny_size() -> None:
    arguments = parse(
        ["--suite", "engine", "--iterations", "1", "--warmup", "0", "--concurrency", str(TINY.concurrency)]
    )
    report = make_report(arguments, TINY, "--iterations 1")
    assert [row.name for row in report.rows] == [case.name for case in SUITES["engine"](TINY.concurrency)]
    assert all(row.value.min > 0 for row in report.rows)
    assert report.command == "python -m benchmarks --iterations 1"
    assert report.machine.packages["trio"]


def test_names_are_different_at_every_concurrency() -> None:
    for concurrency in (1, 2, 100):
        for suite in SUITES.values():
            names = [case.name for case in suite(concurrency)]
            assert len(set(names)) == len(names)


def test_aims_that_depend_on_the_concurrency_are_stated_only_where_they_were_set() -> None:
    with_aim = {case.name for case in SUITES["engine"](100) if case.aim}
    assert len(with_aim) == 13
    assert {case.name for case in SUITES["engine"](7) if case.aim} == {
        "ask by mailbox, 1 caller",
        "cached generate, same request",
        "cached generate, new request of 1 KB",
        "uncached generate, 1 caller",
        "key of the same request of 4 KB",
        "key of a new request of 4 KB",
    }


def test_help_names_the_suites(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    assert set(SUITES) <= set(re.findall(r"\w+", capsys.readouterr().out))
