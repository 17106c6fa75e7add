"""Is every block given out once and read in order, with few of them in memory?"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_actors.datasets.block import Block
from synth_actors.datasets.jobs.board import Board
from synth_actors.datasets.row_schema import Valid


def block_named(number: int) -> Block:
    return Block([number], lambda row, value: Valid(value), max_attempts=1)


def number_of(block: Block | None) -> int | None:
    return None if block is None else block.rows[0]


class Program:
    """Makers and a reader at one board, each as slow as it is told."""

    def __init__(self, total: int, settled: set[int], window: int, fails: Set[int] = frozenset()) -> None:
        self.board = Board(total, settled, window)
        self.total, self.window, self.fails = total, window, fails
        self.made: list[int] = []
        self.read: list[int] = []
        self.from_disk: list[int] = []
        self.most_ahead = 0

    async def make(self, slowness: int) -> None:
        while (number := await self.board.take()) is not None:
            self.made.append(number)
            self.most_ahead = max(self.most_ahead, number - len(self.read))
            for _ in range((number * 7 + slowness) % 5):
                await trio.lowlevel.checkpoint()
            self.board.put(number, block_named(number), settled=number not in self.fails)

    async def readers_turn(self, slowness: int) -> None:
        for number in range(self.total):
            block = await self.board.get(number)
            if block is None:
                self.from_disk.append(number)
            else:
                assert number_of(block) == number
            self.read.append(number)
            for _ in range(slowness):
                await trio.lowlevel.checkpoint()

    async def run(self, makers: int, slowness: int) -> None:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for each in range(makers):
                    nursery.start_soon(self.make, each)
                nursery.start_soon(self.readers_turn, slowness)


@given(
    st.integers(1, 40).flatmap(lambda total: st.tuples(st.just(total), st.sets(st.integers(0, total - 1)))),
    st.integers(1, 10),
    st.integers(1, 6),
    st.integers(0, 6),
    st.sets(st.integers(0, 39)),
)
@settings(max_examples=60)
async def test_every_block_that_is_not_settled_is_made_once_and_all_are_read_in_order(
    blocks: tuple[int, set[int]], window: int, makers: int, slowness: int, fails: set[int]
) -> None:
    total, settled = blocks
    program = Program(total, settled, window, fails)
    await program.run(makers, slowness)
    assert sorted(program.made) == [number for number in range(total) if number not in settled]
    assert program.read == list(range(total))
    assert settled <= set(program.from_disk)
    failed = {number for number in fails if number < total} - settled
    assert not failed & set(program.from_disk), "what is not settled is nowhere but in memory"
    if not settled:
        assert program.most_ahead < window
        assert program.from_disk == []


async def test_makers_wait_for_the_reader_at_the_end_of_the_window() -> None:
    program = Program(100, set(), window=5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(program.make, 0)
        nursery.start_soon(program.make, 1)
        await trio.testing.wait_all_tasks_blocked()
        assert program.made == [0, 1, 2, 3, 4]
        assert number_of(await program.board.get(0)) == 0
        assert number_of(await program.board.get(1)) == 1
        await trio.testing.wait_all_tasks_blocked()
        assert program.made == [0, 1, 2, 3, 4, 5], "block 1 may still be in the reader's hands"
        nursery.cancel_scope.cancel()


async def test_while_the_reader_has_blocks_on_disk_before_it_makers_go_on_and_hold_nothing() -> None:
    program = Program(60, set(range(50)), window=3)
    await program.board.get(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(program.make, 0)
        await trio.testing.wait_all_tasks_blocked()
        assert program.made == list(range(50, 60))
        assert "held=0" in repr(program.board)
        for number in range(60):
            assert program.board.is_ready(number)
            assert await program.board.get(number) is None


async def test_after_a_stop_no_block_is_given_out_and_the_reader_waits_only_for_those_under_way() -> None:
    board = Board(10, [], window=10)
    assert [await board.take(), await board.take()] == [0, 1]
    got: dict[int, Any] = {}

    async def read() -> None:
        for number in range(10):
            got[number] = number_of(await board.get(number))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        board.stop()
        assert await board.take() is None
        await trio.testing.wait_all_tasks_blocked()
        assert got == {}
        board.put(0, block_named(0), settled=False)
        await trio.testing.wait_all_tasks_blocked()
        assert got == {0: 0}
        board.put(1, block_named(1), settled=True)
    assert got == {0: 0, 1: 1} | dict.fromkeys(range(2, 10))


async def test_a_stop_wakes_makers_that_wait_for_room() -> None:
    board = Board(10, [], window=1)
    assert await board.take() == 0
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(board.take)
        await trio.testing.wait_all_tasks_blocked()
        board.stop()
    assert await board.take() is None


async def test_makers_end_when_everything_is_settled() -> None:
    assert await Board(5, range(5), window=1).take() is None


@pytest.mark.parametrize(
    ("settled", "first", "most", "end"),
    [({0, 1, 2}, 0, 10, 3), ({0, 1, 2}, 0, 2, 2), ({0, 1, 2, 3, 4}, 3, 10, 5), ({1}, 0, 4, 0), (set(), 2, 2, 2)],
)
def test_how_far_blocks_are_settled_from_one_on(settled: set[int], first: int, most: int, end: int) -> None:
    board = Board(5, settled, window=1)
    assert board.settled_run(first, most) == end
    assert [board.is_settled(number) for number in range(5)] == [number in settled for number in range(5)]
