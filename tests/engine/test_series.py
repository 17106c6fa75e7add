"""What ends a request stands in one series, once, by endpoint and outcome."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from synth_actors import EngineConfig, GenerationError, open_engine
from synth_actors.actors.mailbox import MOST_WAITS, Mailbox
from synth_actors.policy.endpoints import EndpointState, Terms
from synth_actors.providers.base import Call, Fault
from synth_actors.snapshot import Snapshot
from synth_actors.testing import ScriptedProvider, Step


def script(call: Call) -> Step:
    return Step(delay_s=1.0, fault=Fault.REJECTED) if call.request.prompt == "bad" else Step(delay_s=1.0)


def counts(snapshot: Snapshot, name: str) -> dict[tuple[str, str], int]:
    return {(each.endpoint, each.outcome): each.summary.count for each in snapshot.series if each.name == name}


async def test_each_request_is_one_duration_of_its_outcome(autojump_clock: trio.testing.MockClock) -> None:
    async with open_engine(ScriptedProvider(script), EngineConfig(max_concurrency=1)) as engine:
        name = next(iter((await engine.metrics()).router.endpoints))
        await engine.generate_batch(["same", "same"])
        await engine.generate("same")
        with pytest.raises(GenerationError):
            await engine.generate("bad")
        with trio.move_on_after(0.5):
            await engine.generate("left")
        await trio.testing.wait_all_tasks_blocked()  # until the call has ended, too
        snapshot = engine.metrics_now(whole=True)
    assert counts(snapshot, "response") == {
        (name, "call"): 1,
        (name, "shared"): 1,
        (name, "failed"): 1,
        ("", "cancelled"): 1,
    }
    assert counts(snapshot, "cached_response") == {(name, "cache"): 1}
    assert counts(snapshot, "service") == {(name, "success"): 1, (name, "rejected"): 1, (name, "abandoned"): 1}


async def test_a_call_that_nobody_waited_for_is_no_hit_in_any_simulated_cache(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_engine(ScriptedProvider(script)) as engine:
        for _ in range(3):
            with trio.move_on_after(0.5):
                await engine.generate("left")
        curves = (await engine.metrics()).cache.curves
    assert curves.lookups == 3
    assert {point.hit_rate for point in curves.size} == {0.0}


async def test_without_metrics_no_wait_in_a_mailbox_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    async with open_engine(ScriptedProvider(script), EngineConfig(metrics=False)) as engine:
        await engine.generate_batch([str(number) for number in range(20)])
        await trio.sleep(1.0)
        snapshot = await engine.metrics()
    assert snapshot.series == ()


async def test_waits_that_nobody_takes_are_dropped_and_counted() -> None:
    box: Mailbox[int] = Mailbox("box", MOST_WAITS + 5)
    box.take_waits()
    for number in range(MOST_WAITS + 3):
        box.tell(number)
    for _ in range(MOST_WAITS + 3):
        box.receive_nowait()
    assert (len(box.take_waits()), box.waits_dropped) == (MOST_WAITS, 3)


def test_a_wait_for_a_limit_per_minute_counts_while_it_lasts() -> None:
    endpoint = EndpointState(Terms(name="a", model="m", rank=0))
    endpoint.note_limited(10.0, is_limited=True)
    assert [endpoint.snapshot(now).rate_limited_s for now in (15.0, 17.0)] == [5.0, 7.0]
    endpoint.note_limited(18.0, is_limited=False)
    assert endpoint.snapshot(30.0).rate_limited_s == 8.0
