"""Does the cache give what is live, and let go of the right thing first?"""

from __future__ import annotations

import os
import tracemalloc
from math import inf
from typing import Literal

import pytest

from synth_actors.machine import map_pages
from synth_actors.policy.cache_index import (
    ENTRY_OVERHEAD_BYTES,
    MISS,
    NO_ROOM,
    REFUSED,
    STALE,
    STORED,
    Absent,
    Admission,
    CacheIndex,
    Entry,
)

ROOMY = 10**9


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def value(number: int, size: int = 50) -> bytes:
    return number.to_bytes(2, "big") * (size // 2)


def index_of(
    *numbers: int,
    max_entries: int = 100,
    max_bytes: int = ROOMY,
    ttl_s: float | None = 10.0,
    policy: Literal["lru", "cost"] = "lru",
    max_entry_bytes: int | None = None,
) -> CacheIndex:
    index = CacheIndex(
        max_entries=max_entries, max_bytes=max_bytes, ttl_s=ttl_s, policy=policy, max_entry_bytes=max_entry_bytes
    )
    for number in numbers:
        put(index, number)
    return index


def put(index: CacheIndex, number: int, size: int = 50, now: float = 0.0, ttl_s: float | None = None) -> Admission:
    return index.store(key(number), value(number, size), now=now, identity="maker", tokens=5, ttl_s=ttl_s)


def held(index: CacheIndex) -> list[int]:
    return [number for number in range(20) if key(number) in index]


def test_a_stored_value_is_a_hit_with_its_value() -> None:
    index = index_of(1)
    found = index.lookup(key(1), now=1.0, identities=frozenset({"maker"}))
    assert isinstance(found, Entry)
    assert (index.value(found), found.identity, found.expires_at) == (value(1), "maker", 10.0)
    assert found.size_bytes == 50 + ENTRY_OVERHEAD_BYTES
    assert (index.hits, index.misses) == (1, 0)


def test_a_key_never_stored_is_a_miss() -> None:
    index = index_of()
    assert index.lookup(key(1), now=0.0) is MISS
    assert (index.hits, index.misses, index.stale) == (0, 1, 0)


@pytest.mark.parametrize("now", [10.0, 10.1, 1e9])
def test_an_expired_entry_is_never_a_hit_and_is_gone(now: float) -> None:
    index = index_of(1)
    assert index.lookup(key(1), now=now) is STALE
    assert index.lookup(key(1), now=now) is MISS
    assert (index.hits, index.misses, index.stale, index.expired) == (0, 2, 1, 1)
    assert (len(index), index.accounted_bytes, index.next_expiry()) == (0, 0, None)


def test_an_entry_lives_until_just_before_its_time() -> None:
    assert isinstance(index_of(1).lookup(key(1), now=9.999), Entry)


def test_what_another_endpoint_made_is_a_miss_and_stays() -> None:
    index = index_of(1)
    assert index.lookup(key(1), now=0.0, identities=frozenset({"somebody else"})) is MISS
    assert index.misses == 1
    assert isinstance(index.lookup(key(1), now=0.0), Entry)


def test_a_miss_for_its_identity_does_not_make_an_entry_young() -> None:
    index = index_of(1, 2, max_entries=2)
    index.lookup(key(1), now=0.0, identities=frozenset())
    put(index, 3)
    assert held(index) == [2, 3]


def test_the_least_recently_used_goes_first() -> None:
    index = index_of(1, 2, 3, max_entries=3)
    index.lookup(key(1), now=0.0)
    put(index, 4)
    assert held(index) == [1, 3, 4]
    assert index.evicted_for_space == 1


def test_what_expired_goes_before_the_least_recently_used() -> None:
    index = index_of(1, 2, max_entries=3)
    put(index, 3, ttl_s=5.0)
    put(index, 4, now=5.0)
    assert held(index) == [1, 2, 4]
    assert (index.expired, index.evicted_for_space) == (1, 0)


def test_storing_makes_room_for_bytes_and_no_more_than_needed() -> None:
    each = 50 + ENTRY_OVERHEAD_BYTES
    index = index_of(1, 2, 3, 4, max_bytes=4 * each)
    put(index, 5, size=50 + each)
    assert held(index) == [3, 4, 5]
    assert index.accounted_bytes == 4 * each


def test_a_value_that_fits_exactly_is_stored() -> None:
    index = index_of(max_bytes=50 + ENTRY_OVERHEAD_BYTES)
    assert put(index, 1, size=50) is STORED
    assert index.accounted_bytes == index.max_bytes


def test_a_value_larger_than_the_cache_has_no_room_and_evicts_nobody() -> None:
    index = index_of(1, max_bytes=1000)
    assert put(index, 2, size=1002 - ENTRY_OVERHEAD_BYTES) is NO_ROOM
    assert held(index) == [1]
    assert (index.stored, index.no_room, index.evicted_for_space) == (1, 1, 0)


def test_a_value_without_room_takes_the_older_one_of_its_key_with_it() -> None:
    index = index_of(1, max_bytes=1000)
    assert put(index, 1, size=1000) is NO_ROOM
    assert (held(index), index.accounted_bytes, index.replaced) == ([], 0, 1)


@pytest.mark.parametrize(("size", "admission"), [(50, STORED), (52, REFUSED)])
def test_a_value_may_be_as_large_as_one_may_be_and_no_larger(size: int, admission: Admission) -> None:
    index = index_of(max_entry_bytes=50)
    assert put(index, 1, size=size) is admission
    assert index.refused == (admission is REFUSED)


def test_without_memory_for_it_a_value_has_no_room_and_the_cache_goes_on() -> None:
    def allocate(size_bytes: int) -> bytearray:
        if allocated:
            raise OSError(12, "Cannot allocate memory")
        allocated.append(size_bytes)
        return bytearray(size_bytes)

    allocated: list[int] = []
    index = CacheIndex(max_entries=100, max_bytes=20_000, ttl_s=None, allocate=allocate)
    assert put(index, 1, size=4000) is STORED
    assert put(index, 2, size=4000) is NO_ROOM
    assert put(index, 3, size=50) is STORED
    assert (held(index), index.stored, index.no_room, index.accounted_bytes) == (
        [1, 3],
        2,
        1,
        4050 + 2 * ENTRY_OVERHEAD_BYTES,
    )


def test_a_cache_of_no_entries_has_no_room() -> None:
    index = index_of(max_entries=0)
    assert put(index, 1) is NO_ROOM


def test_a_newer_value_replaces_the_older_one_and_its_expiry() -> None:
    index = index_of(1, 2)
    index.store(key(1), b"newer", now=5.0, identity="another")
    found = index.lookup(key(1), now=14.0)
    assert isinstance(found, Entry)
    assert (index.value(found), found.identity, found.expires_at) == (b"newer", "another", 15.0)
    assert index.accounted_bytes == 50 + 5 + 2 * ENTRY_OVERHEAD_BYTES
    assert (index.stored, index.replaced, len(index)) == (3, 1, 2)


def test_replacing_in_a_full_cache_evicts_nobody() -> None:
    index = index_of(1, 2, max_entries=2)
    put(index, 1)
    assert (held(index), index.evicted_for_space) == ([1, 2], 0)


def test_without_a_ttl_nothing_expires() -> None:
    index = index_of(1, ttl_s=None)
    assert index.next_expiry() is None
    found = index.lookup(key(1), now=1e12)
    assert isinstance(found, Entry)
    assert found.expires_at == inf


def test_the_next_expiry_is_the_earliest_one() -> None:
    index = index_of(1, 2)
    put(index, 3, ttl_s=4.0)
    put(index, 4, ttl_s=6.0)
    assert index.next_expiry() == 4.0
    index.discard(key(3))
    assert index.next_expiry() == 6.0
    assert index.expire(6.0, limit=10) == 1
    assert index.next_expiry() == 10.0


def test_expiring_takes_the_longest_expired_first_and_no_more_than_the_limit() -> None:
    index = index_of()
    for number in (3, 1, 2):
        put(index, number, ttl_s=float(number))
    assert index.expire(2.5, limit=1) == 1
    assert held(index) == [2, 3]
    assert index.expire(2.5, limit=10) == 1
    assert index.expire(2.5, limit=10) == 0
    assert (held(index), index.expired) == ([3], 2)


def test_discarding_and_clearing_are_counted_and_leave_nothing_accounted() -> None:
    index = index_of(1, 2, 3)
    assert index.discard(key(1)) is True
    assert index.discard(key(1)) is False
    index.clear()
    assert (len(index), index.accounted_bytes, index.next_expiry(), index.discarded) == (0, 0, None, 3)
    assert index.footprint_bytes == 0
    assert put(index, 1) is STORED


def test_a_verdict_can_be_matched() -> None:
    index = index_of(1)
    verdicts = []
    for number in (1, 2):
        match index.lookup(key(number), now=0.0):
            case Entry() as entry:
                verdicts.append(index.value(entry))
            case Absent.MISS | Absent.STALE:
                verdicts.append(b"")
    assert verdicts == [value(1), b""]


def test_reprs_say_what_is_held() -> None:
    index = index_of(1)
    assert "entries=1/100" in repr(index)
    assert "of maker" in repr(index.lookup(key(1), now=0.0))


def test_what_belongs_to_an_entry_comes_back_with_it() -> None:
    index, label = index_of(), object()
    index.store(key(1), b"text", now=0.0, identity="maker", label=label, tokens=7, cost_usd=0.25)
    found = index.lookup(key(1), now=0.0)
    assert isinstance(found, Entry)
    assert found.label is label
    assert (found.tokens, found.cost_usd, found.value_bytes) == (7, 0.25, 4)


def test_a_value_that_was_given_does_not_change_when_its_entry_goes() -> None:
    index = index_of(1)
    found = index.lookup(key(1), now=0.0)
    assert isinstance(found, Entry)
    given = index.value(found)
    put(index, 1, size=60)
    assert given == value(1)
    with pytest.raises(LookupError, match="has gone from the cache: read its value in the turn"):
        index.value(found)


@pytest.mark.parametrize("policy", ["lru", "cost"])
def test_an_index_that_was_cleared_starts_anew(policy: Literal["lru", "cost"]) -> None:
    index = index_of(1, 2, max_entries=2, policy=policy)
    index.begin_shrink(1)
    index.clear()
    assert not index.is_busy
    for number in (3, 4, 5):
        put(index, number)
    assert (held(index), index.evicted_for_space) == ([4, 5], 1)


@pytest.mark.parametrize("policy", ["lru", "cost"])
@pytest.mark.parametrize("count", [1_000, 22_000])
def test_the_overhead_of_an_entry_is_what_was_measured(count: int, policy: Literal["lru", "cost"]) -> None:
    index = CacheIndex(
        max_entries=count, max_bytes=10**12, ttl_s=60.0, policy=policy, worth="usd", allocate=map_pages
    )  # mapped pages are not traced
    text = bytes(2000)
    tracemalloc.start()
    try:
        before, _peak = tracemalloc.get_traced_memory()
        for number in range(count):
            entry_key, now = os.urandom(16), number * 0.001
            index.store(
                entry_key,
                text[number % 1000 :],
                now=now,
                identity="maker",
                tokens=400 + number,
                cost_usd=1 / (number + 1),
            )
            index.lookup(entry_key, now=now)
        after, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # less where the allocator's free lists, which nobody traces, were full before
    assert 0.6 * ENTRY_OVERHEAD_BYTES <= (after - before) / count <= ENTRY_OVERHEAD_BYTES
