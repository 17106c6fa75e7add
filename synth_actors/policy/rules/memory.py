"""Is memory near its limit, and what fills it?"""

from __future__ import annotations

from synth_actors.findings import Finding
from synth_actors.policy.rules.thresholds import MIB, Thresholds, severity_of
from synth_actors.snapshot import Snapshot


def memory_is_tight(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """Resident memory is near the limit, for other reasons than the cache."""
    severity = _tight(snapshot, limits)
    if severity is None or snapshot.memory.state == "not_reclaimable" or _cache_is_large(snapshot, limits):
        return None
    return Finding(
        kind="memory",
        rule="memory_is_tight",
        severity=severity,
        what=_resident(snapshot),
        evidence=_memory_figures(snapshot),
        remedy=_larger_limit(snapshot, limits),
    )


def cache_fills_memory(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """Resident memory is near the limit, and the cache is a large part of it."""
    severity = _tight(snapshot, limits)
    if severity is None or not _cache_is_large(snapshot, limits):
        return None
    memory, cache = snapshot.memory, snapshot.cache
    excess = memory.rss_bytes - limits.memory_aim * memory.limit_bytes
    wanted = max(cache.accounted_bytes // 4, int(cache.accounted_bytes - excess / limits.resident_per_byte))
    return Finding(
        kind="memory",
        rule="cache_fills_memory",
        severity=severity,
        what=f"{_resident(snapshot)}; the cache accounts for {cache.accounted_bytes / MIB:.0f} MiB",
        evidence=_memory_figures(snapshot),
        remedy=f"CacheConfig(max_bytes={cache.max_bytes} -> {wanted}), or {_larger_limit(snapshot, limits)}",
    )


def memory_is_not_reclaimable(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """What fills the memory is not the engine's: what the cache and the calls hold is too little to help."""
    memory = snapshot.memory
    if memory.state != "not_reclaimable":
        return None
    ours = max(snapshot.cache.accounted_bytes, memory.accounted_bytes)
    others = max(0, memory.rss_bytes - memory.rss_at_open_bytes - ours)
    return Finding(
        kind="memory",
        rule="memory_is_not_reclaimable",
        severity="critical" if memory.rss_bytes >= memory.limit_bytes else "high",
        what=f"{_resident(snapshot)}, and the engine holds too little of it to help",
        evidence=_memory_figures(snapshot) | {"others_bytes": float(others)},
        remedy=f"hold less in the program ({others / MIB:.0f} MiB came since opening beside the cache), or "
        + _larger_limit(snapshot, limits),
    )


def memory_slows_the_engine(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """Fewer calls run than may, because their memory would not fit."""
    router, memory, cap = snapshot.router, snapshot.memory, snapshot.router.concurrency_cap
    if not 0 < cap < router.max_concurrency or router.backlog == 0:
        return None
    held = memory.rss_bytes - memory.rss_at_open_bytes - limits.resident_per_byte * snapshot.cache.accounted_bytes
    per_call = max(0.0, held) / max(1, router.in_flight)
    missing = per_call * (router.max_concurrency - cap)
    wanted = int(max(memory.limit_bytes + missing, memory.rss_bytes / limits.memory_aim))
    return Finding(
        kind="memory",
        rule="memory_slows_the_engine",
        severity="high" if cap <= router.max_concurrency // 2 else "medium",
        what=f"only {cap} of {router.max_concurrency} calls may run, to stay inside the memory limit",
        evidence=_memory_figures(snapshot) | {"concurrency_cap": float(cap), "bytes_per_call": per_call},
        remedy=f"EngineConfig(memory_limit_bytes={memory.limit_bytes} -> {wanted}), or max_concurrency="
        f"{router.max_concurrency} -> {cap}",
    )


def _tight(snapshot: Snapshot, limits: Thresholds) -> str | None:
    memory = snapshot.memory
    return severity_of(memory.rss_bytes / memory.limit_bytes, limits.memory_share) if memory.limit_bytes else None


def _cache_is_large(snapshot: Snapshot, limits: Thresholds) -> bool:
    allocated = max(1, snapshot.memory.rss_bytes - snapshot.memory.rss_at_open_bytes)
    return snapshot.cache.accounted_bytes * limits.resident_per_byte >= limits.cache_share * allocated


def _resident(snapshot: Snapshot) -> str:
    memory = snapshot.memory
    return f"{memory.rss_bytes / MIB:.0f} MiB of {memory.limit_bytes / MIB:.0f} MiB are resident"


def _larger_limit(snapshot: Snapshot, limits: Thresholds) -> str:
    wanted = int(snapshot.memory.rss_bytes / limits.memory_aim)
    return f"EngineConfig(memory_limit_bytes={snapshot.memory.limit_bytes} -> {wanted})"


def _memory_figures(snapshot: Snapshot) -> dict[str, float]:
    return {
        "rss_bytes": float(snapshot.memory.rss_bytes),
        "limit_bytes": float(snapshot.memory.limit_bytes),
        "rss_at_open_bytes": float(snapshot.memory.rss_at_open_bytes),
        "cache_bytes": float(snapshot.cache.accounted_bytes),
    }
