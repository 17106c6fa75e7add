"""Would a larger cache, one that keeps its entries longer, or one that looks past formatting answer more?

By the curves that the engine records of the keys that were asked for.  They are those of a cache that lets go what was
used longest ago; one with `policy="cost"` may do better, so that for it they are a lower bound.  A cache that is
switched off has no finding: whether requests repeat is not known then.
"""

from __future__ import annotations

from itertools import pairwise
from math import inf, log

from synth_actors.findings import Finding, Prediction, Setting, predicted, remedy_of
from synth_actors.policy.rules.figures import rounded_up
from synth_actors.policy.rules.thresholds import Thresholds, severity_of
from synth_actors.snapshot import CacheSnapshot, SizePoint, Snapshot, TtlPoint

FOR_GOOD_S = 10 * 365 * 86_400.0
"""What "for ever" is compared as, among times to live."""


def cache_is_too_small(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """Entries have to make room, and with more of them more lookups would be hits."""
    cache = snapshot.cache
    evicts = cache.evicted_for_space >= max(1.0, limits.eviction_share * cache.stored)
    if not evicts or not _is_known(cache, limits):
        return None
    held = _entries_held(cache, limits)
    point = _flattened(cache, held, _entries_that_fit(snapshot, limits), limits)
    if point is None:
        return None
    gain = _gain(cache, here=hit_rate_at(cache, held), then=point.hit_rate)
    severity = severity_of(gain, limits.hit_rate_gain)
    settings = _larger(cache, held, point.max_entries, limits)
    if severity is None or not settings:
        return None
    return Finding(
        kind="cache",
        rule="cache_is_too_small",
        severity=severity,
        what=f"{cache.hit_rate:.0%} of {_lookups(cache)} lookups were hits, {cache.evicted_for_space} entries had to"
        " make room",
        evidence=_figures(cache) | {"evicted_for_space": float(cache.evicted_for_space), "entries_held": float(held)},
        cause=f"what is asked for again is further apart than {held} entries",
        remedy=remedy_of(*settings),
        settings=settings,
        prediction=_hits(cache, gain, f"stack distances (LRU) at {point.max_entries} entries instead of {held}"),
    )


def entries_expire_too_soon(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """What is asked for again has expired, and with a longer life more lookups would be hits."""
    cache, now_s = snapshot.cache, snapshot.cache.ttl_s
    has_expired = cache.stale + cache.expired > 0
    if now_s is None or not has_expired or not _is_known(cache, limits) or not cache.curves.ttl:
        return None
    points = sorted((_ttl_s(point), point.hit_rate) for point in cache.curves.ttl)
    here = max((rate for ttl_s, rate in points if ttl_s <= now_s), default=0.0)
    best = max(rate for _ttl_s, rate in points)
    wanted_s, rate = next(row for row in points if row[1] >= best - limits.flat_share)
    gain = _gain(cache, here=here, then=rate)
    severity = severity_of(gain, limits.hit_rate_gain)
    if severity is None or wanted_s <= now_s:
        return None
    then = None if wanted_s == inf else wanted_s
    setting = Setting(where="CacheConfig", name="ttl_s", now=now_s, then=then)
    return Finding(
        kind="cache",
        rule="entries_expire_too_soon",
        severity=severity,
        what=f"entries expire after {now_s:g} s, and {gain:.0%} of {_lookups(cache)} lookups asked again for one that"
        " had",
        evidence=_figures(cache) | {"expired": float(cache.expired), "stale": float(cache.stale), "ttl_s": now_s},
        cause="what is asked for again is older than that; a longer life is right where such answers still are",
        remedy=remedy_of(setting),
        settings=(setting,),
        prediction=_hits(cache, gain, "the same lookups, replayed with that time to live, at the present size"),
    )


def prompts_differ_in_formatting(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """Many calls ask for what was asked before in other white space."""
    cache, curves = snapshot.cache, snapshot.cache.curves
    share = curves.format_repeats / max(1, curves.format_checked)
    severity = severity_of(share, limits.format_share)
    if severity is None or cache.normalise_prompts or not cache.enabled:
        return None
    if _lookups(cache) < limits.fewest_lookups or curves.format_checked < limits.fewest_requests:
        return None
    gain = share * cache.misses / max(1, _lookups(cache))
    if not cache.misses:  # the file has what memory had not
        return None
    setting = Setting(where="CacheConfig", name="normalise_prompts", now=False, then=True)
    return Finding(
        kind="cache",
        rule="prompts_differ_in_formatting",
        severity=severity,
        what=f"{curves.format_repeats} of {curves.format_checked} calls that were compared ask for what was asked"
        " before, formatted otherwise",
        evidence=_figures(cache)
        | {"format_checked": float(curves.format_checked), "format_repeats": float(curves.format_repeats)},
        cause="white space and line ends are part of the key, so such prompts are different requests",
        remedy=remedy_of(setting),
        settings=(setting,),
        prediction=_hits(cache, gain, f"{share:.0%} of {cache.misses} misses would have been hits; a lower bound"),
    )


def hit_rate_at(cache: CacheSnapshot, entries: float) -> float:
    """The curve at so many entries: between its points by the logarithm of the size, below them in proportion to it.

    Above the largest point it is what stands there; without a curve it is the hit rate so far.
    """
    points = sorted((point.max_entries, point.hit_rate) for point in cache.curves.size)
    if not points:
        return cache.hit_rate
    smallest, at_smallest = points[0]
    if entries <= smallest:
        return at_smallest * max(0.0, entries) / smallest
    for (low, at_low), (high, at_high) in pairwise(points):
        if entries <= high:
            return at_low + (at_high - at_low) * log(entries / low) / log(high / low) if high > low else at_high
    return points[-1][1]


def _is_known(cache: CacheSnapshot, limits: Thresholds) -> bool:
    return cache.enabled and min(_lookups(cache), cache.curves.lookups) >= limits.fewest_lookups


def _entries_held(cache: CacheSnapshot, limits: Thresholds) -> int:
    """How many entries the cache has room for: by number, or what it holds where the bound of bytes is the tighter."""
    return cache.max_entries if _is_full_by_number(cache, limits) else max(1, cache.entries)


def _is_full_by_number(cache: CacheSnapshot, limits: Thresholds) -> bool:
    return cache.entries >= limits.full_share * cache.max_entries


def _entry_bytes(cache: CacheSnapshot) -> float:
    occupied = max(cache.accounted_bytes, cache.footprint_bytes)
    return occupied / cache.entries if cache.entries else 0.0


def _entries_that_fit(snapshot: Snapshot, limits: Thresholds) -> float:
    """How many entries the memory limit leaves room for; any number without one."""
    memory, each = snapshot.memory, _entry_bytes(snapshot.cache)
    if not memory.limit_bytes or each <= 0:
        return float("inf")
    room = limits.memory_aim * memory.limit_bytes - memory.rss_bytes
    return snapshot.cache.entries + max(0.0, room) / (each * limits.resident_per_byte)


def _flattened(cache: CacheSnapshot, held: int, fit: float, limits: Thresholds) -> SizePoint | None:
    """The smallest larger size from which on the curve gains next to nothing, within what memory has room for."""
    larger = sorted((p for p in cache.curves.size if held < p.max_entries), key=lambda point: point.max_entries)
    possible = [point for point in larger if point.max_entries <= fit]
    if not possible and larger and fit > held:
        possible = [SizePoint(max_entries=int(fit), hit_rate=hit_rate_at(cache, int(fit)))]
    best = max((point.hit_rate for point in possible), default=0.0)
    return next((point for point in possible if point.hit_rate >= best - limits.flat_share), None)


def _larger(cache: CacheSnapshot, held: int, wanted: int, limits: Thresholds) -> tuple[Setting, ...]:
    """The bounds that have to be raised for `wanted` entries of the present size."""
    settings = []
    if wanted > cache.max_entries:
        then = rounded_up(wanted)
        settings.append(Setting(where="CacheConfig", name="max_entries", now=cache.max_entries, then=then))
    needed = rounded_up(wanted * _entry_bytes(cache))
    is_full_by_bytes = not _is_full_by_number(cache, limits)
    if is_full_by_bytes:  # its entries are what just fits, whatever their overhead is
        needed = max(needed, rounded_up(cache.max_bytes * wanted / held))
    if needed > cache.max_bytes:
        settings.append(Setting(where="CacheConfig", name="max_bytes", now=cache.max_bytes, then=needed))
    return tuple(settings)


def _gain(cache: CacheSnapshot, *, here: float, then: float) -> float:
    """The share of all lookups that would be hits as well, when the curve goes from `here` to `then`.

    The curve is of the lookups that may be answered by the cache, and of memory alone: what was a hit beyond it, thanks
    to the file, to another policy or to entries that are smaller than usual, is one already.
    """
    recorded = cache.curves.lookups
    return (then - max(here, cache.hits / max(1, recorded))) * min(1.0, recorded / max(1, _lookups(cache)))


def _hits(cache: CacheSnapshot, gain: float, basis: str) -> Prediction:
    rate = cache.hit_rate
    sure = f"{basis}; {cache.curves.sampled_keys} keys sampled" if cache.curves.sampled_keys else basis
    sure += "; a lower bound, since policy='cost' may keep more" if cache.policy == "cost" else ""
    return predicted("hit_rate", rate, min(1.0, rate + max(0.0, gain)), sure)


def _figures(cache: CacheSnapshot) -> dict[str, float]:
    return {
        "hit_rate": cache.hit_rate,
        "lookups": float(_lookups(cache)),
        "hits": float(cache.hits),
        "entries": float(cache.entries),
        "max_entries": float(cache.max_entries),
        "sampled_share": cache.curves.rate,
    }


def _ttl_s(point: TtlPoint) -> float:
    return inf if point.ttl_s is None else point.ttl_s


def _lookups(cache: CacheSnapshot) -> int:
    return cache.hits + cache.misses + cache.follows
