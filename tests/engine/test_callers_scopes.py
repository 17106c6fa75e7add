from __future__ import annotations

from typing import Any

import pytest
import trio

from synth_actors import open_engine
from synth_actors.errors import EngineClosedError
from synth_actors.scopes import nursery_for_body
from synth_actors.testing import ScriptedProvider


async def crash() -> None:
    await trio.sleep(1)
    raise KeyError("task")


async def clean_up_badly() -> None:
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        raise OSError("clean-up") from None


async def test_no_cancellation_leaves_with_what_the_body_raised_and_the_task_that_crashed_is_not_lost(
    autojump_clock: Any,
) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:  # noqa: PT012
        async with nursery_for_body() as nursery:
            nursery.start_soon(crash)
            async with trio.open_nursery() as inner:
                inner.start_soon(clean_up_badly)
                inner.start_soon(trio.sleep_forever)
    assert caught.value.subgroup(trio.Cancelled) is None
    assert caught.group_contains(KeyError)
    assert caught.group_contains(OSError)


async def test_a_group_that_holds_a_cancellation_from_outside_leaves_as_the_body_raised_it(
    autojump_clock: Any,
) -> None:
    with pytest.raises(ExceptionGroup) as caught, trio.move_on_after(1):  # noqa: PT012
        async with nursery_for_body(), trio.open_nursery() as inner:
            inner.start_soon(clean_up_badly)
            inner.start_soon(trio.sleep_forever)
    assert [type(exc) for exc in caught.value.exceptions] == [OSError]


async def test_an_interrupt_in_the_body_wins_over_the_bug_that_ended_the_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        async with open_engine(ScriptedProvider()) as engine:

            def bug(_message: Any) -> None:
                raise ValueError("a bug in the cache")

            monkeypatch.setattr(engine._wiring._cache, "_lookup", bug)
            try:
                await engine.generate("p")
            except EngineClosedError as exc:
                raise KeyboardInterrupt from exc
