"""An endpoint that must not be chosen: it fails fast, or its key is wrong; and the others lose nothing by it."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from synth_actors import EngineConfig, GenerationError
from synth_actors.policy.pace import TRY_AGAIN_S
from synth_actors.providers.base import Call, Fault
from synth_actors.testing import ScriptedProvider, Step
from tests.faults.guarantees import PRICE, Remote, guaranteed, priced, requests
from tests.providers.dialects import DIALECTS, Dialect
from tests.providers.server import json_reply, serving

FAST_S, SLOW_S = 0.005, 0.5


def always(name: str, fault: Fault, delay_s: float = FAST_S) -> Remote:
    return Remote(lambda call: Step(fault=fault, delay_s=delay_s, message="no"), name=name)


def good(name: str, delay_s: float = SLOW_S) -> Remote:
    return Remote(lambda call: Step(delay_s=delay_s), name=name)


# Under routing="fastest".


@pytest.mark.parametrize("first", [True, False], ids=["preferred", "not preferred"])
@pytest.mark.parametrize("fault", [Fault.FAILED, Fault.OVERLOADED, Fault.UNREACHABLE])
async def test_an_endpoint_that_fails_fast_never_wins(fault: Fault, first: bool, autojump_clock: Any) -> None:
    bad, slow = always("bad", fault), good("slow")
    both = [bad, slow] if first else [slow, bad]
    async with guaranteed([priced(one) for one in both], EngineConfig(routing="fastest", max_concurrency=20)) as run:
        await run.ask_all(requests(600))
        assert trio.current_time() <= 1.5 * 600 * SLOW_S / 20
    assert run.lost == []
    assert run.attempts_at("bad") < 0.05 * run.attempts
    assert len(slow.calls) == 600


async def test_an_endpoint_that_fails_half_of_the_time_at_ten_times_the_pace_loses_nothing(autojump_clock: Any) -> None:
    def script(call: Call) -> Step:
        return Step(fault=Fault.FAILED if len(bad.calls) % 2 else None, delay_s=FAST_S)

    bad = Remote(script, name="bad")
    slow = ScriptedProvider(lambda call: Step(delay_s=SLOW_S), name="slow")  # with room for all from the start
    config = EngineConfig(routing="fastest", max_concurrency=20)
    async with guaranteed([priced(bad), priced(slow)], config) as run:
        await run.ask_all(requests(600))
    assert run.lost == []
    assert run.attempts_at("bad") < 0.05 * run.attempts, "each failure costs a second"


async def test_the_fast_one_of_two_good_ones_gets_nearly_all(autojump_clock: Any) -> None:
    slow, fast = good("slow", 0.5), good("fast", 0.05)
    config = EngineConfig(routing="fastest", max_concurrency=20)
    async with guaranteed([priced(slow), priced(fast)], config) as run:
        await run.ask_all(requests(600))
        assert trio.current_time() <= 2.2, "all at the fast one, 20 at once: 1.5 s"
    assert (run.lost, run.attempts) == ([], 600)
    assert len(slow.calls) < 0.05 * 600


async def test_an_endpoint_that_has_become_well_is_found_again(autojump_clock: Any) -> None:
    def script(call: Call) -> Step:
        return Step(fault=Fault.FAILED if trio.current_time() < 20.0 else None, delay_s=FAST_S)

    mended, slow = Remote(script, name="mended"), good("slow")
    config = EngineConfig(routing="fastest", max_concurrency=20)
    async with guaranteed([priced(mended), priced(slow)], config) as run:
        await run.ask_all(requests(1600), every_s=0.05)
        late = [e.response for e in run.endings if e.response is not None and e.asked_at > 20.0 + 3 * TRY_AGAIN_S]
    assert run.lost == []
    by_mended = sum(response.endpoint == "mended" for response in late)
    assert by_mended >= 0.95 * len(late)


# A wrong key.


@pytest.mark.parametrize("max_concurrency", [1, 8, 100])
async def test_a_wrong_key_ends_500_after_a_few_calls_with_one_message(
    max_concurrency: int, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = always("wrong", Fault.FATAL, delay_s=0.1)
    async with guaranteed(priced(server), EngineConfig(max_concurrency=max_concurrency)) as run:
        await run.ask_all(requests(500))
        assert trio.current_time() <= 0.2, "nobody waits for what will never come"
    assert len(run.lost) == 500
    assert {type(error) for error in run.lost} == {GenerationError}
    assert {str(error) for error in run.lost} == {"wrong: no"}
    assert not any(error.retryable for error in run.lost if isinstance(error, GenerationError))
    assert run.attempts <= max_concurrency
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "wrong: no; it gets no more calls"
    ]


@pytest.mark.parametrize("wrong_first", [True, False])
async def test_a_wrong_key_beside_a_good_endpoint_loses_nothing(wrong_first: bool, autojump_clock: Any) -> None:
    wrong, well = always("wrong", Fault.FATAL, delay_s=0.1), good("well", 0.1)
    both = [wrong, well] if wrong_first else [well, wrong]
    async with guaranteed([priced(one) for one in both], EngineConfig(routing="least_loaded")) as run:
        await run.ask_all(requests(500))
    assert run.lost == []
    assert run.attempts_at("well") == 500
    assert run.attempts_at("wrong") <= 100


async def test_calls_that_run_while_the_endpoint_dies_come_to_their_end(autojump_clock: Any) -> None:
    def script(call: Call) -> Step:
        if trio.current_time() >= 1.0:
            return Step(fault=Fault.FATAL, message="quota used up", delay_s=0.1)
        return Step(delay_s=3.0 if call.request.prompt == "long" else 0.5)

    server = Remote(script)
    async with guaranteed(priced(server)) as run:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.ask, requests(1)[0].model_copy(update={"prompt": "long"}))
            nursery.start_soon(run.ask_all, requests(200))
        assert any(response.text == "ok" for response in run.responses)
        long = next(e for e in run.endings if e.request.prompt == "long")
        assert long.response is not None
    assert run.failures["fatal"] <= 100
    assert run.lost


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_a_wrong_key_over_the_wire_is_told_once_and_never_shown(dialect: Dialect) -> None:
    async with serving() as server:
        complaint = {"error": {"type": "authentication_error", "message": "who are you?"}}
        server.answer = lambda request: json_reply(complaint, 401)
        config = EngineConfig(max_concurrency=8)
        async with guaranteed(dialect.endpoint(server.url, price=PRICE), config, slack_s=1.0) as run:
            await run.ask_all(requests(500), hangs_after_s=30.0)
        assert len(run.lost) == 500
        (text,) = {str(error) for error in run.lost}
        assert "who are you?" in text
        assert 1 <= len(server.received) <= 8
