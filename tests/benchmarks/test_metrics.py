"""Does every case of the metrics suite measure what it says, and does it state the aims of the issue?"""

from __future__ import annotations

from statistics import median
from time import thread_time

import pytest
import trio

from benchmarks.__main__ import make_report
from benchmarks.arguments import parse
from benchmarks.case import Load
from benchmarks.suites import SUITES
from benchmarks.suites.metrics import accuracy, overhead, stall
from benchmarks.suites.metrics.scrape import Scraper
from synth_actors import Endpoint, open_engine
from synth_actors.policy.latency import LatencySeries

TINY = Load(concurrency=2, operations=100)


@pytest.mark.usefixtures("frozen_heap")
def test_every_case_of_the_metrics_suite_runs_at_a_tiny_size() -> None:
    given = ["--suite", "metrics", "--iterations", "1", "--warmup", "0", "--concurrency", str(TINY.concurrency)]
    rows = {row.name: row for row in make_report(parse(given), TINY, "").rows}
    assert list(rows) == [case.name for case in SUITES["metrics"](2)]
    assert all(row.value.min > 0 for row in rows.values())
    assert all(row.bare is not None for name, row in rows.items() if "cached" in name or "gap" in name)


def test_the_aims_are_stated_for_the_sizes_they_were_set_for() -> None:
    cases = SUITES["metrics"](100)
    aims = [(case.unit, case.aim.of, case.aim.limit) for case in cases if case.aim is not None]
    assert len(aims) == len(cases)
    assert aims[:6] == [("us CPU", "share", limit) for limit in (10, 10, 2, 2, 10, 2)]
    assert aims[6:8] == [("ms CPU", "value", 5)] * 2
    assert {(of, limit) for _, of, limit in aims[8:16]} == {("share", 5)}
    assert aims[16:] == [("%", "value", 0.1), ("us", "value", 0.501)]
    small = SUITES["metrics"](10)
    assert [case.name for case in small if case.aim is None] == [
        case.name for case in small if "takes" in case.name or "gap" in case.name
    ]


def test_of_two_engines_only_one_records_and_only_that_one_is_watched() -> None:
    async def both() -> list[int]:
        counts = []
        for metrics in (True, False):
            work = overhead.Work(callers=2, watched=True)
            async with overhead._engine(work, metrics=metrics) as engine:
                side = overhead._Side(engine, work)
                assert side._is_watched is metrics
                await side.turn(0.02)
                counts.append((await engine.metrics()).latency["service"].count)
        return counts

    recorded, not_recorded = trio.run(both)
    assert recorded > 0
    assert not_recorded == 0


def test_the_errors_are_those_of_the_histogram(monkeypatch: pytest.MonkeyPatch) -> None:
    assert accuracy.mixed(TINY).value < 0.1
    record = LatencySeries.record_many
    monkeypatch.setattr(LatencySeries, "record_many", lambda self, s: record(self, [1.01 * sample for sample in s]))
    assert accuracy.mixed(TINY).value == pytest.approx(1.0, abs=0.15)
    assert accuracy.hits(TINY).value > 0.5


def test_the_engine_that_is_looked_at_has_150_series_and_something_falls_into_each_between_two_looks() -> None:
    async def look() -> tuple[list[int], list[int]]:
        endpoints = [Endpoint(provider=stall._Named(name), name=name) for name in stall.ENDPOINTS]
        async with open_engine(endpoints) as engine:
            filled = stall._Filled(engine, 30)
            before = await engine.metrics()
            filled.add()
            after = await engine.metrics()
            assert await Scraper(engine).scrape() > 10_000
            durations = [[s.summary.count for s in x.series if s.name != "mailbox_wait"] for x in (before, after)]
            return durations[0], durations[1]

    before, after = trio.run(look)
    assert before == [30] * 150
    assert after == [30 + stall.NEW_SAMPLES] * 150


def test_a_task_that_waits_for_others_shows_in_the_longest_gap() -> None:
    async def spin(_engine: object) -> None:
        before = thread_time()
        while thread_time() - before < 0.02:
            pass
        await trio.lowlevel.checkpoint()

    async def windows() -> tuple[list[float], list[float]]:
        async with open_engine("local") as engine:
            busy = [(await stall._window(engine, spin))[1] for _ in range(3)]
            idle = [(await stall._window(engine, stall._nothing))[1] for _ in range(3)]
        return busy, idle

    busy, idle = trio.run(windows)
    assert min(busy) >= 0.02
    assert median(idle) < median(busy)
