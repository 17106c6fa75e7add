"""Does the gate say what is not good enough, never for a busy moment, and what is wrong with its file?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.case import Claim, Measured
from benchmarks.gate import TRIES, judge
from benchmarks.prove_gate import ROUTER, SLEEP, make_slow
from benchmarks.result import Missing, Report
from benchmarks.suites import SIX, SUITES
from benchmarks.thresholds import Limit, Thresholds, read_thresholds
from synth_actors.errors import ConfigError
from tests.benchmarks.reports import report, row

ROOT = Path(__file__).resolve().parents[2]
OURS = ROOT / "benchmarks" / "thresholds.toml"


def limit(case: str = "latency: p99", *, of: str = "value", at: str = "most", bound: float = 10.0) -> Limit:
    return Limit(profile="own", case=case, of=of, at=at, limit=bound, why="it was promised")


def line(found: Report, one: Limit) -> str:
    (only,) = Thresholds(limits=(one,)).judge(found).lines
    return str(only)


def test_the_median_is_judged_and_not_the_worst_repeat() -> None:
    found = report(row("latency: p99", 9.0, 9.5, 900.0))
    verdict = Thresholds(limits=(limit(),)).judge(found)
    assert verdict.passed
    assert verdict.text() == (
        "thresholds own:\n  ok   latency: p99 <= 10: 9.50 [9.00 - 900] ms, 1.1 x better\nall 1 kept\n"
    )


def test_a_line_that_fails_says_by_how_much_and_why_it_matters() -> None:
    found = report(row("latency: p99", 40.0))
    assert line(found, limit()) == "FAIL latency: p99 <= 10: 40.0 [40.0 - 40.0] ms, 4.0 x worse; it was promised"
    verdict = Thresholds(limits=(limit(), limit(bound=100.0))).judge(found)
    assert not verdict.passed
    assert verdict.text().endswith("1 of 2 not kept\n")


@pytest.mark.parametrize(("value", "passed"), [(10.0, True), (10.001, False), (0.0, True)])
def test_at_most_is_at_most(value: float, passed: bool) -> None:
    assert Thresholds(limits=(limit(),)).judge(report(row("latency: p99", value))).passed is passed


@pytest.mark.parametrize(("value", "passed"), [(10.0, True), (9.999, False), (0.0, False)])
def test_at_least_is_at_least(value: float, passed: bool) -> None:
    assert Thresholds(limits=(limit(at="least"),)).judge(report(row("latency: p99", value))).passed is passed


def test_a_ratio_is_that_of_the_same_repeat() -> None:
    """On a machine that was busy in one repeat and in the bare loop of another."""
    found = report(
        row("throughput: alone", *(Measured(value=v, bare=b) for v, b in ((10, 1), (100, 10), (10, 1)))),
    )
    assert line(found, limit("throughput: alone", of="ratio", bound=10.0)).startswith("ok  ")
    assert line(found, limit("throughput: alone", of="ratio", bound=9.9)).startswith("FAIL")


def test_a_multiple_is_that_of_the_claim() -> None:
    claim = Claim(text="sooner", than="other", better="less")
    found = report(row("cache: p50", Measured(value=2.0, beside={"other": 10.0}), claim=claim))
    kept = limit("cache: p50", of="multiple", at="least", bound=5.0)
    assert line(found, kept) == "ok   cache: p50 (times) >= 5: 5.00 [5.00 - 5.00] times, 1.0 x better"


@pytest.mark.parametrize("of", ["ratio", "multiple"])
def test_a_figure_that_the_row_has_not_is_not_kept(of: str) -> None:
    assert line(report(row("latency: p99", 1.0)), limit(of=of)).endswith(f"the row has no {of}")
    assert not Thresholds(limits=(limit(of=of),)).judge(report(row("latency: p99", 1.0))).passed


def test_what_was_not_measured_though_it_was_asked_for_is_not_kept_and_says_why() -> None:
    missing = Missing(suite="latency", name="p99", reason="no such thing here")
    found = report(row("latency: p50", 1.0), missing=(missing,))
    assert line(found, limit()) == "FAIL latency: p99 <= 10: not measured: no such thing here"
    assert line(found, limit("latency: p9")).endswith("not measured: the suite has no such row")


def test_a_suite_that_was_left_out_is_said_and_fails_nothing() -> None:
    verdict = Thresholds(limits=(limit("cache: hits"),)).judge(report(row("latency: p50", 1.0)))
    assert verdict.passed
    assert str(verdict.lines[0]) == "-    cache: hits <= 10: not measured: --suite leaves out cache"


class Machine:
    """Measures again; `values` are what it finds, one after another."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)
        self.asked: list[tuple[str, ...]] = []
        self.said: list[str] = []

    def measure(self, suites: Sequence[str]) -> Report:
        self.asked.append(tuple(suites))
        return report(row("latency: p99", self.values.pop(0)))


def test_a_busy_moment_is_no_failure() -> None:
    machine = Machine(50.0, 9.0)
    found = report(row("latency: p99", 50.0), row("cache: hits", 1.0))
    thresholds = Thresholds(limits=(limit(), limit("cache: hits")))
    verdict = judge(thresholds, found, machine.measure, machine.said.append)
    assert verdict.passed
    assert machine.asked == [("latency",)] * 2
    assert machine.said[:2] == ["not kept so far: latency: p99 <= 10", "measuring latency again, 2 of 3"]


def test_what_is_slow_every_time_fails_after_so_many_tries() -> None:
    machine = Machine(*[50.0] * 9)
    verdict = judge(
        Thresholds(limits=(limit(),)), report(row("latency: p99", 50.0)), machine.measure, machine.said.append
    )
    assert not verdict.passed
    assert len(machine.asked) == TRIES - 1


def test_a_ratio_that_is_far_off_in_every_repeat_is_believed_at_once() -> None:
    machine = Machine()
    alone = limit("throughput: alone", of="ratio", bound=10.0)
    found = report(
        row("throughput: alone", Measured(value=21.0, bare=1.0), Measured(value=40.0, bare=1.0)),
        row("latency: p99", 50.0),
    )
    verdict = judge(Thresholds(limits=(alone, limit())), found, machine.measure, machine.said.append)
    assert not verdict.passed
    assert len(verdict.failing) == 2
    assert machine.asked == []
    assert machine.said == ["nothing is measured again, beyond doubt: throughput: alone (over the bare loop) <= 10"]


@pytest.mark.parametrize(
    ("of", "at", "bound", "values", "sure"),
    [
        ("ratio", "most", 10.0, (20.1, 40.0), True),
        ("ratio", "most", 10.0, (20.0, 40.0, 50.0), False),
        ("ratio", "least", 10.0, (1.0, 4.9), True),
        ("ratio", "least", 10.0, (1.0, 5.0), False),
        ("ratio", "most", 0.0, (20.0, 40.0), False),
        ("value", "most", 10.0, (1e6, 1e6), False),
    ],
)
def test_only_a_ratio_is_beyond_doubt_and_only_in_its_best_repeat(
    of: str, at: str, bound: float, values: tuple[float, ...], sure: bool
) -> None:
    one = limit("throughput: alone", of=of, at=at, bound=bound)
    found = report(row("throughput: alone", *(Measured(value=value, bare=1.0) for value in values)))
    (only,) = Thresholds(limits=(one,)).judge(found).lines
    assert only.is_beyond_doubt is sure
    assert not (sure and only.passed)


def test_what_is_kept_or_cannot_be_measured_is_not_measured_again() -> None:
    machine = Machine()
    found = report(row("latency: p99", 1.0), missing=(Missing(suite="latency", name="p50", reason="no"),))
    verdict = judge(Thresholds(limits=(limit(), limit("latency: p50"))), found, machine.measure, machine.said.append)
    assert (verdict.passed, machine.asked) == (False, [])


# the file


def test_every_limit_of_our_file_is_for_a_row_that_a_suite_has() -> None:
    thresholds = read_thresholds(OURS)
    rows = {f"{name}: {case.name}": case for name in SIX for case in SUITES[name](100)}
    for one in thresholds.limits:
        case = rows[one.case]
        assert (case.claim is not None) or one.of != "multiple", one
    assert {one.profile for one in thresholds.limits} == {"guide", "own"}
    assert set(thresholds.suites) <= set(SIX)


def test_the_guide_s_six_targets_are_a_profile() -> None:
    targets = {(one.case, one.at, one.limit) for one in read_thresholds(OURS, "guide").limits}
    assert targets == {
        ("latency: uncached p99", "most", 1000),
        ("latency: cached p99", "most", 100),
        ("throughput: uncached", "least", 10),
        ("memory: peak resident", "most", 400),
        ("cache: hits, Zipf 0.9", "least", 50),
        ("throughput: failed, 2 % 5xx and 2 % 429", "most", 1),
    }


LIMIT = '[[own.limit]]\ncase = "cache: hits"\n'
WRONG = {
    "not = toml =": "is no TOML",
    "": "has no limit",
    "own = 1": r"\[own\]: give its limits as \[\[own.limit\]\]",
    "[own]\nlimit = [1]": r"\[\[own.limit\]\] number 1: 1 is no table",
    f'{LIMIT}most = 1\nwhy = "x"\nwhen = 1': "when: unknown; known are case, of, most, least, why",
    '[[own.limit]]\ncase = "hits"\nmost = 1\nwhy = "x"': "case = 'hits': give \"SUITE: NAME\"",
    f'{LIMIT}of = "max"\nmost = 1\nwhy = "x"': "of = 'max': use value, ratio, multiple",
    f'{LIMIT}why = "x"': "give one of most and least",
    f'{LIMIT}most = 1\nleast = 2\nwhy = "x"': "give one of most and least",
    f'{LIMIT}most = "1"\nwhy = "x"': "most = '1': give a number",
    f'{LIMIT}most = nan\nwhy = "x"': "most = nan: give a number",
    f"{LIMIT}most = true\nwhy = 'x'": "most = True: give a number",
    f"{LIMIT}most = 1": "why = '': say in a line why it matters",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_in_the_file_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=WRONG[text]) as refused:
        read_thresholds(path)
    assert str(refused.value).startswith(f"--check {path}: ")


def test_an_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"--check-profile gide: .* it has guide, own"):
        read_thresholds(OURS, "gide")


# the proof


def test_the_slow_tree_sleeps_in_dispatch_and_nowhere_else(tmp_path: Path) -> None:
    copy = tmp_path / "router.py"
    before = (ROOT / ROUTER).read_text(encoding="utf-8")
    copy.write_text(before, encoding="utf-8")
    make_slow(copy)
    after = copy.read_text(encoding="utf-8")
    assert after.count(SLEEP) == 1
    assert after.replace(f"        {SLEEP}\n", "") == before
    assert "def _dispatch(" in after[: after.index(SLEEP)].splitlines()[-2]
    compile(after, "router.py", "exec")
