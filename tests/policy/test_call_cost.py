from __future__ import annotations

import pytest

from synth_actors.policy.call_cost import ENGINE_BYTES_PER_CALL, LONGEST_MOVE_S, CallCost

MIB = 2**20


def test_without_a_move_a_call_costs_what_the_engine_holds_for_it() -> None:
    cost = CallCost(full=100)
    for tick in range(20):
        cost.look(tick * 100 * MIB, 0, tick)
    assert cost.bytes_per_call == ENGINE_BYTES_PER_CALL


def test_the_first_calls_are_laid_to_what_came_since_opening() -> None:
    cost = CallCost(full=100, unexplained_bytes=60 * MIB)
    cost.look(260 * MIB, 100, 0.25)
    assert cost.bytes_per_call == 2 * MIB


@pytest.mark.parametrize("step", [4, 50, 100])
def test_moves_up_and_down_tell_the_same(step: int) -> None:
    cost = CallCost(full=100)
    for tick in range(20):
        calls = step if tick % 2 else 0
        cost.look(calls * MIB + 30 * MIB, calls, tick * 0.25)
    assert cost.bytes_per_call == pytest.approx(MIB, rel=0.01)


def test_one_allocation_in_the_same_moment_is_outvoted() -> None:
    cost = CallCost(full=100)
    foreign = 0
    for tick in range(9):
        foreign += 2000 * MIB if tick == 5 else 0
        calls = 100 if tick % 2 else 0
        cost.look(calls * MIB + foreign, calls, tick * 0.25)
    assert cost.bytes_per_call == MIB


def test_small_moves_say_nothing() -> None:
    cost = CallCost(full=100)
    cost.look(0, 90, 0.0)
    for tick in range(20):
        cost.look(tick * 10 * MIB, 98 if tick % 2 else 90, tick * 0.25)
    assert cost.bytes_per_call == ENGINE_BYTES_PER_CALL
    cost = CallCost(full=100)
    for tick in range(20):
        cost.look(tick * 10 * MIB, 3 if tick % 2 else 0, tick * 0.25)
    assert cost.bytes_per_call == ENGINE_BYTES_PER_CALL


def test_growth_that_never_stops_cancels_out() -> None:
    cost = CallCost(full=100)
    for tick in range(40):
        calls = 20 * (tick % 5)  # up in four small steps, down in a large one
        cost.look(calls * MIB + tick * 3 * MIB, calls, tick * 0.25)
    assert cost.bytes_per_call == pytest.approx(MIB, rel=0.1)


def test_several_small_moves_in_a_short_time_are_one() -> None:
    cost = CallCost(full=100)
    for tick in range(6):
        cost.look(tick * 3 * MIB, tick * 3, tick * 0.25)
    assert cost.bytes_per_call == MIB


def test_what_changes_slowly_is_laid_to_nobody() -> None:
    cost = CallCost(full=100)
    for tick in range(20):
        cost.look(tick * 100 * MIB, tick * 3, tick * LONGEST_MOVE_S)
    assert cost.bytes_per_call == ENGINE_BYTES_PER_CALL


def test_what_an_attempt_has_shown_replaces_what_was_guessed() -> None:
    cost = CallCost(full=100)
    cost.look(900 * MIB, 100, 0.25)
    assert cost.bytes_per_call == 9 * MIB
    cost.measured(0, 50)
    assert cost.bytes_per_call == ENGINE_BYTES_PER_CALL
    cost.measured(50 * MIB, 50)
    assert cost.bytes_per_call == MIB


def test_three_moves_or_an_attempt_prove_it() -> None:
    cost = CallCost(full=100)
    for tick in range(3):
        assert not cost.is_proven
        cost.look(0, 100 if tick % 2 == 0 else 0, tick * 0.25)
    assert cost.is_proven
    cost = CallCost(full=100)
    cost.measured(0, 5)
    assert cost.is_proven
