"""What did the engine do so far, in figures?

Frozen values, JSON-able with `dataclasses.asdict`.  Counters only grow, gauges are what they are at `taken_at_s`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from synth_actors.histogram import Histogram, LatencySummary

SERIES = ("response", "queue", "service", "connect", "ttft", "tpot", "cached_response", "mailbox_wait")
"""Durations.

`response`: submission to answer or error; hits have a series of their own.  `queue`: submission to the dispatch of the
attempt that answered.  `service`: one attempt, from its dispatch to its end.  `connect`: opening a connection, name
lookup and TLS included.  `ttft`: dispatch to the first token of a streamed attempt.  `tpot`: time per output token
after the first, of a streamed attempt.  `cached_response`: submission to the answer of the cache.  `mailbox_wait`: a
message in an actor's mailbox, from tell to take; what was delivered inline has not waited and is not among them.
"""

SUCCEEDED = frozenset({"success", "call", "shared", "cache"})
"""Outcomes that the aggregates in `Snapshot.latency` are made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSnapshot:
    """One series by endpoint and outcome.

    `outcome` is "success" or the fault of an attempt; of a request "call", "shared", "cache", or how it failed: the
    error's kind, such as "deadline" or "rate_limited", and "cancelled".  `endpoint` is "" where none answered; `actor`
    names whose mailbox.  `histogram` is there in snapshots that were asked for with histograms.
    """

    name: str
    endpoint: str = ""
    outcome: str = "success"
    actor: str = ""
    summary: LatencySummary
    histogram: Histogram | None = None


DurableState = Literal["open", "read_only", "off", "hung"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DurableSnapshot:
    """The durable tier of the cache: the file at `path` as this engine met it.

    `state` is "open", "read_only" (answers are served and none are kept), "off" (neither) or "hung" (the disk does not
    answer: only what is still queued is served); `reason` says why it is not open, with the remedy, None when it is.
    Counts are keys or rows; `queued`, `queued_bytes` and `used_bytes` are what they are at the moment.
    """

    path: str = ""
    state: DurableState = "open"
    reason: str | None = None
    hits: int = 0  # keys asked for that a fresh answer was found for
    misses: int = 0  # keys that no such endpoint's answer was there for
    stale: int = 0  # keys whose answers were too old, or stored in the future
    unread: int = 0  # keys asked for while the file could not be read
    written: int = 0  # answers that are in the file
    dropped: int = 0  # answers that will never be: no room in the queue, too large, or no writing
    queued: int = 0  # answers that are not written so far
    queued_bytes: int = 0
    evicted: int = 0  # rows deleted since the file had reached max_file_bytes
    damaged_rows: int = 0  # rows whose checksum was wrong: not served, and deleted
    used_bytes: int = 0  # what rows and indices occupied in the file after the last writing; 0: none so far
    set_aside: tuple[str, ...] = ()  # where damaged or outdated files were moved


@dataclass(frozen=True, slots=True, kw_only=True)
class SizePoint:
    """The hit rate, 0.0 to 1.0, that a cache of so many entries would have had (LRU, at the present time to live)."""

    max_entries: int
    hit_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TtlPoint:
    """The hit rate, 0.0 to 1.0, that entries living so many seconds would have had (None: for ever; present size)."""

    ttl_s: float | None
    hit_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvesSnapshot:
    """What the hit rate would have been otherwise, worked out from the keys that were asked for.

    `size` and `ttl` are of LRU caches that are simulated on a sample of the keys (Mattson 1970; SHARDS, FAST'15;
    miniature simulations, ATC'17): `sampled_keys` of them, `rate` of the key space; at 1.0 they are exact.
    `format_checked` lookups without an answer were compared with earlier ones beyond their formatting, and
    `format_repeats` of them asked the same again.
    """

    lookups: int = 0
    sampled_keys: int = 0
    rate: float = 1.0
    size: tuple[SizePoint, ...] = ()
    ttl: tuple[TtlPoint, ...] = ()
    format_checked: int = 0
    format_repeats: int = 0


NO_CURVES = CurvesSnapshot()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSnapshot:
    """What the cache was asked, what it holds, and what it has saved.

    Every lookup that was answered is one of `hits`, `misses` (it led a call) and `follows` (it joined a flight).
    `stale` are lookups that found an expired entry (also misses).  Of the hits, `durable_hits` came from the file.
    `saved_tokens` and `saved_usd` are what hits and follows would have used and cost as calls; `saved_usd` is None once
    one of unknown price was saved.
    """

    enabled: bool = True
    policy: str = "lru"
    hits: int = 0
    durable_hits: int = 0
    misses: int = 0
    stale: int = 0
    follows: int = 0
    stored: int = 0
    not_stored: int = 0  # in memory: refusals, answers cut at max_tokens, and those that were too large
    too_large: int = 0  # of these: above max_entry_bytes, and so not written to the file either
    no_room: int = 0  # of these: larger than all of max_bytes, or the system had no memory for it; the file may have it
    evicted_for_space: int = 0
    evicted_for_memory: int = 0
    evicted_out_of_order: int = 0  # of these: while something stayed that the policy would have let go first
    expired: int = 0
    entries: int = 0
    max_entries: int = 0
    accounted_bytes: int = 0  # the entries, each with its overhead
    footprint_bytes: int = 0  # what they occupy: the same, in whole pages, with what was given up and not yet cleaned
    max_bytes: int = 0
    ttl_s: float | None = None
    flights: int = 0
    saved_tokens: int = 0
    saved_usd: float | None = 0.0
    normalise_prompts: bool = False
    curves: CurvesSnapshot = NO_CURVES
    durable: DurableSnapshot | None = None

    @property
    def hit_rate(self) -> float:
        """Hits per lookup, 0.0 to 1.0; 0.0 before the first lookup."""
        lookups = self.hits + self.misses + self.follows
        return self.hits / lookups if lookups else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimitSnapshot:
    """One limit per minute, and what is left of it at the moment; below 0 when more is under way than there was."""

    per_minute: float
    remaining: float
    is_configured: bool = False  # it is the endpoint's own setting; else the server named it


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSnapshot:
    """One endpoint: what it was given and what came back.  `cost_usd` is None once an unpriced call was made.

    `concurrency_limit` is how many calls it may have at once at the moment, None for any number; `is_limit_found` says
    that its answers have shown that more would be too many.  `rate_limits` are those of the configuration and those
    that the server names: "requests", "input_tokens", "output_tokens", "tokens" (of both kinds).
    """

    name: str
    model: str
    provider: str = ""  # "anthropic", "openai", "local", or the class of a Provider object
    state: str = "open"  # "open" takes calls, "paused" waits until a time, "probing" tries one, "fatal" is out for good
    in_flight: int = 0
    max_concurrency: int | None = None
    concurrency_limit: int | None = None
    is_limit_found: bool = False
    rate_limits: Mapping[str, RateLimitSnapshot] = field(default_factory=dict)
    attempts: int = 0
    successes: int = 0
    failures: Mapping[str, int] | None = None  # by Fault value
    input_tokens: int = 0  # without those of the provider's prompt cache
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float | None = 0.0
    usd_per_mtok: Mapping[str, float] | None = None  # "input", "output", "cache_read", "cache_write"; None: unpriced
    output_metering: str | None = (
        None  # "meter", "reserve" (max_tokens counts up front), None: the endpoint has no server
    )
    max_tokens_asked: int = 0  # the sum of max_tokens over calls that succeeded
    longest_output_tokens: int = 0  # of one call
    connections: int = 0  # opened so far
    rate_limited_s: float = 0.0  # how long requests that could have gone waited only for a limit per minute
    schema_in_prompt: bool = False  # the endpoint refused structured output; the schema is sent in the prompt
    last_message: str = ""  # what the last failed call said


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSnapshot:
    """The backlog, and the endpoints by name."""

    backlog: int = 0
    delayed: int = 0
    in_flight: int = 0
    max_concurrency: int = 0
    concurrency_cap: int = 0  # what the watchdog allows at the moment
    generators: int = 0  # GeneratorActors started so far
    retries: int = 0  # calls that repeat one that failed
    retries_by_reason: Mapping[str, int] = field(default_factory=dict)  # by Fault value
    failovers: int = 0
    routing: str = "preference"
    budget_usd: float | None = None  # the most that calls may cost; None: no budget
    budget_spent_usd: float | None = None  # of it, by earlier runs, too; a call of unknown cost counts at its most
    active_s: float = 0.0  # how long at least one request was under way or waited
    busy_s: float = 0.0  # attempts under way, summed over time: divided by time, how many there were on average
    backlog_s: float = 0.0  # the same of requests that wait
    delayed_s: float = 0.0  # the same of requests that wait until a time, to be tried again
    saturated_s: float = 0.0  # how long requests waited while every place was taken
    saturated_backlog_s: float = 0.0  # of `backlog_s`, what was in that time: the rest waited for something else
    closed_backlog_s: float = 0.0  # of that rest, what was while no endpoint took calls
    abandoned: int = 0  # attempts stopped because nobody waited any more
    endpoints: Mapping[str, EndpointSnapshot]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySnapshot:
    """What the process holds, what the engine knows to hold of it, and what the watchdog did.  Bytes, but for counts.

    Between `rss_at_open_bytes` and `limit_bytes`, pressure begins at `high_bytes` and ends at `low_bytes`.  `state` is
    "ok", "shrinking" (the cache), "slowed" (fewer calls at once) or "not_reclaimable" (what fills the memory is not
    held by the engine, and is not fought).  The container is the control group with the least room; None: no limit.
    """

    rss_bytes: int = 0
    peak_rss_bytes: int = 0
    limit_bytes: int = 0
    rss_at_open_bytes: int = 0
    high_bytes: int = 0
    low_bytes: int = 0
    state: str = "ok"
    cache_bytes: int = 0  # what entries and their pages occupy
    calls_bytes: int = 0  # texts of requests under way, and of what was answered to them so far
    queued_bytes: int = 0  # texts of requests that wait
    rss_per_accounted_byte: float = 1.0  # learned: resident bytes that come back for one that the cache gives up
    bytes_per_call: float = 0.0  # learned: what a call under way holds beside `calls_bytes`
    container_limit_bytes: int | None = None
    container_working_set_bytes: int | None = None  # without the page cache that the kernel drops first
    shrinks: int = 0  # times that the cache was told to give up something
    released_bytes: int = 0  # whole pages that it gave back to the system then; what entries cost beside them is extra
    trims: int = 0  # times that the allocator was told to give back what is free
    cache_bound_bytes: int = 0  # what the cache may occupy until the next look; above it, it evicts for memory
    slowdowns: int = 0  # times that the concurrency was lowered
    not_reclaimable: int = 0  # times that nothing more was given up, since it would not have helped
    growth_bytes_per_s: float = 0.0  # of what nothing accounts for, over the latest `growth_span_s`
    growth_span_s: float = 0.0  # 0.0: not known so far
    growth_rising_share: float = 0.0  # of that time; near 1.0 it rises all the time, as a leak does

    @property
    def accounted_bytes(self) -> int:
        """What the engine knows that it holds: cache, calls under way, waiting requests."""
        return self.cache_bytes + self.calls_bytes + self.queued_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxSnapshot:
    """One actor's mailbox; waits are from tell to take, handling is time spent in the handler."""

    depth: int = 0
    peak: int = 0
    handled: int = 0
    inline_asks: int = 0
    dropped: int = 0  # facts that came after the actor had stopped
    mean_wait_s: float = 0.0  # of messages that were not delivered inline
    max_wait_s: float = 0.0  # p50 and more stand in `Snapshot.series` under "mailbox_wait"
    mean_handling_s: float = 0.0
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSnapshot:
    """Whether trio's loop comes round in time: `looks` at a timer of the engine's own, four a second.

    A look is late when it comes 10 ms or more after its time, since something computes or blocks in the loop, or since
    the machine has no processor for it.  `late_s` and `longest_late_s` are in trio's clock: where a test simulates that
    one, nothing is late.
    """

    looks: int = 0
    late: int = 0  # of these
    late_s: float = 0.0  # by how much they were, in sum
    longest_late_s: float = 0.0
    elapsed_s: float = 0.0  # since the engine opened, by the machine's clock; `Snapshot.taken_at_s` is by trio's


NO_LOOKS = LoopSnapshot()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Requests by how they ended; submitted = succeeded + failed + cancelled + waiting."""

    submitted: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    waiting: int = 0
    paid_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float | None = 0.0
    samples_dropped: int = 0  # latency samples lost because nobody folded them in time


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything at one moment.  `taken_at_s` is seconds since the engine opened, `wall_time` is Unix time."""

    taken_at_s: float
    wall_time: float
    latency: Mapping[str, LatencySummary]  # by the name of the series: over all endpoints, of what succeeded
    series: tuple[SeriesSnapshot, ...] = ()  # the same taken apart, and what failed
    cache: CacheSnapshot
    router: RouterSnapshot
    memory: MemorySnapshot
    loop: LoopSnapshot = NO_LOOKS
    counters: Counters
    mailboxes: Mapping[
        str, MailboxSnapshot
    ]  # by actor: "cache", "router", "generators", "metrics", "watchdog", "store"

    @property
    def gauges(self) -> Mapping[str, float]:
        """What is so at `taken_at_s`, by name: counts, and bytes where the name says so."""
        return {
            "in_flight": self.router.in_flight,
            "backlog": self.router.backlog,
            "delayed": self.router.delayed,
            "waiting": self.counters.waiting,
            "flights": self.cache.flights,
            "cache_entries": self.cache.entries,
            "cache_bytes": self.cache.accounted_bytes,
            "rss_bytes": self.memory.rss_bytes,
            "memory_limit_bytes": self.memory.limit_bytes,
            "max_concurrency": self.router.max_concurrency,
            "concurrency_cap": self.router.concurrency_cap,
            **{f"mailbox_depth.{name}": mailbox.depth for name, mailbox in self.mailboxes.items()},
        }

    @property
    def throughput_per_s(self) -> float:
        """Requests that succeeded per second since the engine opened."""
        return self.counters.succeeded / self.taken_at_s if self.taken_at_s > 0 else 0.0
