"""Does the entry go that saves least for its room?"""

from __future__ import annotations

from typing import Any

import pytest

from synth_actors.policy.cache_index import ENTRY_OVERHEAD_BYTES, CacheIndex
from synth_actors.policy.eviction import UNSETTLED_AT_MOST


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def index_of(max_entries: int = 100, max_bytes: int = 10**6, **settings: Any) -> CacheIndex:
    return CacheIndex(max_entries=max_entries, max_bytes=max_bytes, ttl_s=None, policy="cost", **settings)


def put(index: CacheIndex, number: int, size: int = 0, tokens: int = 0, cost_usd: float | None = None) -> None:
    index.store(key(number), bytes(size), now=0.0, identity="maker", tokens=tokens, cost_usd=cost_usd)


def use(index: CacheIndex, *numbers: int) -> None:
    for number in numbers:
        index.lookup(key(number), now=0.0)


def held(index: CacheIndex) -> list[int]:
    return [number for number in range(1000) if key(number) in index]


def test_the_cheapest_of_equal_size_and_use_goes_first() -> None:
    index = index_of(max_entries=3, worth="usd")
    for number, cost_usd in ((1, 0.3), (2, 0.1), (3, 0.2), (4, 0.3)):
        put(index, number, cost_usd=cost_usd)
    assert held(index) == [1, 3, 4]


def test_what_is_used_often_is_worth_as_much_as_what_is_dear() -> None:
    index = index_of(max_entries=2, worth="usd")
    put(index, 1, cost_usd=0.1)
    put(index, 2, cost_usd=0.25)
    use(index, 1, 1)
    put(index, 3, cost_usd=0.5)
    assert held(index) == [1, 3]


def test_what_takes_more_room_goes_first_where_bytes_are_short() -> None:
    size = 10_000
    index = index_of(max_bytes=3 * size + 3 * ENTRY_OVERHEAD_BYTES)
    put(index, 1, size=size, tokens=5)
    put(index, 2, size=2 * size, tokens=5)
    put(index, 3, size=size, tokens=5)
    assert held(index) == [1, 3]


def test_where_places_are_short_what_is_small_is_worth_no_more_for_it() -> None:
    index = index_of(max_entries=2, max_bytes=10**9)
    put(index, 1, size=2_000, tokens=5)
    put(index, 2, size=20, tokens=4)
    put(index, 3, tokens=5)
    assert held(index) == [1, 3]


@pytest.mark.parametrize("worth", ["usd", "tokens"])
def test_without_any_worth_it_is_lru(worth: str) -> None:
    index = index_of(max_entries=3, worth=worth)
    for number in (1, 2, 3):
        put(index, number)
    use(index, 1)
    put(index, 4)
    put(index, 5)
    assert held(index) == [1, 4, 5]


def test_worth_in_tokens_does_not_look_at_dollars_nor_the_other_way_round() -> None:
    by_tokens, by_dollars = index_of(max_entries=1, worth="tokens"), index_of(max_entries=2, worth="usd")
    for index in (by_tokens, by_dollars):
        index.max_entries = 2
        put(index, 1, tokens=5, cost_usd=0.1)
        put(index, 2, tokens=4, cost_usd=0.2)
        put(index, 3, tokens=9, cost_usd=0.9)
    assert (held(by_tokens), held(by_dollars)) == ([1, 3], [2, 3])


def test_what_was_worth_much_long_ago_goes_at_last() -> None:
    index = index_of(max_entries=2, worth="usd")
    put(index, 0, cost_usd=1.0)
    for number in range(1, 9):
        put(index, number, cost_usd=0.1)
    assert 0 in held(index)
    for number in range(9, 30):
        put(index, number, cost_usd=0.1)
    assert 0 not in held(index)


def test_hits_after_which_nothing_is_stored_are_sorted_in_small_portions() -> None:
    count = UNSETTLED_AT_MOST + 100
    index = index_of(max_entries=count)
    for number in range(count):
        put(index, number, tokens=10_000 + number)
    use(index, *range(count))
    assert index.is_busy
    turns = 1
    while index.tend(0.0, limit=50):
        turns += 1
    assert turns == 1 + count // 50
    use(index, *range(count // 2))
    put(index, count, tokens=1)
    assert count // 2 not in held(index), "the order is exact all the same"


def test_removals_leave_the_lowest_to_be_sorted_too() -> None:
    count = 3 * UNSETTLED_AT_MOST
    index = index_of(max_entries=count)
    for number in range(count):
        put(index, number, tokens=10_000 + number)
    use(index, *range(UNSETTLED_AT_MOST // 2, UNSETTLED_AT_MOST))
    for number in range(UNSETTLED_AT_MOST // 2):
        index.discard(key(number))
    index.tend(0.0, limit=10)
    assert not index.is_busy
    for number in range(UNSETTLED_AT_MOST, 3 * UNSETTLED_AT_MOST):
        index.discard(key(number))
    assert index.is_busy
