"""Which snapshots have which bottleneck, and which only nearly?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from synth_actors.histogram import LatencySummary
from synth_actors.policy.rules.thresholds import MIB
from synth_actors.snapshot import (
    SERIES,
    CacheSnapshot,
    Counters,
    CurvesSnapshot,
    EndpointSnapshot,
    LoopSnapshot,
    MemorySnapshot,
    RateLimitSnapshot,
    RouterSnapshot,
    SeriesSnapshot,
    SizePoint,
    Snapshot,
    TtlPoint,
)


def took(count: int, mean_s: float, p99_s: float) -> LatencySummary:
    return LatencySummary(
        count=count, mean_s=mean_s, p50_s=mean_s, p95_s=p99_s, p99_s=p99_s, p999_s=p99_s, max_s=1.5 * p99_s
    )


EMPTY = Snapshot(
    taken_at_s=0.0,
    wall_time=0.0,
    latency=dict.fromkeys(SERIES, LatencySummary()),
    cache=CacheSnapshot(max_entries=1000, max_bytes=128 * MIB, ttl_s=3600.0),
    router=RouterSnapshot(
        max_concurrency=10, concurrency_cap=10, endpoints={"a": EndpointSnapshot(name="a", model="m")}
    ),
    memory=MemorySnapshot(limit_bytes=600 * MIB, rss_at_open_bytes=100 * MIB, rss_bytes=100 * MIB),
    counters=Counters(),
    mailboxes={},
)

HEALTHY = replace(
    EMPTY,
    taken_at_s=100.0,
    latency={
        "response": took(5000, 0.3, 0.9),
        "queue": took(5000, 0.01, 0.1),
        "service": took(5000, 0.29, 0.8),
        "connect": LatencySummary(),
        "ttft": LatencySummary(),
        "tpot": LatencySummary(),
        "mailbox_wait": LatencySummary(),
        "cached_response": took(5000, 0.00001, 0.0001),
    },
    cache=replace(EMPTY.cache, hits=5000, misses=5000, stored=900, entries=900, accounted_bytes=9 * MIB, stale=100),
    router=replace(
        EMPTY.router,
        in_flight=9,
        backlog=2,
        endpoints={
            "a": EndpointSnapshot(
                name="a", model="m", in_flight=9, attempts=5000, successes=4980, failures={"overloaded": 20}
            )
        },
    ),
    memory=replace(EMPTY.memory, rss_bytes=300 * MIB),
    counters=Counters(submitted=10_010, succeeded=9_990, failed=10, waiting=10, paid_calls=5000, output_tokens=500_000),
)


def with_latency(snapshot: Snapshot, **series: LatencySummary) -> Snapshot:
    return replace(snapshot, latency={**snapshot.latency, **series})


def with_router(snapshot: Snapshot, **fields: object) -> Snapshot:
    return replace(snapshot, router=replace(snapshot.router, **fields))  # type: ignore[arg-type]


def with_endpoints(snapshot: Snapshot, *endpoints: EndpointSnapshot) -> Snapshot:
    return with_router(snapshot, endpoints={endpoint.name: endpoint for endpoint in endpoints})


def with_cache(snapshot: Snapshot, **fields: object) -> Snapshot:
    return replace(snapshot, cache=replace(snapshot.cache, **fields))  # type: ignore[arg-type]


def with_memory(snapshot: Snapshot, **fields: object) -> Snapshot:
    return replace(snapshot, memory=replace(snapshot.memory, **fields))  # type: ignore[arg-type]


def endpoint(name: str = "a", **fields: object) -> EndpointSnapshot:
    return replace(EndpointSnapshot(name=name, model="m"), **fields)  # type: ignore[arg-type]


def failing(attempts: int, **failures: int) -> EndpointSnapshot:
    return endpoint(attempts=attempts, successes=attempts - sum(failures.values()), failures=failures)


LOCAL = endpoint("local", model="local", attempts=500, successes=500)
SLOW_CALLS = with_latency(HEALTHY, response=took(500, 3.0, 8.0), service=took(500, 2.9, 7.8))
LONG_QUEUE = with_latency(HEALTHY, response=took(500, 4.0, 8.0), service=took(500, 1.0, 1.5), queue=took(500, 3.0, 7.0))
SATURATED = with_router(HEALTHY, in_flight=10, backlog=30)
OWN_LIMIT = with_endpoints(
    with_router(HEALTHY, in_flight=4, backlog=30), endpoint("a", in_flight=4, max_concurrency=4), endpoint("b")
)
TIGHT = with_memory(HEALTHY, rss_bytes=560 * MIB)
LARGE_CACHE = with_cache(TIGHT, accounted_bytes=300 * MIB, max_bytes=400 * MIB)
NOT_RECLAIMABLE = with_memory(HEALTHY, rss_bytes=580 * MIB, state="not_reclaimable")
SLOWED = with_memory(with_router(HEALTHY, concurrency_cap=5, in_flight=5, backlog=9), state="slowed")
SIZES = CurvesSnapshot(
    lookups=10_000,
    sampled_keys=3000,
    size=tuple(
        SizePoint(max_entries=entries, hit_rate=rate)
        for entries, rate in ((500, 0.05), (1000, 0.1), (2000, 0.25), (4000, 0.59), (8000, 0.6), (16_000, 0.61))
    ),
)
SMALL_CACHE = with_cache(
    HEALTHY,
    hits=1000,
    misses=9000,
    stored=9000,
    entries=1000,
    max_entries=1000,
    accounted_bytes=10 * MIB,
    evicted_for_space=4000,
    stale=0,
    curves=SIZES,
)
TTLS = CurvesSnapshot(
    lookups=10_000,
    sampled_keys=3000,
    ttl=tuple(
        TtlPoint(ttl_s=ttl_s, hit_rate=rate)
        for ttl_s, rate in ((15.0, 0.2), (60.0, 0.6), (120.0, 0.8), (240.0, 0.81), (None, 0.815))
    ),
)
SHORT_TTL = with_cache(HEALTHY, hits=6000, misses=4000, stale=3000, ttl_s=60.0, curves=TTLS)
OTHERWISE_FORMATTED = with_cache(HEALTHY, curves=CurvesSnapshot(lookups=10_000, format_checked=768, format_repeats=192))
MANY_FAIL = replace(
    with_endpoints(HEALTHY, failing(200, timed_out=15)), counters=replace(HEALTHY.counters, succeeded=90, failed=10)
)
ONE_FAILS = with_endpoints(HEALTHY, endpoint("b", attempts=900, successes=900), failing(100, rate_limited=50))

MUCH_OF_THE_TIME = with_router(HEALTHY, busy_s=960.0, backlog_s=950.0, saturated_s=95.0, saturated_backlog_s=950.0)
RATE_LIMITED = with_endpoints(
    with_router(HEALTHY, in_flight=2, backlog=18, busy_s=145.0, backlog_s=1800.0),
    endpoint(
        attempts=500,
        successes=500,
        in_flight=0,
        rate_limits={"requests": RateLimitSnapshot(per_minute=300.0, remaining=0.5, is_configured=True)},
        rate_limited_s=95.0,
    ),
)
RESERVED = with_endpoints(
    RATE_LIMITED,
    endpoint(
        attempts=500,
        successes=500,
        input_tokens=50_000,
        output_tokens=50_000,
        max_tokens_asked=500 * 1000,
        longest_output_tokens=160,
        output_metering="reserve",
        rate_limits={"tokens": RateLimitSnapshot(per_minute=330_000.0, remaining=500.0)},
        rate_limited_s=5.0,  # too little to be a finding itself; little is left, and requests wait
    ),
)


def served(name: str, count: int, mean_s: float, outcome: str = "success", series: str = "service") -> SeriesSnapshot:
    return SeriesSnapshot(name=series, endpoint=name, outcome=outcome, summary=took(count, mean_s, 2 * mean_s))


def with_series(snapshot: Snapshot, *series: SeriesSnapshot) -> Snapshot:
    return replace(snapshot, series=series)


ALWAYS_NEW = with_series(
    with_endpoints(
        with_latency(HEALTHY, connect=took(900, 0.2, 0.3)),
        endpoint(attempts=1000, successes=1000, connections=900),
    ),
    served("a", 1000, 0.4),
    served("a", 900, 0.2, series="connect"),
)
ONE_IS_SLOW = with_series(
    with_endpoints(
        with_router(HEALTHY, routing="least_loaded"),
        endpoint("a", attempts=600, successes=600),
        endpoint("b", attempts=400, successes=400),
    ),
    served("a", 600, 0.2),
    served("b", 400, 1.0),
)
STORM = with_endpoints(
    with_router(HEALTHY, retries=380, retries_by_reason={"failed": 360, "overloaded": 20}),
    endpoint("a", attempts=4000, successes=3620, failures={"failed": 360, "overloaded": 20}),
)
FLAKY = with_series(
    with_endpoints(
        with_latency(HEALTHY, response=took(1000, 2.0, 8.0), queue=took(1000, 1.7, 7.5)),
        endpoint("a", attempts=1050, successes=1000, failures={"failed": 50}),
    ),
    served("a", 1000, 0.2),
    served("a", 50, 0.2, outcome="failed"),
    served("a", 1000, 2.0, outcome="call", series="response"),
)
FLAKY = with_router(
    FLAKY,
    retries=50,
    retries_by_reason={"failed": 50},
    busy_s=210.0,
    backlog_s=1500.0,
    closed_backlog_s=1500.0,
    delayed_s=90.0,
    backlog=0,
)
"""Every twentieth call fails: of 1,800 s inside 1,600 are lost."""
WRITES_IN_VAIN = with_endpoints(
    HEALTHY,
    endpoint(
        attempts=5000,
        successes=5000,
        input_tokens=1_000_000,
        output_tokens=100_000,
        cache_write_tokens=9_000_000,
        cache_read_tokens=500_000,
        cost_usd=12.8,
        usd_per_mtok={"input": 1.0, "output": 5.0, "cache_read": 0.1, "cache_write": 1.25},
    ),
)
LATE = LoopSnapshot(looks=400, late=60, late_s=60 * 0.04, longest_late_s=0.09, elapsed_s=100.0)
BLOCKED = replace(with_latency(HEALTHY, mailbox_wait=took(20_000, 0.01, 0.08)), loop=LATE)
LEAK = with_memory(
    HEALTHY,
    growth_bytes_per_s=10 * MIB / 60,
    growth_span_s=600.0,
    growth_rising_share=0.9,
)

CASES: Mapping[str, Snapshot] = {
    "calls_are_slow": SLOW_CALLS,
    "requests_wait": LONG_QUEUE,
    "engine_is_saturated": SATURATED,
    "endpoint_is_saturated": OWN_LIMIT,
    "memory_is_tight": TIGHT,
    "cache_fills_memory": LARGE_CACHE,
    "memory_is_not_reclaimable": NOT_RECLAIMABLE,
    "memory_slows_the_engine": SLOWED,
    "cache_is_too_small": SMALL_CACHE,
    "entries_expire_too_soon": SHORT_TTL,
    "requests_fail": MANY_FAIL,
    "endpoint_fails": ONE_FAILS,
    "rate_limit_sets_the_pace": RATE_LIMITED,
    "max_tokens_are_too_large": RESERVED,
    "connecting_takes_long": ALWAYS_NEW,
    "endpoint_is_slow": ONE_IS_SLOW,
    "calls_are_repeated": STORM,
    "retries_wait": FLAKY,
    "prompt_cache_costs_more": WRITES_IN_VAIN,
    "memory_leaks": LEAK,
    "loop_is_blocked": BLOCKED,
    "prompts_differ_in_formatting": OTHERWISE_FORMATTED,
}
"""A snapshot that has a bottleneck, by the rule that is to find it."""


def at(entries: int, hit_rate: float) -> SizePoint:
    return SizePoint(max_entries=entries, hit_rate=hit_rate)


def until(ttl_s: float | None, hit_rate: float) -> TtlPoint:
    return TtlPoint(ttl_s=ttl_s, hit_rate=hit_rate)


def flat(curves: CurvesSnapshot, hit_rate: float) -> CurvesSnapshot:
    return replace(curves, size=tuple(replace(point, hit_rate=hit_rate) for point in curves.size))


def slowed(rate_limited_s: float, remaining: float) -> EndpointSnapshot:
    limit = RateLimitSnapshot(per_minute=300.0, remaining=remaining)
    return endpoint(attempts=500, successes=500, rate_limits={"requests": limit}, rate_limited_s=rate_limited_s)


def reserving(*, longest: int = 160, metering: str = "reserve", remaining: float = 500.0) -> EndpointSnapshot:
    return replace(
        RESERVED.router.endpoints["a"],
        longest_output_tokens=longest,
        output_metering=metering,
        rate_limits={"tokens": RateLimitSnapshot(per_minute=330_000.0, remaining=remaining)},
    )


def written() -> EndpointSnapshot:
    return WRITES_IN_VAIN.router.endpoints["a"]


NOT_TOO_LARGE: Mapping[str, Snapshot] = {
    "max_tokens just below twice the longest answer": with_endpoints(RESERVED, reserving(longest=501)),
    "max_tokens that are metered as they are made": with_endpoints(RESERVED, reserving(metering="meter")),
}
"""Snapshots in which a limit of tokens sets the pace, and max_tokens are not the reason."""

NEAR_MISSES: Mapping[str, Snapshot] = {
    "calls that are just fast enough": with_latency(SLOW_CALLS, response=took(500, 0.3, 0.999)),
    "slow, but only a few": with_latency(SLOW_CALLS, response=took(19, 3.0, 8.0)),
    "a queue that is just short enough": with_latency(LONG_QUEUE, response=took(500, 0.5, 0.999)),
    "a queue that only memory keeps long": with_router(LONG_QUEUE, backlog=0, concurrency_cap=9),
    "full without a backlog": with_router(SATURATED, backlog=2),
    "a backlog with places left": with_router(SATURATED, in_flight=9),
    "an endpoint just below its own limit": with_endpoints(OWN_LIMIT, endpoint("a", in_flight=3, max_concurrency=4)),
    "an endpoint at its own limit and nobody waits": with_router(OWN_LIMIT, backlog=0),
    "memory just below the first mark": with_memory(HEALTHY, rss_bytes=527 * MIB),
    "a large cache in little memory": with_cache(HEALTHY, accounted_bytes=150 * MIB),
    "a lowered cap that nobody feels": with_router(SLOWED, backlog=0),
    "a cache that evicts little": with_cache(SMALL_CACHE, evicted_for_space=899),
    "a small cache above a file that has the rest": with_cache(SMALL_CACHE, hits=6000, durable_hits=5000, misses=4000),
    "requests that never repeat": with_cache(SMALL_CACHE, curves=flat(SIZES, 0.0)),
    "a cache that is as large as is of use": with_cache(SMALL_CACHE, curves=flat(SIZES, 0.1)),
    "a cache that would gain just too little": with_cache(
        SMALL_CACHE, curves=replace(SIZES, size=(at(1000, 0.1), at(2000, 0.149)))
    ),
    "a cache that was hardly asked": with_cache(SMALL_CACHE, hits=20, misses=179),
    "a cache whose keys were hardly looked at": with_cache(SMALL_CACHE, curves=replace(SIZES, lookups=199)),
    "a cache that is switched off": with_cache(SMALL_CACHE, enabled=False, hits=0, misses=10_000),
    "a small cache in too little memory": with_memory(SMALL_CACHE, rss_bytes=451 * MIB),
    "a ttl that would gain just too little": with_cache(
        SHORT_TTL, curves=replace(TTLS, ttl=(until(60.0, 0.6), until(120.0, 0.649)))
    ),
    "a ttl that nothing has outlived": with_cache(SHORT_TTL, stale=0, expired=0),
    "stale entries that something other than a ttl made so": with_cache(SHORT_TTL, ttl_s=None),
    "few that differ in formatting": with_cache(
        OTHERWISE_FORMATTED, curves=CurvesSnapshot(format_checked=1000, format_repeats=49)
    ),
    "formatting that was hardly compared": with_cache(
        OTHERWISE_FORMATTED, curves=CurvesSnapshot(format_checked=19, format_repeats=10)
    ),
    "formatting that is looked past already": with_cache(OTHERWISE_FORMATTED, normalise_prompts=True),
    "a burst now and then": with_router(MUCH_OF_THE_TIME, backlog_s=900.0, saturated_s=19.0),
    "taken much of the time, and hardly anybody waits": with_router(MUCH_OF_THE_TIME, saturated_backlog_s=249.0),
    "taken all the time by the first few calls": with_endpoints(MUCH_OF_THE_TIME, endpoint(attempts=19, successes=9)),
    "a limit per minute that is hardly ever reached": with_endpoints(RATE_LIMITED, slowed(9.9, remaining=200.0)),
    "a limit per minute that is nearly used up, and nobody waits": with_endpoints(
        with_router(RATE_LIMITED, backlog=0), slowed(0.0, remaining=0.5)
    ),
    "max_tokens before a limit that has room": with_endpoints(RESERVED, reserving(remaining=20_000.0)),
    "connections that are used again": with_endpoints(
        ALWAYS_NEW, endpoint(attempts=1000, successes=1000, connections=499)
    ),
    "connections that are quickly opened": with_series(
        ALWAYS_NEW, served("a", 1000, 0.4), served("a", 900, 0.04, series="connect")
    ),
    "an endpoint that is not twice as slow": with_series(ONE_IS_SLOW, served("a", 600, 0.2), served("b", 400, 0.399)),
    "a slow endpoint that gets few calls": with_series(ONE_IS_SLOW, served("a", 901, 0.2), served("b", 99, 1.0)),
    "a slow endpoint beside a fast one that is full": with_endpoints(
        with_router(ONE_IS_SLOW, busy_s=500.0),
        endpoint("a", attempts=600, successes=600, max_concurrency=4),
        endpoint("b", attempts=400, successes=400),
    ),
    "a slow endpoint that is only measured": with_router(ONE_IS_SLOW, routing="fastest"),
    "repetitions that cost little time": with_latency(
        with_router(FLAKY, closed_backlog_s=0.0, backlog_s=0.0, busy_s=400.0), response=took(1000, 0.3, 0.9)
    ),
    "one call that was repeated": with_latency(
        with_router(FLAKY, retries=1, retries_by_reason={"failed": 1}), response=took(1000, 0.3, 0.9)
    ),
    "repetitions below one in ten": with_router(STORM, retries=363, retries_by_reason={"failed": 363}),
    "a prompt cache that just pays": with_endpoints(WRITES_IN_VAIN, replace(written(), cache_read_tokens=2_500_001)),
    "a prompt cache of which nobody knows the price": with_endpoints(
        WRITES_IN_VAIN, replace(written(), usd_per_mtok=None, cost_usd=None)
    ),
    "messages that wait a little": with_latency(BLOCKED, mailbox_wait=took(20_000, 0.01, 0.0499)),
    "a few messages that waited": with_latency(BLOCKED, mailbox_wait=took(19, 0.01, 0.08)),
    "messages that wait, and the loop is in time": replace(BLOCKED, loop=replace(LATE, late=39, late_s=39 * 0.08)),
    "a loop that was late twice": replace(BLOCKED, loop=replace(LATE, looks=4, late=2, late_s=0.4)),
    "messages that wait for what computes here": with_endpoints(BLOCKED, LOCAL),
    "memory that grows by steps": with_memory(LEAK, growth_rising_share=0.69),
    "memory that grows by a clock that is simulated": replace(LEAK, loop=LoopSnapshot(elapsed_s=65.0)),
    "memory that has grown for a moment": with_memory(LEAK, growth_span_s=119.0),
    "memory that will last for days": with_memory(LEAK, growth_bytes_per_s=300 * MIB / (73 * 3600)),
    "failures below one in a hundred": replace(HEALTHY, counters=replace(HEALTHY.counters, succeeded=9901, failed=99)),
    "the first few requests failed": replace(HEALTHY, counters=Counters(submitted=19, succeeded=0, failed=19)),
    "an endpoint that fails below one in ten": with_endpoints(HEALTHY, failing(1000, failed=99)),
    "an endpoint that failed the first two": with_endpoints(HEALTHY, failing(2, failed=2)),
    "an endpoint that failed all but one of the first few": with_endpoints(HEALTHY, failing(19, failed=18)),
    "calls that we stopped ourselves": with_endpoints(HEALTHY, failing(100, abandoned=100)),
    "slow answers that were computed here": with_endpoints(SLOW_CALLS, LOCAL),
    "a queue before what computes here": with_endpoints(LONG_QUEUE, LOCAL),
    "full of what computes here": with_endpoints(SATURATED, LOCAL),
    "full of what computes here, and nothing is done yet": with_endpoints(SATURATED, endpoint(model="local")),
}
"""Snapshots in which a figure is just good enough."""
