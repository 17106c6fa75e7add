"""Is what was saved what it would have cost?"""

from __future__ import annotations

from synth_actors.policy.savings import Savings


def test_tokens_and_dollars_add_up() -> None:
    savings = Savings()
    savings.add(3, 100, 0.25)
    savings.add(1, 7, 0.0)
    assert (savings.tokens, savings.usd) == (307, 0.75)
    assert repr(savings) == "<Savings tokens=307 usd=0.750000>"


def test_one_of_unknown_price_makes_the_sum_unknown_for_good() -> None:
    savings = Savings()
    savings.add(1, 100, None)
    savings.add(1, 100, 0.5)
    assert (savings.tokens, savings.usd) == (200, None)
    assert repr(savings) == "<Savings tokens=200 usd=unknown>"


def test_nothing_saved_of_unknown_price_changes_nothing() -> None:
    savings = Savings()
    savings.add(0, 100, None)
    assert (savings.tokens, savings.usd) == (0, 0.0)
