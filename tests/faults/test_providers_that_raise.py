from __future__ import annotations

from typing import Any

import pytest
import trio

from synth_actors import EngineConfig, GenerationError, SynthActorsError, open_engine
from synth_actors.providers.base import Call, Completion, Emit
from synth_actors.testing import ScriptedProvider, Step
from synth_actors.types import Usage
from tests.engine.support import assert_idle

RAISED = [
    Exception("plain"),
    RuntimeError("bug"),
    trio.TooSlowError(),
    trio.ClosedResourceError(),
    ExceptionGroup("several", [OSError("one"), ValueError("two")]),
    StopAsyncIteration(),
    StopIteration(),
    MemoryError(),
    RecursionError(),
]


@pytest.mark.parametrize("raised", RAISED, ids=lambda exc: type(exc).__name__)
async def test_an_exception_of_a_provider_fails_its_request_and_nothing_else(raised: Exception) -> None:
    def script(call: Call) -> Step:
        return Step(raises=raised) if call.request.prompt == "p13" else Step()

    provider = ScriptedProvider(script)
    async with open_engine(provider, EngineConfig(max_concurrency=5)) as engine:
        outcomes = await engine.generate_batch([f"p{number}" for number in range(100)])
        error = outcomes[13].error
        assert type(error) is GenerationError
        assert type(raised).__name__ in str(error) or error.__cause__ is not None
        assert (error.retryable, error.attempts, error.endpoint) == (False, 1, "scripted")
        assert sum(outcome.response is not None for outcome in outcomes) == 99
        assert len(provider.calls) == 100
        snapshot = await engine.metrics()
        assert sum(box.restarts for box in snapshot.mailboxes.values()) == 0
        await assert_idle(engine)


class OwnExit(BaseException):
    """An exit of somebody's own."""


class Own:
    """A provider that does what its `act` does."""

    name = model = identity = "own"

    def __init__(self, act: Any) -> None:
        self.act = act

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        return await self.act(call, emit)  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def failing_nursery(call: Call, emit: Emit | None) -> Completion:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await trio.sleep(1)
        raise OSError("in a nursery")


async def no_completion(call: Call, emit: Emit | None) -> Completion:
    return None  # type: ignore[return-value]


async def own_cancellation(call: Call, emit: Emit | None) -> Completion:
    with trio.move_on_after(1):
        await trio.sleep_forever()
    return Completion(text="after its own timeout", stop_reason="end", usage=Usage())


async def deaf(call: Call, emit: Emit | None) -> Completion:
    with trio.CancelScope(shield=True):
        await trio.sleep(3)
    return Completion(text="deaf", stop_reason="end", usage=Usage())


@pytest.mark.parametrize("act", [failing_nursery, no_completion])
async def test_whatever_a_provider_does_wrong_its_caller_is_told(
    act: Any, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_engine(Own(act)) as engine:
        with pytest.raises(GenerationError):
            await engine.generate("p")
        with pytest.raises(GenerationError):
            async with engine.stream("q") as stream:
                await stream.response()
        await assert_idle(engine)


async def test_a_provider_may_cancel_what_is_its_own(autojump_clock: Any) -> None:
    async with open_engine(Own(own_cancellation)) as engine:
        assert (await engine.generate("p")).text == "after its own timeout"


async def test_a_provider_that_does_not_hear_a_cancellation_keeps_its_token_and_nobody_waiting(
    autojump_clock: Any,
) -> None:
    async with open_engine(Own(deaf), EngineConfig(max_concurrency=1)) as engine:
        with trio.move_on_after(1):
            await engine.generate("left alone")
        assert trio.current_time() == 1.0
        assert (await engine.generate("next")).text == "deaf"
        assert trio.current_time() == 6.0
        assert (await engine.generate("left alone")).cached, "it was paid, so it is kept"
        await assert_idle(engine)


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), OwnExit()])
async def test_an_exit_raised_by_a_provider_ends_the_engine_and_everybody_is_answered(
    raised: BaseException, autojump_clock: Any
) -> None:
    provider = ScriptedProvider(
        lambda call: Step(raises=raised if call.request.prompt == "exit" else None, delay_s=1.0)
    )
    ended: list[str] = []

    async def ask(engine: Any, prompt: str) -> None:
        try:
            await engine.generate(prompt)
            ended.append("answered")
        except SynthActorsError as exc:
            ended.append(type(exc).__name__)

    async with trio.open_nursery() as nursery:
        with trio.fail_after(10), pytest.raises(type(raised)) as caught:  # noqa: PT012
            async with open_engine(provider, EngineConfig(max_concurrency=2)) as engine:
                for prompt in ("exit", "beside", "queued"):
                    nursery.start_soon(ask, engine, prompt)
                await trio.sleep_forever()
        assert caught.value is raised
    assert len(ended) == 3
