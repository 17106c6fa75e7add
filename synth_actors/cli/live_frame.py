"""What does a person see of a run at one moment, in the width that the terminal has?

Every line fits the width: what is too long is cut, nothing wraps.  Texts of users and servers are shown as they are,
never as markup, and without what a terminal would obey.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from synth_actors.cli.remedies import on_command_line
from synth_actors.cli.trouble import failed_calls
from synth_actors.datasets.report import RowsReport
from synth_actors.findings import Finding
from synth_actors.policy.interval import PerformanceMetrics
from synth_actors.snapshot import EndpointSnapshot, Snapshot

MOST_ENDPOINTS = 6
MOST_FINDINGS = 3
MIB = 2**20
WIDE = 120
"""Columns from which endpoints have more figures."""
_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "dim"}
_STATES = {"open": "green", "paused": "yellow", "probing": "yellow", "fatal": "red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One picture.

    `recent` is what was done in the last seconds, None before there are any; `before` rows were there when this run
    began, `elapsed_s` ago.  `note` says what keeps the rows from coming.
    """

    report: RowsReport
    elapsed_s: float
    before: int = 0
    note: str = ""
    snapshot: Snapshot | None = None
    recent: PerformanceMetrics | None = None
    findings: Sequence[Finding] = ()

    def rows_per_s(self) -> float:
        """Since the beginning; repeated rows are taken back."""
        return max(0, self.report.valid - self.before) / self.elapsed_s if self.elapsed_s > 0 else 0.0


def picture(frame: Frame, width: int) -> RenderableType:
    """The whole picture, at most `width` columns wide."""
    parts: list[RenderableType] = [_bar(frame, width), _figures(frame)]
    if frame.snapshot is not None:
        parts.append(_endpoints(frame.snapshot, width))
    if frame.findings:
        parts.append(_findings(frame.findings))
    return Group(*parts)


def plain(text: str) -> str:
    """Without line breaks and what a terminal obeys."""
    return "".join(character if character.isprintable() else " " for character in text)


def _line(*parts: tuple[str, str] | str) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis", end="")
    for part in parts:
        text, style = (part, "") if isinstance(part, str) else part
        line.append(plain(text), style=style)
    return line


def _grid(*, expand: bool = False) -> Table:
    return Table.grid(padding=(0, 1), expand=expand)


def _bar(frame: Frame, width: int) -> RenderableType:
    report = frame.report
    rate = frame.rows_per_s()
    left = report.asked - report.valid - report.missing
    text = f"{report.valid:,} of {report.asked:,} rows"
    text += f", {report.missing:,} missing" if report.missing else ""
    text += f"  {rate:,.1f} rows/s"
    text += f"  {_duration(left / rate)} to go" if rate and left else ""
    grid = _grid(expand=True)
    grid.add_column(width=max(10, width - len(text) - 1))
    grid.add_column(justify="right", no_wrap=True, overflow="ellipsis")
    grid.add_row(ProgressBar(total=max(1, report.asked), completed=report.valid, pulse=False), _line(text))
    return grid


def _figures(frame: Frame) -> RenderableType:
    grid = _grid()
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    for name, text in _lines(frame):
        grid.add_row(_line(name), text)
    return grid


def _lines(frame: Frame) -> Iterator[tuple[str, Text]]:
    snapshot, recent = frame.snapshot, frame.recent
    if snapshot is not None:
        router = snapshot.router
        now = "-" if recent is None else f"{recent.throughput_per_s:,.1f}/s"
        mean = f"{snapshot.throughput_per_s:,.1f}/s"
        most = min(router.max_concurrency, router.concurrency_cap or router.max_concurrency)
        calls = f"{router.in_flight:,} of {most:,} under way, {router.backlog + router.delayed:,} waiting"
        yield "requests", _line(f"{now} now, {mean} on average; {calls}")
    if recent is not None:
        marks = {"p50": recent.p50_s, "p95": recent.p95_s, "p99": recent.p99_s}
        text = ", ".join(f"{name} {_seconds(value)}" for name, value in marks.items())
        errors = (f"; {recent.error_rate:.1%} failed", "red") if recent.failed else ""
        yield "answers", _line(f"{text} in the last {recent.elapsed_s:.0f} s", errors)
    if snapshot is not None:
        cache, memory = snapshot.cache, snapshot.memory
        off = "" if cache.enabled else "off; "
        yield (
            "cache",
            _line(f"{off}{cache.hit_rate:.1%} hits, {cache.entries:,} entries, {cache.accounted_bytes / MIB:,.1f} MiB"),
        )
        held = f"{memory.rss_bytes / MIB:,.0f} of {memory.limit_bytes / MIB:,.0f} MiB"
        state = "" if memory.state == "ok" else (f", {memory.state.replace('_', ' ')}", "yellow")
        yield "memory", _line(held, state)
        yield "dollars", _line(_dollars(frame.report, snapshot))
    if frame.note:
        yield "waiting", _line((frame.note, "yellow"))


def _dollars(report: RowsReport, snapshot: Snapshot) -> str:
    spent, budget = report.usage.cost_usd, snapshot.router.budget_usd
    text = "of unknown price" if spent is None else f"${spent:,.4f}" if spent < 1 else f"${spent:,.2f}"
    text += "" if budget is None else f" of ${budget:g}"
    saved = snapshot.cache.saved_usd
    return text + (f", ${saved:,.2f} saved by the cache" if saved else "")


def _endpoints(snapshot: Snapshot, width: int) -> RenderableType:
    table = Table(box=None, padding=(0, 1, 0, 0), expand=True, header_style="dim")
    heads = ("state", "calls", "failed", "at once", "p99", *(("tokens", "dollars", "model") if width >= WIDE else ()))
    table.add_column("endpoint", no_wrap=True, overflow="ellipsis", ratio=1, min_width=12)
    for head in heads:
        right = head not in ("state", "model")
        table.add_column(head, no_wrap=True, overflow="ellipsis", justify="right" if right else "left")
    endpoints = list(snapshot.router.endpoints.values())
    for endpoint in endpoints[:MOST_ENDPOINTS]:
        cells = _cells(endpoint, snapshot)
        if width < WIDE:
            cells = cells[: len(heads) + 1]
        table.add_row(*cells)
    if (more := len(endpoints) - MOST_ENDPOINTS) > 0:
        table.add_row(_line((f"and {more} more", "dim")), *[""] * len(heads))
    return table


def _cells(endpoint: EndpointSnapshot, snapshot: Snapshot) -> list[Text]:
    failed, limit = failed_calls(endpoint), endpoint.concurrency_limit
    calls = f"{endpoint.in_flight:,}" if limit is None else f"{endpoint.in_flight:,}/{limit:,}"
    tokens = endpoint.input_tokens + endpoint.output_tokens + endpoint.cache_read_tokens + endpoint.cache_write_tokens
    return [
        _line(endpoint.name),
        _line((endpoint.state, _STATES.get(endpoint.state, ""))),
        _line(f"{endpoint.attempts:,}"),
        _line((f"{failed:,}", "red" if failed else "")),
        _line(calls),
        _line(_seconds(_service_p99_s(endpoint, snapshot))),
        _line(f"{tokens:,}"),
        _line("-" if endpoint.cost_usd is None else f"{endpoint.cost_usd:,.4f}"),
        _line(endpoint.model),
    ]


def _service_p99_s(endpoint: EndpointSnapshot, snapshot: Snapshot) -> float:
    """Of its calls that succeeded; 0.0 before the first."""
    for series in snapshot.series:
        if (series.name, series.endpoint, series.outcome) == ("service", endpoint.name, "success"):
            return series.summary.p99_s
    return 0.0


def _findings(findings: Sequence[Finding]) -> RenderableType:
    grid = _grid()
    grid.add_column(no_wrap=True, overflow="ellipsis")
    for finding in findings[:MOST_FINDINGS]:
        remedy = on_command_line(finding.remedy)
        grid.add_row(_line((f"[{finding.severity}] ", _STYLES[finding.severity]), f"{finding.what}: {remedy}"))
    return grid


def _seconds(value: float) -> str:
    if value <= 0:
        return "-"
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s" if value >= 100 else f"{value:.1f} s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
