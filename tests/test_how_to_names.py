"""Are the fields, metrics, settings and rules that the how-to pages name really there?"""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from synth_actors import CacheConfig, Endpoint, EngineConfig, Request
from synth_actors.policy.bottlenecks import RULES
from synth_actors.policy.interval import PerformanceMetrics
from synth_actors.snapshot import (
    SERIES,
    CacheSnapshot,
    Counters,
    CurvesSnapshot,
    DurableSnapshot,
    EndpointSnapshot,
    LoopSnapshot,
    MemorySnapshot,
    RouterSnapshot,
    Snapshot,
)
from synth_actors.telemetry.metric import PREFIX
from synth_actors.telemetry.metric_names import METRICS

HOW_TO = Path(__file__).resolve().parent.parent / "docs" / "how-to"
TROUBLE = (HOW_TO / "troubleshooting.md").read_text(encoding="utf-8")
GUIDE = (HOW_TO / "performance.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^\s*```.*?^\s*```", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"`([^`\n]+)`")

PARTS: dict[str, type] = {
    "s": Snapshot,
    "s.cache": CacheSnapshot,
    "s.cache.curves": CurvesSnapshot,
    "s.cache.durable": DurableSnapshot,
    "s.counters": Counters,
    "s.loop": LoopSnapshot,
    "s.memory": MemorySnapshot,
    "s.router": RouterSnapshot,
    "e": EndpointSnapshot,
    "PerformanceMetrics": PerformanceMetrics,
}
METRIC_NAMES = {metric.name.removeprefix(PREFIX) for metric in METRICS}
METRIC_LIKE = re.compile(rf"(?:rate\()?({PREFIX})?([a-z_]+)(?:\{{[^}}]*\}})?(?:\[1m\]\))?")


def quoted(page: str) -> list[str]:
    return QUOTED.findall(FENCE.sub("", page))


def is_there(path: str) -> bool:
    """Whether a path such as `s.router.backlog` leads to a field or a property; what stands in brackets is a key."""
    owner, _, name = re.sub(r"\[[^]]*\]", "", path).rpartition(".")
    return owner not in PARTS or hasattr(PARTS[owner], name) or name in {f.name for f in fields(PARTS[owner])}


def paths(page: str) -> list[str]:
    said = [text.replace("snapshot.router.endpoints[name].", "e.").replace("snapshot.", "s.") for text in quoted(page)]
    return [text for text in said if re.fullmatch(r"(s|e|PerformanceMetrics)(\.[a-z_0-9]+(\[[^]]*\])?)+", text)]


@pytest.mark.parametrize("page", [TROUBLE, GUIDE], ids=["troubleshooting", "performance"])
def test_every_figure_that_a_page_reads_is_there(page: str) -> None:
    found = paths(page)
    assert len(found) > 10
    assert [path for path in found if not is_there(path)] == []


def test_a_figure_that_is_not_there_is_found() -> None:
    assert all(is_dataclass(part) for part in PARTS.values())
    assert [path for path in ("s.router.backlog", "s.router.backlogs", "e.nothing") if not is_there(path)] == [
        "s.router.backlogs",
        "e.nothing",
    ]


def test_every_metric_of_prometheus_that_troubleshooting_reads_is_exported() -> None:
    """There the names in brackets are metrics, labels behind `by`, or words of the text."""
    said = [QUOTED.findall(inside) for inside in re.findall(r"\((`[^()]*(?:\([^()]*\)[^()]*)*)\)", TROUBLE)]
    names = [match[2] for each in said for text in each if (match := METRIC_LIKE.fullmatch(text))]
    labels = {label for metric in METRICS for label in metric.labels}
    histograms = {f"{metric.name.removeprefix(PREFIX)}_count" for metric in METRICS if metric.kind == "histogram"}
    assert len(names) > 30
    assert sorted(set(names) - METRIC_NAMES - labels - histograms) == []


def test_every_metric_of_prometheus_in_the_guide_is_exported() -> None:
    names = [match[2] for text in quoted(GUIDE) if (match := METRIC_LIKE.fullmatch(text)) and match[1]]
    assert len(names) > 10
    assert sorted(set(names) - METRIC_NAMES) == []


def test_every_setting_is_one() -> None:
    kinds = {kind.__name__: kind for kind in (CacheConfig, Endpoint, EngineConfig, Request)}
    said = re.findall(r"(CacheConfig|Endpoint|EngineConfig|Request)\(([a-z_]+)=", TROUBLE + GUIDE)
    assert len(said) > 20
    assert [f"{kind}({name}=)" for kind, name in said if name not in kinds[kind].model_fields] == []


def test_every_rule_is_reached_by_a_path_and_none_is_made_up() -> None:
    rules = {rule.__name__ for rule in RULES}
    assert rules - set(quoted(TROUBLE)) == set()
    named_as_rules = re.findall(r"[Ff]indings?(?: are)?:? (`[a-z_]+`(?:(?:, | and )`[a-z_]+`)*)", TROUBLE + GUIDE)
    assert {name for text in named_as_rules for name in QUOTED.findall(text)} - rules == set()


def test_every_series_that_a_page_reads_is_one() -> None:
    said = re.findall(r'latency\["(\w+)"\]', TROUBLE + GUIDE)
    assert said
    assert set(said) <= set(SERIES)
