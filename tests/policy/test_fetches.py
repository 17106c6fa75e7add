"""Is one question asked at a time, with everybody in it who still wants to know?"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from synth_actors.policy.fetches import Fetches


def test_the_first_asks_at_once_and_the_next_question_takes_all_that_came_meanwhile() -> None:
    fetches: Fetches[str] = Fetches(largest=10)
    fetches.add("a")
    assert fetches.question() == ["a"]
    fetches.add("b")
    fetches.add("c")
    assert fetches.question() == []
    assert fetches.answered("a")
    assert fetches.question() == ["b", "c"]


def test_a_question_is_no_larger_than_it_may_be() -> None:
    fetches: Fetches[int] = Fetches(largest=2)
    for number in range(3):
        fetches.add(number)
    assert fetches.question() == [0, 1]
    fetches.answered(0)
    assert fetches.question() == []
    fetches.answered(1)
    assert fetches.question() == [2]


def test_whoever_is_withdrawn_while_being_asked_about_does_not_want_the_answer() -> None:
    fetches: Fetches[str] = Fetches(largest=10)
    fetches.add("a")
    fetches.add("b")
    routes = fetches.question()
    assert fetches.withdraw("a")
    assert "a" not in fetches
    assert [fetches.answered(route) for route in routes] == [False, True]


def test_whoever_is_withdrawn_before_is_not_asked_about() -> None:
    fetches: Fetches[str] = Fetches(largest=10)
    fetches.add("a")
    assert fetches.withdraw("a")
    assert not fetches.withdraw("a")
    assert fetches.question() == []


def test_a_question_that_nobody_wants_any_more_is_under_way_until_it_is_answered() -> None:
    fetches: Fetches[str] = Fetches(largest=10)
    fetches.add("a")
    routes = fetches.question()
    fetches.withdraw("a")
    fetches.add("b")
    assert fetches.question() == []
    for route in routes:
        fetches.answered(route)
    assert fetches.question() == ["b"]


def test_the_repr_says_who_waits() -> None:
    fetches: Fetches[str] = Fetches(largest=1)
    fetches.add("a")
    fetches.add("b")
    fetches.question()
    assert repr(fetches) == "<Fetches waiting=1 asked=1>"


class FetchesAgainstLists(RuleBasedStateMachine):
    """Everybody is asked about once, in order, or was withdrawn."""

    def __init__(self) -> None:
        super().__init__()
        self.fetches: Fetches[int] = Fetches(largest=3)
        self.waiting: list[int] = []
        self.asked: list[int] = []
        self.wanted: set[int] = set()
        self.number = 0

    @rule()
    def comes(self) -> None:
        self.number += 1
        self.fetches.add(self.number)
        self.waiting.append(self.number)
        self.wanted.add(self.number)

    @rule(index=st.integers(0, 8))
    def leaves(self, index: int) -> None:
        number = self.number - index
        assert self.fetches.withdraw(number) == (number in self.wanted)
        self.wanted.discard(number)
        if number in self.waiting:
            self.waiting.remove(number)

    @rule()
    def is_asked(self) -> None:
        expected = [] if self.asked else self.waiting[:3]
        assert self.fetches.question() == expected
        if expected:
            self.asked = list(expected)
            self.waiting = self.waiting[3:]

    @precondition(lambda self: self.asked)
    @rule()
    def one_is_answered(self) -> None:
        number = self.asked.pop(0)
        assert self.fetches.answered(number) == (number in self.wanted)
        self.wanted.discard(number)

    @invariant()
    def knows_who_wants(self) -> None:
        assert len(self.fetches) == len(self.wanted)
        assert all(number in self.fetches for number in self.wanted)


TestFetches = FetchesAgainstLists.TestCase
TestFetches.settings = settings(max_examples=60, stateful_step_count=30)
