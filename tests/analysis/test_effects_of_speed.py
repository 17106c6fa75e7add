"""Does a remedy bring what was predicted?  It is applied, and the same work is done again."""

from __future__ import annotations

import pytest

from synth_actors import Endpoint, EngineConfig, Price, Provider, Snapshot, Usage
from synth_actors.findings import Finding, Prediction
from synth_actors.policy.throughput import attempts
from synth_actors.testing import HiddenLimits, ScriptedProvider, Step, Trouble
from tests.analysis.planted import (
    Endpoints,
    OpensConnections,
    batch,
    by_users,
    config,
    found,
    server,
    sustained_per_s,
    while_users_ask,
)

PRICE = Price(
    input_usd_per_mtok=1.0, output_usd_per_mtok=5.0, cache_read_usd_per_mtok=0.1, cache_write_usd_per_mtok=1.25
)
WITHIN = 0.1
"""Of the predicted figure, and of the predicted change: half of what the engine promises, and most come within 0.05."""


def predicted(finding: Finding) -> Prediction:
    assert finding.prediction is not None
    return finding.prediction


def wanted(finding: Finding) -> int:
    (setting,) = finding.settings
    assert isinstance(setting.then, int)
    return setting.then


def per_s(snapshot: Snapshot) -> float:
    return snapshot.counters.succeeded / snapshot.taken_at_s


def assert_close(finding: Finding, before: float, after: float) -> None:
    """Before and after are what was measured."""
    prediction = predicted(finding)
    assert after == pytest.approx(prediction.then, rel=WITHIN)
    assert after / before == pytest.approx(prediction.then / prediction.now, rel=WITHIN)


def busy(
    endpoints: Endpoints,
    settings: EngineConfig,
    users: int,
    *,
    max_tokens: int = 100,
    until_s: tuple[float, float] = (5.0, 25.0),
) -> tuple[Snapshot, float]:
    """While users ask for ever: the later of two snapshots, and the answers a second between them."""
    first, last = while_users_ask(endpoints, settings, users, max_tokens=max_tokens, until_s=until_s)
    return last, (last.counters.succeeded - first.counters.succeeded) / (until_s[1] - until_s[0])


# ------------------------------------------------------------------------------------------------ concurrency


@pytest.mark.parametrize(("places", "spread", "seed"), [(3, 0.3, 1), (7, 0.5, 2), (12, 0.4, 3)])
def test_more_places_bring_what_little_s_law_says(places: int, spread: float, seed: int) -> None:
    def run(concurrency: int) -> Snapshot:
        return batch(lambda: [server(spread=spread, seed=seed)], config(max_concurrency=concurrency), 50 * places)

    before = run(places)
    finding = found("engine_is_saturated", before)
    after = run(wanted(finding))
    assert wanted(finding) == pytest.approx(2 * places, abs=1)  # as many as a batch keeps inside
    assert_close(finding, per_s(before), per_s(after))


@pytest.mark.parametrize(("places", "users"), [(4, 9), (6, 22), (11, 31)])
def test_places_for_everybody_who_waits_are_as_many_as_there_are_users(places: int, users: int) -> None:
    def run(concurrency: int) -> tuple[Snapshot, float]:
        return busy(lambda: [server(spread=0.3)], config(max_concurrency=concurrency), users)

    snapshot, before = run(places)
    finding = found("engine_is_saturated", snapshot)
    assert wanted(finding) == pytest.approx(users, abs=1)
    assert_close(finding, before, run(wanted(finding))[1])


@pytest.mark.parametrize(("own", "users"), [(3, 8), (5, 13), (9, 17)])
def test_more_places_at_an_endpoint_bring_what_was_predicted(own: int, users: int) -> None:
    def run(limit: int) -> tuple[Snapshot, float]:
        def endpoints() -> list[Endpoint]:
            return [Endpoint(provider=server(spread=0.2), name="server", max_concurrency=limit)]

        return busy(endpoints, config(max_concurrency=30), users)

    snapshot, before = run(own)
    finding = found("endpoint_is_saturated", snapshot)
    assert_close(finding, before, run(wanted(finding))[1])


@pytest.mark.parametrize(("places", "users"), [(3, 12), (5, 14), (7, 16)])
def test_the_p99_falls_as_predicted_when_nobody_has_to_wait(places: int, users: int) -> None:
    def run(concurrency: int) -> Snapshot:
        return by_users(lambda: [server(spread=0.1)], config(max_concurrency=concurrency), users, each=20)

    before = run(places)
    finding = found("requests_wait", before)
    after = run(wanted(finding))
    assert_close(finding, before.latency["response"].p99_s, after.latency["response"].p99_s)


# ------------------------------------------------------------------------------------------------ limits per minute


@pytest.mark.parametrize(("per_minute", "places", "call_s"), [(10, 3, 10.0), (12, 5, 6.0), (15, 16, 6.0)])
def test_a_higher_limit_per_minute_brings_what_was_predicted(per_minute: int, places: int, call_s: float) -> None:
    def endpoints(limit: float) -> Endpoints:
        return lambda: [server(call_s=call_s, hidden=HiddenLimits(requests_per_minute=limit))]

    settings = config(max_concurrency=places)
    finding = found("rate_limit_sets_the_pace", batch(endpoints(per_minute), settings, 10 * per_minute))
    asked = float(finding.remedy.split(" for ")[1].split()[0])
    before, after = (sustained_per_s(endpoints(limit), settings) for limit in (per_minute, asked))
    assert_close(finding, before, after)


@pytest.mark.parametrize(("max_tokens", "tokens"), [(600, 30), (1500, 100), (2500, 300)])
def test_smaller_max_tokens_bring_what_was_predicted(max_tokens: int, tokens: int) -> None:
    def endpoints() -> list[Provider]:
        return [server(tokens=tokens, hidden=HiddenLimits(tokens_per_minute=6000.0))]

    settings = config(max_concurrency=40)
    finding = found("max_tokens_are_too_large", batch(endpoints, settings, 30, max_tokens=max_tokens))
    before, after = (sustained_per_s(endpoints, settings, max_tokens=asked) for asked in (max_tokens, wanted(finding)))
    assert_close(finding, before, after)


@pytest.mark.parametrize(("max_tokens", "tokens", "places"), [(8000, 60, 16), (20_000, 150, 9), (5000, 90, 30)])
def test_smaller_max_tokens_let_more_calls_fit_into_a_budget(max_tokens: int, tokens: int, places: int) -> None:
    def run(asked: int) -> tuple[Snapshot, float]:
        def endpoints() -> list[Endpoint]:
            return [Endpoint(provider=server(tokens=tokens), name="server", price=PRICE)]

        settings = config(max_concurrency=places, budget_usd=0.4)
        return busy(endpoints, settings, places, max_tokens=asked, until_s=(4.5, 9.5))

    snapshot, before = run(max_tokens)
    finding = found("max_tokens_are_too_large", snapshot)
    assert_close(finding, before, run(wanted(finding))[1])


# ------------------------------------------------------------------------------------------------ endpoints


@pytest.mark.parametrize(("slow_s", "users"), [(0.5, 6), (0.9, 9), (1.4, 14)])
def test_routing_to_the_fastest_brings_the_mean_time_that_was_predicted(slow_s: float, users: int) -> None:
    def run(routing: str) -> Snapshot:
        def both() -> list[Provider]:
            return [server(name="fast", call_s=0.2), server(name="slow", call_s=slow_s, seed=1)]

        return by_users(both, config(routing=routing), users, each=60)

    before = run("least_loaded")
    finding = found("endpoint_is_slow", before)
    after = run("fastest")
    assert_close(finding, before.latency["service"].mean_s, after.latency["service"].mean_s)


@pytest.mark.parametrize(("opening_s", "call_s"), [(0.15, 0.5), (0.3, 0.3), (1.0, 0.2)])
def test_connections_that_are_kept_save_what_was_predicted(opening_s: float, call_s: float) -> None:
    def run(calls_each: int) -> Snapshot:
        return by_users(lambda: [OpensConnections(opening_s, calls_each, call_s)], config(), users=5, each=20)

    before = run(1)
    finding = found("connecting_takes_long", before)
    after = run(1000)
    assert_close(finding, before.latency["service"].mean_s, after.latency["service"].mean_s)


@pytest.mark.parametrize(("share", "seed"), [(0.15, 4), (0.3, 5), (0.45, 6)])
def test_an_endpoint_that_does_not_fail_saves_the_attempts_that_were_predicted(share: float, seed: int) -> None:
    def run(failed_share: float) -> Snapshot:
        trouble = Trouble(failed_share=failed_share)
        return batch(lambda: [server(call_s=0.1, trouble=trouble, seed=seed)], config(max_attempts=50), 200)

    before = run(share)
    finding = found("calls_are_repeated", before)
    assert_close(finding, attempts(before), attempts(run(0.0)))


@pytest.mark.parametrize(("share", "users", "seed"), [(0.12, 20, 7), (0.15, 40, 8), (0.3, 60, 9)])
def test_an_endpoint_that_does_not_fail_answers_in_the_mean_time_that_was_predicted(
    share: float, users: int, seed: int
) -> None:
    def run(failed_share: float) -> Snapshot:
        trouble = Trouble(failed_share=failed_share)
        return by_users(
            lambda: [server(call_s=0.1, spread=0.3, trouble=trouble, seed=seed)],
            config(max_attempts=50),
            users,
            each=20,
        )

    before = run(share)
    finding = found("retries_wait", before)
    after = run(0.0)
    assert_close(finding, before.latency["response"].mean_s, after.latency["response"].mean_s)


@pytest.mark.parametrize(("written", "read"), [(800, 0), (2000, 200), (5000, 1000)])
def test_without_marks_for_the_prompt_cache_the_same_tokens_cost_what_was_predicted(written: int, read: int) -> None:
    def run(usage: Usage) -> Snapshot:
        provider = ScriptedProvider(lambda _call: Step(usage=usage))
        return batch(lambda: [Endpoint(provider=provider, name="claude", price=PRICE)], config(), 40)

    before = run(Usage(input_tokens=50, output_tokens=30, cache_write_tokens=written, cache_read_tokens=read))
    after = run(Usage(input_tokens=50 + written + read, output_tokens=30))
    finding = found("prompt_cache_costs_more", before)
    assert_close(finding, before.counters.cost_usd or 0.0, after.counters.cost_usd or 0.0)
