"""Is a recording the truth of a run, however long, and does it come back from JSON?"""

from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise

import pytest
import trio
import trio.testing

from synth_actors import ConfigError, EngineConfig, open_engine
from synth_actors.config import Endpoint, Price
from synth_actors.providers.base import Call, Fault
from synth_actors.telemetry import recording as module
from synth_actors.telemetry.recording import Recorder, Recording, from_json, recorded, to_json
from synth_actors.testing import ScriptedProvider, Step
from synth_actors.types import Usage

PRICE = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=10.0)


def script(call: Call) -> Step:
    """A prompt is how many seconds its answer takes; "bad" is refused."""
    if call.request.prompt == "bad":
        return Step(delay_s=1.0, fault=Fault.REJECTED)
    return Step(delay_s=float(call.request.prompt or 0), usage=Usage(input_tokens=10, output_tokens=100))


def priced() -> Endpoint:
    provider = ScriptedProvider(script)
    return Endpoint(provider=provider, model=provider.model, name=provider.name, price=PRICE)


async def test_each_point_is_what_was_done_since_the_one_before(autojump_clock: trio.testing.MockClock) -> None:
    async with open_engine(priced(), EngineConfig(max_concurrency=2)) as engine:
        async with recorded(engine, title="three", about="in a row", interval_s=10.0) as recorder:
            await trio.sleep(0.5)
            await engine.generate_batch(["2", "4", "6", "bad"])
            await engine.generate("6")
            await trio.sleep_until(trio.current_time() + 13.5)
        found = recorder.recording()
    assert (found.title, found.about) == ("three", "in a row")
    assert [point.at_s for point in found.points] == pytest.approx([10.0, 20.0, 22.0], abs=0.6)
    first, second, third = found.points
    assert (first.succeeded, first.failed, first.paid_calls, first.hits, first.lookups) == (4, 1, 4, 1, 5)
    assert first.output_tokens == 300
    assert first.p50_s == pytest.approx(2.0, rel=0.001)
    assert first.p99_s == pytest.approx(8.0, rel=0.001)
    assert first.throughput_per_s == pytest.approx(0.4)
    assert (second.succeeded, second.p99_s, third.lookups, third.throughput_per_s) == (0, 0.0, 0, 0.0)
    assert third.cost_usd == pytest.approx(3 * 1010e-6)
    assert all(point.rss_bytes > 0 for point in found.points)
    assert found.last.counters.succeeded == 4
    assert all(series.histogram is not None for series in found.last.series)


async def test_calls_under_way_are_seen_while_they_are(autojump_clock: trio.testing.MockClock) -> None:
    config = EngineConfig(max_concurrency=2)
    async with open_engine(priced(), config) as engine, recorded(engine, interval_s=1.0) as recorder:
        await engine.generate_batch(["3.5", "3.6", "3.7", "3.8"])
    points = recorder.recording().points
    assert [point.in_flight for point in points][:6] == [2, 2, 2, 2, 2, 2]
    assert [point.backlog for point in points][:4] == [2, 2, 2, 0]


async def test_a_long_run_stays_a_picture_and_loses_no_request(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_MARKS", 10)
    async with open_engine(priced(), EngineConfig(max_concurrency=1)) as engine:
        async with recorded(engine, interval_s=1.0) as recorder:
            for number in range(60):
                await engine.generate(f"{1.5 + number / 1000}")
        found = recorder.recording()
    assert len(found.points) < 10
    assert recorder.interval_s > 8.0
    assert sum(point.succeeded for point in found.points) == 60
    assert sum(point.elapsed_s for point in found.points) == pytest.approx(found.points[-1].at_s)
    assert all(before.at_s < after.at_s for before, after in pairwise(found.points))
    assert all(point.p50_s == pytest.approx(1.53, abs=0.04) for point in found.points)


async def test_it_comes_back_from_json_as_it_was(autojump_clock: trio.testing.MockClock) -> None:
    async with open_engine(priced()) as engine, recorded(engine, title="</script>") as recorder:
        await engine.generate_batch(["1", "2", "bad"])
    found = recorder.recording()
    back = from_json(to_json(found))
    assert back == found
    assert asdict(back) == asdict(found)


@pytest.mark.parametrize(("text", "where"), [("", "the text"), ("{}", "title"), ("[1]", "the text")])
def test_what_is_no_recording_is_refused(text: str, where: str) -> None:
    with pytest.raises(ConfigError, match=f"recording: {where}: .*; give what to_json wrote"):
        from_json(text)


async def test_what_the_block_raises_leaves_as_itself_and_what_was_seen_stays(
    autojump_clock: trio.testing.MockClock,
) -> None:
    recorder: Recorder | None = None
    async with open_engine(priced()) as engine:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - where it comes from is the point
            async with recorded(engine) as recorder:
                await engine.generate("2.5")
                raise ZeroDivisionError
    assert recorder is not None
    found: Recording = recorder.recording()
    assert sum(point.succeeded for point in found.points) == 1
    assert found.last.taken_at_s == pytest.approx(2.5)


async def test_an_engine_that_closes_first_leaves_what_was_seen(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        engine_context = open_engine(priced())
        engine = await engine_context.__aenter__()
        recorder = Recorder(engine, interval_s=1.0)
        nursery.start_soon(recorder.keep_looking)
        await engine.generate("2.5")
        await engine_context.__aexit__(None, None, None)
    assert len(recorder.recording().points) == 2


async def test_a_wrong_interval_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with open_engine(priced()) as engine:
        with pytest.raises(ConfigError, match="Recorder: interval_s=0: give seconds above 0"):
            Recorder(engine, interval_s=0)
        with pytest.raises(ConfigError, match="interval_s=nan"):
            async with recorded(engine, interval_s=float("nan")):
                pass
