"""Is what the reference says what the sources say, and does every link of the documentation lead somewhere?"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from docs.generator.api import PAGES, documented
from docs.generator.markdown import code, prose, signature, slug, table
from docs.generator.pages import generated, there
from docs.generator.source import ROOT, fields_of, named
from synth_actors.datasets import __all__ as of_datasets
from synth_actors.snapshot import SERIES, Snapshot
from synth_actors.telemetry.metric_names import METRICS
from synth_actors.testing import __all__ as of_testing

PAGES_OF_DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return generated()


def test_every_generated_page_is_what_the_sources_say(pages: dict[str, str]) -> None:
    stale = [path for path, text in pages.items() if there(path) != text]
    assert stale == [], "run `make docs`"


def test_nothing_else_lies_among_the_generated_pages(pages: dict[str, str]) -> None:
    found = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/reference/api/*")}
    assert found <= set(pages), "a page that nobody writes any more: delete it"


def test_every_public_name_stands_in_the_reference() -> None:
    import synth_actors
    from synth_actors import errors, telemetry

    wanted = {*synth_actors.__all__, *of_datasets, *of_testing, *telemetry.__all__}
    wanted |= {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert wanted - {name for name, _ in documented()} == set()


def test_every_name_of_the_reference_has_a_docstring() -> None:
    assert [name for name, found in documented() if found.docstring is None] == []


def test_a_name_stands_once_on_a_page() -> None:
    for page in PAGES:
        names = [name for part in page.parts for name, _ in part.paths()]
        assert len(names) == len({slug(name) for name in names}), page.file


def test_every_metric_of_prometheus_and_every_series_stands_on_the_page_of_metrics(pages: dict[str, str]) -> None:
    page = pages["docs/reference/metrics.md"]
    assert [metric.name for metric in METRICS if f"| `{metric.name}` |" not in page] == []
    assert [name for name in SERIES if f"| `{name}` |" not in page] == []


def test_every_part_of_a_snapshot_stands_on_the_page_of_metrics(pages: dict[str, str]) -> None:
    page = pages["docs/reference/metrics.md"]
    parts, seen = ["Snapshot"], set[str]()
    while parts:
        name = parts.pop()
        seen.add(name)
        assert f"\n### {name}\n" in page, f"docs/generator/metrics.py: SNAPSHOTS lacks {name}"
        home = "histogram" if name == "LatencySummary" else "snapshot"
        types = " ".join(field.type for field in fields_of(named(f"{home}.{name}")))
        parts += set(re.findall(r"\b[A-Z]\w*(?:Snapshot|Point|Summary)\b", types)) - seen
    assert len(seen) > 10


# ------------------------------------------------------------------------------------------------------------- links


@pytest.mark.parametrize("page", PAGES_OF_DOCS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    broken = [target for target in _targets(text) if not _leads_somewhere(page, target)]
    assert broken == []


def _targets(text: str) -> list[str]:
    found = [match["target"] for match in LINK.finditer(FENCE.sub("", text))]
    return [target for target in found if "://" not in target and not target.startswith("mailto:")]


def _leads_somewhere(page: Path, target: str) -> bool:
    where, _, heading = target.partition("#")
    file = (page.parent / where).resolve() if where else page
    if not file.exists():
        return False
    return not heading or heading in _anchors(file.read_text(encoding="utf-8"))


def _anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ +(.*)$", FENCE.sub("", text), flags=re.MULTILINE)
    return {slug(LINK.sub(lambda link: link[0].partition("]")[0][1:], title).replace("`", "")) for title in titles}


def test_a_link_to_a_heading_that_is_not_there_is_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("# A `b` c\n\n[x](#a-b-c) [y](#a-b) [z](b.md)\n```\n[no](link.md)\n```\n", encoding="utf-8")
    targets = _targets(page.read_text(encoding="utf-8"))
    assert [_leads_somewhere(page, target) for target in targets] == [True, False, False]


# ------------------------------------------------------------------------------------------------------- the renderer


def test_a_field_has_its_type_default_and_bounds_as_a_reader_writes_them() -> None:
    fields = {field.name: field for field in fields_of(named("config.EngineConfig"))}
    concurrency, routing, cache = fields["max_concurrency"], fields["routing"], fields["cache"]
    assert (concurrency.type, concurrency.default, concurrency.bounds) == ("int", "100", (">= 1", "<= 100000"))
    assert routing.type.startswith('"preference" | ')
    assert cache.default == "CacheConfig()"
    assert fields["max_response_bytes"].default == "64 * 2**20"


def test_a_field_says_what_stands_behind_it() -> None:
    fields = {field.name: field for field in fields_of(named("snapshot.EndpointSnapshot"))}
    assert fields["longest_output_tokens"].comment == "of one call"
    assert '"reserve"' in fields["output_metering"].comment, "the comment stands within the brackets of the value"


def test_fields_are_those_of_the_class_itself() -> None:
    assert [field.name for field in fields_of(named("snapshot.Snapshot"))] == list(Snapshot.__dataclass_fields__)


def test_a_context_manager_is_shown_as_what_a_caller_gets() -> None:
    stream = named("engine.Engine.batch")
    shown = signature(stream, "batch")  # type: ignore[arg-type]  # it is a function
    assert shown.startswith("def batch(")
    assert shown.endswith("-> AbstractAsyncContextManager[Outcomes]")
    ast.parse(f"{shown}: ...")


def test_a_signature_is_python() -> None:
    for name, found in documented():
        if found.is_function:
            shown = signature(found, name.rpartition(".")[2])  # type: ignore[arg-type]
            ast.parse(f"{shown}: ...")


def test_errors_in_a_docstring_are_links_and_angle_brackets_are_text() -> None:
    text = "\n\n".join(prose(named("engine.Engine.generate").docstring))
    assert "- [`ConfigError`](errors.md#configerror): the request is wrong" in text
    assert "<" not in re.sub(r"`[^`]*`|\\<", "", text)


def test_a_table_leaves_out_columns_that_hold_nothing_and_quotes_bars() -> None:
    assert table(("a", "b"), [(code("x | y"), "")]) == "| a |\n| --- |\n| `x \\| y` |"
