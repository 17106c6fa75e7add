"""What did each part do: endpoints, cache, dollars, memory, actors?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from synth_actors.snapshot import EndpointSnapshot, Snapshot
from synth_actors.telemetry.report.charts import succeeded
from synth_actors.telemetry.report.table import Table, facts_table
from synth_actors.telemetry.report.units import NONE, count, dollars, duration, number, share, size_of


def calls_table(last: Snapshot) -> Table:
    """A row an endpoint: what it was asked, what came of it, how long that took and what it cost."""
    head = "endpoint|model|calls|succeeded|failed|p50|p99|first token p50|tokens in|tokens out|spent"
    return Table(
        caption="Endpoints",
        head=head.split("|"),
        rows=[_calls(last, endpoint) for endpoint in last.router.endpoints.values()],
    )


def limits_table(last: Snapshot) -> Table:
    """A row an endpoint: whether it takes calls, how many at once, and its limits per minute."""
    head = "endpoint|state|under way|at once|limits per minute|waited for them|connections|its last failure said"
    return Table(
        caption="Limits and health of the endpoints",
        head=head.split("|"),
        rows=[_limits(endpoint) for endpoint in last.router.endpoints.values()],
    )


def cache_table(last: Snapshot) -> Table:
    """What the cache was asked, holds and has saved; empty when it is not used."""
    return facts_table("Cache", dict(_cache(last)) if last.cache.enabled else {})


def costs_table(last: Snapshot) -> Table:
    """What was spent and saved, and the tokens that it was for."""
    return facts_table("Dollars and tokens", dict(_costs(last)))


def memory_table(last: Snapshot) -> Table:
    """What the process holds, and what was done about it."""
    memory = last.memory
    facts = {
        "resident": size_of(memory.rss_bytes),
        "at the most": size_of(memory.peak_rss_bytes),
        "when the engine was opened": size_of(memory.rss_at_open_bytes),
        "limit": size_of(memory.limit_bytes) if memory.limit_bytes else NONE,
        "state": memory.state.replace("_", " "),
        "the cache occupies": size_of(memory.cache_bytes),
        "requests and answers under way": size_of(memory.calls_bytes + memory.queued_bytes),
        "times that the cache had to shrink": count(memory.shrinks),
        "times that calls were slowed": count(memory.slowdowns),
    }
    return facts_table("Memory", facts)


def actors_table(last: Snapshot) -> Table:
    """A row an actor: messages, and how long they waited and took."""
    head = "actor|messages|answered in the caller's turn|most waiting|mean wait|longest wait|mean handling|restarts"
    return Table(
        caption="Actors",
        head=head.split("|"),
        rows=[
            (
                name,
                *map(count, (box.handled, box.inline_asks, box.peak)),
                *map(duration, (box.mean_wait_s, box.max_wait_s, box.mean_handling_s)),
                count(box.restarts),
            )
            for name, box in last.mailboxes.items()
        ],
    )


def loop_table(last: Snapshot) -> Table:
    """Whether trio's loop came round in time."""
    loop = last.loop
    if not loop.looks:
        return facts_table("Event loop", {})
    facts = {
        "looks that were late": f"{count(loop.late)} of {count(loop.looks)}",
        "longest delay": duration(loop.longest_late_s),
    }
    return facts_table("Event loop", facts)


def _calls(last: Snapshot, endpoint: EndpointSnapshot) -> Sequence[str]:
    service = succeeded(last, "service", endpoint.name)
    first = succeeded(last, "ttft", endpoint.name)
    p50_s, p99_s = service.percentiles_s((0.5, 0.99))
    return (
        endpoint.name,
        f"{endpoint.provider}:{endpoint.model}" if endpoint.provider else endpoint.model,
        count(endpoint.attempts),
        count(endpoint.successes),
        _by_reason(endpoint.failures or {}),
        *((duration(p50_s), duration(p99_s)) if service.count else (NONE, NONE)),
        duration(first.percentile_s(0.5)) if first.count else NONE,
        count(endpoint.input_tokens + endpoint.cache_read_tokens + endpoint.cache_write_tokens),
        count(endpoint.output_tokens),
        dollars(endpoint.cost_usd),
    )


def _limits(endpoint: EndpointSnapshot) -> Sequence[str]:
    limit = endpoint.concurrency_limit
    limits = (
        f"{kind.replace('_', ' ')} {number(limit.remaining)} of {count(limit.per_minute)} left"
        for kind, limit in endpoint.rate_limits.items()
    )
    return (
        endpoint.name,
        endpoint.state,
        count(endpoint.in_flight),
        "any number" if limit is None else f"at most {count(limit)}{' (found)' if endpoint.is_limit_found else ''}",
        "; ".join(limits) or "none known",
        duration(endpoint.rate_limited_s),
        count(endpoint.connections),
        endpoint.last_message or NONE,
    )


def _cache(last: Snapshot) -> Iterator[tuple[str, str]]:
    cache = last.cache
    yield "hit rate", share(cache.hit_rate)
    yield "hits", count(cache.hits)
    yield "misses", count(cache.misses)
    yield "joined a call under way", count(cache.follows)
    yield "entries", f"{count(cache.entries)} of {count(cache.max_entries)}"
    yield "occupies", f"{size_of(cache.footprint_bytes)} of {size_of(cache.max_bytes)}"
    yield "evicted", _by_reason({"for space": cache.evicted_for_space, "for memory": cache.evicted_for_memory})
    yield "expired", count(cache.expired)
    yield "policy", cache.policy
    yield "time to live", NONE if cache.ttl_s is None else duration(cache.ttl_s)
    if (file := cache.durable) is not None:
        yield "file", f"{file.path} ({file.state.replace('_', ' ')})"
        yield "hits in the file", count(cache.durable_hits)
        yield "written to the file", count(file.written)
        if file.reason is not None:
            yield "why the file is not open", file.reason


def _costs(last: Snapshot) -> Iterator[tuple[str, str]]:
    counters, cache, router = last.counters, last.cache, last.router
    yield "spent", dollars(counters.cost_usd)
    yield "saved by the cache and by joining calls", dollars(cache.saved_usd)
    if router.budget_usd is not None:
        spent = dollars(router.budget_spent_usd)
        yield "budget", f"{spent} of {dollars(router.budget_usd)}, earlier runs included"
    yield "paid calls", count(counters.paid_calls)
    yield "calls that repeat one that failed", _by_reason(router.retries_by_reason)
    yield "input tokens", count(counters.input_tokens)
    yield "output tokens", count(counters.output_tokens)
    yield "tokens read from the provider's prompt cache", count(counters.cache_read_tokens)
    yield "tokens written to it", count(counters.cache_write_tokens)
    yield "tokens saved", count(cache.saved_tokens)


def _by_reason(reasons: Mapping[str, int]) -> str:
    """The sum, and what it is made of."""
    parts = [f"{name.replace('_', ' ')} {count(times)}" for name, times in reasons.items() if times]
    total = count(sum(reasons.values()))
    return f"{total} ({', '.join(parts)})" if parts else total
