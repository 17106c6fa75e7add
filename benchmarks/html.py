"""How is a report shown to somebody who was not there?

The figures are written by the same functions as in the Markdown report; the page, its pictures and its safety are those
of `synth_actors.telemetry.report`.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.markdown import Columns, circumstances_of, claims_of
from benchmarks.result import Report
from benchmarks.targets import targets_of
from synth_actors.telemetry.report import Section, Table, Tile, page_of_sections

LEGEND = """\
Each figure is the median of the repeats, with the smallest and the largest. The bare loop is the same work done by a \
plain program in the same repeat, and the ratio is the value over it: it compares between machines and between busy \
and idle moments. The ideal is what no program can beat. An aim is met when the median is."""


def to_html(report: Report) -> str:
    """The report as one HTML file that needs nothing else; see `synth_actors.telemetry.report`."""
    return page_of_sections(list(_sections(report)), title="Benchmarks", facts=circumstances_of(report))


def _sections(report: Report) -> Iterator[Section]:
    if targets := list(_targets(report)):
        yield Section(heading="The guide's targets, measured", tiles=targets)
    if claims := list(_claims(report)):
        yield Section(heading="The guide's claims, measured", tiles=claims)
    for suite in dict.fromkeys([*report.about, *(row.suite for row in report.rows)]):
        yield _suite(report, suite)
    if report.missing:
        rows = [(f"{case.suite}: {case.name}", case.reason) for case in report.missing]
        yield Section(heading="Not measured", tables=[Table(caption="Not measured", head=("case", "why"), rows=rows)])
    yield Section(heading="How to read it", text=LEGEND)


def _targets(report: Report) -> Iterator[Tile]:
    for target, row, measured, limit, times in targets_of(report):
        detail = "\n".join((row, measured, limit))
        yield Tile(name=target, figure=times.replace(" x", "\u00d7"), detail=detail)


def _claims(report: Report) -> Iterator[Tile]:
    for text, multiple, value, against in claims_of(report):
        figure, _, of_repeats = multiple.removesuffix(" x").partition(" ")
        yield Tile(
            name=text,
            figure=multiple if multiple == "-" else f"{figure}\u00d7",
            detail="\n".join(filter(None, (of_repeats, value, against))),
        )


def _suite(report: Report, suite: str) -> Section:
    rows = [row for row in report.rows if row.suite == suite]
    columns = Columns.of(rows)
    table = Table(caption=f"{suite}: what was measured", head=columns.head(), rows=[columns.cells(row) for row in rows])
    return Section(
        heading=suite,
        text=report.about.get(suite, ""),
        tables=[table] if rows else [],
        recordings=[recorded.recording for recorded in report.recordings if recorded.suite == suite],
        is_folded=True,
    )
