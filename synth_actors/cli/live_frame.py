"""What does a person see of a run at one moment, in the width that the terminal has?

Every line fits the width: what is too long is cut, nothing wraps.  Texts of users and servers are shown as they are,
never as markup, and without what a terminal would obey.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

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

MOST_FINDINGS = 3
LEAST_MESSAGES = 3
"""Lines that what was said gets before endpoints and findings get more than one."""
LABEL_COLUMNS = 8
MIB = 2**20
WIDE = 120
"""Columns from which endpoints have their model, too."""
_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "dim"}
_STATES = {"open": "green", "paused": "yellow", "probing": "yellow", "fatal": "red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One picture.

    `recent` is what was done in the last seconds; without it the durations are those of the whole run.  `before` rows
    were there when this run began, `elapsed_s` ago.  `note` says what keeps the rows from coming, `messages` what was
    said so far, the newest last.
    """

    report: RowsReport
    elapsed_s: float
    before: int = 0
    note: str = ""
    snapshot: Snapshot | None = None
    recent: PerformanceMetrics | None = None
    findings: Sequence[Finding] = ()
    messages: Sequence[str] = ()

    def rows_per_s(self) -> float:
        """Since the beginning; repeated rows are taken back."""
        return max(0, self.report.valid - self.before) / self.elapsed_s if self.elapsed_s > 0 else 0.0


def picture(frame: Frame, width: int, height: int) -> RenderableType:
    """The whole picture, `width` columns wide and at most `height` lines high, if that is 12 or more."""
    lines = list(_lines(frame))
    endpoints = [] if frame.snapshot is None else list(frame.snapshot.router.endpoints.values())
    said = [line for message in frame.messages for line in wrap(plain(message), max(10, width))]
    wanted = (len(endpoints), min(len(frame.findings), MOST_FINDINGS), len(said))
    for_endpoints, for_findings, for_messages = _rooms(height - 1 - len(lines) - bool(endpoints), wanted)
    parts: list[RenderableType] = [_bar(frame, width), _figures(lines)]
    if frame.snapshot is not None and for_endpoints:
        parts.append(_endpoints(endpoints, frame.snapshot, width=width, room=for_endpoints))
    parts += [_finding(finding) for finding in frame.findings[:for_findings]]
    parts += [_line((line, "yellow")) for line in said[len(said) - for_messages :]]
    return Group(*parts)


def _rooms(room: int, wanted: tuple[int, int, int]) -> tuple[int, int, int]:
    """How many lines endpoints, findings and messages get: each a few first, then more in this order."""
    given = [0, 0, 0]
    least = (min(1, wanted[0]), min(1, wanted[1]), min(LEAST_MESSAGES, wanted[2]))
    for goal in (least, wanted):
        for at, most in enumerate(goal):
            given[at] += max(0, min(most - given[at], room - sum(given)))
    return given[0], given[1], given[2]


def plain(text: str) -> str:
    """Without line breaks and what a terminal obeys."""
    return "".join(character if character.isprintable() else " " for character in text)


def _line(*parts: tuple[str, str] | str) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
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


def _figures(lines: Sequence[tuple[str, Text]]) -> RenderableType:
    grid = _grid(expand=True)
    grid.add_column(style="bold", no_wrap=True, width=LABEL_COLUMNS)
    grid.add_column(ratio=1)
    for name, text in lines:
        grid.add_row(_line(name), text)
    return grid


def _lines(frame: Frame) -> Iterator[tuple[str, Text]]:
    snapshot, recent = frame.snapshot, frame.recent
    if snapshot is not None:
        router = snapshot.router
        now = "" if recent is None else f"{recent.throughput_per_s:,.1f}/s now, "
        mean = f"{snapshot.throughput_per_s:,.1f}/s"
        most = min(router.max_concurrency, router.concurrency_cap or router.max_concurrency)
        calls = f"{router.in_flight:,} of {most:,} under way, {router.backlog + router.delayed:,} waiting"
        yield "requests", _line(f"{now}{mean} on average; {calls}")
        yield "answers", _durations(recent, snapshot)
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


def _durations(recent: PerformanceMetrics | None, snapshot: Snapshot) -> Text:
    if recent is None:
        whole = snapshot.latency["response"]
        return _line(f"{_marks(whole.p50_s, whole.p95_s, whole.p99_s)} in the whole run")
    failed = (f"; {recent.error_rate:.1%} failed", "red") if recent.failed else ""
    return _line(
        f"{_marks(recent.p50_s, recent.p95_s, recent.p99_s)} in the last {max(1.0, recent.elapsed_s):.0f} s", failed
    )


def _marks(p50_s: float, p95_s: float, p99_s: float) -> str:
    marks = {"p50": p50_s, "p95": p95_s, "p99": p99_s}
    return ", ".join(f"{name} {_seconds(value)}" for name, value in marks.items())


def _dollars(report: RowsReport, snapshot: Snapshot) -> str:
    spent, budget = report.usage.cost_usd, snapshot.router.budget_usd
    text = "of unknown price" if spent is None else f"${spent:,.4f}" if spent < 1 else f"${spent:,.2f}"
    text += "" if budget is None else f" of ${budget:g}"
    saved = snapshot.cache.saved_usd
    return text + (f", ${saved:,.2f} saved by the cache" if saved else "")


def _endpoints(endpoints: Sequence[EndpointSnapshot], snapshot: Snapshot, *, width: int, room: int) -> RenderableType:
    """A line each; where there are more than `room`, the last line counts those that are not shown."""
    table = Table(box=None, padding=(0, 1, 0, 0), expand=True, header_style="dim", pad_edge=False)
    heads = ("state", "calls", "failed", "at once", "tokens", "dollars", "p99", *(("model",) if width >= WIDE else ()))
    table.add_column("endpoint", overflow="ellipsis", ratio=1, min_width=8)
    for head in heads:
        right = head not in ("state", "model")
        table.add_column(head, no_wrap=True, overflow="ellipsis", justify="right" if right else "left")
    shown = endpoints if len(endpoints) <= room else endpoints[: room - 1]
    for endpoint in shown:
        table.add_row(*_cells(endpoint, snapshot)[: 1 + len(heads)])
    if more := len(endpoints) - len(shown):
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
        _line(_short(tokens)),
        _line(_usd(endpoint.cost_usd)),
        _line(_seconds(_service_p99_s(endpoint, snapshot))),
        _line(endpoint.model),
    ]


def _usd(value: float | None) -> str:
    """As short as a column is: `-` where it is not known."""
    return "-" if value is None else f"{value:,.2f}" if value >= 1 or value == 0 else f"{value:.4f}"


def _short(count: int) -> str:
    """`12.3k`, `4.56M`: three digits that count."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}" if count < 999.5 * size else f"{count / size:,.0f}{letter}"
    return str(count)


def _service_p99_s(endpoint: EndpointSnapshot, snapshot: Snapshot) -> float:
    """Of its calls that succeeded; 0.0 before the first."""
    for series in snapshot.series:
        if (series.name, series.endpoint, series.outcome) == ("service", endpoint.name, "success"):
            return series.summary.p99_s
    return 0.0


def _finding(finding: Finding) -> Text:
    remedy = on_command_line(finding.remedy)
    return _line((f"[{finding.severity}] ", _STYLES[finding.severity]), f"{finding.what}: {remedy}")


def _seconds(value: float) -> str:
    if value <= 0:
        return "-"
    return f"{value * 1000:.3g} ms" if value < 0.9995 else f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
