from __future__ import annotations

from synth_actors.policy.restart import RestartBudget


def test_each_restart_in_the_window_waits_twice_as_long() -> None:
    budget = RestartBudget(restarts=4, window_s=60.0, first_delay_s=0.5)
    assert [budget.spend(float(second)) for second in range(5)] == [0.5, 1.0, 2.0, 4.0, None]
    assert budget.spent == 4


def test_what_is_older_than_the_window_is_forgotten() -> None:
    budget = RestartBudget(restarts=1, window_s=10.0, first_delay_s=0.5)
    assert budget.spend(0.0) == 0.5
    assert budget.spend(9.9) is None
    assert budget.spend(10.0) == 0.5
    assert budget.spent == 2


def test_a_budget_of_nothing_is_used_up() -> None:
    assert RestartBudget(restarts=0).spend(0.0) is None
