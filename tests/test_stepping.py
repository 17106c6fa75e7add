"""Does the helper that cancels everywhere really cancel everywhere?"""

from __future__ import annotations

import pytest
import trio

from tests.stepping import every_cancellation


async def test_work_is_cancelled_at_each_of_its_checkpoints_and_then_completes() -> None:
    reached = []
    for step in every_cancellation():
        done = 0
        with step:
            for _ in range(3):
                await trio.lowlevel.checkpoint()
                done += 1
        reached.append((done, step.cancelled))
    assert reached[0] == (0, True)
    assert reached[-1] == (3, False)
    assert {done for done, cancelled in reached if cancelled} == {0, 1, 2}
    assert [done for done, _cancelled in reached] == sorted(done for done, _cancelled in reached)


async def test_a_parked_task_is_cancelled_where_it_is_parked() -> None:
    ended = []
    for step in every_cancellation():
        event = trio.Event()
        async with trio.open_nursery() as nursery:

            async def set_it(event: trio.Event = event) -> None:
                await trio.testing.wait_all_tasks_blocked()
                event.set()

            nursery.start_soon(set_it)
            with step:
                await event.wait()
            ended.append(step.cancelled)
    assert ended[:2] == [True, True]
    assert ended[-1] is False


async def test_a_checkpoint_only_for_the_cancelled_is_reached_too() -> None:
    reached = set()
    for step in every_cancellation():
        place = "begin"
        with step:
            await trio.lowlevel.cancel_shielded_checkpoint()
            place = "between"
            await trio.lowlevel.checkpoint_if_cancelled()
            place = "end"
        reached.add((place, step.cancelled))
    assert reached == {("between", True), ("end", False)}


async def test_watching_every_task_counts_the_steps_of_others() -> None:
    counts = {}
    for watch in ("own", "any"):
        steps = 0
        for step in every_cancellation(watch):
            steps += 1
            event = trio.Event()
            async with trio.open_nursery() as nursery:

                async def walk(event: trio.Event = event) -> None:
                    for _ in range(10):
                        await trio.lowlevel.checkpoint()
                    event.set()

                nursery.start_soon(walk)
                with step:
                    await event.wait()
        counts[watch] = steps
    assert counts["any"] >= counts["own"] + 10


def test_a_loop_that_forgets_the_step_is_an_error() -> None:
    steps = every_cancellation()
    next(steps)
    with pytest.raises(AssertionError, match="did not enter"):
        next(steps)
