"""How do recordings become one file that can be opened anywhere?

Everything is in it: styles, programs, figures; it asks no network for anything, and its policy lets no other program
run in it.  Without JavaScript the tables have the figures and each picture is a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from synth_actors.policy.bottlenecks import analyze
from synth_actors.snapshot import Snapshot
from synth_actors.telemetry.recording import Recording
from synth_actors.telemetry.report import parts
from synth_actors.telemetry.report.assets import ICON, policy, scripts, styles
from synth_actors.telemetry.report.chart import Charts
from synth_actors.telemetry.report.charts import charts_over_time, percentile_charts
from synth_actors.telemetry.report.durations import percentiles_table, series_table, timeline_table
from synth_actors.telemetry.report.figures import Tile, tiles_html, tiles_of
from synth_actors.telemetry.report.findings import findings_html
from synth_actors.telemetry.report.markup import Html, as_data, element, joined
from synth_actors.telemetry.report.table import Table, facts_table, table_html
from synth_actors.telemetry.report.units import duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page: figures first, then what they mean, tables, and recordings with their pictures.

    `text` is plain; an empty line begins a paragraph.  With `is_folded` all but the percentiles of its recordings is
    there and closed, so that a page of many can be read.
    """

    heading: str
    text: str = ""
    tiles: Sequence[Tile] = ()
    tables: Sequence[Table] = ()
    recordings: Sequence[Recording] = ()
    is_folded: bool = False


def page_of(
    recordings: Sequence[Recording], *, title: str, facts: Mapping[str, str] | None = None, tables: Sequence[Table] = ()
) -> str:
    """A page of one or more recordings: HTML, a file of its own.

    `facts` say in which circumstances they were made (command, machine, ...), `tables` are the caller's own figures.
    Every text, wherever it comes from, is shown as it is and never becomes markup.
    """
    sections = [Section(heading=one.title or "The run", text=one.about, recordings=[one]) for one in recordings]
    if tables:
        sections.append(Section(heading="Further figures", tables=tables))
    return page_of_sections(sections, title=title, facts=facts or {})


def page_of_sections(sections: Sequence[Section], *, title: str, facts: Mapping[str, str]) -> str:
    """A page of sections in their order, then `facts`; with more than one there is a list of them at the top."""
    charts = Charts()
    shown = [_section(section, f"section-{number}", charts) for number, section in enumerate(sections)]
    body = element(
        "main",
        {},
        element("header", {}, element("h1", {}, title), _contents(sections)),
        *shown,
        _circumstances(facts),
    )
    data = element("script", {"type": "application/json", "id": "charts"}, as_data(charts.data()))
    html = element("html", {"lang": "en"}, _head(title), element("body", {}, body, data, scripts()))
    return f"<!DOCTYPE html>\n{html}\n"


def _head(title: str) -> Html:
    return element(
        "head",
        {},
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": policy()}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("meta", {"name": "referrer", "content": "no-referrer"}),
        element("link", {"rel": "icon", "href": ICON}),
        element("title", {}, title),
        styles(),
    )


def _contents(sections: Sequence[Section]) -> Html:
    if len(sections) < 2:
        return Html()
    links = (element("a", {"href": f"#section-{number}"}, section.heading) for number, section in enumerate(sections))
    return element("nav", {"aria-label": "Contents"}, *links)


def _section(section: Section, name: str, charts: Charts) -> Html:
    paragraphs = (element("p", {}, part) for part in section.text.split("\n\n") if part.strip())
    one_says_it = len(section.recordings) == 1 and section.recordings[0].title in (section.heading, "")
    return element(
        "section",
        {"id": name},
        element("h2", {}, section.heading),
        joined(paragraphs),
        tiles_html(section.tiles),
        *(table_html(table, shows_caption=len(section.tables) > 1) for table in section.tables),
        *(
            _recording(recording, charts, is_folded=section.is_folded, has_heading=not one_says_it)
            for recording in section.recordings
        ),
    )


def _recording(recording: Recording, charts: Charts, *, is_folded: bool, has_heading: bool) -> Html:
    last = recording.last
    report = analyze(last)
    found = len(report.bottlenecks)
    heading = element("h3", {}, recording.title) if has_heading else Html()
    about = element("p", {}, recording.about) if has_heading and recording.about else Html()
    return element(
        "article",
        {},
        heading,
        about,
        element("p", {"class": "quiet"}, _when(recording)),
        tiles_html(tiles_of(last)),
        _fold(f"What holds it back ({found})" if found else "What holds it back", findings_html(report), not is_folded),
        charts.place(percentile_charts(last)),
        _over_time(charts.place(charts_over_time(recording)), is_folded),
        _fold("The figures", _figures(last), not is_folded),
        _fold("More figures", joined(map(table_html, _more_tables(recording))), is_open=False),
    )


def _when(recording: Recording) -> str:
    began = datetime.fromtimestamp(recording.began_at, UTC).isoformat(sep=" ", timespec="seconds")
    return f"From {began.replace('+00:00', ' UTC')}, for {duration(recording.last.taken_at_s)}."


def _figures(last: Snapshot) -> Html:
    wide = (percentiles_table(last), parts.calls_table(last), parts.limits_table(last))
    narrow = (parts.cache_table(last), parts.costs_table(last), parts.memory_table(last))
    return joined((*map(table_html, wide), element("div", {"class": "columns"}, *map(table_html, narrow))))


def _more_tables(recording: Recording) -> Iterator[Table]:
    yield series_table(recording.last)
    yield parts.actors_table(recording.last)
    yield parts.loop_table(recording.last)
    yield timeline_table(recording)


def _over_time(pictures: Html, is_folded: bool) -> Html:
    return _fold("Over time", pictures, is_open=False) if is_folded and pictures else pictures


def _fold(summary: str, content: Html, is_open: bool) -> Html:
    return element("details", {"open": ""} if is_open else {}, element("summary", {}, summary), content)


def _circumstances(facts: Mapping[str, str]) -> Html:
    if not facts:
        return Html()
    table = table_html(facts_table("How it was made", facts), shows_caption=False)
    return element("section", {"class": "made"}, element("h2", {}, "How it was made"), table)
