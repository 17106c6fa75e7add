"""Is a change told from noise, and better from worse?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.analysis import analysis_of
from benchmarks.case import Aim, Claim, Measured
from benchmarks.comparison import comparison_of, is_more_better, slope_of
from benchmarks.result import Recorded
from benchmarks.suites import SIX, SUITES
from synth_actors import Engine, EngineConfig, open_engine
from synth_actors.telemetry.recording import Recording, recorded
from synth_actors.testing import SimulatedProvider, simulate
from tests.benchmarks.reports import MACHINE, report, row


def sections(text: str) -> dict[str, list[str]]:
    """The lines by the heading above them."""
    found: dict[str, list[str]] = {}
    heading = ""
    for line in text.splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif line.startswith("- "):
            found.setdefault(heading, []).append(line.removeprefix("- "))
    return found


def test_two_reports_say_what_became_worse_and_better_and_the_largest_change_first() -> None:
    before = report(
        row("latency: p99", 9.0, 10.0, 11.0),
        row("latency: p50", 4.0, 5.0, 6.0),
        row("throughput: uncached", 100.0, 110.0, 120.0, unit="requests/s"),
        row("memory: peak", 50.0, 51.0, 52.0, unit="MB"),
    )
    after = report(
        row("latency: p99", 12.0, 13.0, 14.0),
        row("latency: p50", 19.0, 20.0, 21.0),
        row("throughput: uncached", 200.0, 220.0, 230.0, unit="requests/s"),
        row("memory: peak", 40.0, 49.0, 50.5, unit="MB"),
    )
    assert sections(comparison_of([("a.json", before), ("b.json", after)])) == {
        "worse (2)": [
            "latency: p50: 5.00 [4.00 - 6.00] -> 20.0 [19.0 - 21.0] ms (+300.0%)",
            "latency: p99: 10.0 [9.00 - 11.0] -> 13.0 [12.0 - 14.0] ms (+30.0%)",
        ],
        "better (1)": ["throughput: uncached: 110 [100 - 120] -> 220 [200 - 230] requests/s (+100.0%)"],
        "as before (1)": ["memory: peak: 51.0 [50.0 - 52.0] -> 49.0 [40.0 - 50.5] MB (-3.9%)"],
    }


def test_more_than_two_reports_show_the_way() -> None:
    named = [(f"{n}.json", report(row("latency: p99", value, value))) for n, value in enumerate((10.0, 20.0, 40.0))]
    assert sections(comparison_of(named))["worse (1)"] == [
        "latency: p99: 10.0 [10.0 - 10.0] -> 40.0 [40.0 - 40.0] ms (+300.0%), +15.0 a report ▁▃█"
    ]


def test_a_slope_down_has_its_sign_and_three_digits() -> None:
    named = [(f"{n}.json", report(row("latency: p99", value, value))) for n, value in enumerate((4e4, 3e4, 2e4))]
    (line,) = sections(comparison_of(named))["better (1)"]
    assert line.endswith("ms (-50.0%), -10,000 a report █▅▁")


def test_a_report_from_a_busy_machine_has_little_part_in_the_slope() -> None:
    assert slope_of([(0, 10.0), (1, 10.0), (2, 900.0), (3, 10.0), (4, 10.0)]) == 0.0


@given(
    start=st.integers(-1000, 1000),
    step=st.integers(-50, 50),
    at=st.lists(st.integers(0, 30), min_size=2, max_size=9, unique=True).map(sorted),
)
def test_what_grows_evenly_has_its_step_as_slope_even_where_reports_lack_the_row(
    start: int, step: int, at: list[int]
) -> None:
    assert slope_of([(index, float(start + index * step)) for index in at]) == step


def test_what_only_one_report_has_is_listed_with_its_name() -> None:
    named = [("a.json", report(row("latency: p99", 1.0, 2.0))), ("b.json", report(row("cache: hits", 1.0, 2.0)))]
    text = comparison_of(named)
    assert "They have no row in common." in text
    assert sections(text) == {"In one of them only (2)": ["latency: p99: a.json", "cache: hits: b.json"]}


def test_another_machine_or_setting_is_warned_of() -> None:
    machine = replace(MACHINE, processor="Another CPU", packages={"trio": "0.36"})
    named = [
        ("a.json", report(row("latency: p99", 1.0))),
        ("b.json", report(row("latency: p99", 1.0), machine=machine, concurrency=10, iterations=1)),
    ]
    text = comparison_of(named)
    assert "Of one repeat, so that its noise is not known: b.json" in text
    assert sections(text)[""] == [
        "processor: Some CPU -> Another CPU",
        "concurrency: 100 -> 10",
        "trio: 0.35 -> 0.36",
    ]


def test_zero_and_nothing_divide_nothing() -> None:
    named = [("a", report(row("latency: failed", 0.0, 0.0))), ("b", report(row("latency: failed", 3.0, 4.0)))]
    assert sections(comparison_of(named)) == {
        "worse (1)": ["latency: failed: 0.000 [0.000 - 0.000] -> 3.50 [3.00 - 4.00] ms"]
    }


@pytest.mark.parametrize(
    ("unit", "name", "more"),
    [
        ("requests/s", "uncached", True),
        ("ms", "p99", False),
        ("MB", "peak", False),
        ("% of the lookups", "hits, Zipf 0.9", True),
        ("% of the dollars", "dollars saved, Zipf 0.9", True),
        ("% of the requests", "failed", False),
    ],
)
def test_the_unit_says_which_side_is_better(unit: str, name: str, more: bool) -> None:
    assert is_more_better(row(f"x: {name}", 1.0, unit=unit)) is more


def test_an_aim_or_a_claim_says_it_before_the_unit() -> None:
    assert is_more_better(row("x: a", 1.0, unit="ms", aim=Aim(limit=1, at="least")))
    claim = Claim(text="t", than="o", better="less")
    assert not is_more_better(row("x: a", Measured(value=1.0, beside={"o": 1.0}), unit="requests/s", claim=claim))


def test_in_the_six_suites_each_row_has_the_right_side() -> None:
    more = {
        f"{name}: {case.name}"
        for name in SIX
        for case in SUITES[name](100)
        if is_more_better(row(f"{name}: {case.name}", Measured(value=1.0, bare=1.0), unit=case.unit, aim=case.aim))
    }
    assert more == {
        "throughput: uncached",
        "throughput: one after another",
        "throughput: cached",
        "throughput: uncached, 2 % 5xx and 2 % 429",
        "cache: hits, Zipf 0.9",
        "cache: tokens saved, Zipf 0.9",
        "cache: dollars saved, Zipf 0.9",
        *(f"concurrency: {size} at once" for size in ("10", "50", "100", "200", "1,000", "10,000")),
    }


# --analyze


def crowded() -> Recording:
    async def crowd(engine: Engine) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(400):
                nursery.start_soon(engine.generate, f"Fact {number} about otters.")

    async def run() -> Recording:
        config = EngineConfig(max_concurrency=10)
        async with open_engine(SimulatedProvider(seed=1), config) as engine:
            async with recorded(engine, title="a crowd", about="400 at once") as recorder:
                await crowd(engine)
            return recorder.recording()

    return simulate(run)


def test_a_report_is_analysed_as_its_engine_would_have_been() -> None:
    found = report(row("throughput: uncached", 1.0), recordings=(Recorded(suite="throughput", recording=crowded()),))
    text = analysis_of(found)
    assert "throughput: a crowd (400 at once)\n[critical] p99 of responses is" in text
    assert "EngineConfig(max_concurrency=10 -> " in text


def test_a_report_without_engines_says_so() -> None:
    assert "No engine was recorded" in analysis_of(report(row("engine: p99", 1.0)))
