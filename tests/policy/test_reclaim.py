"""When memory is short: does enough go back, do the right entries go, and is each turn short?"""

from __future__ import annotations

from random import Random
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.policy.cache_entry import Memory, Segment
from synth_actors.policy.cache_index import ENTRY_OVERHEAD_BYTES, CacheIndex, Entry
from synth_actors.policy.reclaim import Evicted, Sample, cut_off, in_order_of_gain
from synth_actors.policy.segments import COPIED_IN_A_TOUCH, RELEASED_IN_A_TOUCH

COUNT = 6_000
EACH = 1_600
Policy = Literal["lru", "cost"]


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def value(number: int) -> bytes:
    return key(number) * (EACH // 16)


def filled(policy: Policy = "lru", ttl_s: float | None = None) -> CacheIndex:
    index = CacheIndex(max_entries=COUNT, max_bytes=10**9, ttl_s=ttl_s, policy=policy)
    for number in range(COUNT):
        put(index, number)
    return index


def put(index: CacheIndex, number: int, ttl_s: float | None = None) -> None:
    index.store(key(number), value(number), now=0.0, identity="maker", tokens=1 + number % 7, ttl_s=ttl_s)


def shrink(index: CacheIndex, share: float, now: float = 0.0) -> int:
    """Down by this share of the footprint; returns the number of turns."""
    target = index.footprint_bytes - int(index.footprint_bytes * share)
    index.begin_shrink(index.footprint_bytes - target)
    turns = 1
    while index.tend(now, limit=200):
        turns += 1
    assert index.footprint_bytes <= target
    return turns


def held(index: CacheIndex) -> list[int]:
    return [number for number in range(COUNT) if key(number) in index]


@pytest.mark.parametrize("policy", ["lru", "cost"])
def test_a_fifth_of_the_memory_costs_a_fifth_of_the_entries(policy: Policy) -> None:
    index = filled(policy)
    shrink(index, 0.2)
    assert 0.79 * COUNT <= len(index) <= 0.81 * COUNT
    for number in held(index):
        found = index.lookup(key(number), now=0.0)
        assert isinstance(found, Entry)
        assert index.value(found) == value(number)


@pytest.mark.parametrize("policy", ["lru", "cost"])
def test_what_lies_between_live_values_goes_before_any_of_them(policy: Policy) -> None:
    index = filled(policy)
    for number in range(0, COUNT, 6):
        index.discard(key(number))
    before = len(index)
    shrink(index, 0.1)
    assert len(index) == before
    assert index.evicted_for_memory == 0


def test_what_was_used_lately_is_copied_out_of_a_cold_segment() -> None:
    index = filled()
    lately = range(0, COUNT, 9)  # spread over all segments, the oldest too
    for number in lately:
        index.lookup(key(number), now=0.0)
    shrink(index, 0.2)
    assert set(lately) <= set(held(index))
    assert len(index) >= 0.79 * COUNT


def test_what_is_dear_stays_whenever_it_was_used() -> None:
    index = filled("cost")
    shrink(index, 0.2)
    dearest = [number for number in range(COUNT) if number % 7 >= 3]
    assert set(dearest) <= set(held(index))


def test_what_has_expired_goes_before_what_lives_and_is_no_eviction() -> None:
    index = filled()
    for number in range(COUNT - COUNT // 4, COUNT):  # the hottest
        put(index, number, ttl_s=1.0)
    shrink(index, 0.2, now=1.0)
    assert held(index) == list(range(COUNT - COUNT // 4))
    assert (index.expired, index.evicted_for_memory) == (COUNT // 4, 0)


@pytest.mark.parametrize("policy", ["lru", "cost"])
def test_no_turn_touches_more_entries_than_it_may(policy: Policy) -> None:
    index = filled(policy)
    for number in range(0, COUNT, 2):
        index.lookup(key(number), now=0.0)
    index.begin_shrink(index.footprint_bytes // 2)
    before, more = len(index), True
    while more:
        more = index.tend(0.0, limit=20)
        assert before - len(index) <= 20
        before = len(index)


class Counted(bytearray):
    """Counts what is copied into it, and what is given back."""

    copied_bytes = released_bytes = 0

    def __setitem__(self, part: Any, data: Any) -> None:
        Counted.copied_bytes += len(data)
        super().__setitem__(part, data)

    def close(self) -> None:
        Counted.released_bytes += len(self)


@pytest.mark.parametrize("each", [20_000, 300_000, 1_000_000])
def test_of_large_values_a_turn_touches_fewer(each: int) -> None:
    """Copying a megabyte takes as long as touching a hundred entries; giving one back, as touching some ten."""
    count = 40_000_000 // each
    index = CacheIndex(max_entries=count, max_bytes=10**9, ttl_s=1.0, allocate=Counted)
    for number in range(count):
        index.store(key(number), bytes(each), now=0.0, identity="maker")
    lately = range(0, count, 2)
    for number in lately:
        index.lookup(key(number), now=0.0)

    def tend_on(now: float) -> None:
        more = True
        while more:
            Counted.copied_bytes = Counted.released_bytes = 0
            more = index.tend(now, limit=100)
            assert Counted.copied_bytes <= 100 * COPIED_IN_A_TOUCH + each
            assert Counted.released_bytes <= 2 * 100 * RELEASED_IN_A_TOUCH  # with what was dead around them

    index.begin_shrink(index.footprint_bytes // 3)
    tend_on(0.0)
    assert index.evicted_for_memory
    for number in range(0, count, 3):
        index.discard(key(number))
    tend_on(0.0)
    tend_on(1.0)
    assert len(index) == 0


def test_evictions_although_colder_entries_stay_are_counted() -> None:
    index = filled()
    shrink(index, 0.2)
    gone = sorted(set(range(COUNT)) - set(held(index)))
    coldest = min(held(index))
    assert index.evicted_for_memory == len(gone)
    assert index.evicted_out_of_order == sum(number > coldest for number in gone)


def test_a_newer_wish_takes_the_place_of_the_older_one_and_forgets_no_eviction() -> None:
    index = filled()
    before = index.footprint_bytes
    index.begin_shrink(before // 2)
    while index.evicted_for_memory < 500:
        assert index.tend(0.0, limit=20)
    evicted = set(range(COUNT)) - set(held(index))
    index.begin_shrink(0)
    while index.tend(0.0, limit=20):
        pass
    assert set(range(COUNT)) - set(held(index)) == evicted
    coldest = min(held(index))
    assert index.evicted_out_of_order == sum(number > coldest for number in evicted)


def test_a_wish_for_nothing_is_none() -> None:
    index = filled()
    index.begin_shrink(0)
    assert not index.is_busy


def test_a_wish_for_everything_takes_everything() -> None:
    index = filled()
    index.begin_shrink(10**12)
    while index.tend(0.0, limit=200):
        pass
    assert (len(index), index.footprint_bytes, index.evicted_for_memory) == (0, 0, COUNT)


def test_entries_that_cannot_be_copied_out_for_want_of_memory_go() -> None:
    def allocate(size_bytes: int) -> Memory:
        if is_short:
            raise OSError(12, "Cannot allocate memory")
        return bytearray(size_bytes)

    is_short = False
    index = CacheIndex(max_entries=COUNT, max_bytes=10**9, ttl_s=None, allocate=allocate)
    for number in range(COUNT):
        put(index, number)
    is_short = True
    shrink(index, 0.2)
    assert len(index) >= 0.7 * COUNT
    assert len(index) + index.evicted_for_memory == COUNT


def test_a_cache_of_one_segment_shrinks_too() -> None:
    index = CacheIndex(max_entries=100, max_bytes=10**9, ttl_s=None)
    for number in range(20):
        put(index, number)
    shrink(index, 0.5)
    assert len(index) >= 8
    assert min(held(index)) >= 20 - len(index) - 4


@pytest.mark.parametrize("seed", range(0, 2_000, 200))
def test_small_caches_reach_their_target_too_though_pages_are_large_beside_their_values(seed: int) -> None:
    for number in range(seed, seed + 200):  # 194 copied the same values for ever
        random = Random(number)
        max_bytes, max_entries = random.choice([10_397, random.randrange(2_000, 40_000)]), random.randrange(1, 12)
        index = CacheIndex(max_entries=max_entries, max_bytes=max_bytes, ttl_s=None, max_entry_bytes=9_000)
        for _ in range(random.randrange(10, 60)):
            asked = key(random.randrange(12))
            if not isinstance(index.lookup(asked, now=0.0), Entry) or random.random() < 0.1:
                size = random.randrange(random.choice((20, 500, 3_000, 9_000)))
                index.store(asked, bytes(size), now=0.0, identity="maker")
        while index.tend(0.0, limit=5):
            pass
        assert shrink(index, random.choice((0.1, 0.2, 0.5))) < 20


@pytest.mark.parametrize("policy", ["lru", "cost"])
def test_cleaning_gives_back_what_is_dead_and_keeps_every_value(policy: Policy) -> None:
    index = filled(policy)
    for number in range(0, COUNT, 2):
        index.discard(key(number))
    assert index.is_busy
    before = index.segments.resident_bytes
    while index.tend(0.0, limit=50):
        pass
    assert index.segments.resident_bytes < 0.7 * before
    assert held(index) == list(range(1, COUNT, 2))
    for number in held(index):
        found = index.lookup(key(number), now=0.0)
        assert isinstance(found, Entry)
        assert index.value(found) == value(number)
    assert (index.evicted_for_memory, index.evicted_out_of_order) == (0, 0)


segment_numbers = st.integers(0, 4)


@given(
    drawn=st.lists(
        st.tuples(st.integers(0, 50), st.integers(1, 100), segment_numbers), min_size=1, unique_by=lambda d: d[0]
    ),
    share=st.floats(0.01, 2.0),
)
def test_below_the_cut_off_lies_what_is_wanted_and_no_sample_more(
    drawn: list[tuple[int, int, int]], share: float
) -> None:
    segment = Segment(bytearray(1), 1)
    samples = [Sample((0.0, used), weight, segment) for used, weight, _number in drawn]
    rank = cut_off(samples, share)
    assert rank is not None
    total = sum(sample.stands_for_bytes for sample in samples)
    below = sum(sample.stands_for_bytes for sample in samples if sample.rank <= rank)
    last = next(sample.stands_for_bytes for sample in samples if sample.rank == rank)
    assert below >= min(share, 1.0) * total - 1e-6
    assert below - last < share * total


def test_of_segments_that_are_as_cold_the_coldest_comes_first_whenever_it_was_written() -> None:
    older, copied = (Segment(bytearray(1), 1000) for _ in range(2))
    for segment in (older, copied):
        segment.written_bytes = segment.live_bytes = 1000
    samples = [Sample((0.0, 5), 1000.0, older), Sample((0.0, 1), 1000.0, copied)]
    assert in_order_of_gain([older, copied], samples, (0.0, 9)) == [copied, older]


@pytest.mark.parametrize("size", [1_600, 40_000])
def test_of_answers_that_are_never_used_again_few_go_out_of_order(size: int) -> None:
    count = 20_000_000 // size
    index = CacheIndex(max_entries=10**6, max_bytes=10**9, ttl_s=None)
    for number in range(4 * count):
        index.store(key(number), bytes(size), now=0.0, identity="maker")
        if number >= count and number % (count // 5) == 0:
            shrink(index, 0.2)
    assert index.evicted_for_memory > 2 * count
    assert index.evicted_out_of_order < 0.2 * index.evicted_for_memory, "0.88 when what was copied out went last"


def test_nothing_wanted_or_nothing_there_is_no_cut_off() -> None:
    sample = Sample((0.0, 1), 10.0, Segment(bytearray(1), 1))
    assert cut_off([sample], 0.0) is None
    assert cut_off([], 0.5) is None


def test_segments_that_give_back_most_come_first_and_those_unknown_last() -> None:
    unknown, hot, cold, dead = (Segment(bytearray(1), 1000) for _ in range(4))
    for segment, live_bytes in ((unknown, 0), (hot, 1000), (cold, 1000), (dead, 300)):
        segment.written_bytes, segment.live_bytes = 1000, live_bytes
    samples = [
        Sample((0.0, 1), 500.0, cold),
        Sample((0.0, 9), 500.0, cold),
        Sample((0.0, 8), 1000.0, hot),
        Sample((0.0, 7), 300.0, dead),
    ]
    assert in_order_of_gain([unknown, hot, cold, dead], samples, (0.0, 2)) == [dead, cold, hot, unknown]


@given(ranks=st.lists(st.tuples(st.floats(0, 1e9), st.integers(1, 2**50))), limit=st.integers(1, 7))
def test_ranks_that_were_put_away_come_back_once(ranks: list[tuple[float, int]], limit: int) -> None:
    evicted = Evicted()
    for rank in ranks:
        evicted.add(rank)
    taken = []
    while part := evicted.take(limit):
        assert len(part) <= limit
        taken += part
    assert sorted(taken) == sorted(ranks)


def test_the_overhead_of_entries_is_part_of_the_footprint() -> None:
    index = CacheIndex(max_entries=100, max_bytes=10**9, ttl_s=None)
    index.store(key(1), b"", now=0.0, identity="maker")
    assert index.footprint_bytes == ENTRY_OVERHEAD_BYTES
