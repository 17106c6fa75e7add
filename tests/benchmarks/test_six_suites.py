"""Does every case of throughput and latency run, at a tiny size, on the local server and on another endpoint?"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import asking
from benchmarks.arrivals import TRACES_VARIABLE
from benchmarks.case import Budget, Load, NotMeasured
from benchmarks.closed_loop import closed_loop
from benchmarks.endpoint import check_endpoint
from benchmarks.result import Row
from benchmarks.runner import Found, run
from benchmarks.suites import INNER, SIX, SUITES
from benchmarks.suites.throughput import http
from synth_actors import CacheConfig, EngineConfig, open_engine
from synth_actors.errors import ConfigError

LINES = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:17:0{second}.5,{100 * second + 1},{second + 1}\n" for second in range(9)
)


def measured(name: str, load: Load) -> tuple[dict[str, Row], Found]:
    found = run({name: SUITES[name](load.concurrency)}, load, iterations=1, warmup=0, progress=lambda _r, _n: None)
    return {row.name: row for row in found.rows}, found


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("azure_code", "azure_conv"):
        (tmp_path / f"{name}.csv").write_text(LINES)
    monkeypatch.setenv(TRACES_VARIABLE, str(tmp_path))


def test_throughput_counts_what_it_says() -> None:
    rows, found = measured("throughput", Load(concurrency=4, operations=60))
    assert not found.missing
    assert list(rows) == [case.name for case in SUITES["throughput"](4)]
    uncached = rows["uncached"]
    assert uncached.ideal == 80.0
    assert 0 < uncached.value.median < 80.0
    assert uncached.bare is not None
    assert 0 < uncached.bare.median < 80.0
    assert uncached.claim is not None
    assert uncached.claim.multiple is not None
    assert uncached.claim.multiple.median > 1.0
    assert rows["one after another"].value.median < 20.0
    assert rows["cached"].value.median > uncached.value.median
    assert rows["failed, 2 % 5xx and 2 % 429"].value.median == 0.0
    assert rows["engine alone"].ratio is not None
    assert [each.recording.title for each in found.recordings] == ["uncached, then cached", "2 % 5xx and 2 % 429"]
    assert found.recordings[0].recording.last.counters.succeeded > 12


def test_while_the_server_fails_no_call_is_begun_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a suite would last as long as an engine takes that faults slow down."""
    monkeypatch.setattr(http, "MOST_S", 0.8 * http.LATENCY_S)
    load = Load(concurrency=4, operations=62)
    measured = http.with_faults(load)
    assert measured.recording is not None
    assert 0 < measured.recording.last.counters.succeeded <= load.concurrency < http.calls_of(load)
    assert measured.value > 0


@pytest.mark.usefixtures("traces")
def test_latency_measures_both_loops_and_the_traces() -> None:
    rows, found = measured("latency", Load(concurrency=10, operations=60))
    assert not found.missing
    assert list(rows) == [case.name for case in SUITES["latency"](10)]
    for loop in ("uncached", "open loop"):
        p50, p95, p99 = (rows[f"{loop} {mark}"].value.median for mark in ("p50", "p95", "p99"))
        assert 5.0 < p50 <= p95 <= p99 < 2000.0
    assert rows["open loop p99"].beside["closed loop"].median == rows["uncached p99"].value.median
    assert rows["cached p50"].value.median < rows["uncached p50"].value.median
    assert rows["replay of azure_code p50"].value.median >= 20.0


def test_without_traces_their_rows_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACES_VARIABLE, str(tmp_path))
    (case, *_rest) = [case for case in SUITES["latency"](4) if case.name.startswith("replay")]
    with pytest.raises(NotMeasured, match="is not there"):
        case.measure(Load(concurrency=4, operations=60))


@pytest.mark.parametrize("name", ["throughput", "latency"])
def test_another_endpoint_is_measured_without_what_it_cannot_be_told(name: str) -> None:
    rows, found = measured(name, Load(concurrency=4, operations=60, endpoint="local"))
    assert all("not local" in each.reason for each in found.missing)
    assert all("replay" in each.name or "2 %" in each.name for each in found.missing)
    assert all(row.ideal is None for row in rows.values())


@pytest.mark.parametrize(("name", "kept"), [("throughput", "uncached"), ("latency", "uncached p50")])
def test_answers_that_are_cut_are_never_taken_for_hits(name: str, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in no cache: each request for one would be a call, and a paid one where calls are."""
    monkeypatch.setattr(asking, "MAX_TOKENS", 1)
    rows, found = measured(name, Load(concurrency=4, operations=61, endpoint="local"))
    reasons = {each.name: each.reason for each in found.missing if each.name.startswith("cached")}
    assert set(reasons) == {case.name for case in SUITES[name](4) if case.name.startswith("cached")}
    assert set(reasons.values()) == {
        "no answer was whole within 1 tokens, and what is cut or refused is not cached",
    }
    assert kept in rows


async def test_calls_for_answers_that_the_cache_has_lost_are_found() -> None:
    async with open_engine("local", EngineConfig(cache=CacheConfig(max_entries=2))) as engine:
        lost, kept = asking.Hits(engine), asking.Hits(engine)
        await closed_loop(1, lost.remembering(asking.prompts(20, "lost")))
        problem = lost.problem(await closed_loop(1, lost.again(40)))
        assert problem == "of 40 requests for cached answers 40 were no hits"
        await closed_loop(1, kept.remembering(["Otters?", "Otters!"]))
        assert kept.problem(await closed_loop(1, kept.again(8))) is None


def test_a_spent_budget_is_a_line_of_the_report() -> None:
    budget = Budget(0.5)
    budget.spent_usd = 0.5
    _, found = measured("cache", Load(concurrency=4, operations=60, endpoint="local", budget=budget))
    assert not found.rows
    assert {each.reason for each in found.missing} == {"the budget of $0.5 is spent; --budget-usd allows more"}


def test_the_six_are_what_is_run_and_the_inner_ones_stay() -> None:
    assert set(SUITES) == {*SIX, *INNER}
    with pytest.raises(KeyError):
        SUITES["nonsense"]


# --endpoint

WRONG = {
    "nonsense": "--endpoint endpoint 'nonsense': unknown provider",
    "anthropic:claude-haiku-5-5": "--endpoint anthropic:claude-haiku-5-5: its calls cost money; say how much it may be",
    "openai:m": "--endpoint endpoint 'openai:m': no API key",
}


@pytest.mark.parametrize("text", WRONG)
def test_an_endpoint_that_cannot_be_measured_is_refused_before_anything_is(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_endpoint(text, None)
    assert str(refused.value).startswith(WRONG[text])


def test_a_budget_for_what_costs_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"nobody knows what its calls cost; leave out --budget-usd 1"):
        check_endpoint("local", 1.0)
    assert check_endpoint("local", None) is None
