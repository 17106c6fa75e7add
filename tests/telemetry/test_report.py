"""Does the page hold every figure, as text and nothing else, and nothing that a browser would have to fetch?"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors import ConfigError, open_engine
from synth_actors.snapshot import DurableSnapshot, RateLimitSnapshot
from synth_actors.telemetry import analyze
from synth_actors.telemetry.recording import Recording, recorded
from synth_actors.telemetry.report import Section, Table, Tile, page_of, page_of_sections
from synth_actors.telemetry.report.charts import charts_over_time, percentile_charts, succeeded
from synth_actors.telemetry.report.units import duration
from tests.telemetry.report_reader import Node, read, tables
from tests.telemetry.report_samples import NASTY, SAID, long_one, nasty, sample

SEEN = NASTY.replace("\x00", "\u2400")
"""`NASTY` as a page can show it: a control character as its picture."""
RUN_BY_A_BROWSER = ("script", "style")


def page(recording: Recording) -> Node:
    return read(page_of([recording], title="A run", facts={"command": "synth-actors generate"}))


def facts(root: Node, caption: str) -> dict[str, str]:
    """A table of two columns."""
    return {name: figure for name, figure in tables(root)[caption]}  # noqa: C416 - mypy wants pairs


def data_of(root: Node) -> list[dict[str, Any]]:
    (block,) = [script for script in root.all("script") if script.attributes.get("type") == "application/json"]
    assert block.attributes["id"] == "charts"
    data: list[dict[str, Any]] = json.loads(block.text)
    return data


def test_the_policy_names_the_hash_of_each_program_and_style_and_allows_nothing_else() -> None:
    root = page(sample())
    (policy,) = [
        meta.attributes["content"] or ""
        for meta in root.all("meta")
        if meta.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    for name in RUN_BY_A_BROWSER:
        run = [one.text for one in root.all(name) if "type" not in one.attributes]
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run]
        assert allowed.pop(f"{name}-src").split() == [f"'sha256-{digest}'" for digest in digests]
    assert allowed == {
        "default-src": "'none'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert "unsafe" not in policy


def test_nothing_is_fetched_and_nothing_but_the_two_programs_can_run() -> None:
    elements = page(nasty()).everything()
    addresses = [one.attributes[name] or "" for one in elements for name in ("src", "href") if name in one.attributes]
    assert all(address.startswith(("data:image/svg+xml,", "#")) for address in addresses)
    attributes = {name for one in elements for name in one.attributes}
    assert "style" not in attributes
    assert not [name for name in attributes if name.startswith("on")]
    assert Counter(one.name for one in elements)["script"] == 3, "the plotting library, the page's own, the data"


def test_what_a_user_or_a_server_wrote_is_text_wherever_it_stands() -> None:
    recording = nasty()
    root = read(
        page_of(
            [recording],
            title=NASTY,
            facts={NASTY: NASTY},
            tables=[Table(caption=NASTY, head=("who", NASTY), rows=[(NASTY, NASTY)])],
        )
    )
    assert root.all("img") == []
    assert root.all("title")[0].text == SEEN
    assert root.all("h1")[0].text == SEEN
    assert SEEN in [heading.text for heading in root.all("h2")]
    cells = tables(root)
    assert cells[SEEN] == [["who", SEEN], [SEEN, SEEN]]
    assert cells["How it was made"][1:] == [[SEEN, SEEN]]
    assert cells["Endpoints"][1][0] == SEEN
    assert cells["Limits and health of the endpoints"][1][-1] == f"{SEEN}: {SEEN}"
    labels = [line["label"] for chart in data_of(root) for line in chart["lines"]]
    assert NASTY in labels


def test_half_a_character_does_not_keep_the_page_from_being_written() -> None:
    written = page_of([replace(sample(), title="half \ud800")], title="\udfff").encode()
    assert "half \ufffd".encode() in written


def test_the_tables_have_the_percentiles_of_the_histograms() -> None:
    found = tables(page(sample()))["Durations of what succeeded"]
    response = succeeded(sample().last, "response")
    p50, p90, p95, p99, p999, p9999 = map(duration, response.percentiles_s((0.5, 0.9, 0.95, 0.99, 0.999, 0.9999)))
    mean, longest = duration(response.total_s / 60), duration(response.max_s)
    assert found[0] == "duration samples mean p50 p90 p95 p99 p99.9 p99.99 longest".split()
    assert found[1] == ["response", "60", mean, p50, p90, p95, p99, p999, p9999, longest]
    assert [
        row[0] for row in found[1:]
    ] == "response|queue|service|first token|each further token|from the cache".split("|")


def test_every_endpoint_has_a_row_with_what_it_did_and_cost() -> None:
    head, *rows = tables(page(sample()))["Endpoints"]
    assert [row[head.index("endpoint")] for row in rows] == ["otter-a", "otter-b"]
    for row in rows:
        shown = dict(zip(head, row, strict=True))
        assert (shown["calls"], shown["succeeded"], shown["failed"]) == ("31", "30", "1 (rejected 1)")
        assert (shown["tokens in"], shown["tokens out"], shown["spent"]) == ("300", "3,000", "$0.0303")
    assert SAID in tables(page(sample()))["Limits and health of the endpoints"][1][-1]


def test_cache_and_dollars_are_those_of_the_snapshot() -> None:
    root = page(sample())
    cache, costs = facts(root, "Cache"), facts(root, "Dollars and tokens")
    assert (cache["hits"], cache["misses"], cache["hit rate"]) == ("50", "61", "45.0 %")
    assert (costs["spent"], costs["paid calls"], costs["output tokens"]) == ("$0.0606", "62", "6,000")


def test_a_budget_a_file_and_limits_are_shown_when_there_are_any() -> None:
    last = sample().last
    endpoint = replace(
        last.router.endpoints["otter-a"],
        rate_limits={"output_tokens": RateLimitSnapshot(per_minute=8000.0, remaining=12.5)},
        concurrency_limit=7,
        is_limit_found=True,
    )
    durable = DurableSnapshot(path="a.cache", state="off", reason="the disk is full; make room", written=3)
    changed = replace(
        last,
        router=replace(last.router, budget_usd=2.0, budget_spent_usd=0.5, endpoints={"otter-a": endpoint}),
        cache=replace(last.cache, durable=durable, saved_usd=None),
        counters=replace(last.counters, cost_usd=None),
    )
    root = page(replace(sample(), last=changed))
    costs, cache = facts(root, "Dollars and tokens"), facts(root, "Cache")
    assert costs["budget"] == "$0.500 of $2.00, earlier runs included"
    assert (costs["spent"], costs["saved by the cache and by joining calls"]) == ("unknown", "unknown")
    assert (cache["file"], cache["why the file is not open"]) == ("a.cache (off)", "the disk is full; make room")
    row = tables(root)["Limits and health of the endpoints"][1]
    assert row[3:5] == ["at most 7 (found)", "output tokens 12.5 of 8,000 left"]


def test_every_finding_is_there_with_its_figures() -> None:
    report = analyze(sample().last)
    assert len(report.bottlenecks) >= 2
    cards = [one for one in page(sample()).all("div") if (one.attributes.get("class") or "").startswith("finding")]
    assert len(cards) == len(report.bottlenecks)
    for card, finding in zip(cards, report.bottlenecks, strict=True):
        for expected in (finding.severity, finding.what, finding.cause, finding.remedy, *finding.evidence):
            assert expected in card.text
        if finding.prediction is not None:
            assert f"{finding.prediction}; {finding.prediction.basis}" in card.text


def test_the_timeline_is_a_picture_and_a_table_of_the_same_points() -> None:
    root = page(sample())
    points = sample().points
    head, *rows = tables(root)["Over time"]
    assert [row[head.index("succeeded")] for row in rows] == [str(point.succeeded) for point in points]
    titles = [figure.all("figcaption")[0].text for figure in root.all("figure")]
    chart = data_of(root)[titles.index("Requests per second")]
    lines = {line["label"]: line["values"] for line in chart["lines"]}
    assert chart["x"] == pytest.approx([0.0, *(point.at_s for point in points)], abs=1e-3)
    assert lines["succeeded"][1:-2] == pytest.approx([point.throughput_per_s for point in points[:-2]], rel=1e-4)
    assert lines["failed"][1:-2] == pytest.approx([point.failed / point.elapsed_s for point in points[:-2]], rel=1e-4)


def test_a_last_look_at_once_after_the_one_before_makes_no_peak() -> None:
    first, second = (replace(sample().points[0], at_s=at_s, elapsed_s=1.0, succeeded=10) for at_s in (1.0, 2.0))
    last = replace(second, at_s=2.001, elapsed_s=0.001, succeeded=2)
    root = page(replace(sample(), points=(first, second, last)))
    (line,) = (line for chart in data_of(root) for line in chart["lines"] if line["label"] == "succeeded")
    assert line["values"] == pytest.approx([10, 10, 12 / 1.001, 12 / 1.001], rel=1e-5)


def test_a_chart_says_in_words_what_it_shows() -> None:
    figures = page(sample()).all("figure")
    said = {figure.all("figcaption")[0].text: figure.all("p")[0].text for figure in figures}
    response = succeeded(sample().last, "response")
    p50, p99 = map(duration, response.percentiles_s((0.5, 0.99)))
    longest = duration(response.max_s)
    first = f"response: 60 samples, half within {p50}, 99 % within {p99}, all within {longest}; queue: "
    assert said["Latency by percentile"].startswith(first)
    assert set(said) == {chart.title for chart in (*percentile_charts(sample().last), *charts_over_time(sample()))}
    assert {"Requests per second", "Response time", "Resident memory", "Dollars spent"} <= set(said)


def test_headings_go_down_one_level_at_a_time_and_every_table_has_heads() -> None:
    sections = [Section(heading="one", recordings=[sample(), replace(sample(), title="again")])]
    root = read(page_of_sections(sections, title="Two", facts={}))
    levels = [int(one.name[1]) for one in root.everything() if one.name in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    for table in root.all("table"):
        assert all(head.attributes["scope"] in ("row", "col") for head in table.all("th"))
        assert table.all("caption")[0].text


def test_sections_have_a_list_of_contents_whose_links_lead_somewhere() -> None:
    sections = [Section(heading="first", text="What it is.\n\nHow to\nread it."), Section(heading="second")]
    root = read(page_of_sections(sections, title="Two", facts={}))
    links = {link.text: (link.attributes["href"] or "")[1:] for link in root.all("nav")[0].all("a")}
    named = {one.attributes["id"]: one for one in root.all("section")}
    assert [named[links[heading]].all("h2")[0].text for heading in ("first", "second")] == ["first", "second"]
    assert [one.text for one in named[links["first"]].all("p")] == ["What it is.", "How to\nread it."]


def test_of_many_recordings_all_but_the_percentiles_is_there_and_closed() -> None:
    shown, folded = (
        read(page_of_sections([Section(heading="s", recordings=[sample()], is_folded=folds)], title="t", facts={}))
        for folds in (False, True)
    )
    parts = {part.all("summary")[0].text: "open" in part.attributes for part in folded.all("details")}
    assert parts == dict.fromkeys(["What holds it back (2)", "Over time", "The figures", "More figures"], False)
    assert [figure.text for figure in folded.all("figure")] == [figure.text for figure in shown.all("figure")]
    assert tables(folded) == tables(shown)


def test_one_section_needs_no_list_of_contents() -> None:
    assert page(sample()).all("nav") == []


def test_tiles_show_what_they_are_given() -> None:
    root = read(
        page_of_sections([Section(heading="s", tiles=[Tile(name="n", figure="5x", detail="d")])], title="t", facts={})
    )
    assert [(one.name, one.text) for one in root.all("dl")[0].everything()][1:] == [
        ("dt", "n"),
        ("dd", "5x"),
        ("dd", "d"),
    ]


def test_a_row_of_the_wrong_length_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="Table 'sizes': row 1 has 1 cells; give 2"):
        Table(caption="sizes", head=("a", "b"), rows=[("1", "2"), ("1",)])


async def test_an_engine_that_did_nothing_has_a_page_too(autojump_clock: trio.testing.MockClock) -> None:
    async with open_engine(["local"]) as engine, recorded(engine) as recorder:
        pass
    root = page(recorder.recording())
    assert "Latency by percentile" not in [figure.all("figcaption")[0].text for figure in root.all("figure")]
    assert [heading.text for heading in root.all("h2")] == ["The run", "How it was made"]


def test_a_recording_without_points_has_percentiles_and_no_timeline() -> None:
    root = page(replace(sample(), points=()))
    assert next(figure.all("figcaption")[0].text for figure in root.all("figure")) == "Latency by percentile"
    assert "Over time" not in tables(root)


def test_a_figure_that_is_none_is_a_gap_and_no_zero() -> None:
    first, *others = sample().points
    empty = replace(first, p50_s=0.0, p99_s=0.0, succeeded=0, cost_usd=None, lookups=0, hits=0)
    root = page(replace(sample(), points=(empty, *others)))
    lines = [line for chart in data_of(root) if chart["axis"] == "time" for line in chart["lines"]]
    by_label = {line["label"]: line["values"] for line in lines}
    assert by_label["p99"][:2] == [None, None]
    assert by_label["spent"][:2] == [None, None]
    assert by_label["hits"][:2] == [None, None]


def test_a_long_run_keeps_all_its_points() -> None:
    root = page(long_one(600))
    assert len(tables(root)["Over time"]) == 601
    assert max(len(chart["x"]) for chart in data_of(root)) == 601
