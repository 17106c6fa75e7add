"""Does a real engine export everything that the dashboard and the alerts ask for?"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from synth_actors import CacheConfig, Endpoint, EngineConfig, Price, open_engine
from synth_actors.providers.base import Fault
from synth_actors.telemetry.metric_names import METRICS
from synth_actors.telemetry.prometheus import collector
from synth_actors.testing import ScriptedProvider, Step
from tests.telemetry.promql import Matcher, query_of

GRAFANA = Path(__file__).resolve().parents[2] / "examples" / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboard.json").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((GRAFANA / "alerts.yml").read_text(encoding="utf-8"))

OF_PROMETHEUS = {"job", "instance"}
"""Labels that Prometheus adds to what it scrapes."""


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries_of_dashboard() -> Iterator[tuple[str, str]]:
    for panel in panels():
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            expression, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()  # type: ignore[union-attr]
            assert label in OF_PROMETHEUS
            yield variable["name"], expression


def rules() -> list[dict[str, Any]]:
    return [rule for group in ALERTS["groups"] for rule in group["rules"]]


QUERIES = [*queries_of_dashboard(), *((rule["alert"], rule["expr"]) for rule in rules())]


def with_everything(folder: Path) -> tuple[list[Endpoint], EngineConfig]:
    """An engine that has whatever may have a sample."""
    price = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=1.0)
    failing = ScriptedProvider([Step(fault=Fault.FAILED)], name="first")
    first = Endpoint(
        provider=failing, name="first", price=price, stream="always", max_concurrency=4, requests_per_minute=600
    )
    second = Endpoint(provider=ScriptedProvider(lambda call: Step(text="a b c", chunks=3, gap_s=0.001)), price=price)
    return [first, second], EngineConfig(budget_usd=10.0, cache=CacheConfig(path=folder / "answers.cache"))


async def scrape_of_everything(folder: Path) -> str:
    endpoints, config = with_everything(folder)
    registry = CollectorRegistry()
    async with open_engine(endpoints, config) as engine:
        registry.register(collector(engine))
        for number in range(3):
            await engine.generate(f"p{number}", max_tokens=9)
        await engine.generate("p0", max_tokens=9)
        await engine.metrics()  # from now on the mailboxes that there are keep how long messages wait
        await engine.generate_batch([f"at once {number}" for number in range(9)], max_tokens=9)
        async with engine.stream("streamed", max_tokens=9, endpoints=("first",)) as stream:
            await stream.response()
        return generate_latest(registry).decode()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, str]]]:
    """Labels of the samples by name, read from a scrape by prometheus_client's own parser."""
    text = trio.run(scrape_of_everything, tmp_path_factory.mktemp("engine"))
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


Exported = dict[str, list[dict[str, str]]]


@pytest.mark.parametrize(("where", "expression"), QUERIES)
def test_every_metric_that_is_asked_for_is_exported_with_those_labels(
    where: str, expression: str, exported: Exported
) -> None:
    query = query_of(expression)
    assert query.metrics, where
    labels = set(OF_PROMETHEUS)
    for name, matchers in query.metrics:
        assert name in exported, f"{where}: {name} is not exported"
        labels.update(*exported[name])
        for matcher in matchers:
            if matcher.label not in OF_PROMETHEUS:
                assert any(matches(sample, matcher) for sample in exported[name]), f"{where}: {name}{{{matcher}}}"
    assert query.grouped_by <= labels, where


def matches(sample: dict[str, str], matcher: Matcher) -> bool:
    value = sample[matcher.label]
    if matcher.operator in ("=", "!="):
        return (value == matcher.value) == (matcher.operator == "=")
    return bool(re.fullmatch(matcher.value, value)) == (matcher.operator == "=~")


def test_every_alternative_of_a_matcher_is_a_value_that_there_is() -> None:
    states = {state for metric in METRICS for state in metric.states}
    values = {field.partition("=")[0] for metric in METRICS for field in metric.fields if "=" in field}
    known = states | values | {"call", "shared", "success"}
    for where, expression in QUERIES:
        for _, matchers in query_of(expression).metrics:
            asked = {value for each in matchers if each.label not in OF_PROMETHEUS for value in each.value.split("|")}
            assert asked <= known, where


def test_the_parser_sees_a_metric_that_is_none() -> None:
    query = query_of('sum by (le, a) (rate(nothing_such_bucket{a="b", c=~"d|e"}[5m])) / on (f) g > 0.5 and h == 1')
    assert [name for name, _ in query.metrics] == ["nothing_such_bucket", "g", "h"]
    assert query.metrics[0][1][1] == Matcher(label="c", operator="=~", value="d|e")
    assert query.grouped_by == {"le", "a", "f"}
    with pytest.raises(AssertionError, match="quantil: no function"):
        query_of("quantil(0.9, a)")
    with pytest.raises(AssertionError, match="no PromQL at"):
        query_of("a ? b")


# -------------------------------------------------------------------------------------------------------- the dashboard


def test_the_dashboard_shows_what_was_promised() -> None:
    titles = " ".join(panel["title"].lower() for panel in panels())
    for words in (
        "throughput",
        "response time",
        "first token",
        "error rate",
        "hit rate",
        "dollars",
        "budget",
        "tokens",
    ):
        assert words in titles
    for words in ("under way and waiting", "limits per minute", "resident memory", "retries"):
        assert words in titles


def test_the_dashboard_can_be_imported() -> None:
    assert DASHBOARD["schemaVersion"] >= 38  # Grafana 10
    assert "id" not in DASHBOARD  # it gets one where it is imported
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["description"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([panel["targets"] for panel in panels()])))
    assert used - {"__rate_interval"} <= variables


def test_no_panel_lies_over_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


# ----------------------------------------------------------------------------------------------------------- the alerts


def test_the_alerts_have_the_fields_that_prometheus_wants() -> None:
    assert set(ALERTS) == {"groups"}
    assert [set(group) for group in ALERTS["groups"]] == [{"name", "rules"}]
    for rule in rules():
        assert set(rule) | {"for"} == {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"[0-9]+[smh]", rule.get("for", "0s"))
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
    assert len({rule["alert"] for rule in rules()}) == len(rules())


def test_there_is_an_alert_for_each_thing_that_was_promised() -> None:
    asked = " ".join(rule["expr"] for rule in rules())
    for name in ("response_seconds_bucket", 'outcome="failed"', 'result="hit"', "memory_rss_bytes", "budget_usd"):
        assert name in asked


def promtool(*arguments: str, given: str = "") -> str:
    """What promtool says; it must find nothing wrong."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run([program, *arguments], input=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_promtool_finds_nothing_wrong_with_the_alerts() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "rules", str(GRAFANA / "alerts.yml"))


def test_each_alert_fires_on_what_it_is_for_and_not_a_little_below(tmp_path: Path) -> None:
    text = Path(__file__).with_name("alerts.test.yml").read_text(encoding="utf-8")
    scenario = yaml.safe_load(text.replace("RULES", str(GRAFANA / "alerts.yml")))
    fired = scenario["tests"][1]["promql_expr_test"][0]["exp_samples"]
    assert {sample["labels"] for sample in fired} == {f'{{alertname="{rule["alert"]}"}}' for rule in rules()}
    (tmp_path / "alerts.test.yml").write_text(yaml.safe_dump(scenario), encoding="utf-8")
    assert "SUCCESS" in promtool("test", "rules", str(tmp_path / "alerts.test.yml"))


def test_promtool_finds_nothing_wrong_with_what_is_exported(tmp_path: Path) -> None:
    assert promtool("check", "metrics", given=trio.run(scrape_of_everything, tmp_path)) == ""
