"""Engines that are slow on purpose: what holds them back is found, and nothing in those that nearly are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from synth_actors import Endpoint, Price, Provider, Snapshot, Usage
from synth_actors.providers.base import Fault
from synth_actors.testing import HiddenLimits, ScriptedProvider, Step, Trouble
from tests.analysis.planted import (
    OpensConnections,
    batch,
    by_users,
    config,
    found,
    rules,
    server,
    while_users_ask,
)

PRICE = Price(
    input_usd_per_mtok=1.0, output_usd_per_mtok=5.0, cache_read_usd_per_mtok=0.1, cache_write_usd_per_mtok=1.25
)


def small_limit(own: int) -> Callable[[], list[Endpoint]]:
    return lambda: [Endpoint(provider=server(), name="server", max_concurrency=own)]


def per_minute(requests: int) -> Callable[[], list[Endpoint]]:
    return lambda: [Endpoint(provider=server(), name="server", requests_per_minute=requests)]


def prompt_cache(reads: int) -> Callable[[], list[Endpoint]]:
    """Calls that write 1,000 tokens to the provider's cache each, and read so many."""
    usage = Usage(input_tokens=100, output_tokens=20, cache_write_tokens=1000, cache_read_tokens=reads)
    provider = ScriptedProvider(lambda _call: Step(usage=usage))
    return lambda: [Endpoint(provider=provider, name="claude", price=PRICE)]


def failing_now_and_then(share: float) -> Snapshot:
    return batch(lambda: [server(call_s=0.1, trouble=Trouble(failed_share=share))], config(max_attempts=20), 300)


def flaky_for_users(share: float) -> Snapshot:
    return by_users(lambda: [server(call_s=0.1, trouble=Trouble(failed_share=share))], config(), users=30, each=10)


def refused_requests(every: int) -> Snapshot:
    steps = [Step(fault=Fault.REJECTED) if n % every == 0 else Step() for n in range(400)]
    return batch(lambda: [ScriptedProvider(steps)], config(), 400)


def two_servers(slow_s: float, **fields: object) -> Snapshot:
    def both() -> list[Provider]:
        return [server(name="fast", call_s=0.1), server(name="slow", call_s=slow_s, seed=1)]

    return by_users(both, config(**fields), users=8, each=60)


def large_max_tokens(max_tokens: int) -> Snapshot:
    limits = HiddenLimits(tokens_per_minute=30_000.0)
    return batch(lambda: [server(tokens=40, hidden=limits)], config(max_concurrency=50), 400, max_tokens=max_tokens)


def before_a_budget(max_tokens: int) -> Snapshot:
    """Twenty places and a dollar: a call of 100 tokens costs a twentieth of a cent, and sets aside what it may cost."""

    def endpoints() -> list[Endpoint]:
        return [Endpoint(provider=server(tokens=100), name="server", price=PRICE)]

    settings = config(max_concurrency=20, budget_usd=1.0)
    return while_users_ask(endpoints, settings, users=30, max_tokens=max_tokens, until_s=[10.5])[0]


PLANTED: dict[str, tuple[Callable[[], Snapshot], Callable[[], Snapshot]]] = {
    "engine_is_saturated": (
        lambda: by_users(lambda: [server()], config(max_concurrency=5), users=12, each=10),
        lambda: by_users(lambda: [server()], config(max_concurrency=12), users=12, each=10),
    ),
    "endpoint_is_saturated": (
        lambda: by_users(small_limit(4), config(max_concurrency=20), users=12, each=10),
        lambda: by_users(small_limit(12), config(max_concurrency=20), users=12, each=10),
    ),
    "requests_wait": (
        lambda: by_users(lambda: [server()], config(max_concurrency=5), users=20, each=5),
        lambda: by_users(lambda: [server(call_s=0.1)], config(max_concurrency=5), users=20, each=5),
    ),
    "calls_are_slow": (
        lambda: by_users(lambda: [server(call_s=6.0)], config(), users=10, each=5),
        lambda: by_users(lambda: [server(call_s=0.9)], config(), users=10, each=5),
    ),
    "connecting_takes_long": (
        lambda: by_users(lambda: [OpensConnections(0.2, calls_each=1)], config(), users=4, each=20),
        lambda: by_users(lambda: [OpensConnections(0.2, calls_each=3)], config(), users=4, each=20),
    ),
    "rate_limit_sets_the_pace": (
        lambda: batch(per_minute(60), config(max_concurrency=20), 300),
        lambda: batch(per_minute(60), config(max_concurrency=1), 50),
    ),
    "max_tokens_are_too_large": (lambda: large_max_tokens(1000), lambda: large_max_tokens(79)),
    "max_tokens_are_too_large, before a budget": (lambda: before_a_budget(10_000), lambda: before_a_budget(3_000)),
    "endpoint_is_slow": (
        lambda: two_servers(0.8, routing="least_loaded"),
        lambda: two_servers(0.8, routing="fastest"),
    ),
    "calls_are_repeated": (lambda: failing_now_and_then(0.2), lambda: failing_now_and_then(0.04)),
    "prompt_cache_costs_more": (
        lambda: batch(prompt_cache(reads=0), config(), 50),
        lambda: batch(prompt_cache(reads=5000), config(), 50),
    ),
    "retries_wait": (lambda: flaky_for_users(0.1), lambda: flaky_for_users(0.02)),
    "requests_fail": (lambda: refused_requests(every=20), lambda: refused_requests(every=200)),
    "endpoint_fails": (lambda: failing_now_and_then(0.2), lambda: failing_now_and_then(0.04)),
}
"""By rule: a workload that has its bottleneck, and one that nearly has."""


@pytest.mark.parametrize("rule", PLANTED)
def test_a_bottleneck_that_was_planted_is_found(rule: str) -> None:
    finding = found(rule.partition(",")[0], PLANTED[rule][0]())
    assert finding.cause
    assert finding.prediction is None or finding.prediction.is_better


@pytest.mark.parametrize("rule", PLANTED)
def test_a_workload_that_nearly_has_it_is_left_alone(rule: str) -> None:
    assert rule.partition(",")[0] not in rules(PLANTED[rule][1]())
