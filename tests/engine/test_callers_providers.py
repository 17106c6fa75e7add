from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from synth_actors import EngineConfig, GenerationError, Usage, open_engine
from synth_actors.providers.base import Call, Completion, Emit, Fault, ProviderError
from synth_actors.testing import ScriptedProvider
from tests.engine.support import ONE_DOLLAR, assert_idle


class Odd(ScriptedProvider):
    """Answers "good" as it should, and does `act` for any other prompt."""

    def __init__(self, act: Callable[[Call, Emit | None], Completion]) -> None:
        super().__init__()
        self.act = act

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        await trio.sleep(1.0)
        if call.request.prompt == "good":
            return Completion(text="ok", stop_reason="end", usage=ONE_DOLLAR)
        return self.act(call, emit)


def completing(**fields: Any) -> Callable[..., Completion]:
    whole: dict[str, Any] = {"text": "ok", "stop_reason": "end", "usage": ONE_DOLLAR, **fields}
    return lambda _call, _emit: Completion(**whole)


def raising(fault: Any, **fields: Any) -> Callable[..., Completion]:
    def act(_call: Call, _emit: Emit | None) -> Completion:
        raise ProviderError(fault, "scripted", **fields)

    return act


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def unspeakable(_call: Call, _emit: Emit | None) -> Completion:
    raise UnspeakableError


def no_completion(_call: Call, _emit: Emit | None) -> Completion:
    return "text"  # type: ignore[return-value]


def noting(call: Call, _emit: Emit | None) -> Completion:
    call.note_usage({"input_tokens": 3})  # type: ignore[arg-type]
    raise AssertionError("it should have been refused")


def emitting(_call: Call, emit: Emit | None) -> Completion:
    assert emit is not None
    emit(b"x")  # type: ignore[arg-type]
    raise ProviderError(Fault.REJECTED, "no")


WRONG = {
    "Usage.input_tokens=None": completing(usage=Usage(input_tokens=None)),  # type: ignore[arg-type]
    "Usage.output_tokens=-1": completing(usage=Usage(output_tokens=-1)),
    "Usage.cost_usd='free'": completing(usage=Usage(cost_usd="free")),  # type: ignore[arg-type]
    "usage=None": completing(usage=None),
    "Completion.text=None": completing(text=None),
    "Completion.text=b'x'": completing(text=b"x"),
    "Completion.stop_reason=None": completing(stop_reason=None),
    "Completion.model=3": completing(model=3),
    "generate returned 'text'": no_completion,
    "ProviderError.fault='rate_limited'": raising("rate_limited"),
    "ProviderError.retry_after_s='5'": raising(Fault.RATE_LIMITED, retry_after_s="5"),
    "ProviderError.retry_after_s=nan": raising(Fault.RATE_LIMITED, retry_after_s=float("nan")),
    "ProviderError.usage": raising(Fault.FAILED, usage=None),
    "usage={'input_tokens': 3}": noting,
    "emit(b'x')": emitting,
    "UnspeakableError: (its text cannot be read": unspeakable,
}


@pytest.mark.parametrize("words", WRONG)
async def test_a_wrong_value_of_a_provider_fails_its_request_and_nothing_else(words: str, autojump_clock: Any) -> None:
    async with open_engine(Odd(WRONG[words]), EngineConfig(max_concurrency=5)) as engine:
        outcomes = await engine.generate_batch(["good", *(f"bad{number}" for number in range(8))], max_tokens=2000)
        assert outcomes[0].response is not None
        for outcome in outcomes[1:]:
            assert type(outcome.error) is GenerationError
            assert words.removeprefix("ProviderError.usage") in str(outcome.error)
            assert not outcome.error.retryable
        snapshot = await engine.metrics()
        assert sum(box.restarts for box in snapshot.mailboxes.values()) == 0
        await assert_idle(engine)


async def test_what_is_emitted_after_the_answer_does_not_reach_a_reader(autojump_clock: Any) -> None:
    kept: list[Emit] = []

    def act(_call: Call, emit: Emit | None) -> Completion:
        assert emit is not None
        emit("ab")
        kept.append(emit)
        return Completion(text="ab", stop_reason="end", usage=ONE_DOLLAR)

    async with open_engine(Odd(act)) as engine, engine.stream("p") as stream:
        await stream.response()
        kept[0]("late")
        assert [chunk.text async for chunk in stream] == ["ab"]
