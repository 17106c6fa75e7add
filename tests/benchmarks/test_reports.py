"""Do both formats say the same, and is an aim judged by what it is for?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from benchmarks.case import Aim, Case, Claim, Load, Measured
from benchmarks.figures import number
from benchmarks.machine import Machine
from benchmarks.markdown import to_markdown
from benchmarks.result import Missing, Report, Row, Spread, from_json, row_of, to_json


def never(load: Load) -> Measured:
    raise AssertionError("measured already")


def case(aim: Aim | None = None) -> Case:
    return Case(name="cached | generate", unit="us CPU", measure=never, aim=aim)


def row(aim: Aim | None, *repeats: Measured) -> Row:
    return row_of("engine", case(aim), repeats)


def report(*rows: Row) -> Report:
    return Report(
        started_at="2026-11-23T14:00:00+00:00",
        duration_s=61.4,
        command="python -m benchmarks --suite engine",
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
        rows=rows,
    )


REPEATS = [
    Measured(value=12.0, bare=4.0, ideal=2.0),
    Measured(value=9.0, bare=4.5, ideal=2.0),
    Measured(value=1234.5, bare=5.0, ideal=2.0),
]


def shown(page: str) -> dict[str, str]:
    """The cells of the one case by the head of their column."""
    head, _, line = page[page.index("## engine") :].splitlines()[2:5]
    return dict(zip(_cells(head), _cells(line), strict=True))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")]


def test_a_report_survives_json() -> None:
    written = report(row(Aim(limit=10, of="share"), *REPEATS), row(None, Measured(value=0.1)))
    assert from_json(to_json(written)) == written


def test_what_is_no_report_is_refused() -> None:
    with pytest.raises(ValidationError, match="started_at"):
        from_json("{}")


def test_the_page_shows_the_figures_of_the_json() -> None:
    read = from_json(to_json(report(row(Aim(limit=10), *REPEATS))))
    (only,) = read.rows
    assert only.bare is not None
    assert only.ratio is not None
    assert shown(to_markdown(read)) == {
        "case": "cached / generate",
        "unit": "us CPU",
        "median [min - max]": f"{number(only.value.median)} [{number(only.value.min)} - {number(only.value.max)}]",
        "bare loop": f"{number(only.bare.median)} [{number(only.bare.min)} - {number(only.bare.max)}]",
        "ratio": number(only.ratio.median),
        "ideal": "2.00",
        "aim": "<= 10",
        "met": "no",
    }


def test_the_page_says_where_it_was_made() -> None:
    page = to_markdown(report())
    for fact in (
        "python -m benchmarks --suite engine",
        "2026-11-23",
        "Some CPU, 2 of 4 CPUs",
        "1.25 before",
        "unknown after",
    ):
        assert fact in page
    assert "trio 0.35" in page
    assert "3, after 1 to warm up" in page


def test_a_ratio_compares_figures_of_the_same_repeat() -> None:
    found = row(None, Measured(value=10.0, bare=5.0), Measured(value=60.0, bare=20.0))
    assert found.ratio == Spread(min=2.0, median=2.5, max=3.0)


def test_without_a_bare_loop_there_is_no_ratio_and_what_no_row_has_is_no_column() -> None:
    found = row(None, Measured(value=10.0))
    assert (found.bare, found.ratio, found.ideal, found.aim) == (None, None, None, None)
    assert list(shown(to_markdown(report(found)))) == ["case", "unit", "median [min - max]"]
    beside_another = shown(to_markdown(report(found, row(Aim(limit=10), *REPEATS))))
    assert list(beside_another.values())[3:] == ["-"] * 5


@pytest.mark.parametrize(
    ("aim", "figure"),
    [
        (Aim(limit=12.0), Spread(min=9.0, median=12.0, max=1234.5)),
        (Aim(limit=8.0, of="share"), Spread(min=4.5, median=8.0, max=1229.5)),
        (Aim(limit=6.0, of="ideal"), Spread(min=4.5, median=6.0, max=617.25)),
    ],
    ids=lambda value: value.of if isinstance(value, Aim) else "",
)
def test_an_aim_is_judged_by_the_median_of_what_it_is_for(aim: Aim, figure: Spread) -> None:
    judged = row(aim, *REPEATS).aim
    assert judged is not None
    assert (judged.figure, judged.met) == (figure, True)
    stricter = row(Aim(limit=aim.limit - 0.01, of=aim.of), *REPEATS).aim
    assert stricter is not None
    assert not stricter.met


def test_an_aim_of_at_least_is_met_from_there_on() -> None:
    aims = [row(Aim(limit=limit, of="ideal", at="least"), *REPEATS).aim for limit in (6.0, 6.01)]
    assert [aim and aim.met for aim in aims] == [True, False]
    page = to_markdown(report(row(Aim(limit=0.97, at="least"), Measured(value=0.9812))))
    assert (shown(page)["aim"], shown(page)["met"]) == (">= 0.97", "yes")


def test_the_figures_of_others_have_columns_of_their_own() -> None:
    beside = [{"fixed 32": 0.6, "AIMD": 0.1}, {"fixed 32": 0.8, "AIMD": 0.2}, {"fixed 32": 0.7, "AIMD": 0.3}]
    measured = row(None, *(Measured(value=0.98, beside=one) for one in beside))
    assert measured.beside == {
        "fixed 32": Spread(min=0.6, median=0.7, max=0.8),
        "AIMD": Spread(min=0.1, median=0.2, max=0.3),
    }
    written = report(measured)
    assert from_json(to_json(written)) == written
    assert shown(to_markdown(written)) == {
        "case": "cached / generate",
        "unit": "us CPU",
        "median [min - max]": "0.980 [0.980 - 0.980]",
        "fixed 32": "0.700",
        "AIMD": "0.200",
    }


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.012"), (1.2345, "1.23"), (12.345, "12.3"), (123.45, "123"), (12345.6, "12,346")]
)
def test_numbers_have_three_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text


def test_a_bare_loop_that_cost_nothing_measurable_gives_no_ratio() -> None:
    measured = row(None, Measured(value=1.3, bare=0.0, ideal=None))
    assert measured.bare is not None
    assert measured.ratio is None
    half = row(None, Measured(value=1.0, bare=0.0, ideal=None), Measured(value=3.0, bare=1.5, ideal=None))
    assert half.ratio == Spread(min=2.0, median=2.0, max=2.0)


def test_claims_texts_missing_cases_and_circumstances_stand_on_the_page() -> None:
    claim = Claim(text="calls saved", than="without", better="less")
    measured = [Measured(value=20.0, beside={"without": 100.0}), Measured(value=25.0, beside={"without": 100.0})]
    one = row_of("cache", Case(name="paid", unit="%", measure=never, claim=claim), measured)
    missing = Missing(suite="latency", name="replay", reason="no | traces\nhere")
    about = {"cache": "What it saves.", "latency": "How long."}
    written = replace(report(one), about=about, missing=(missing,), endpoint="openai:m@http://h")
    page = to_markdown(replace(written, memory_cap_bytes=2**29))
    assert "| calls saved | 4.50 [4.00 - 5.00] x | 22.5 % | without: 100 |" in page
    assert "## cache\n\nWhat it saves.\n\n| case |" in page
    assert "## latency\n\nHow long.\n\n## Not measured\n\n- latency: replay: no | traces here\n" in page
    assert "- endpoint: openai:m@http://h\n- memory cap: 512 MiB of address space\n" in page


def test_the_guide_s_targets_stand_on_the_page_with_their_multiples() -> None:
    missing = Missing(suite="memory", name="peak resident", reason="no | /proc here")
    named = [
        replace(row_of("latency", case(), [Measured(value=50.0)]), name="uncached p99", unit="ms"),
        replace(row_of("throughput", case(), [Measured(value=0.0)]), name="failed, 2 % 5xx and 2 % 429", unit="%"),
    ]
    page = to_markdown(
        replace(report(*named), about={"latency": "", "throughput": "", "memory": ""}, missing=(missing,))
    )
    table = page.split("## The guide's targets, measured")[1].split("\n## ")[0]
    for line in (
        "| p99 below 1000 ms | latency: uncached p99 | 50.0 [50.0 - 50.0] ms | <= 1,000 | 20.0 x |",
        "| less than 1 % errors | throughput: failed, 2 % 5xx and 2 % 429 | 0.000 [0.000 - 0.000] % | <= 1 | - |",
        "| throughput: uncached | not measured: the suite has no such row | >= 10 | - |",
        "not measured: no \\| /proc here",
    ):
        assert line in table
    assert "hits" not in table
    assert "targets" not in to_markdown(report(row(None, Measured(value=1.0))))


def test_what_somebody_wrote_is_text_and_neither_tag_nor_link_nor_picture() -> None:
    hurt = "<img src=x onerror=alert(1)> ![x](http://h/x) `</script>"
    missing = Missing(suite="engine", name=hurt, reason=hurt)
    named = replace(row(None, Measured(value=1.0)), name=hurt)
    page = to_markdown(replace(report(named), command=hurt, endpoint=hurt, missing=(missing,)))
    safe = r"\<img src=x onerror=alert(1)> ![x]\(http://h/x) `\</script>"
    assert f"- command: ``{hurt}``\n" in page
    assert page.count(safe) == 4
    assert page.count("<img") == page.count(r"\<img") + 1
