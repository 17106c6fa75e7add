"""Would a larger cache, or one that keeps its entries longer, answer more?

A cache that is switched off has no finding: whether requests repeat is not known then.
"""

from __future__ import annotations

from math import ceil

from synth_actors.findings import Finding
from synth_actors.policy.rules.thresholds import Thresholds, severity_of
from synth_actors.snapshot import CacheSnapshot, Snapshot


def cache_is_too_small(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """Few hits, some repeats, and entries that had to make room."""
    cache = snapshot.cache
    lookups = _lookups(cache)
    if not cache.enabled or lookups < limits.fewest_lookups or cache.hit_rate >= limits.hit_rate:
        return None
    repeats = cache.hits + cache.follows + cache.stale
    evicts = cache.evicted_for_space >= limits.eviction_share * max(1, cache.stored)
    if not evicts or repeats < limits.repeated_share * lookups:
        return None
    return Finding(
        kind="cache",
        rule="cache_is_too_small",
        severity="medium" if cache.hit_rate < limits.hit_rate / 2 else "low",
        what=f"{cache.hit_rate:.0%} of {lookups} lookups were hits, {cache.evicted_for_space} entries had to make room",
        evidence={
            "hit_rate": cache.hit_rate,
            "lookups": float(lookups),
            "evicted_for_space": float(cache.evicted_for_space),
            "entries": float(cache.entries),
        },
        remedy=_larger(cache, limits),
    )


def entries_expire_too_soon(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """Many lookups find what they want, too old."""
    cache = snapshot.cache
    lookups = _lookups(cache)
    severity = severity_of(cache.stale / max(1, lookups), limits.stale_share)
    if severity is None or cache.ttl_s is None or lookups < limits.fewest_lookups:
        return None
    longer = min(limits.largest_raise, max(2.0, (cache.hits + cache.stale) / max(1, cache.hits)))
    return Finding(
        kind="cache",
        rule="entries_expire_too_soon",
        severity=severity,
        what=f"{cache.stale} of {lookups} lookups found an entry that had expired",
        evidence={
            "stale": float(cache.stale),
            "lookups": float(lookups),
            "hits": float(cache.hits),
            "ttl_s": cache.ttl_s,
        },
        remedy=f"CacheConfig(ttl_s={cache.ttl_s:g} -> {ceil(cache.ttl_s * longer)})",
    )


def _larger(cache: CacheSnapshot, limits: Thresholds) -> str:
    """The bound that is reached, raised to hold what was evicted as well."""
    times = min(limits.largest_raise, 1 + cache.evicted_for_space / max(1, cache.entries))
    if cache.entries >= limits.full_share * cache.max_entries:
        return f"CacheConfig(max_entries={cache.max_entries} -> {ceil(cache.max_entries * times)})"
    return f"CacheConfig(max_bytes={cache.max_bytes} -> {ceil(cache.max_bytes * times)})"


def _lookups(cache: CacheSnapshot) -> int:
    return cache.hits + cache.misses + cache.follows
