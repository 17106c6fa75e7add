"""Do viewers get what happened, whatever happened: every span ended once, nested, named, and without any text?"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from synth_actors import CacheConfig, ConfigError, EngineConfig, GenerationError, Request, open_engine
from synth_actors.providers.base import Call, Fault
from synth_actors.telemetry import ChromeTrace
from synth_actors.telemetry.chrome_events import MOST_LANES, EventLog, Span
from synth_actors.telemetry.chrome_spans import MOST_CHUNKS
from synth_actors.testing import ScriptedProvider, Step
from tests.conftest import Soak
from tests.engine.durable import SlowTier, in_place_of_the_file
from tests.engine.support import dollar_endpoint
from tests.faults.canary import FORMS, KEY
from tests.telemetry.chrome_readers import Trace
from tests.telemetry.test_otel_soak import one_engine

SECOND = 1_000_000
SECRET_PROMPT, SECRET_ANSWER = "the prompt of otters", "the answer of otters"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.json"


def scripted(step: Callable[[Call], Step], name: str = "server") -> Any:
    return dollar_endpoint(ScriptedProvider(step, name=name))


async def test_a_request_is_seen_at_its_caller_and_at_every_actor_for_exactly_as_long_as_it_was_there(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    endpoint = scripted(lambda _call: Step(text="an otter", delay_s=1.0))
    with ChromeTrace(path) as trace:
        async with open_engine(endpoint, EngineConfig(max_concurrency=1), tracing=trace) as engine:
            async with trio.open_nursery() as nursery:
                for prompt in ("first", "second", "second"):
                    nursery.start_soon(partial(engine.generate, prompt, max_tokens=10))
                    await trio.testing.wait_all_tasks_blocked()
            await engine.generate("first", max_tokens=10)
    seen = Trace(path)
    whole = seen.spans("generate", "callers")
    start = whole[0][0]
    assert [(args["request"], dur) for _, dur, args in whole] == [
        ("req-1", SECOND),
        ("req-2", 2 * SECOND),
        ("req-3", 2 * SECOND),
        ("req-4", 0),
    ]
    assert [args["source"] for *_, args in whole] == ["call", "call", "shared", "cache"]
    assert sum(args.get("cost_usd", 0) for *_, args in whole) == 2.0
    lookups = [(args["request"], args["found"]) for *_, args in seen.spans("lookup", "CacheActor")]
    needed = "a call is needed"
    assert sorted(lookups) == [("req-1", needed), ("req-2", needed), ("req-3", "joined"), ("req-4", "cache")]
    ((_, joined_us, joined),) = seen.spans("flight joined", "CacheActor")
    assert (joined_us, joined["request"], joined["leader"]) == (2 * SECOND, "req-3", "req-2")
    queued = seen.spans("queue", "RouterActor")
    assert [(dur, args["request"], args["endpoint"]) for _, dur, args in queued] == [
        (0, "req-1", "server"),
        (SECOND, "req-2", "server"),
    ]
    calls = seen.spans("call script", "endpoint server")
    assert [(ts - start, dur, args["request"], args["outcome"]) for ts, dur, args in calls] == [
        (0, SECOND, "req-1", "success"),
        (SECOND, SECOND, "req-2", "success"),
    ]
    assert [(dur, args["cost_usd"]) for _, dur, args in calls] == [(SECOND, 1.0)] * 2
    assert [(ts, dur) for ts, dur, _ in seen.spans("call", "GeneratorActors")] == [span[:2] for span in calls]
    assert len({event["tid"] for event in seen.named("call", phase="X")}) == 1  # one generator made both


async def test_a_stream_shows_its_first_chunk_and_the_others_up_to_a_number(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    text = " ".join(["x"] * (MOST_CHUNKS + 10))
    endpoint = scripted(lambda _call: Step(text=text, delay_s=1.0, chunks=MOST_CHUNKS + 10, gap_s=0.1))
    with ChromeTrace(path) as trace:
        async with open_engine(endpoint, tracing=trace) as engine, engine.stream("a", max_tokens=10) as stream:
            await stream.response()
    seen = Trace(path)
    ((_, took_us, args),) = seen.spans("call script")
    ((_, first_us, _),) = seen.spans("to first chunk")
    chunks = [event["ts"] for event in seen.named("chunk", phase="i")]
    assert (args["chunks"], len(chunks)) == (MOST_CHUNKS + 10, MOST_CHUNKS)
    assert first_us < took_us
    assert [after - before for before, after in pairwise(chunks)] == [SECOND / 10] * 99
    assert [span[1] for span in seen.spans("stream", "callers")] == [took_us]


async def test_a_retry_is_two_calls_and_a_failure_says_its_kind(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    faults = iter((Fault.OVERLOADED, None, Fault.REJECTED))

    def step(_call: Call) -> Step:
        fault = next(faults)
        return Step(delay_s=1.0) if fault is None else Step(fault=fault, status=529)

    with ChromeTrace(path) as trace:
        async with open_engine(scripted(step), tracing=trace) as engine:
            await engine.generate("a", max_tokens=10)
            with pytest.raises(GenerationError):
                await engine.generate("b", max_tokens=10)
    seen = Trace(path)
    calls = [(args["attempt"], args["outcome"], args.get("status")) for *_, args in seen.spans("call script")]
    assert calls == [(1, "overloaded", 529), (2, "success", None), (1, "rejected", 529)]
    assert [args.get("error") for *_, args in seen.spans("generate")] == [None, "GenerationError"]
    assert len(seen.spans("queue")) == 3


async def test_every_span_of_a_hundred_at_once_ends_once_and_nests_whatever_happens_to_them(
    soak: Soak, path: Path, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = soak.random()
    in_place_of_the_file(monkeypatch, SlowTier())
    outcomes: Counter[str] = Counter()
    for _ in range(max(1, soak.count // 1000)):
        with ChromeTrace(path) as trace:
            holder = type("Holder", (), {"tracing": trace})()
            submitted = await one_engine(cast(Any, holder), rng, count=5)
        seen = Trace(path)
        whole = seen.named("generate", phase="X", group="callers") + seen.named("stream", phase="X", group="callers")
        assert len(whole) == submitted == len(seen.spans("lookup"))
        assert not [event for event in seen.events if event.get("args", {}).get("unfinished")]
        outcomes.update(event["args"]["outcome"] for event in whole)
        calls = [event for event in seen.events if event["ph"] == "X" and event["name"].startswith("call ")]
        assert len(calls) == len(seen.spans("call", "GeneratorActors"))
    assert outcomes.keys() == {"succeeded", "failed", "cancelled"}


async def test_more_at_once_than_there_are_lanes_are_pairs_that_balance(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    count = MOST_LANES + 50
    endpoint = scripted(lambda _call: Step(text="a b", delay_s=1.0, chunks=2))
    with ChromeTrace(path) as trace:
        async with open_engine(endpoint, EngineConfig(max_concurrency=count), tracing=trace) as engine:
            await engine.generate_batch([Request(prompt=f"{n}", max_tokens=5000) for n in range(count)])
    seen = Trace(path)
    for name, group in (("call script", "endpoint server"), ("generate", "callers"), ("call", "GeneratorActors")):
        phases = Counter(event["ph"] for event in seen.named(name, group=group))
        assert phases == {"X": MOST_LANES, "b": 50, "e": 50}
    assert {event["args"]["outcome"] for event in seen.named("call script", phase="b")} == {"success"}
    assert len(seen.named("to first chunk", phase="b")) == len(seen.named("to first chunk", phase="e")) == 50
    assert len(seen.named("chunk", phase="n")) == 100


async def test_what_goes_on_when_it_is_written_ends_there_and_says_that_it_has_not(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    trace = ChromeTrace()
    endpoint = scripted(lambda _call: Step(text="a b", delay_s=10.0))
    async with open_engine(endpoint, tracing=trace) as engine:
        with trio.move_on_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: engine.generate("a", max_tokens=10))
                await trio.sleep(2)
                with trio.move_on_after(1):
                    await engine.generate("b", max_tokens=10)
                assert trace.write(path) == path
                seen = Trace(path)
                ((_, took_us, args),) = [span for span in seen.spans("generate") if span[2]["request"] == "req-1"]
                assert (took_us, args["unfinished"]) == (3 * SECOND, True)
                await trio.sleep_forever()
    trace.write(path)
    whole = Trace(path).spans("generate")
    assert [(dur, args["outcome"]) for _, dur, args in whole] == [(5 * SECOND, "cancelled"), (SECOND, "cancelled")]


async def test_a_trace_that_has_ended_hears_nothing_of_engines_that_outlive_it(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    endpoint = scripted(lambda _call: Step(delay_s=10.0))
    trace = ChromeTrace(path)
    async with open_engine(endpoint, tracing=trace) as engine, trio.open_nursery() as nursery:
        with suppress(RuntimeError), trace:
            nursery.start_soon(lambda: engine.generate("a", max_tokens=10))
            await trio.sleep(1)
            raise RuntimeError
        events = trace.events
        await engine.generate("b", max_tokens=10)
    assert trace.events == events
    assert [args["unfinished"] for *_, args in Trace(path).spans("generate")] == [True]


async def test_beyond_the_limit_events_are_dropped_and_the_file_says_how_many(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    with ChromeTrace(path, most_events=100) as trace:
        async with open_engine(scripted(lambda _call: Step()), tracing=trace) as engine:
            await engine.generate_batch([f"{n}" for n in range(100)])
    seen = Trace(path)
    assert trace.events <= 100
    assert seen.document["otherData"]["droppedEvents"] == trace.dropped > 300
    (gap,) = seen.named(phase="i", group="callers")[-1:]
    assert gap["name"] == f"from here on {trace.dropped} events were dropped: more than 100"


async def test_no_text_of_a_prompt_an_answer_or_an_error_and_no_key_is_in_the_file(path: Path) -> None:
    def step(call: Call) -> Step:
        if "fails" in (call.request.prompt or ""):
            return Step(raises=KeyError(f"{KEY} {SECRET_PROMPT}"))
        return Step(text=SECRET_ANSWER, chunks=3)

    with ChromeTrace(path) as trace:
        async with open_engine(scripted(step), tracing=trace) as engine:
            await engine.generate(Request(prompt=SECRET_PROMPT, system="the system's", namespace="mine", max_tokens=9))
            await engine.generate(Request(prompt=SECRET_PROMPT, max_tokens=5000))
            with suppress(GenerationError):
                await engine.generate(f"fails: {SECRET_PROMPT}", max_tokens=10)
    seen = Trace(path)
    assert [args["outcome"] for *_, args in seen.spans("generate")] == ["succeeded", "succeeded", "failed"]
    shown = [text for text in (*FORMS, "otter", "system's", "mine") if text in seen.text]
    assert shown == []


def test_engines_one_after_the_other_stand_behind_each_other_in_one_file(path: Path) -> None:
    async def one() -> None:
        async with open_engine(scripted(lambda _call: Step(delay_s=60.0)), tracing=trace) as engine:
            await engine.generate("a", max_tokens=10)

    with ChromeTrace(path) as trace:
        for _ in range(3):
            trio.run(one, clock=trio.testing.MockClock(autojump_threshold=0))
    seen = Trace(path)
    starts = [ts for ts, *_ in seen.spans("generate")]
    assert all(60 * SECOND <= after - before < 70 * SECOND for before, after in pairwise(starts))
    assert len(seen.groups) == 8  # the same actors for all of them
    assert [event["name"] for event in seen.named(phase="i", group="callers")] == [
        "an engine opens",
        "an engine closes",
    ] * 3
    assert len({event["tid"] for event in seen.named("call", phase="X")}) == 1


async def test_engines_at_once_have_curves_of_their_own(path: Path) -> None:
    with ChromeTrace(path) as trace:
        async with open_engine("local", tracing=trace) as one, open_engine("local", tracing=trace) as other:
            await one.generate("a", max_tokens=10)
            await other.generate("a", max_tokens=10)
        assert repr(trace) == f"<ChromeTrace {path} events={trace.events} dropped=0 engines=0>"
    seen = Trace(path)
    assert {"RouterActor", "RouterActor, engine 2", "endpoint local, engine 2"} <= set(seen.groups.values())


async def test_curves_follow_the_engine_and_fall_to_nothing_when_it_closes(
    path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    endpoint = scripted(lambda _call: Step(delay_s=1.0))
    config = EngineConfig(max_concurrency=2, cache=CacheConfig(max_entries=1))
    with ChromeTrace(path, interval_s=0.5) as trace:
        async with open_engine(endpoint, config, tracing=trace) as engine:
            await engine.generate_batch([f"{n}" for n in range(6)], max_tokens=10)
    seen = Trace(path)
    requests = [event["args"] for event in seen.named("requests", phase="C")]
    assert max(args["in flight"] for args in requests) == 2
    assert max(args["backlog"] for args in requests) == 2  # at the first look after the first answer
    assert requests[-1] == {"in flight": 0, "backlog": 0}
    assert [event["args"]["$"] for event in seen.named("cost, $")][-1] == 6.0
    assert sum(event["args"]["times"] for event in seen.named("evicted for space", phase="i")) == 5
    assert {"mailbox", "resident, MiB", "hit rate", "entries", "requests/s"} <= {
        event["name"] for event in seen.named(phase="C")
    }


def test_an_engine_in_another_thread_is_not_traced_and_that_is_said(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def one() -> None:
        async with open_engine("local", tracing=trace) as engine:
            await engine.generate("a", max_tokens=10)

    trace = ChromeTrace(path)
    thread = threading.Thread(target=lambda: trio.run(one))
    with caplog.at_level(logging.WARNING, "synth_actors"):
        thread.start()
        thread.join()
    assert "give each thread a ChromeTrace of its own" in caplog.text
    assert Trace(trace.write()).spans("generate") == []


async def test_a_name_that_ends_in_gz_is_compressed_and_names_may_be_odd(tmp_path: Path) -> None:
    packed = tmp_path / "trace.json.gz"
    with ChromeTrace(packed) as trace:
        async with open_engine(scripted(lambda _call: Step(), name='</script>"é'), tracing=trace) as engine:
            await engine.generate("a", max_tokens=10)
    assert 'endpoint </script>"é' in Trace(packed).groups.values()


def test_what_is_wrong_is_said_with_the_remedy(tmp_path: Path) -> None:
    for wrong, said in (
        (lambda: ChromeTrace(most_events=0), "most_events=0: give a whole number above 0"),
        (lambda: ChromeTrace(most_events=cast(Any, True)), "most_events=True"),
        (lambda: ChromeTrace(interval_s=0), "interval_s"),
        (lambda: ChromeTrace().write(), "give write\\(\\) a path"),
        (lambda: ChromeTrace().__enter__(), "ChromeTrace\\('run.json'\\)"),
    ):
        with pytest.raises(ConfigError, match=said):
            wrong()
    with pytest.raises(OSError, match="missing"):
        ChromeTrace().write(tmp_path / "missing" / "trace.json")


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50), st.booleans()), max_size=60))
def test_spans_that_begin_and_end_in_any_order_nest_in_their_lanes(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "property.json"
    log, now_us = EventLog(1000), 0
    group, running = log.group("actor", 0), dict[int, Span]()
    for which, passed_us, late in steps:
        now_us += passed_us
        if which in running:
            running[which].part("part", now_us - passed_us // 2)
            span = running.pop(which)
            span.end(now_us, {"which": which})
            span.end(now_us + 5, {})
        else:
            running[which] = group.begin("span", now_us - 10 * late if now_us > 10 else now_us, {})
    log.write(path, {})
    seen = Trace(path)
    assert len(seen.spans("span")) == (len(steps) + len(running)) // 2
    assert len(seen.named("thread_name")) <= 10
