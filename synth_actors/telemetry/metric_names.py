"""What is each figure of a snapshot called in Prometheus, of which kind is it, and what does it say?

One table; the exporter, the reference page and the tests read it.  Names follow the conventions of Prometheus: a common
prefix, the base unit (seconds, bytes), `_total` for what only grows.
"""

from __future__ import annotations

from typing import get_args

from synth_actors.snapshot import DurableState
from synth_actors.telemetry.metric import Metric, durations, one, several, state

BUCKETS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
"""Upper bounds of the histograms, in seconds: from a slow hit to the usual `attempt_timeout_s`."""

ENDPOINT_STATES = ("open", "paused", "probing", "fatal")
MEMORY_STATES = ("ok", "shrinking", "slowed", "not_reclaimable")
FILE_STATES: tuple[str, ...] = get_args(DurableState)


_DURATIONS = (
    durations(
        "response", "response_seconds", "From the submission of a request to its answer, unless a hit, or its error."
    ),
    durations(
        "queue", "queue_seconds", "From the submission of a request to the dispatch of the call that answered it."
    ),
    durations("service", "service_seconds", "One call, from its dispatch to its end."),
    durations("connect", "connect_seconds", "Opening a connection, name lookup and TLS included."),
    durations("ttft", "time_to_first_token_seconds", "From the dispatch of a streamed call to its first token."),
    durations("tpot", "time_per_output_token_seconds", "Per token after the first, of a streamed call."),
    durations("cached_response", "cached_response_seconds", "From the submission of a request to a cached answer."),
    durations(
        "mailbox_wait", "mailbox_wait_seconds", "A message in an actor's mailbox, unless it was delivered inline."
    ),
)

_REQUESTS = (
    one("gauge", "Snapshot", "taken_at_s", "uptime_seconds", "Since the engine was opened."),
    one("counter", "Counters", "submitted", "requests_submitted_total", "Requests that were made of the engine."),
    several(
        "Counters",
        "outcome",
        "succeeded=succeeded failed=failed cancelled=cancelled",
        "requests_total",
        "Requests by how they ended.",
    ),
    one("gauge", "Counters", "waiting", "requests_waiting", "Requests that have not ended."),
    one("counter", "Counters", "paid_calls", "paid_calls_total", "Calls to endpoints, which may cost something."),
    several(
        "Counters",
        "kind",
        "input=input_tokens output=output_tokens cache_read=cache_read_tokens cache_write=cache_write_tokens",
        "tokens_total",
        "Tokens that calls have used; cache_read and cache_write are those of the provider's prompt cache.",
    ),
    one(
        "counter", "Counters", "cost_usd", "cost_usd_total", "Dollars; no sample once a call of unknown price was made."
    ),
    one(
        "gauge", "RouterSnapshot", "budget_usd", "budget_usd", "Dollars that may be spent; no sample without a budget."
    ),
    one(
        "gauge",
        "RouterSnapshot",
        "budget_spent_usd",
        "budget_spent_usd",
        "Dollars of the budget that are spent, by earlier runs of the job, too; no sample without a budget.",
    ),
    one(
        "counter",
        "Counters",
        "samples_dropped",
        "samples_dropped_total",
        "Durations that stand in no histogram, since they came faster than they could be counted.",
    ),
    one(
        "counter",
        "LatencySummary",
        "out_of_range",
        "samples_out_of_range_total",
        "Durations that stand in no histogram, since they were below 0 or above an hour.",
    ),
)

_CACHE = (
    one("gauge", "CacheSnapshot", "enabled", "cache_enabled", "1 if answers are kept, else 0."),
    one("info", "CacheSnapshot", "policy", "cache_info", "What is evicted first: lru or cost.", "policy"),
    one("gauge", "CacheSnapshot", "normalise_prompts", "cache_normalise_prompts", "1 if formatting does not count."),
    several(
        "CacheSnapshot",
        "result",
        "hit=hits miss=misses follow=follows",
        "cache_lookups_total",
        "Lookups: answered at once, led to a call, joined a call under way.",
    ),
    one("counter", "CacheSnapshot", "durable_hits", "cache_file_hits_total", "Hits whose answer came from the file."),
    one("counter", "CacheSnapshot", "stale", "cache_stale_lookups_total", "Misses that found an expired answer."),
    one("counter", "CacheSnapshot", "stored", "cache_stored_total", "Answers that were kept in memory."),
    one("counter", "CacheSnapshot", "not_stored", "cache_not_stored_total", "Answers that were not kept in memory."),
    one("counter", "CacheSnapshot", "too_large", "cache_too_large_total", "Answers not kept: above max_entry_bytes."),
    one("counter", "CacheSnapshot", "no_room", "cache_no_room_total", "Answers not kept: larger than max_bytes."),
    several(
        "CacheSnapshot",
        "reason",
        "space=evicted_for_space memory=evicted_for_memory",
        "cache_evictions_total",
        "Answers that made room for others, or gave memory back.",
    ),
    one(
        "counter",
        "CacheSnapshot",
        "evicted_out_of_order",
        "cache_evictions_out_of_order_total",
        "Evictions of other answers than the policy would have chosen.",
    ),
    one("counter", "CacheSnapshot", "expired", "cache_expired_total", "Answers that had lived for their time."),
    one("gauge", "CacheSnapshot", "entries", "cache_entries", "Answers in memory."),
    one("gauge", "CacheSnapshot", "max_entries", "cache_max_entries", "Answers that memory may hold."),
    one("gauge", "CacheSnapshot", "accounted_bytes", "cache_accounted_bytes", "Answers in memory, with overhead."),
    one("gauge", "CacheSnapshot", "footprint_bytes", "cache_footprint_bytes", "Pages that answers in memory occupy."),
    one("gauge", "CacheSnapshot", "max_bytes", "cache_max_bytes", "What answers in memory may occupy."),
    one("gauge", "CacheSnapshot", "ttl_s", "cache_ttl_seconds", "How long an answer lives; no sample: for ever."),
    one("gauge", "CacheSnapshot", "flights", "cache_flights", "Different requests that are under way."),
    one("counter", "CacheSnapshot", "saved_tokens", "cache_saved_tokens_total", "Tokens of calls that hits saved."),
    one(
        "counter",
        "CacheSnapshot",
        "saved_usd",
        "cache_saved_usd_total",
        "Dollars of calls that hits and follows saved; no sample once one of unknown price was saved.",
    ),
    one("counter", "CurvesSnapshot", "lookups", "cache_curve_lookups_total", "Lookups that the curves were made of."),
    one("gauge", "CurvesSnapshot", "sampled_keys", "cache_curve_sampled_keys", "Keys that the curves follow."),
    one("gauge", "CurvesSnapshot", "rate", "cache_curve_sample_ratio", "The share of all keys that they stand for."),
    one(
        "counter",
        "CurvesSnapshot",
        "format_checked",
        "cache_format_checked_total",
        "Misses compared without formatting.",
    ),
    one(
        "counter",
        "CurvesSnapshot",
        "format_repeats",
        "cache_format_repeats_total",
        "Misses that asked what had been asked before, in another formatting.",
    ),
)

_FILE = (
    state("DurableSnapshot", "cache_file_state", "Whether the file of the cache is in use.", FILE_STATES),
    several(
        "DurableSnapshot",
        "result",
        "hit=hits miss=misses stale=stale unread=unread",
        "cache_file_lookups_total",
        "Keys that the file was asked for; unread: it could not be read.",
    ),
    one("counter", "DurableSnapshot", "written", "cache_file_written_total", "Answers written to the file."),
    one("counter", "DurableSnapshot", "dropped", "cache_file_dropped_total", "Answers that never reach the file."),
    one("gauge", "DurableSnapshot", "queued", "cache_file_queued", "Answers that wait to be written."),
    one("gauge", "DurableSnapshot", "queued_bytes", "cache_file_queued_bytes", "What waits to be written."),
    one(
        "counter", "DurableSnapshot", "evicted", "cache_file_evictions_total", "Answers deleted from the file for room."
    ),
    one("counter", "DurableSnapshot", "damaged_rows", "cache_file_damaged_total", "Answers whose checksum was wrong."),
    one("gauge", "DurableSnapshot", "used_bytes", "cache_file_used_bytes", "What answers occupy in the file."),
)

_ROUTER = (
    one("info", "RouterSnapshot", "routing", "router_info", "How the endpoint of a call is chosen.", "routing"),
    one("gauge", "RouterSnapshot", "backlog", "backlog", "Requests that wait for a place or a limit."),
    one("gauge", "RouterSnapshot", "delayed", "delayed", "Requests that wait until they are tried again."),
    one("gauge", "RouterSnapshot", "in_flight", "in_flight", "Calls under way."),
    one("gauge", "RouterSnapshot", "max_concurrency", "max_concurrency", "Calls that may be under way at once."),
    one(
        "gauge",
        "RouterSnapshot",
        "concurrency_cap",
        "concurrency_cap",
        "Calls that memory allows at once at the moment.",
    ),
    one("counter", "RouterSnapshot", "generators", "generators_started_total", "Workers started to make calls."),
    one(
        "counter",
        "RouterSnapshot",
        "retries_by_reason",
        "retries_total",
        "Calls that repeat a failed one, by its fault.",
        "reason",
    ),
    one("counter", "RouterSnapshot", "failovers", "failovers_total", "Repeated calls that went to another endpoint."),
    one("counter", "RouterSnapshot", "abandoned", "abandoned_calls_total", "Calls stopped, nobody waited for them."),
    one("counter", "RouterSnapshot", "active_s", "active_seconds_total", "While any request was inside."),
    one("counter", "RouterSnapshot", "busy_s", "busy_seconds_total", "Calls under way, summed over time."),
    one("counter", "RouterSnapshot", "backlog_s", "backlog_seconds_total", "Waiting requests, summed over time."),
    one(
        "counter",
        "RouterSnapshot",
        "delayed_s",
        "delayed_seconds_total",
        "Requests that wait until a time, to be tried again, summed over time.",
    ),
    one("counter", "RouterSnapshot", "saturated_s", "saturated_seconds_total", "Requests waited, no place was free."),
    one(
        "counter",
        "RouterSnapshot",
        "saturated_backlog_s",
        "saturated_backlog_seconds_total",
        "Requests that waited while every place was taken, summed over time.",
    ),
    one(
        "counter",
        "RouterSnapshot",
        "closed_backlog_s",
        "closed_backlog_seconds_total",
        "Requests that waited while no endpoint took calls, summed over time.",
    ),
)

_ENDPOINTS = (
    one("info", "EndpointSnapshot", "provider", "endpoint_info", "Whose endpoint it is.", "provider"),
    state("EndpointSnapshot", "endpoint_state", "Whether the endpoint gets calls.", ENDPOINT_STATES),
    one("gauge", "EndpointSnapshot", "in_flight", "endpoint_in_flight", "Calls under way."),
    one("gauge", "EndpointSnapshot", "max_concurrency", "endpoint_max_concurrency", "Calls at once, by its setting."),
    one(
        "gauge",
        "EndpointSnapshot",
        "concurrency_limit",
        "endpoint_concurrency_limit",
        "Calls that it may have at once at the moment; no sample: any number.",
    ),
    one(
        "gauge",
        "EndpointSnapshot",
        "is_limit_found",
        "endpoint_concurrency_limit_found",
        "1 if its answers have shown that more would be too many, else 0.",
    ),
    one("counter", "EndpointSnapshot", "attempts", "endpoint_calls_total", "Calls that were begun."),
    one("counter", "EndpointSnapshot", "successes", "endpoint_successes_total", "Calls that were answered."),
    one("counter", "EndpointSnapshot", "failures", "endpoint_failures_total", "Calls that failed.", "reason"),
    several(
        "EndpointSnapshot",
        "kind",
        "input=input_tokens output=output_tokens cache_read=cache_read_tokens cache_write=cache_write_tokens",
        "endpoint_tokens_total",
        "Tokens that its calls have used.",
    ),
    one("counter", "EndpointSnapshot", "cost_usd", "endpoint_cost_usd_total", "Dollars; no sample if not priced."),
    one("gauge", "EndpointSnapshot", "usd_per_mtok", "endpoint_usd_per_million_tokens", "Its prices.", "kind"),
    one(
        "counter",
        "EndpointSnapshot",
        "max_tokens_asked",
        "endpoint_max_tokens_asked_total",
        "The max_tokens of calls that were answered, to be compared with the output tokens.",
    ),
    one(
        "gauge", "EndpointSnapshot", "longest_output_tokens", "endpoint_longest_output_tokens", "The most of one call."
    ),
    one("counter", "EndpointSnapshot", "connections", "endpoint_connections_opened_total", "Connections opened."),
    one(
        "counter",
        "EndpointSnapshot",
        "rate_limited_s",
        "endpoint_rate_limited_seconds_total",
        "Time in which requests waited for nothing but a limit per minute.",
    ),
    one("gauge", "EndpointSnapshot", "schema_in_prompt", "endpoint_schema_in_prompt", "1 if it takes no schema."),
    one("gauge", "RateLimitSnapshot", "per_minute", "endpoint_rate_limit_per_minute", "Its limit of the kind."),
    one("gauge", "RateLimitSnapshot", "remaining", "endpoint_rate_limit_remaining", "What is left of that limit now."),
)

_MEMORY = (
    state("MemorySnapshot", "memory_state", "What is done about memory.", MEMORY_STATES),
    one("gauge", "MemorySnapshot", "rss_bytes", "memory_rss_bytes", "Resident in the process."),
    one("gauge", "MemorySnapshot", "peak_rss_bytes", "memory_peak_rss_bytes", "The most that was resident."),
    one("gauge", "MemorySnapshot", "limit_bytes", "memory_limit_bytes", "What may be resident."),
    one(
        "gauge", "MemorySnapshot", "rss_at_open_bytes", "memory_rss_at_open_bytes", "Resident before the engine opened."
    ),
    one("gauge", "MemorySnapshot", "high_bytes", "memory_high_bytes", "Resident from which memory is given back."),
    one("gauge", "MemorySnapshot", "low_bytes", "memory_low_bytes", "Resident down to which it is given back."),
    one("gauge", "MemorySnapshot", "cache_bytes", "memory_cache_bytes", "Held by the cache."),
    one("gauge", "MemorySnapshot", "calls_bytes", "memory_calls_bytes", "Held by calls under way."),
    one("gauge", "MemorySnapshot", "queued_bytes", "memory_queued_bytes", "Held by requests that wait."),
    one("gauge", "MemorySnapshot", "cache_bound_bytes", "memory_cache_bound_bytes", "What the cache may hold now."),
    one(
        "gauge",
        "MemorySnapshot",
        "rss_per_accounted_byte",
        "memory_rss_per_accounted_byte_ratio",
        "Resident bytes that come back for one that the cache gives up, as learned.",
    ),
    one(
        "gauge",
        "MemorySnapshot",
        "bytes_per_call",
        "memory_call_overhead_bytes",
        "A call holds beside its texts, as learned.",
    ),
    one(
        "gauge",
        "MemorySnapshot",
        "container_limit_bytes",
        "memory_container_limit_bytes",
        "What the control group may use.",
    ),
    one(
        "gauge",
        "MemorySnapshot",
        "container_working_set_bytes",
        "memory_container_working_set_bytes",
        "In use in the control group, without the page cache that the kernel drops first.",
    ),
    one("counter", "MemorySnapshot", "shrinks", "memory_shrinks_total", "Times that the cache gave something up."),
    one("counter", "MemorySnapshot", "released_bytes", "memory_released_bytes_total", "Pages that it gave back."),
    one("counter", "MemorySnapshot", "trims", "memory_trims_total", "Times that the allocator gave back its own."),
    one("counter", "MemorySnapshot", "slowdowns", "memory_slowdowns_total", "Times that concurrency was lowered."),
    one(
        "counter",
        "MemorySnapshot",
        "not_reclaimable",
        "memory_not_reclaimable_total",
        "Times that nothing more was given up, since it would not have helped.",
    ),
    one(
        "gauge",
        "MemorySnapshot",
        "growth_bytes_per_s",
        "memory_growth_bytes_per_second",
        "Resident bytes per second that nothing accounts for.",
    ),
    one("gauge", "MemorySnapshot", "growth_span_s", "memory_growth_span_seconds", "How long the growth was watched."),
    one(
        "gauge",
        "MemorySnapshot",
        "growth_rising_share",
        "memory_growth_rising_ratio",
        "The share of that span in which memory rose.",
    ),
)

_MAILBOXES = (
    one("gauge", "MailboxSnapshot", "depth", "mailbox_depth", "Messages in the mailbox."),
    one("gauge", "MailboxSnapshot", "peak", "mailbox_peak_depth", "The most messages that waited at once."),
    one("counter", "MailboxSnapshot", "handled", "mailbox_handled_total", "Messages that were taken and handled."),
    one("counter", "MailboxSnapshot", "inline_asks", "mailbox_inline_asks_total", "Handled in the asker's turn."),
    one("counter", "MailboxSnapshot", "dropped", "mailbox_dropped_total", "Facts that came after the actor's end."),
    one("gauge", "MailboxSnapshot", "max_wait_s", "mailbox_max_wait_seconds", "The longest that a message waited."),
    one("gauge", "MailboxSnapshot", "mean_handling_s", "mailbox_mean_handling_seconds", "Mean time in the handler."),
    one("counter", "MailboxSnapshot", "restarts", "mailbox_restarts_total", "Times that the actor crashed."),
)

_LOOP = (
    one("counter", "LoopSnapshot", "looks", "loop_looks_total", "Looks at whether trio's loop comes round in time."),
    one("counter", "LoopSnapshot", "late", "loop_late_looks_total", "Of these, 10 ms or more after their time."),
    one("counter", "LoopSnapshot", "late_s", "loop_late_seconds_total", "By how much they were late, in sum."),
    one("gauge", "LoopSnapshot", "longest_late_s", "loop_longest_late_seconds", "The longest that one was late."),
)

METRICS: tuple[Metric, ...] = (
    *_REQUESTS,
    *_DURATIONS,
    *_CACHE,
    *_FILE,
    *_ROUTER,
    *_ENDPOINTS,
    *_MEMORY,
    *_MAILBOXES,
    *_LOOP,
)

LEFT_OUT = {
    "Snapshot.wall_time": "Prometheus stamps what it scrapes",
    "Snapshot.latency": "sums over series, which are exported",
    "SeriesSnapshot.summary": "percentiles cannot be added up over processes; histograms can",
    "CurvesSnapshot.size": "points of a curve, not a figure over time; `analyze` reads it",
    "CurvesSnapshot.ttl": "points of a curve, not a figure over time; `analyze` reads it",
    "DurableSnapshot.path": "a setting, and text",
    "DurableSnapshot.reason": "text; the engine logs it",
    "DurableSnapshot.set_aside": "paths; the engine logs them",
    "RouterSnapshot.retries": "the sum of retries_by_reason",
    "EndpointSnapshot.output_metering": "what a kind of server does, for `analyze`",
    "EndpointSnapshot.last_message": "text of a server, which may quote the request",
    "RateLimitSnapshot.is_configured": "who has set the limit does not change over time",
    "LoopSnapshot.elapsed_s": "uptime_seconds, except in a test that simulates the clock",
    "MailboxSnapshot.mean_wait_s": "sum and count of mailbox_wait_seconds",
}
"""Fields that are not exported, and why."""
