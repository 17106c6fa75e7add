"""Does the cache keep to what it may occupy, whatever comes, and let go of the right entries for it?"""

from __future__ import annotations

from math import inf
from random import Random
from typing import Any, Literal

import pytest

from synth_actors.policy.cache_entry import ENTRY_OVERHEAD_BYTES
from synth_actors.policy.cache_index import NO_ROOM, STORED, Admission, CacheIndex
from synth_actors.policy.segments import SEGMENT_BYTES

Policy = Literal["lru", "cost"]
MIB = 2**20


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def index_of(policy: Policy = "lru", allocate: Any = bytearray) -> CacheIndex:
    return CacheIndex(max_entries=10**6, max_bytes=2**30, ttl_s=None, policy=policy, allocate=allocate)


def put(index: CacheIndex, number: int, size: int, ttl_s: float | None = None, now: float = 0.0) -> Admission:
    return index.store(key(number), bytes(size), now=now, identity="maker", tokens=1 + number % 7, ttl_s=ttl_s)


def filled(count: int, size: int, policy: Policy = "lru") -> CacheIndex:
    index = index_of(policy)
    for number in range(count):
        put(index, number, size)
    return index


def held(index: CacheIndex, count: int) -> list[int]:
    return [number for number in range(count) if key(number) in index]


@pytest.mark.parametrize("policy", ["lru", "cost"])
@pytest.mark.parametrize(("size", "bound", "count"), [(1_600, 4 * MIB, 12_000), (40_000, 20 * MIB, 3_000)])
def test_the_footprint_is_never_above_the_bound_though_nobody_tends_and_hits_are_scattered(
    policy: Policy, size: int, bound: int, count: int
) -> None:
    index = index_of(policy)
    index.bound_footprint(bound)
    random = Random(1)
    for number in range(count):
        assert put(index, number, int(size * random.uniform(0.5, 1.5))) is STORED
        assert index.footprint_bytes <= bound
        index.lookup(key(random.randrange(number + 1)), now=0.0)
    assert index.accounted_bytes > 0.7 * bound, "with what is dead, and less than a segment"
    assert index.evicted_for_memory == count - len(index)
    assert index.evicted_for_space == index.evicted_out_of_order == 0


def test_what_goes_is_what_was_used_longest_ago() -> None:
    index = filled(1000, 40_000)
    index.bound_footprint(index.footprint_bytes)
    for number in range(0, 500, 5):
        index.lookup(key(number), now=0.0)
    for number in range(1000, 1300):
        put(index, number, 40_000)
    gone = set(range(1000)) - set(held(index, 1000))
    cold = [number for number in range(1000) if number >= 500 or number % 5]
    assert gone == set(cold[: len(gone)])


def test_under_cost_what_goes_is_what_saves_least_and_others_age_by_it() -> None:
    index = filled(700, 40_000, "cost")
    index.bound_footprint(index.footprint_bytes)
    put(index, 700, 40_000)
    gone = set(range(700)) - set(held(index, 700))
    assert gone
    assert gone == set(range(0, 700, 7)[: len(gone)]), "the cheapest, the oldest first"
    assert index._entries[key(700)].priority > index._entries[key(693)].priority


def test_what_has_expired_goes_before_anything_that_lives() -> None:
    index = index_of()
    for number in range(100):
        put(index, number, 40_000, ttl_s=1.0 if number >= 50 else None)
    index.bound_footprint(index.footprint_bytes)
    for number in range(100, 120):
        put(index, number, 40_000, now=1.0)
    assert set(range(50)) | set(range(100, 120)) <= set(held(index, 120))
    assert 0 < index.expired <= 50
    assert index.evicted_for_memory == 0


def test_what_is_dead_is_cleaned_before_anything_that_lives_goes() -> None:
    index = filled(500, 40_000)
    index.bound_footprint(index.footprint_bytes)
    for number in range(0, 500, 2):
        index.discard(key(number))
    for number in range(500, 600):
        put(index, number, 40_000)
    assert index.evicted_for_memory == 0
    assert len(index) == 350


def test_a_value_that_fits_alone_is_kept_and_one_that_does_not_takes_nothing() -> None:
    index = filled(100, 1_600)
    bound = index.footprint_bytes
    index.bound_footprint(bound)
    assert put(index, 100, bound) is NO_ROOM
    assert len(index) == 100
    assert put(index, 101, bound - 2 * ENTRY_OVERHEAD_BYTES - 4096) is STORED
    assert index.footprint_bytes <= bound
    assert (index.no_room, index.evicted_for_memory) == (1, 101 - len(index))


def test_a_bound_below_what_is_occupied_takes_nothing_until_something_comes_which_gives_back_twice_as_much() -> None:
    index = filled(500, 40_000)
    before = index.footprint_bytes
    index.bound_footprint(before // 2)
    assert not index.tend(0.0, limit=1000)
    assert len(index) == 500
    for number in range(500, 700):
        put(index, number, 40_000)
        allowed = max(before // 2, before - (number - 499) * 40_000)
        assert allowed - 2 * SEGMENT_BYTES <= index.footprint_bytes <= allowed


def test_what_a_shrink_gives_back_is_not_filled_again_while_it_goes_on() -> None:
    index = filled(2000, 40_000)
    target = index.footprint_bytes * 3 // 4
    index.begin_shrink(index.footprint_bytes - target)
    index.bound_footprint(target)
    number, lowest = 2000, index.footprint_bytes
    for _ in range(100):
        index.tend(0.0, limit=20)
        lowest = min(lowest, index.footprint_bytes)
        for _ in range(30):
            put(index, number, 40_000)
            number += 1
        assert index.footprint_bytes <= max(target, lowest + SEGMENT_BYTES), "a segment may be copied just now"
    assert index._reclaim is None
    assert target - 2 * SEGMENT_BYTES < index.footprint_bytes <= target


def test_a_bound_that_rises_lets_it_grow_again_and_none_is_none() -> None:
    index = filled(500, 40_000)
    bound = index.footprint_bytes
    index.bound_footprint(bound)
    put(index, 500, 40_000)
    assert len(index) < 501
    index.bound_footprint(2 * bound)
    for number in range(501, 800):
        put(index, number, 40_000)
    assert len(index) > 750
    assert CacheIndex(max_entries=1, max_bytes=1, ttl_s=None)._ceiling_bytes == inf


class Counted(bytearray):
    """Counts what is copied into it."""

    copied_bytes = 0

    def __setitem__(self, part: Any, data: Any) -> None:
        Counted.copied_bytes += len(data)
        super().__setitem__(part, data)


@pytest.mark.parametrize("size", [300, 40_000])
def test_one_store_copies_no_more_than_a_few_segments_and_all_together_four_bytes_for_one(size: int) -> None:
    bound = 8 * MIB if size < 1000 else 24 * MIB
    index = index_of(allocate=Counted)
    index.bound_footprint(bound)
    random = Random(2)
    count = 30_000 if size < 1000 else 2_000
    Counted.copied_bytes = most = 0
    for number in range(count):
        before = Counted.copied_bytes
        put(index, number, size)
        most = max(most, Counted.copied_bytes - before)
        index.lookup(key(random.randrange(number + 1)), now=0.0)
    assert most < 3 * SEGMENT_BYTES
    assert Counted.copied_bytes < 5 * count * size
