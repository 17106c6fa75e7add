"""Does the HTML report hold the figures of the Markdown and the JSON, and what somebody wrote as text only?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.case import Aim, Case, Claim, Load, Measured
from benchmarks.html import to_html
from benchmarks.machine import Machine
from benchmarks.markdown import to_markdown
from benchmarks.result import Missing, Recorded, Report, Row, from_json, row_of, to_json
from tests.browser import Browser, browser_or_skip
from tests.telemetry.report_reader import Node, read, tables
from tests.telemetry.report_samples import sample

HURT = "<img src=x onerror=alert(1)> | </script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browser_or_skip() as started:
        yield started


def never(load: Load) -> Measured:
    raise AssertionError("measured already")


def row(suite: str, name: str, *repeats: Measured, aim: Aim | None = None, claim: Claim | None = None) -> Row:
    return row_of(suite, Case(name=name, unit="requests/s", measure=never, aim=aim, claim=claim), repeats)


def report() -> Report:
    alone = "one after another"
    repeats = [Measured(value=value, bare=1800.5, beside={alone: 19.07}, ideal=2000) for value in (990.4, 1100.1, 1234)]
    return Report(
        started_at="2026-12-01T14:00:00+00:00",
        duration_s=61.4,
        command=f"python -m benchmarks --endpoint '{HURT}'",
        iterations=3,
        warmup=1,
        concurrency=100,
        load_before=1.25,
        load_after=None,
        machine=Machine(
            system="Linux 6",
            processor="Some CPU",
            cpus=4,
            usable_cpus=2,
            python="CPython 3.11",
            packages={"trio": "0.35"},
        ),
        endpoint=HURT,
        memory_cap_bytes=512 * 2**20,
        is_interrupted=True,
        about={"throughput": f"How many?\n\nMany: {HURT}", "latency": "How long?"},
        rows=(
            row("throughput", "uncached", *repeats, claim=Claim(text="at once against in a row", than=alone)),
            row("throughput", "nothing came", Measured(value=0.0), aim=Aim(limit=0.5)),
            row("throughput", HURT, Measured(value=0.01234, beside={HURT: 3.0}), aim=Aim(limit=1, at="least")),
            row("memory", "growth", Measured(value=0.0, beside={"x": 2.0}), claim=Claim(text="of nothing", than="x")),
        ),
        missing=(Missing(suite="latency", name="replay", reason=f"no traces here {HURT}"),),
        recordings=(Recorded(suite="throughput", recording=sample()),),
    )


def markdown_tables(page: str) -> dict[str, list[list[str]]]:
    """The cells of the table below each heading, the head first."""
    found: dict[str, list[list[str]]] = {}
    for part in page.split("\n## ")[1:]:
        heading, _, rest = part.partition("\n")
        lines = [line for line in rest.splitlines() if line.startswith("| ")]
        found[heading] = [_cells(line) for line in lines]
    return found


def _cells(line: str) -> list[str]:
    cells = line.replace("\\|", "\0").removeprefix("| ").removesuffix(" |").split(" | ")
    return [_read(cell.replace("\0", "|")) for cell in cells]


def _read(text: str) -> str:
    """What a reader of Markdown sees."""
    return text.replace("\\<", "<").replace("\\(", "(")


def tiles(root: Node, heading: str = "The guide's claims, measured") -> list[list[str]]:
    """What stands in each tile of a section."""
    section = next(one for one in root.all("section") if one.all("h2")[0].text == heading)
    return [[part.text for part in tile.all("dt") + tile.all("dd")] for tile in section.all("div")]


def test_the_tables_are_those_of_the_markdown_cell_by_cell() -> None:
    written, root = to_markdown(report()), read(to_html(report()))
    found = tables(root)
    for suite in ("throughput", "memory"):
        assert found[f"{suite}: what was measured"] == markdown_tables(written)[suite]
    assert len(found["throughput: what was measured"]) == 4


def test_both_are_the_same_after_a_turn_through_json() -> None:
    again = from_json(to_json(report()))
    assert (to_markdown(again), to_html(again)) == (to_markdown(report()), to_html(report()))


def test_the_claims_are_the_multiples_of_the_markdown() -> None:
    _, *claims = markdown_tables(to_markdown(report()))["The guide's claims, measured"]
    assert len(claims) == 2
    for (claim, multiple, value, against), tile in zip(claims, tiles(read(to_html(report()))), strict=True):
        name, figure, detail = tile
        assert name == claim
        if multiple == "-":
            assert figure == "-"
            assert detail.splitlines() == [value, against]
        else:
            of_repeats, *others = detail.splitlines()
            assert f"{figure.removesuffix(chr(0xD7))} {of_repeats} x" == multiple
            assert others == [value, against]


def test_the_targets_are_those_of_the_markdown() -> None:
    heading = "The guide's targets, measured"
    _, *targets = markdown_tables(to_markdown(report()))[heading]
    shown = [[name, *detail.splitlines(), figure] for name, figure, detail in tiles(read(to_html(report())), heading)]
    assert [[cell.replace(chr(0xD7), " x") for cell in one] for one in shown] == targets
    assert targets[2] == ["more than 10 requests per second", "throughput: uncached", *targets[2][2:4], "110 x"]


def test_the_circumstances_are_those_of_the_markdown() -> None:
    shown = {name: fact for name, fact in tables(read(to_html(report())))["How it was made"][1:]}  # noqa: C416 - mypy wants pairs
    lines = to_markdown(report()).split("\n## ")[0].splitlines()
    said = dict(_read(line).removeprefix("- ").split(": ", 1) for line in lines if line.startswith("- "))
    said["command"] = said["command"].strip("`")
    assert {name: " ".join(value.split()) for name, value in shown.items()} == said
    assert {"command", "machine", "versions", "endpoint", "memory cap", "interrupted"} <= set(shown)


def test_what_was_not_measured_says_why() -> None:
    assert tables(read(to_html(report())))["Not measured"] == [
        ["case", "why"],
        ["latency: replay", f"no traces here {HURT}"],
    ]


def test_each_suite_has_its_explanation_even_without_a_row() -> None:
    sections = {one.all("h2")[0].text: one for one in read(to_html(report())).all("section")}
    assert [one.text for one in sections["throughput"].all("p")][:2] == ["How many?", f"Many: {HURT}"]
    assert [one.text for one in sections["latency"].all("p")] == ["How long?"]
    assert sections["latency"].all("table") == []


def test_recordings_are_below_their_suite() -> None:
    sections = {one.all("h2")[0].text: one for one in read(to_html(report())).all("section")}
    assert sections["throughput"].all("h3")[0].text == sample().title
    assert sections["throughput"].all("figure")
    assert not sections["memory"].all("figure")


def test_an_aim_that_is_met_and_one_that_is_not_look_different() -> None:
    verdicts = {cell.text: cell.attributes.get("class") for cell in read(to_html(report())).all("td")}
    assert (verdicts["yes"], verdicts["no"]) == ("good", "bad")


def test_a_report_without_rows_is_a_page() -> None:
    root = read(to_html(replace(report(), rows=(), recordings=(), missing=(), about={})))
    assert [heading.text for heading in root.all("h2")] == ["How to read it", "How it was made"]


@pytest.mark.parametrize("width", [1280, 390])
def test_it_opens_in_a_browser_without_a_complaint(browser: Browser, tmp_path: Path, width: int) -> None:
    path = tmp_path / "report.html"
    path.write_text(to_html(report()), encoding="utf-8")
    tab = browser.open(path, width=width)
    assert tab.evaluate("document.images.length") == 0
    tab.evaluate("document.querySelector('figure').scrollIntoView()")  # what is not in sight is not drawn
    tab.settle()
    assert tab.evaluate("document.querySelectorAll('canvas').length") > 0
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.complaints() == []
    tab.close()
