"""Does the cache behave like a plain list that does everything the slow way?

The model keeps a list and looks through all of it for everything.  Which entries a shrink takes is up to the index; the
model follows it, and checks what must hold whatever it takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from random import Random
from typing import Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from synth_actors.policy.cache_entry import in_pages
from synth_actors.policy.cache_index import (
    ENTRY_OVERHEAD_BYTES,
    MISS,
    NO_ROOM,
    REFUSED,
    STALE,
    STORED,
    CacheIndex,
    Entry,
)
from synth_actors.policy.segments import DEAD_SHARE

KEYS = [bytes([number]) * 16 for number in range(12)]
IDENTITIES = ["local", "paid"]
COUNTERS = [
    *("hits", "misses", "stale", "stored", "refused", "no_room", "replaced", "discarded", "expired"),
    *("evicted_for_space", "evicted_for_memory"),
]
LARGEST = 9_000  # two pages and a bit
keys = st.sampled_from(KEYS)
times = st.sampled_from([0.0, 0.5, 1.0, 3.0, 10.0])
weights = st.sampled_from([0, 1, 50])
sizes = st.integers(0, 50) | st.integers(0, 3_000) | st.integers(4_000, LARGEST + 1)


@dataclass(eq=False)
class Line:
    key: bytes
    value: bytes
    expires_at: float
    identity: str
    tokens: int
    used: int  # when, counted
    uses: int = 1
    priority: float = 0.0

    @property
    def size(self) -> int:
        return len(self.value) + ENTRY_OVERHEAD_BYTES

    @property
    def rank(self) -> tuple[float, int]:
        return (self.priority, self.used)


class CacheAgainstList(RuleBasedStateMachine):
    """Every verdict, every drop and every counter of the index is that of the list."""

    @initialize(
        max_entries=st.integers(1, 12),
        max_bytes=st.integers(ENTRY_OVERHEAD_BYTES, 80_000),
        ttl_s=st.sampled_from([None, 1.0, 5.0]),
        policy=st.sampled_from(["lru", "cost"]),
    )
    def begin(self, max_entries: int, max_bytes: int, ttl_s: float | None, policy: Literal["lru", "cost"]) -> None:
        self.index = CacheIndex(
            max_entries=max_entries,
            max_bytes=max_bytes,
            ttl_s=ttl_s,
            policy=policy,
            max_entry_bytes=LARGEST,
            allocate=self.allocate,
        )
        self.by_cost = policy == "cost"
        self.floor = 0.0
        self.bound = self.ceiling = inf
        self.memory_is_short = False
        self.lines: list[Line] = []
        self.now = 0.0
        self.serial = 0
        self.counts = dict.fromkeys(COUNTERS, 0)

    def allocate(self, size_bytes: int) -> bytearray:
        if self.memory_is_short:
            raise OSError(12, "Cannot allocate memory")
        return bytearray(size_bytes)

    @rule(step=times)
    def time_passes(self, step: float) -> None:
        self.now += step

    @rule(short=st.booleans())
    def the_machine_has_memory_or_none(self, short: bool) -> None:
        self.memory_is_short = short

    @rule(asked=st.lists(st.tuples(keys, sizes, weights), min_size=5, max_size=30))
    def ask_and_keep_what_was_missing(self, asked: list[tuple[bytes, int, int]]) -> None:
        for key, size, tokens in asked:
            self.look_up(key, None)
            if self.line_of(key) is None:
                self.store(key, size, tokens, None, IDENTITIES[0])

    @rule(seed=st.randoms(use_true_random=False), count=st.integers(10, 60))
    def ask_for_much(self, seed: Random, count: int) -> None:
        for _ in range(count):
            key = seed.choice(KEYS)
            self.look_up(key, None)
            if self.line_of(key) is None or seed.random() < 0.1:
                size = seed.choice((20, 500, 3_000, LARGEST))
                self.store(key, seed.randrange(size), seed.choice((0, 1, 50)), None, IDENTITIES[1])

    @rule(key=keys, identities=st.none() | st.frozensets(st.sampled_from(IDENTITIES)))
    def look_up(self, key: bytes, identities: frozenset[str] | None) -> None:
        found = self.index.lookup(key, now=self.now, identities=identities)
        line = self.line_of(key)
        if line is None or (self.lives(line) and identities is not None and line.identity not in identities):
            self.counts["misses"] += 1
            assert found is MISS
        elif not self.lives(line):
            self.drop(line, "expired")
            self.counts["misses"] += 1
            self.counts["stale"] += 1
            assert found is STALE
        else:
            line.uses += 1
            self.use(line)
            self.counts["hits"] += 1
            assert isinstance(found, Entry)
            assert (found.tokens, self.index.value(found)) == (line.tokens, line.value)

    @rule(
        key=keys,
        size=sizes,
        tokens=weights,
        ttl_s=st.none() | times,
        who=st.sampled_from(IDENTITIES),
    )
    def store(self, key: bytes, size: int, tokens: int, ttl_s: float | None, who: str) -> None:
        value = self.new_value(size)
        is_shrinking = self.index._reclaim is not None
        admission = self.index.store(key, value, now=self.now, identity=who, tokens=tokens, ttl_s=ttl_s)
        if size > LARGEST:
            self.counts["refused"] += 1
            assert admission is REFUSED
            return
        if (older := self.line_of(key)) is not None:
            self.drop(older, "replaced")
        lifetime_s = self.index.ttl_s if ttl_s is None else ttl_s
        line = Line(key, value, inf if lifetime_s is None else self.now + lifetime_s, who, tokens, 0)
        needed = in_pages(size) + ENTRY_OVERHEAD_BYTES
        ceiling = max(self.bound, self.ceiling - needed)
        if line.size > self.index.max_bytes or needed > ceiling:
            self.counts["no_room"] += 1
            assert admission is NO_ROOM
            return
        while len(self.lines) >= self.index.max_entries or self.total() + line.size > self.index.max_bytes:
            self.make_room()
        self.ceiling = ceiling
        self.make_way(is_shrinking)
        assert self.index.footprint_bytes <= self.ceiling
        if admission is NO_ROOM:
            assert self.memory_is_short
            self.counts["no_room"] += 1
            return
        self.use(line)
        self.lines.append(line)
        self.counts["stored"] += 1
        assert admission is STORED

    @rule(limit=st.integers(0, 4))
    def expire(self, limit: int) -> None:
        assert self.index.expire(self.now, limit) == self.drop_expired(limit)

    @rule(wanted=st.integers(-1, 30_000))
    def begin_shrink(self, wanted: int) -> None:
        self.index.begin_shrink(wanted)

    @rule(bound=st.integers(0, 100_000))
    def bound_footprint(self, bound: int) -> None:
        self.index.bound_footprint(bound)
        self.bound, self.ceiling = bound, max(bound, self.index.footprint_bytes)

    @rule(limit=st.integers(0, 6))
    def tend(self, limit: int) -> None:
        was_busy = self.index.is_busy
        more = self.index.tend(self.now, limit)
        self.lower_the_ceiling()
        touched = self.drop_expired(limit)
        evicted = self.drop_what_went()
        assert touched + len(evicted) <= limit
        assert was_busy or not evicted
        assert more == (self.index.is_busy or self.longest_expired() is not None)

    @rule()
    def tend_until_all_is_done(self) -> None:
        self.tend_on()

    @rule(share=st.sampled_from([0.1, 0.2, 0.5, 1.0]))
    @precondition(lambda self: not self.memory_is_short)
    def shrink(self, share: float) -> None:
        wanted = int(self.index.footprint_bytes * share)
        target = self.index.footprint_bytes - wanted
        self.tend_on()
        before = self.index.evicted_out_of_order
        wanted = max(0, self.index.footprint_bytes - target)
        self.index.begin_shrink(wanted)
        evicted = self.tend_on()
        assert self.index.footprint_bytes <= target
        coldest = min((line.rank for line in self.lines), default=(inf, 0))
        assert self.index.evicted_out_of_order - before == sum(line.rank > coldest for line in evicted)
        if not wanted:
            assert not evicted

    @rule(key=keys)
    def discard(self, key: bytes) -> None:
        line = self.line_of(key)
        assert self.index.discard(key) == (line is not None)
        if line is not None:
            self.drop(line, "discarded")

    @rule()
    def clear(self) -> None:
        self.index.clear()
        while self.lines:
            self.drop(self.lines[0], "discarded")
        assert self.index.footprint_bytes == 0

    @invariant()
    def it_is_never_above_a_bound(self) -> None:
        assert len(self.index) <= self.index.max_entries
        assert self.index.accounted_bytes <= self.index.max_bytes

    @invariant()
    def it_holds_what_the_list_holds(self) -> None:
        assert len(self.index) == len(self.lines)
        assert {key for key in KEYS if key in self.index} == {line.key for line in self.lines}
        assert self.index.accounted_bytes == self.total()

    @invariant()
    def every_value_is_what_was_stored_byte_by_byte(self) -> None:
        for line in self.lines:
            entry = self.index._entries[line.key]  # a lookup would be a use
            assert self.index.value(entry) == line.value

    @invariant()
    def the_footprint_is_what_lives_what_is_dead_and_the_rest_of_the_pages(self) -> None:
        index, segments = self.index, self.index.segments
        assert index.footprint_bytes == segments.resident_bytes + len(self.lines) * ENTRY_OVERHEAD_BYTES
        assert segments.live_bytes == sum(len(line.value) for line in self.lines)
        for name in ("live_bytes", "written_bytes", "resident_bytes", "dead_bytes"):
            assert getattr(segments, name) == sum(getattr(segment, name) for segment in segments)
        for segment in segments:
            assert segment.entries, "a segment in which nothing lives is given back"
            assert segment.live_bytes <= segment.written_bytes <= segment.resident_bytes <= segment.size_bytes

    @invariant()
    def the_next_expiry_is_the_earliest(self) -> None:
        earliest = min((line.expires_at for line in self.lines), default=inf)
        assert self.index.next_expiry() == (None if earliest == inf else earliest)

    @invariant()
    def the_counters_are_those_of_the_list_and_add_up(self) -> None:
        index = self.index
        assert {name: getattr(index, name) for name in self.counts} == self.counts
        gone = index.replaced + index.expired + index.evicted_for_space + index.evicted_for_memory + index.discarded
        assert index.stored == len(index) + gone
        assert 0 <= index.evicted_out_of_order <= index.evicted_for_memory

    # ------------------------------------------------------------------------------------------------ the slow way

    def new_value(self, size: int) -> bytes:
        self.serial += 1
        return (self.serial.to_bytes(3, "big") * (size // 3 + 1))[:size]

    def use(self, line: Line) -> None:
        self.serial += 1
        line.used = self.serial
        if self.by_cost:
            room = max(line.size, self.index.max_bytes / self.index.max_entries)
            line.priority = self.floor + line.uses * (line.tokens / room)

    def make_room(self) -> None:
        if not self.drop_expired(1):
            coldest = min(self.lines, key=lambda line: line.rank)
            self.floor = coldest.priority
            self.drop(coldest, "evicted_for_space")

    def make_way(self, is_shrinking: bool) -> None:
        """What the store has evicted for the bound: what has expired, then the coldest, unless it went on shrinking."""
        while gone := [line for line in self.lines if line.key not in self.index]:
            if (expired := self.longest_expired()) is not None:
                self.drop(expired, "expired")
                continue
            coldest = min(self.lines, key=lambda line: line.rank)
            if coldest in gone:
                self.floor = coldest.priority
            else:
                assert is_shrinking or self.memory_is_short
                coldest = gone[0]
            self.drop(coldest, "evicted_for_memory")
        if self.by_cost and (is_shrinking or self.memory_is_short):
            self.floor = self.index._order._floor  # type: ignore[attr-defined]  # only the last kind of eviction sets it

    def lower_the_ceiling(self) -> None:
        """What tending gave back is not occupied again, as far as it was above the bound."""
        self.ceiling = max(self.bound, min(self.ceiling, self.index.footprint_bytes))

    def tend_on(self) -> list[Line]:
        calls = 0
        while self.index.tend(self.now, limit=5):
            self.lower_the_ceiling()
            calls += 1
            assert calls < 1000, "it never ends"
        self.lower_the_ceiling()
        self.drop_expired(len(self.lines))
        evicted = self.drop_what_went()
        segments = self.index.segments
        assert not self.index.is_busy
        assert segments.dead_bytes <= max(segments.segment_bytes, DEAD_SHARE * segments.written_bytes)
        return evicted

    def drop_what_went(self) -> list[Line]:
        """What the index has evicted because memory is short: only that may be missing."""
        gone = [line for line in self.lines if line.key not in self.index]
        for line in gone:
            self.drop(line, "evicted_for_memory")
        return gone

    def drop_expired(self, limit: int) -> int:
        dropped = 0
        while dropped < limit and (line := self.longest_expired()) is not None:
            self.drop(line, "expired")
            dropped += 1
        return dropped

    def line_of(self, key: bytes) -> Line | None:
        return next((line for line in self.lines if line.key == key), None)

    def lives(self, line: Line) -> bool:
        return self.now < line.expires_at

    def longest_expired(self) -> Line | None:
        expired = [line for line in self.lines if not self.lives(line)]
        return min(expired, key=lambda line: (line.expires_at, line.key), default=None)

    def total(self) -> int:
        return sum(line.size for line in self.lines)

    def drop(self, line: Line, why: str) -> None:
        self.lines.remove(line)
        self.counts[why] += 1


TestCacheAgainstList = pytest.mark.soak(CacheAgainstList.TestCase)
TestCacheAgainstList.settings = settings(stateful_step_count=30)
