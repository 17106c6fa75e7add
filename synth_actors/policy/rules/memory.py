"""Is memory near its limit, or on the way there, and what fills it?"""

from __future__ import annotations

from synth_actors.findings import Finding, Prediction, Setting, predicted, remedy_of
from synth_actors.policy.rules.cache import hit_rate_at
from synth_actors.policy.rules.figures import is_real_time, rounded_up
from synth_actors.policy.rules.thresholds import MIB, Thresholds, severity_below, severity_of
from synth_actors.policy.throughput import answers_per_s, place_s
from synth_actors.snapshot import Snapshot

S_PER_HOUR = 3600.0
MORE_ROOM = "give the container more memory"
"""What to do where a larger limit would be more than there is."""


def memory_is_tight(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """Resident memory is near the limit, for other reasons than the cache."""
    severity = _tight(snapshot, limits)
    if severity is None or snapshot.memory.state == "not_reclaimable" or _cache_is_large(snapshot, limits):
        return None
    setting = _larger_limit(snapshot, limits)
    helps = setting.then != setting.now
    return Finding(
        kind="memory",
        rule="memory_is_tight",
        severity=severity,
        what=_resident(snapshot),
        evidence=_memory_figures(snapshot),
        cause="requests under way and the program itself fill it, not the cache",
        remedy=remedy_of(setting) if helps else f"{MORE_ROOM}, or ask for less at once",
        settings=(setting,) if helps else (),
        effort="low" if helps else "high",
        prediction=_share_with(snapshot, setting),
    )


def cache_fills_memory(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """Resident memory is near the limit, and the cache is a large part of it."""
    severity = _tight(snapshot, limits)
    if severity is None or not _cache_is_large(snapshot, limits):
        return None
    memory, cache = snapshot.memory, snapshot.cache
    per_byte = _resident_per_byte(snapshot, limits)
    excess = memory.rss_bytes - limits.memory_aim * memory.limit_bytes
    wanted = max(1, cache.accounted_bytes // 4, int(cache.accounted_bytes - excess / per_byte))
    setting = Setting(where="CacheConfig", name="max_bytes", now=cache.max_bytes, then=wanted)
    larger = _larger_limit(snapshot, limits)
    kept = hit_rate_at(cache, cache.entries * wanted / max(1, cache.accounted_bytes))
    lost = max(0.0, hit_rate_at(cache, cache.entries) - kept)
    return Finding(
        kind="memory",
        rule="cache_fills_memory",
        severity=severity,
        what=f"{_resident(snapshot)}; the cache accounts for {cache.accounted_bytes / MIB:.0f} MiB",
        evidence=_memory_figures(snapshot) | {"hit_rate_lost": lost},
        cause=f"the cache may hold {cache.max_bytes / MIB:.0f} MiB, more than the memory limit has room for",
        remedy=f"{setting}, or {larger if larger.then != larger.now else MORE_ROOM}",
        settings=(setting,),
        prediction=predicted(
            "rss_bytes",
            float(memory.rss_bytes),
            max(0.0, memory.rss_bytes - per_byte * (cache.accounted_bytes - wanted)),
            f"{per_byte:.3g} resident bytes come back for each of the cache; {lost:.1%} of the lookups would be hits"
            " no more",
        ),
    )


def memory_is_not_reclaimable(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """What fills the memory is not the engine's: what the cache and the calls hold is too little to help."""
    memory = snapshot.memory
    if memory.state != "not_reclaimable":
        return None
    ours = max(snapshot.cache.accounted_bytes, memory.accounted_bytes)
    others = max(0, memory.rss_bytes - memory.rss_at_open_bytes - ours)
    setting = _larger_limit(snapshot, limits)
    less = f"hold less in the program ({others / MIB:.0f} MiB came since opening beside the cache)"
    helps = setting.then != setting.now
    return Finding(
        kind="memory",
        rule="memory_is_not_reclaimable",
        severity="critical" if memory.rss_bytes >= memory.limit_bytes else "high",
        what=f"{_resident(snapshot)}, and the engine holds too little of it to help",
        evidence=_memory_figures(snapshot) | {"others_bytes": float(others)},
        cause="the program beside the engine fills it",
        remedy=f"{less}, or {setting}" if helps else less,
        settings=(setting,) if helps else (),
        effort="high",
        prediction=_share_with(snapshot, setting),
    )


def memory_slows_the_engine(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """Fewer calls run than may, because their memory would not fit."""
    router, memory, cap = snapshot.router, snapshot.memory, snapshot.router.concurrency_cap
    if not 0 < cap < router.max_concurrency or router.backlog == 0 or not memory.limit_bytes:
        return None
    held = memory.rss_bytes - memory.rss_at_open_bytes
    held -= int(_resident_per_byte(snapshot, limits) * snapshot.cache.accounted_bytes)
    per_call = max(memory.bytes_per_call, max(0.0, held) / max(1, router.in_flight))
    missing = per_call * (router.max_concurrency - cap)
    setting = _limit(snapshot, max(memory.limit_bytes + missing, memory.rss_bytes / limits.memory_aim))
    fewer = Setting(where="EngineConfig", name="max_concurrency", now=router.max_concurrency, then=cap)
    helps = setting.then != setting.now
    return Finding(
        kind="memory",
        rule="memory_slows_the_engine",
        severity="high" if cap <= router.max_concurrency // 2 else "medium",
        what=f"only {cap} of {router.max_concurrency} calls may run, to stay inside the memory limit",
        evidence=_memory_figures(snapshot) | {"concurrency_cap": float(cap), "bytes_per_call": per_call},
        cause=f"a call under way holds about {per_call / MIB:.1f} MiB",
        remedy=f"{setting}; without more memory {fewer} does the same without ups and downs" if helps else str(fewer),
        settings=(setting,) if helps else (fewer,),
        prediction=_without_cap(snapshot) if helps else None,
    )


def _without_cap(snapshot: Snapshot) -> Prediction | None:
    router = snapshot.router
    now, then = (answers_per_s(snapshot, taken) for taken in (router.concurrency_cap, _of_use(snapshot)))
    basis = f"Little's law: {router.concurrency_cap} -> {_of_use(snapshot)} busy places, {place_s(snapshot):.3g} s each"
    return predicted("throughput_per_s", now, then, basis) if then > now > 0 else None


def _of_use(snapshot: Snapshot) -> int:
    """The places that requests would take at the moment, were they allowed."""
    return min(snapshot.router.max_concurrency, snapshot.router.concurrency_cap + snapshot.router.backlog)


def memory_leaks(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """What nothing accounts for grows all the time, and will reach the limit."""
    memory = snapshot.memory
    is_known = memory.growth_span_s > 0 and memory.growth_span_s >= limits.leak_span_s and is_real_time(snapshot)
    rising = is_known and memory.growth_rising_share >= limits.leak_rising_share
    if not rising or memory.growth_bytes_per_s <= 0 or not memory.limit_bytes:
        return None
    per_hour = memory.growth_bytes_per_s * S_PER_HOUR
    hours_left = max(0.0, memory.limit_bytes - memory.rss_bytes) / per_hour
    severity = severity_below(hours_left, limits.leak_hours_left)
    if severity is None:
        return None
    wanted = _limit_for_time(snapshot, limits.leak_hours_left[0] * per_hour)
    setting = Setting(where="EngineConfig", name="memory_limit_bytes", now=memory.limit_bytes, then=wanted)
    find = "find what the program keeps (tracemalloc shows where it was allocated)"
    has_room = wanted > memory.limit_bytes
    return Finding(
        kind="memory",
        rule="memory_leaks",
        severity=severity,
        what=f"memory that is neither cache nor requests has grown by {per_hour / MIB:.3g} MiB an hour for"
        f" {memory.growth_span_s / 60:.0f} min; at that pace the limit is reached in {hours_left:.1f} hours",
        evidence=_memory_figures(snapshot)
        | {
            "growth_bytes_per_s": memory.growth_bytes_per_s,
            "growth_span_s": memory.growth_span_s,
            "growth_rising_share": memory.growth_rising_share,
            "hours_left": hours_left,
        },
        cause="something in the process is kept and never given back: what the program collects, most often",
        remedy=f"{find}; meanwhile {setting} gives time" if has_room else find,
        settings=(setting,) if has_room else (),
        effort="high",
        prediction=predicted(
            "hours_left",
            hours_left,
            max(0, wanted - memory.rss_bytes) / per_hour,
            f"{per_hour / MIB:.3g} MiB an hour (Theil-Sen slope over {memory.growth_span_s / 60:.0f} min), with the"
            " larger limit; it mends nothing",
        )
        if has_room
        else None,
    )


def _limit_for_time(snapshot: Snapshot, grown_bytes: float) -> int:
    """A limit that leaves so much to grow: at most twice the present one, and no more than the container has."""
    memory = snapshot.memory
    most = min(2 * memory.limit_bytes, memory.container_limit_bytes or 2 * memory.limit_bytes)
    return max(memory.limit_bytes, int(min(most, max(memory.limit_bytes, memory.rss_bytes) + grown_bytes)))


def _tight(snapshot: Snapshot, limits: Thresholds) -> str | None:
    memory = snapshot.memory
    return severity_of(memory.rss_bytes / memory.limit_bytes, limits.memory_share) if memory.limit_bytes else None


def _resident_per_byte(snapshot: Snapshot, limits: Thresholds) -> float:
    """Resident bytes for one that the cache accounts for: as learned, once something was given up."""
    learned = snapshot.memory.rss_per_accounted_byte
    return learned if snapshot.memory.shrinks and learned > 0 else limits.resident_per_byte


def _cache_is_large(snapshot: Snapshot, limits: Thresholds) -> bool:
    allocated = max(1, snapshot.memory.rss_bytes - snapshot.memory.rss_at_open_bytes)
    resident = snapshot.cache.accounted_bytes * _resident_per_byte(snapshot, limits)
    return resident > 0 and resident >= limits.cache_share * allocated


def _resident(snapshot: Snapshot) -> str:
    memory = snapshot.memory
    return f"{memory.rss_bytes / MIB:.0f} MiB of {memory.limit_bytes / MIB:.0f} MiB are resident"


def _larger_limit(snapshot: Snapshot, limits: Thresholds) -> Setting:
    return _limit(snapshot, snapshot.memory.rss_bytes / limits.memory_aim)


def _limit(snapshot: Snapshot, wanted_bytes: float) -> Setting:
    """A limit that is not below the present one, and not above what the container has."""
    now, most = snapshot.memory.limit_bytes, snapshot.memory.container_limit_bytes
    then = rounded_up(wanted_bytes) if most is None else min(rounded_up(wanted_bytes), most)
    return Setting(where="EngineConfig", name="memory_limit_bytes", now=now, then=max(then, now))


def _share_with(snapshot: Snapshot, setting: Setting) -> Prediction | None:
    memory, then = snapshot.memory, setting.then
    if not isinstance(then, int) or then <= memory.limit_bytes or not memory.limit_bytes:
        return None
    basis = f"what is resident now, of {then / MIB:.0f} MiB"
    return predicted("memory_share", memory.rss_bytes / memory.limit_bytes, memory.rss_bytes / then, basis)


def _memory_figures(snapshot: Snapshot) -> dict[str, float]:
    return {
        "rss_bytes": float(snapshot.memory.rss_bytes),
        "limit_bytes": float(snapshot.memory.limit_bytes),
        "rss_at_open_bytes": float(snapshot.memory.rss_at_open_bytes),
        "cache_bytes": float(snapshot.cache.accounted_bytes),
    }
