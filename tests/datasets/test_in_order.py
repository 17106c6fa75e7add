"""Do items leave in order, with few held, whoever is slow?"""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from synth_actors.datasets.in_order import InOrder


async def drained(order: InOrder[int]) -> list[int]:
    found = []
    try:
        while True:
            found.append(await order.receive())
    except trio.EndOfChannel:
        return found


async def test_items_leave_by_number_whatever_the_order_of_making(autojump_clock: trio.testing.MockClock) -> None:
    order: InOrder[int] = InOrder(50, window=50)
    rng = random.Random(3)

    async def make() -> None:
        while (number := await order.take()) is not None:
            await trio.sleep(rng.random())
            order.put(number, [10 * number + each for each in range(number % 4)])

    async with trio.open_nursery() as nursery:
        for _ in range(7):
            nursery.start_soon(make)
        found = await drained(order)
    assert found == [10 * number + each for number in range(50) for each in range(number % 4)]


async def test_a_slow_first_number_holds_back_who_is_a_window_ahead() -> None:
    order: InOrder[int] = InOrder(100, window=4)
    taken = [await order.take() for _ in range(4)]
    for number in (1, 2, 3):
        order.put(number, [number])
    with trio.move_on_after(0) as waiting:
        await order.take()
    assert taken == [0, 1, 2, 3]
    assert waiting.cancelled_caught
    order.put(0, [0])
    assert [await order.receive() for _ in range(2)] == [0, 1]
    assert [await order.take(), await order.take()] == [4, 5]


async def test_a_reader_that_stops_stops_the_makers() -> None:
    order: InOrder[int] = InOrder(100, window=3)

    async def make() -> None:
        while (number := await order.take()) is not None:
            order.put(number, [number])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(make)
        await trio.testing.wait_all_tasks_blocked()
        assert (order.taken, order.ready) == (3, 3)
        await order.receive()
        await trio.testing.wait_all_tasks_blocked()
        assert order.taken == 4
        nursery.cancel_scope.cancel()


async def test_numbers_without_items_do_not_stop_the_makers() -> None:
    order: InOrder[int] = InOrder(10, window=2)
    while (number := await order.take()) is not None:
        order.put(number, [])
    assert await drained(order) == []


async def test_after_a_stop_what_was_taken_is_still_received() -> None:
    order: InOrder[int] = InOrder(100, window=10)
    taken = [await order.take() for _ in range(3)]
    order.stop()
    assert await order.take() is None
    for number in reversed(taken):
        assert number is not None
        order.put(number, [number])
    assert await drained(order) == [0, 1, 2]


async def test_a_stop_wakes_who_waits() -> None:
    order: InOrder[int] = InOrder(100, window=1)
    await order.take()
    results: list[object] = []

    async def wait_to_take() -> None:
        results.append(await order.take())

    async def wait_to_receive() -> None:
        results.append(await drained(order))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_to_take)
        nursery.start_soon(wait_to_receive)
        await trio.testing.wait_all_tasks_blocked()
        order.stop()
        order.put(0, [])
    assert sorted(map(str, results)) == ["None", "[]"]


async def test_who_leaves_early_takes_what_is_finished_also_beyond_a_gap() -> None:
    order: InOrder[int] = InOrder(100, window=10)
    for _ in range(5):
        await order.take()
    for number in (4, 0, 2):
        order.put(number, [number])
    assert order.take_finished() == [0, 2, 4]
    order.put(1, [1])
    assert order.take_finished() == []
    with pytest.raises(trio.EndOfChannel):
        await order.receive()


async def test_receiving_is_a_checkpoint_also_when_items_are_ready() -> None:
    order: InOrder[int] = InOrder(1, window=1)
    await order.take()
    order.put(0, list(range(1000)))
    seen = 0

    async def other() -> None:
        nonlocal seen
        while True:
            seen += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        assert len(await drained(order)) == 1000
        nursery.cancel_scope.cancel()
    assert seen >= 10
    with trio.CancelScope() as scope:
        scope.cancel()
        await order.receive()
    assert scope.cancelled_caught
