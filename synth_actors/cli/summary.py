"""What came of the run, in a few lines for a person?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from synth_actors.cli.remedies import on_command_line
from synth_actors.cli.run import Ending
from synth_actors.cli.trouble import endpoint_line
from synth_actors.datasets.block import DUPLICATE
from synth_actors.datasets.jobs.journal_tables import UncertainCall
from synth_actors.datasets.jobs.prepared import Prepared
from synth_actors.datasets.report import RowsReport
from synth_actors.errors import BudgetExceededError
from synth_actors.policy.bottlenecks import analyze
from synth_actors.policy.rules.errors import WITHOUT_A_CALL
from synth_actors.snapshot import CacheSnapshot, Snapshot
from synth_actors.types import Usage

MAX_REASONS_SHOWN = 5
MAX_CALLS_SHOWN = 5
LEAST_DISTINCT = 0.95
"""Distinct rows per row below which the summary warns: the job is complete, but perhaps of little use."""
OF_THE_BUDGET = tuple(WITHOUT_A_CALL[outcome][1][0] for outcome in ("budget", "closed"))
"""Remedies for how requests end when the budget is spent, which is no failure: the last line says it."""
MOST_INVALID = 0.1
"""Invalid rows per row that came, above which the summary warns: they are paid for and asked for again."""


def summary(ending: Ending, prepared: Prepared) -> str:
    """The closing lines."""
    lines = [_headline(ending, prepared)]
    lines += [f"  {name:<11}{text}" for name, text in _rows(ending)]
    if ending.snapshot is not None:
        lines += [f"  {name:<11}{text}" for name, text in _engine(ending.snapshot, ending, prepared)]
    lines += [f"  {name:<11}{text}" for name, text in _closing(ending, prepared)]
    return "\n".join(lines)


def _headline(ending: Ending, prepared: Prepared) -> str:
    report, place = ending.report, _place(ending, prepared)
    head = f"{report.valid} of {report.asked} rows"
    if ending.job is not None and ending.job.engine is None:
        return f"{head} were there already{place}: nothing was asked"
    before = 0 if ending.job is None else ending.job.before.valid
    rate = max(0, report.valid - before) / ending.elapsed_s if ending.elapsed_s > 0 else 0.0
    return f"{head} in {ending.elapsed_s:.2f} s ({rate:,.1f} rows/s){place}"


def _place(ending: Ending, prepared: Prepared) -> str:
    result = ending.result
    if result is None:
        return ""
    if result.complete:
        return f" -> {'stdout' if prepared.output is None else prepared.output}"
    if result.kept is None:
        return ""
    of_them = "" if result.kept_rows == result.report.valid else f" ({result.kept_rows} of them)"
    return f" -> {result.kept}{of_them}"


def _rows(ending: Ending) -> Iterator[tuple[str, str]]:
    report = ending.report
    text = f"{report.duplicates} exact duplicates, {report.repaired} made by asking again"
    text += f", {report.invalid} invalid refused"
    more = {"near duplicates": report.near_duplicates, "duplicates replaced": report.replaced}
    more |= {
        "salvaged": report.salvaged,
        "answers refused by the model": report.refused,
        "answers cut at max_tokens": report.cut,
    }
    yield "rows", text + "".join(f", {count} {name}" for name, count in more.items() if count)
    yield from (("missing", text) for text in _missing(report, stopped_by=str(ending.stopped_by)))
    if ending.result is not None and ending.result.left_out:
        yield "left out", f"{ending.result.left_out} rows had keys without a column; .jsonl keeps them"


def _loosen(reason: str) -> str:
    """What helps when rows are refused since they repeat others."""
    return " too often; loosen [dedup] (near = false, exact = false) or let more vary" if reason == DUPLICATE else ""


def _closing(ending: Ending, prepared: Prepared) -> Iterator[tuple[str, str]]:
    """What is left to do, and where the rest stands."""
    if ending.result is None or prepared.output is None:
        return
    yield from uncertain_lines(ending.result.uncertain)
    if ending.result.manifest is not None:
        yield "manifest", str(ending.result.manifest)
    if not ending.result.complete and prepared.journal.exists():
        first = "" if ending.stopped_by is None else "put right what the last line says, then "
        yield "resume", f"{first}run it again with --resume: nothing that was answered is asked again"


def uncertain_lines(calls: Sequence[UncertainCall]) -> Iterator[tuple[str, str]]:
    """The calls whose answer never arrived: how many, and what they may have cost; then the first of them."""
    if not calls:
        return
    known = [call.most_usd for call in calls if call.most_usd is not None]
    most = f"at most ${sum(known):.4f}" if len(known) == len(calls) else "nobody knows how much"
    what = "call has" if len(calls) == 1 else "calls have"
    yield "uncertain", f"{len(calls)} {what} brought no answer and may be on the bill, {most}"
    for call in calls[:MAX_CALLS_SHOWN]:
        why = "nothing was heard of it any more" if call.ended is None else " ".join(call.ended.split())
        most = "" if call.most_usd is None else f", at most ${call.most_usd:.4f}"
        yield "", f"rows {call.rows} at {call.endpoint}{most}: {why}"
    if len(calls) > MAX_CALLS_SHOWN:
        yield "", f"and {len(calls) - MAX_CALLS_SHOWN} more"


def _missing(report: RowsReport, stopped_by: str) -> Iterator[str]:
    reasons = list(report.missing_reasons.items())
    for reason, count in reasons[:MAX_REASONS_SHOWN]:
        said_last = "the job was stopped, for the reason in the last line"
        yield f"{count}: {said_last if reason == stopped_by else ' '.join(reason.split())}{_loosen(reason)}"
    if len(reasons) > MAX_REASONS_SHOWN:
        yield f"{sum(count for _, count in reasons[MAX_REASONS_SHOWN:])}: other reasons"


def _engine(snapshot: Snapshot, ending: Ending, prepared: Prepared) -> Iterator[tuple[str, str]]:
    report = ending.report
    failed = f", {report.failed_requests} failed" if report.failed_requests else ""
    yield "requests", f"{report.requests}{failed}; {_answered(snapshot)}"
    endpoints = snapshot.router.endpoints.values()
    if len(endpoints) > 1 or any(each.attempts > each.successes for each in endpoints):
        yield from (("endpoint", endpoint_line(endpoint)) for endpoint in endpoints)
    if prepared.config.cache.enabled:
        yield "cache", _cache(snapshot.cache)
    cost = cost_text(report.usage, short=prepared.short)
    yield "tokens", f"{_tokens(report.usage)}; cost {cost}{_per_1000(report)}"
    memory = snapshot.memory
    yield "memory", f"peak {_mib(memory.peak_rss_bytes)} of {_mib(memory.limit_bytes)}"
    no_failure = isinstance(ending.stopped_by, BudgetExceededError)
    found = [*_about_rows(report), *_about_engine(snapshot, but=OF_THE_BUDGET if no_failure else ())]
    yield "findings", f"{len(found) or 'none'}"
    yield from ((f"  {severity}", text) for severity, text in found)


def _cache(cache: CacheSnapshot) -> str:
    text = f"{cache.hits} hits of {cache.hits + cache.misses + cache.follows} lookups"
    if cache.durable is not None:
        text += f", {cache.durable_hits} of them from {cache.durable.path}"
    if cache.saved_tokens:
        dollars = "" if not cache.saved_usd else f", ${cache.saved_usd:.4f}"
        text += f"; saved {cache.saved_tokens:,} tokens{dollars}"
    if cache.durable is not None and cache.durable.stale:
        text += f"; {cache.durable.stale} answers were there but are older than ttl_s, or of the future"
    if cache.durable is not None and cache.durable.dropped:
        text += f"; {cache.durable.dropped} answers were not written: {cache.durable.reason or 'see the log'}"
    return text


def _about_rows(report: RowsReport) -> Iterator[tuple[str, str]]:
    distinct, came = report.valid - report.kept_duplicates, report.valid + report.invalid
    if distinct < LEAST_DISTINCT * report.valid:
        text = f"few distinct rows, only {distinct} of {report.valid} rows ({distinct / report.valid:.1%})"
        remedy = "the model repeats itself; raise --temperature or say more in --instructions"
        yield "high" if 2 * distinct < report.valid else "medium", f"{text}: {remedy}"
    if report.invalid > MOST_INVALID * came:
        text = f"{report.invalid} of {came} rows that came were invalid ({report.invalid / came:.1%})"
        remedy = "say in --instructions what the schema leaves open, or take a simpler schema or another model"
        yield "high" if 2 * report.invalid > came else "medium", f"{text}: {remedy}"


def _about_engine(snapshot: Snapshot, *, but: Sequence[str]) -> Iterator[tuple[str, str]]:
    for finding in analyze(snapshot).bottlenecks:
        if finding.remedy in but:
            continue
        would_be = "" if finding.prediction is None else f"; {finding.prediction}"
        yield finding.severity, f"{finding.what}: {on_command_line(finding.remedy)}{would_be}"


def _answered(snapshot: Snapshot) -> str:
    """How long calls took; what came from a cache took no time worth telling."""
    series, cached = snapshot.latency["response"], snapshot.latency["cached_response"].count
    if not series.count:
        return "all from the cache" if cached else "none was answered"
    return f"p50 {_seconds(series.p50_s)}, p95 {_seconds(series.p95_s)}, p99 {_seconds(series.p99_s)}"


def _seconds(value: float) -> str:
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


def _tokens(usage: Usage) -> str:
    cached = f" and {usage.cache_read_tokens:,} from the server's cache" if usage.cache_read_tokens else ""
    return f"{usage.input_tokens:,} in{cached}, {usage.output_tokens:,} out"


def _per_1000(report: RowsReport) -> str:
    cost_usd = report.cost_usd_per_1000
    return f" (${cost_usd:.4f} for 1,000 rows)" if cost_usd else ""


def cost_text(usage: Usage, *, short: bool) -> str:
    """Dollars, or why they are not known; `short`: in the words of the command line, not of a job file."""
    if usage.cost_usd is None:
        where = "[[endpoints]] in --config" if short else "[[job.endpoints]]"
        return f"unknown (no price is known; give price = {{...}} under {where})"
    return f"${usage.cost_usd:.4f}"


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
