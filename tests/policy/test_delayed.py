from __future__ import annotations

from dataclasses import dataclass
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from synth_actors.policy.delayed import Delayed


@dataclass(eq=False)
class Item:
    number: int
    dropped: bool = False


def test_nobody_is_ready_where_nobody_waits() -> None:
    assert (Delayed[Item]().next_at, len(Delayed[Item]())) == (inf, 0)


def test_the_older_of_two_that_are_ready_at_the_same_time_goes_first() -> None:
    delayed: Delayed[Item] = Delayed()
    for number in (3, 1, 2):
        delayed.push(Item(number), 5.0)
    assert [delayed.pop().number for _ in range(3)] == [1, 2, 3]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), max_size=80))
def test_it_agrees_with_a_sorted_list(steps: list[tuple[int, int]]) -> None:
    delayed: Delayed[Item] = Delayed()
    model: list[tuple[float, int, Item]] = []
    for number, (what, value) in enumerate(steps):
        if what == 0:
            item = Item(number)
            delayed.push(item, float(value))
            model.append((float(value), number, item))
        elif what == 1 and model:
            first = min(model)
            model.remove(first)
            assert delayed.pop() is first[2]
        elif model:
            item = model.pop(value % len(model))[2]
            delayed.drop(item)
            assert item.dropped
        assert len(delayed) == len(model)
        assert delayed.next_at == min((at for at, _number, _item in model), default=inf)


def test_some_can_be_taken_out_before_their_time() -> None:
    delayed: Delayed[Item] = Delayed()
    items = [Item(number) for number in range(6)]
    for item in items:
        delayed.push(item, float(item.number))
    delayed.drop(items[2])
    assert {item.number for item in delayed.take_if(lambda item: item.number % 2 == 0)} == {0, 4}
    assert (len(delayed), delayed.next_at) == (3, 1.0)
    assert delayed.take_if(lambda item: item.number > 9) == []
    assert [delayed.pop().number for _ in range(3)] == [1, 3, 5]
    assert (len(delayed), delayed.next_at) == (0, inf)
