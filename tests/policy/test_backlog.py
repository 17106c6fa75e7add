from __future__ import annotations

import random
from dataclasses import dataclass

from synth_actors.policy.backlog import FEW, Backlog

A, B, AB = frozenset("a"), frozenset("b"), frozenset("ab")


@dataclass(eq=False)
class Item:
    number: int
    dropped: bool = False


def heads(backlog: Backlog[Item]) -> list[int]:
    return [head.number for _lane, head in backlog.lanes()]


def take_first(backlog: Backlog[Item]) -> int:
    lane, _head = next(iter(backlog.lanes()))
    return backlog.pop(lane).number


def test_one_lane_is_a_queue() -> None:
    backlog: Backlog[Item] = Backlog()
    for number in range(5):
        backlog.push(Item(number), AB)
    assert len(backlog) == 5
    assert [take_first(backlog) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert (len(backlog), heads(backlog)) == (0, [])


def test_only_the_heads_of_lanes_are_shown_the_oldest_first() -> None:
    backlog: Backlog[Item] = Backlog()
    for number, allowed in enumerate((B, A, A, AB, B)):
        backlog.push(Item(number), allowed)
    assert heads(backlog) == [0, 1, 3]


def test_a_retry_goes_to_the_front_of_those_who_came_later() -> None:
    backlog: Backlog[Item] = Backlog()
    for number in (5, 6):
        backlog.push(Item(number), A)
    backlog.push(Item(1), A)
    assert [take_first(backlog) for _ in range(3)] == [1, 5, 6]


def test_a_dropped_item_is_never_a_head_and_not_counted() -> None:
    backlog: Backlog[Item] = Backlog()
    items = [Item(number) for number in range(4)]
    for item in items:
        backlog.push(item, A)
    for item in (items[0], items[2]):
        backlog.drop(item)
    assert len(backlog) == 2
    assert [take_first(backlog), take_first(backlog)] == [1, 3]
    assert heads(backlog) == []


def test_retries_keep_their_order() -> None:
    backlog: Backlog[Item] = Backlog()
    for number in (7, 1, 5, 3, 2):
        backlog.push(Item(number), A)
    assert [take_first(backlog) for _ in range(5)] == [1, 2, 3, 5, 7]


def test_an_item_can_be_taken_out_of_the_middle() -> None:
    backlog: Backlog[Item] = Backlog()
    items = [Item(number) for number in range(5)]
    for item in items:
        backlog.push(item, A)
    backlog.remove({items[2]}, A)
    assert len(backlog) == 4
    assert [take_first(backlog) for _ in range(4)] == [0, 1, 3, 4]


def test_lanes_that_nobody_stands_in_are_forgotten() -> None:
    backlog: Backlog[Item] = Backlog()
    for number in range(1000):
        backlog.push(Item(number), frozenset({str(number)}))
        take_first(backlog)
    assert len(backlog._lanes) <= 2


def test_dropped_items_behind_one_that_waits_are_forgotten() -> None:
    backlog: Backlog[Item] = Backlog()
    backlog.push(Item(0), A)
    ((lane, _head),) = backlog.lanes()
    for number in range(1, 10_000):
        item = Item(number)
        backlog.push(item, A)
        backlog.drop(item)
        assert len(lane) <= 2 * FEW + 2
    assert (len(backlog), heads(backlog)) == (1, [0])


def test_it_agrees_with_a_list_under_random_use() -> None:
    chance = random.Random(1)
    backlog: Backlog[Item] = Backlog()
    model: list[tuple[Item, frozenset[str]]] = []
    for number in range(5000):
        what = chance.random()
        if what < 0.5:
            item, allowed = Item(number), chance.choice([A, B, AB])
            backlog.push(item, allowed)
            model.append((item, allowed))
        elif what < 0.75 and model:
            item, allowed = model.pop(chance.randrange(len(model)))
            if what < 0.65:
                backlog.drop(item)
            else:
                backlog.remove({item}, allowed)
                put_back = Item(item.number)
                backlog.push(put_back, AB)
                model.append((put_back, AB))
                model.sort(key=lambda row: row[0].number)
        elif model:
            rows = list(backlog.lanes())
            firsts = {allowed: item for item, allowed in reversed(model)}
            assert [head for _lane, head in rows] == sorted(firsts.values(), key=lambda item: item.number)
            lane, head = chance.choice(rows)
            assert backlog.pop(lane) is head
            model.remove((head, lane.allowed))
        assert len(backlog) == len(model)
