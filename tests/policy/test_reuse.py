"""Are the hit rates at other sizes and times to live those that caches of such a kind would have had?"""

from __future__ import annotations

import tracemalloc
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import accumulate
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.policy.cache_index import CacheIndex, Entry
from synth_actors.policy.miniatures import DEAD_AT_MOST, Miniatures
from synth_actors.policy.reuse import SIZE_FACTORS, TTL_FACTORS, ReuseCurves

Trace = list[tuple[int, float]]  # which key, and when


def key(number: int) -> bytes:
    return blake2b(str(number).encode(), digest_size=16).digest()


def curves_of(trace: Trace, max_entries: int, ttl_s: float | None, sampled_at_most: int = 4096) -> ReuseCurves:
    curves = ReuseCurves(max_entries=max_entries, ttl_s=ttl_s, sampled_at_most=sampled_at_most)
    for number, now in trace:
        curves.record(key(number), now)
    return curves


# --------------------------------------------------------------------------------------------------- naive model


class NaiveCache:
    """LRU as one would write it down: what has expired goes first, then what was used longest ago."""

    def __init__(self, entries: int, ttl_s: float | None) -> None:
        self.entries, self.ttl_s = entries, ttl_s
        self.stored_at: OrderedDict[int, float] = OrderedDict()
        self.hits = 0
        self.answered: dict[int, bool] = {}

    def expire(self, now: float) -> None:
        if self.ttl_s is not None:
            for number, at in list(self.stored_at.items()):
                if at + self.ttl_s <= now:
                    del self.stored_at[number]

    def lookup(self, number: int, now: float) -> None:
        self.answered[number] = number in self.stored_at
        if number not in self.stored_at:
            if len(self.stored_at) == self.entries:
                self.stored_at.popitem(last=False)
            self.stored_at[number] = now
        self.join(number)

    def join(self, number: int) -> None:
        self.hits += self.answered[number]
        if number in self.stored_at:
            self.stored_at.move_to_end(number)


def naive_hits(
    lookups: list[tuple[int, float, bool]], shapes: Iterable[tuple[int, float | None]]
) -> dict[tuple[int, float | None], int]:
    caches = [NaiveCache(entries, ttl_s) for entries, ttl_s in shapes]
    for number, now, joined in lookups:
        for cache in caches:
            cache.expire(now)
        known = any(number in cache.stored_at for cache in caches)
        for cache in caches:
            if joined and known:
                cache.join(number)
            else:
                cache.lookup(number, now)
    return {(cache.entries, cache.ttl_s): cache.hits for cache in caches}


def lru_hit_rate(trace: Trace, entries: int, ttl_s: float | None) -> float:
    """As the naive cache, faster: no more than one lookup a second, so an entry is looked for when it expires."""
    stored: OrderedDict[int, float] = OrderedDict()
    expiring: list[tuple[float, int]] = []
    hits = first = 0
    for number, now in trace:
        while ttl_s is not None and first < len(expiring) and expiring[first][0] + ttl_s <= now:
            at, old = expiring[first]
            first += 1
            if stored.get(old) == at:
                del stored[old]
        if number in stored:
            hits += 1
            stored.move_to_end(number)
            continue
        if len(stored) == entries:
            stored.popitem(last=False)
        stored[number] = now
        expiring.append((now, number))
    return hits / len(trace)


def errors(curves: ReuseCurves, trace: Trace) -> tuple[list[float], list[float]]:
    """How far each point is beside the truth, by size and by time to live."""
    by_size = [
        abs(point.hit_rate - lru_hit_rate(trace, point.max_entries, curves.ttl_s)) for point in curves.size_curve()
    ]
    by_ttl = [
        abs(point.hit_rate - lru_hit_rate(trace, curves.max_entries, point.ttl_s)) for point in curves.ttl_curve()
    ]
    return by_size, by_ttl


# ----------------------------------------------------------------------------------------------------- exactness

steps = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from((0.0, 0.5, 1.0, 3.0)), st.booleans()), min_size=1, max_size=120
)


@given(steps=steps, max_entries=st.integers(1, 48), ttl_s=st.sampled_from((None, 0.5, 2.0, 8.0, 40.0)))
def test_while_every_key_is_looked_at_each_point_is_exactly_what_a_naive_cache_has(
    steps: list[tuple[int, float, bool]], max_entries: int, ttl_s: float | None
) -> None:
    lookups: list[tuple[int, float, bool]] = []
    now = 0.0
    for number, later_s, joined in steps:
        now += later_s
        lookups.append((number, now, joined))
    curves = ReuseCurves(max_entries=max_entries, ttl_s=ttl_s)
    for number, now, joined in lookups:
        curves.record(key(number), now, joined=joined)
    sizes = sorted({max(1, int(max_entries * factor)) for factor in SIZE_FACTORS})
    ttls = [ttl_s * factor for factor in TTL_FACTORS] + [None] if ttl_s is not None else []
    expected = naive_hits(lookups, dict.fromkeys([(size, ttl_s) for size in sizes] + [(max_entries, t) for t in ttls]))

    assert curves.rate == 1.0
    size_curve = curves.size_curve()
    assert [point.max_entries for point in size_curve] == sizes[: len(size_curve)]
    assert size_curve[-1].max_entries >= max_entries
    for point in size_curve:
        assert point.hit_rate == expected[point.max_entries, ttl_s] / len(lookups)
    for size in sizes[len(size_curve) :]:  # left out, since they change nothing
        assert expected[size, ttl_s] == expected[size_curve[-1].max_entries, ttl_s]
    assert [point.ttl_s for point in curves.ttl_curve()] == ttls
    for at in curves.ttl_curve():
        assert at.hit_rate == expected[max_entries, at.ttl_s] / len(lookups)


@pytest.mark.parametrize("ttl_s", [None, 150.0])
def test_at_the_present_size_and_time_to_live_it_is_what_the_real_index_does(ttl_s: float | None) -> None:
    random = Random(3)
    index = CacheIndex(max_entries=100, max_bytes=10**7, ttl_s=ttl_s)
    curves = ReuseCurves(max_entries=100, ttl_s=ttl_s)
    now = 0.0
    for _ in range(3000):
        now += random.random()
        digest = key(int(random.paretovariate(0.25)) % 400)
        curves.record(digest, now)
        if not isinstance(index.lookup(digest, now=now), Entry):
            index.store(digest, b"value", now=now, identity="maker")
        if random.random() < 0.1:
            index.tend(now, 200)
    present = next(point for point in curves.size_curve() if point.max_entries == 100)
    assert 0.1 < present.hit_rate < 0.9
    assert present.hit_rate == index.hits / 3000


def test_a_hit_does_not_prolong_what_was_stored() -> None:
    curves = curves_of([(1, 0.0), (1, 6.0), (1, 12.0), (1, 18.0)], max_entries=16, ttl_s=10.0)
    assert curves.hit_rate_at(16) == 0.5  # 6.0 and 18.0, which was stored at 12.0


def test_an_expired_entry_takes_no_place_from_one_that_lives() -> None:
    trace: Trace = [(1, 0.0), (2, 5.0), (1, 9.0), (3, 10.0), (2, 11.0)]  # 1 is over at 10.0, 2 was used before it
    assert curves_of(trace, max_entries=2, ttl_s=10.0).hit_rate_at(2) == 2 / 5


def test_what_waits_for_an_answer_is_a_hit_where_the_one_it_waits_with_was_a_hit() -> None:
    curves = ReuseCurves(max_entries=1, ttl_s=None)
    for number in (1, 2, 1):
        curves.record(key(number), 0.0)
    for _ in range(5):
        curves.record(key(1), 0.0, joined=True)
    assert [(point.max_entries, point.hit_rate) for point in curves.size_curve()] == [(1, 0.0), (2, 6 / 8)]


def test_who_waits_with_nobody_known_leads_itself() -> None:
    curves = ReuseCurves(max_entries=1, ttl_s=None)
    curves.record(key(1), 0.0, joined=True)  # the leader asked for a fresh answer, which is no lookup
    curves.record(key(1), 1.0)
    assert curves.hit_rate_at(1) == 0.5


def test_what_was_not_kept_is_no_hit_the_next_time() -> None:
    curves = ReuseCurves(max_entries=16, ttl_s=None)
    for _ in range(4):
        curves.record(key(1), 0.0)
        curves.not_kept(key(1))
    assert curves.hit_rate_at(16) == 0.0
    curves.record(key(1), 0.0)
    curves.record(key(1), 0.0)
    assert curves.hit_rate_at(16) == 1 / 6
    curves.not_kept(key(2))  # nobody knows it


def test_what_was_not_kept_stays_where_it_was_before() -> None:
    curves = ReuseCurves(max_entries=1, ttl_s=None)
    for number in (1, 2, 1):  # the third would not have been a call with two entries
        curves.record(key(number), 0.0)
    curves.not_kept(key(1))
    curves.record(key(1), 0.0)
    assert [(point.max_entries, point.hit_rate) for point in curves.size_curve()] == [(1, 0.0), (2, 0.5)]


def test_after_a_long_silence_nothing_is_served_although_not_all_is_dropped_at_once() -> None:
    keys = 1500
    trace: Trace = [(number, 0.0) for number in range(keys)] + [(number, 1e6) for number in range(keys)]
    curves = curves_of(trace, max_entries=2048, ttl_s=10.0)
    assert curves.rate == 1.0
    assert [point.hit_rate for point in curves.size_curve()] == [0.0] * 5
    assert [point.hit_rate for point in curves.ttl_curve()] == [0.0] * 6 + [0.5]


# ------------------------------------------------------------------------------------------------------ sampling


def zipf(random: Random, count: int, keys: int, exponent: float, first: int = 0) -> list[int]:
    weights = list(accumulate(1 / rank**exponent for rank in range(1, keys + 1)))
    return [first + rank for rank in random.choices(range(keys), cum_weights=weights, k=count)]


def shuffled_loops(random: Random, count: int, keys: int) -> Iterator[int]:
    for _ in range(-(-count // keys)):
        yield from random.sample(range(keys), keys)


def workload(name: str, count: int, keys: int) -> Trace:
    random = Random(name)
    match name:
        case "one-shots":
            numbers = list(range(count))
        case "loop":
            numbers = [at % keys for at in range(count)]
        case "shuffled loops":
            numbers = list(shuffled_loops(random, count, keys))[:count]
        case "uniform":
            numbers = random.choices(range(keys), k=count)
        case "phases":
            part = count // 4
            numbers = [
                *zipf(random, part, keys, 0.9),
                *random.choices(range(keys, keys + keys // 3), k=part),
                *(2 * keys + at % (keys // 2) for at in range(part)),
                *zipf(random, part, keys, 0.7, first=4 * keys),
            ]
        case _:
            numbers = zipf(random, count, keys, float(name.removeprefix("zipf ")))
    return [(number, float(at)) for at, number in enumerate(numbers)]


WORKLOADS = ("zipf 0.7", "zipf 0.9", "zipf 1.1", "loop", "shuffled loops", "uniform", "one-shots", "phases")


@pytest.mark.parametrize("ttl_s", [None, 6000.0])
@pytest.mark.parametrize("name", WORKLOADS)
def test_from_a_sample_of_the_keys_a_curve_is_beside_the_truth_by_no_more_than_two_hundredths(
    name: str, ttl_s: float | None
) -> None:
    trace = workload(name, 25_000, 5_700)
    curves = curves_of(trace, max_entries=1000, ttl_s=ttl_s, sampled_at_most=1200)
    assert curves.rate <= 0.5
    assert curves.lookups == 25_000
    by_size, by_ttl = errors(curves, trace)
    assert sum(by_size) / len(by_size) <= 0.02
    if ttl_s is not None:
        assert sum(by_ttl) / len(by_ttl) <= 0.02


def test_what_was_counted_at_a_higher_rate_keeps_its_part_of_the_whole() -> None:
    hits_first: Trace = [(number % 100, 0.0) for number in range(20_000)]
    curves = curves_of(hits_first, max_entries=1000, ttl_s=None)
    assert (curves.rate, curves.sampled_keys) == (1.0, 100)
    before = curves.hit_rate_at(1000)
    for number in range(20_000):
        curves.record(key(1000 + number), 0.0)
    assert curves.rate < 0.5
    assert curves.hit_rate_at(1000) == pytest.approx(before / 2, abs=0.01)


def test_few_keys_that_are_always_found_are_looked_at_for_ever() -> None:
    curves = curves_of(workload("zipf 1.1", 50_000, 60), max_entries=1000, ttl_s=None)
    assert (curves.rate, curves.sampled_keys) == (1.0, 60)


def test_a_sample_in_which_much_is_missed_becomes_smaller_by_itself_and_stays_large_enough() -> None:
    curves = curves_of(workload("loop", 60_000, 3_000), max_entries=1000, ttl_s=None)
    assert 1 / 16 <= curves.rate <= 1 / 4
    assert curves.sampled_keys >= 192


def test_keys_that_are_often_asked_for_stay_in_the_sample() -> None:
    curves = ReuseCurves(max_entries=10_000, ttl_s=None, sampled_at_most=512)
    often = [key(-number) for number in range(1, 21)]
    for number in range(4000):
        curves.record(often[number % 20], 0.0)
        curves.record(key(number), 0.0)
    assert curves.rate <= 1 / 8
    assert sum(curves._records.get(digest) is not None for digest in often) == 20
    assert all(curves._records[digest].weight == 1 for digest in often)


def test_which_of_the_keys_asked_for_most_are_in_the_sample_matters_little() -> None:
    """Half a dozen of them make half of the lookups, and come when one key in 16 is looked at: often none is."""
    beside = []
    for seed in range(6):
        one_shots = [(10**6 + number, 0.0) for number in range(6_000)]
        trace: Trace = one_shots + [(n, 0.0) for n in zipf(Random(seed), 14_000, 3_000, 1.2, first=seed * 10_000)]
        curves = curves_of(trace, max_entries=1000, ttl_s=None, sampled_at_most=512)
        assert curves.rate == 1 / 16
        by_size, _ = errors(curves, trace)
        beside.append(sum(by_size) / len(by_size))
    assert sum(beside) / 6 <= 0.05  # 0.35 if the sample were believed
    assert max(beside) <= 0.10


@pytest.mark.parametrize(("entries", "keys"), [(9, 2), (11, 3), (13, 3), (15, 4), (3, 1)])
def test_a_cache_has_as_many_keys_as_fill_it_rounded_by_what_each_stands_for(entries: int, keys: int) -> None:
    caches = Miniatures([(entries, None), (1000, None)])
    caches.thin()
    caches.thin()
    for number in range(400):
        caches.lookup(key(number), 0.0, False)
    there = [record for record in caches.keys.records.values() if record.mask & 1]
    assert [record.weight for record in there] == [4] * keys


# -------------------------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize(("max_entries", "ttl_s"), [(100, 300.0), (1000, 3000.0), (100_000, None)])
def test_memory_is_bounded_whatever_is_looked_up(max_entries: int, ttl_s: float | None) -> None:
    trace = [(key(number), now) for number, now in workload("zipf 0.7", 8_000, 30_000)]
    tracemalloc.start()
    try:
        curves = ReuseCurves(max_entries=max_entries, ttl_s=ttl_s)
        highest = 0
        for at, (digest, now) in enumerate(trace):
            curves.record(digest, now)
            assert curves.sampled_keys <= 4096
            if at % 500 == 0:
                highest = max(highest, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert highest <= 1.8e6
    caches = curves._caches
    assert len(caches._log) <= 4096 + 1 + DEAD_AT_MOST
    live = sum(len(list(record.stores())) for record in curves._records.values())
    assert len(caches._stores) <= live + 2 * DEAD_AT_MOST


def test_the_places_taken_are_those_of_the_keys_that_are_there() -> None:
    curves = ReuseCurves(max_entries=300, ttl_s=900.0, sampled_at_most=256)
    for number, now in workload("phases", 12_000, 3_000):
        curves.record(key(number), now)
        if number % 10 == 0:
            curves.not_kept(key(number))
    assert curves.rate < 1.0
    heaviest = max(record.weight for record in curves._records.values())
    for cache in curves._caches.caches:
        there = [record.weight for record in curves._records.values() if record.mask & cache.bit]
        assert cache.taken == sum(there)
        assert cache.taken <= cache.entries + heaviest
    for record in curves._records.values():
        assert record.mask == sum(stored.bits for stored in record.stores()) != 0


# ------------------------------------------------------------------------------------------------------ answers


def test_there_is_no_curve_before_the_first_lookup() -> None:
    curves = ReuseCurves(max_entries=10, ttl_s=5.0)
    assert curves.size_curve() == ()
    assert curves.ttl_curve() == ()
    with pytest.raises(ValueError, match="lookups=0"):
        curves.hit_rate_at(10)


def test_entries_that_never_expire_have_no_curve_by_time_to_live() -> None:
    assert curves_of([(1, 0.0)], max_entries=10, ttl_s=None).ttl_curve() == ()


def test_between_two_sizes_the_rate_goes_by_the_logarithm_and_below_the_smallest_by_the_size() -> None:
    trace = workload("loop", 4_000, 150)
    curves = curves_of(trace, max_entries=100, ttl_s=None)
    assert curves.hit_rate_at(100) == 0.0
    all_but_first = 1 - 150 / 4_000
    assert curves.hit_rate_at(200) == all_but_first
    assert curves.hit_rate_at(141) == pytest.approx(all_but_first / 2, rel=0.01)
    often = curves_of([(1, 0.0)] * 4, max_entries=64, ttl_s=None)
    assert (often.hit_rate_at(4), often.hit_rate_at(2), often.hit_rate_at(0)) == (0.75, 0.375, 0.0)


@pytest.mark.parametrize("entries", [-1, 3201])
def test_a_size_that_was_not_looked_at_is_refused(entries: int) -> None:
    with pytest.raises(ValueError, match=f"entries={entries}: .* up to 3200"):
        curves_of([(1, 0.0)], max_entries=100, ttl_s=None).hit_rate_at(entries)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_entries": 0, "ttl_s": None}, "max_entries=0"),
        ({"max_entries": 1, "ttl_s": 0.0}, "ttl_s=0.0"),
        ({"max_entries": 1, "ttl_s": None, "sampled_at_most": 31}, "sampled_at_most=31"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReuseCurves(**settings)


def test_they_say_how_they_are() -> None:
    curves = curves_of([(1, 0.0), (1, 1.0)], max_entries=10, ttl_s=5.0)
    assert repr(curves) == "<ReuseCurves lookups=2 keys=1 rate=1>"
    caches = Miniatures([(10, None)])
    caches.lookup(key(1), 0.0, False)
    assert (repr(caches), repr(caches.caches[0])) == ("<Miniatures caches=1 keys=1>", "<Cache 1/10 ttl_s=None>")
    assert repr(caches.keys) == "<SampledKeys keys=1 halvings=0>"
