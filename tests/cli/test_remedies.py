"""Is every remedy of the rules one that a user of the command can follow?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from synth_actors.cli.remedies import on_command_line
from synth_actors.cli.summary import OF_THE_BUDGET, _about_engine
from synth_actors.policy.bottlenecks import analyze
from synth_actors.snapshot import SeriesSnapshot
from tests.policy.bottleneck_cases import CASES, took


@pytest.mark.parametrize(
    ("python", "command"),
    [
        ("EngineConfig(max_concurrency=100 -> 200)", "--concurrency 200"),
        ("EngineConfig(memory_limit_bytes=1 -> 2)", "memory_limit_bytes = 2 under [engine] in --config"),
        ("CacheConfig(ttl_s=60 -> 120)", "ttl_s = 120 under [engine.cache] in --config"),
        (
            "Endpoint(name='openai:m', max_concurrency=4 -> 10)",
            "max_concurrency = 10 under the [[endpoints]] of 'openai:m' in --config",
        ),
        (
            "Endpoint(name='a', attempt_timeout_s=3) or more: slow",
            "attempt_timeout_s = 3 under the [[endpoints]] of 'a' in --config or more: slow",
        ),
        ("Request(max_tokens=200): they are cut", "--max-tokens 200: they are cut"),
        ("CacheConfig(normalise_prompts=False -> True)", "normalise_prompts = true under [engine.cache] in --config"),
        ("CacheConfig(ttl_s=60 -> None)", "ttl_s = 1e9 under [engine.cache] in --config"),
        ("EngineConfig(routing='preference' -> 'fastest')", "routing = 'fastest' under [engine] in --config"),
        (
            "Endpoint(name='a', max_concurrency=None -> 5), and list a second endpoint",
            "max_concurrency = 5 under the [[endpoints]] of 'a' in --config, and list a second endpoint",
        ),
        ("list a second endpoint", "list a second endpoint"),
    ],
)
def test_a_setting_becomes_a_flag_or_a_key_of_the_file(python: str, command: str) -> None:
    assert on_command_line(python) == command


@pytest.mark.parametrize("rule", CASES)
def test_every_setting_of_a_finding_has_a_flag_or_a_key(rule: str) -> None:
    for finding in analyze(CASES[rule]).bottlenecks:
        for setting in finding.settings:
            assert on_command_line(str(setting)) != str(setting)


@pytest.mark.parametrize("rule", CASES)
def test_no_remedy_speaks_python(rule: str) -> None:
    for remedy in analyze(CASES[rule]).recommendations:
        assert "Config(" not in on_command_line(remedy)
        assert "Endpoint(" not in on_command_line(remedy)


def test_a_finding_of_the_summary_says_what_its_remedy_would_bring() -> None:
    ((severity, text),) = _about_engine(CASES["engine_is_saturated"], but="")
    assert severity == "medium"
    assert text == (
        "10 of 10 places are taken and 30 requests wait: --concurrency 40; throughput_per_s 34.5/s -> 138/s"
    )


def test_that_requests_end_with_the_budget_is_no_finding_and_that_others_fail_is_one() -> None:
    ended = SeriesSnapshot(name="response", outcome="budget", summary=took(10, 1.0, 2.0))
    by_the_budget = replace(CASES["requests_fail"], series=(ended,))
    assert list(_about_engine(by_the_budget, but=()))
    assert list(_about_engine(by_the_budget, but=OF_THE_BUDGET)) == []
    assert list(_about_engine(CASES["requests_fail"], but=OF_THE_BUDGET))
