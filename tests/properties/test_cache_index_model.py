"""Does the cache behave like a plain list that does everything the slow way?

The model keeps a list, least recently used first, and looks through all of it for everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from synth_actors.policy.cache_index import ENTRY_OVERHEAD_BYTES, MISS, REFUSED, STALE, STORED, CacheIndex, Entry

KEYS = [bytes([number]) * 16 for number in range(8)]
IDENTITIES = ["local", "paid"]
COUNTERS = [
    *("hits", "misses", "stale", "stored", "refused", "replaced", "discarded", "expired"),
    *("evicted_for_space", "evicted_for_memory"),
]
keys = st.sampled_from(KEYS)
times = st.sampled_from([0.0, 0.5, 1.0, 3.0, 10.0])


@dataclass
class Line:
    key: bytes
    value: int
    size: int
    expires_at: float
    identity: str


class CacheAgainstList(RuleBasedStateMachine):
    """Every verdict, every drop and every counter of the index is that of the list."""

    @initialize(
        max_entries=st.integers(1, 6),
        max_bytes=st.integers(ENTRY_OVERHEAD_BYTES, 6 * ENTRY_OVERHEAD_BYTES),
        ttl_s=st.sampled_from([None, 1.0, 5.0]),
    )
    def begin(self, max_entries: int, max_bytes: int, ttl_s: float | None) -> None:
        self.index: CacheIndex[int] = CacheIndex(max_entries, max_bytes, ttl_s)
        self.lines: list[Line] = []
        self.now = 0.0
        self.serial = 0
        self.counts = dict.fromkeys(COUNTERS, 0)

    @rule(step=times)
    def time_passes(self, step: float) -> None:
        self.now += step

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
            self.lines.remove(line)
            self.lines.append(line)
            self.counts["hits"] += 1
            assert isinstance(found, Entry)
            assert found.value == line.value

    @rule(
        key=keys,
        size=st.integers(0, 3 * ENTRY_OVERHEAD_BYTES),
        ttl_s=st.none() | times,
        who=st.sampled_from(IDENTITIES),
    )
    def store(self, key: bytes, size: int, ttl_s: float | None, who: str) -> None:
        self.serial += 1
        admission = self.index.store(key, self.serial, size, now=self.now, identity=who, ttl_s=ttl_s)
        if (older := self.line_of(key)) is not None:
            self.drop(older, "replaced")
        size += ENTRY_OVERHEAD_BYTES
        if size > self.index.max_bytes:
            self.counts["refused"] += 1
            assert admission is REFUSED
            return
        while len(self.lines) >= self.index.max_entries or self.total() + size > self.index.max_bytes:
            expired = self.longest_expired()
            self.drop(expired or self.lines[0], "expired" if expired else "evicted_for_space")
        lifetime_s = self.index.ttl_s if ttl_s is None else ttl_s
        self.lines.append(Line(key, self.serial, size, inf if lifetime_s is None else self.now + lifetime_s, who))
        self.counts["stored"] += 1
        assert admission is STORED

    @rule(limit=st.integers(0, 4))
    def expire(self, limit: int) -> None:
        dropped = self.index.expire(self.now, limit)
        expected = 0
        while expected < limit and (line := self.longest_expired()) is not None:
            self.drop(line, "expired")
            expected += 1
        assert dropped == expected

    @rule(wanted=st.integers(0, 4 * ENTRY_OVERHEAD_BYTES), limit=st.integers(0, 4))
    def shrink(self, wanted: int, limit: int) -> None:
        freed = self.index.shrink(wanted, limit)
        expected = 0
        for _ in range(limit):
            if expected < wanted and self.lines:
                expected += self.lines[0].size
                self.drop(self.lines[0], "evicted_for_memory")
        assert freed == expected

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
    def the_next_expiry_is_the_earliest(self) -> None:
        earliest = min((line.expires_at for line in self.lines), default=inf)
        assert self.index.next_expiry() == (None if earliest == inf else earliest)

    @invariant()
    def the_counters_are_those_of_the_list_and_add_up(self) -> None:
        index = self.index
        assert {name: getattr(index, name) for name in self.counts} == self.counts
        gone = index.replaced + index.expired + index.evicted_for_space + index.evicted_for_memory + index.discarded
        assert index.stored == len(index) + gone

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
TestCacheAgainstList.settings = settings(stateful_step_count=40)
