"""Does the simulated server count, refuse and tell as the real ones do?"""

from __future__ import annotations

from typing import Any

import pytest

from synth_actors.providers.base import Allowance, Fault, RateLimits
from synth_actors.testing import HiddenLimits
from synth_actors.testing.hidden_limits import Admitted, Gate, Refused


def enter(gate: Gate, now_s: float, *, input_tokens: int = 10, max_tokens: int = 100) -> Admitted | Refused:
    return gate.enter(input_tokens, max_tokens, now_s)


def entered(gate: Gate, now_s: float, **tokens: int) -> RateLimits:
    verdict = enter(gate, now_s, **tokens)
    assert isinstance(verdict, Admitted)
    assert verdict.limits is not None
    return verdict.limits


def refused(gate: Gate, now_s: float, **tokens: int) -> Refused:
    verdict = enter(gate, now_s, **tokens)
    assert isinstance(verdict, Refused)
    return verdict


def test_a_full_bucket_lets_a_minutes_worth_through_and_then_what_flows_in() -> None:
    gate = Gate(HiddenLimits(requests_per_minute=60))
    assert sum(isinstance(enter(gate, 0.0), Admitted) for _ in range(100)) == 60
    assert sum(isinstance(enter(gate, 10.0), Admitted) for _ in range(100)) == 10


def test_a_refused_call_takes_nothing_from_any_bucket() -> None:
    gate = Gate(HiddenLimits(requests_per_minute=60, input_tokens_per_minute=15))
    entered(gate, 0.0)
    refused(gate, 0.0)
    assert gate.buckets["requests"].level(0.0) == 59
    assert gate.in_flight == 1


def test_metered_output_counts_as_it_is_made_and_the_rest_pays_the_debt() -> None:
    gate = Gate(HiddenLimits(output_tokens_per_minute=60, capacity_s=10))
    entered(gate, 0.0, max_tokens=10_000)
    gate.begin_output(30, 0.5, 0.0)
    assert gate.buckets["output_tokens"].level(5.0) == 5.0
    gate.end_output(0.5, 15.0)
    assert gate.buckets["output_tokens"].level(15.0) == -5.0
    assert refused(gate, 15.0).retry_after_s == 6.0  # until one token is there
    entered(gate, 21.0)


def test_output_that_comes_all_at_once_is_taken_all_at_once() -> None:
    gate = Gate(HiddenLimits(output_tokens_per_minute=60))
    gate.begin_output(30, 0.0, 0.0)
    gate.end_output(0.0, 0.0)
    assert gate.buckets["output_tokens"].taken(0.0) == 30


@pytest.mark.parametrize(("gives_back", "left"), [(True, 600 - 10 - 40), (False, 600 - 110)])
def test_reserved_tokens_are_taken_when_the_call_begins(gives_back: bool, left: float) -> None:
    gate = Gate(HiddenLimits(tokens_per_minute=600, gives_back_unused=gives_back))
    limits = entered(gate, 0.0)
    assert limits.tokens == Allowance(limit=600, remaining=490, reset_s=11.0)
    gate.leave(60, 0.0)
    assert gate.buckets["tokens"].level(0.0) == left


def test_a_call_that_no_bucket_ever_fits_is_refused_for_good() -> None:
    verdict = refused(Gate(HiddenLimits(tokens_per_minute=600)), 0.0, max_tokens=1000)
    assert (verdict.fault, verdict.retry_after_s) == (Fault.REJECTED, None)


def test_the_headers_of_a_metering_server_give_tokens_in_thousands() -> None:
    hidden = HiddenLimits(requests_per_minute=50, input_tokens_per_minute=30_000, output_tokens_per_minute=8_000)
    limits = entered(Gate(hidden), 0.0, input_tokens=700)
    assert limits.requests == Allowance(limit=50, remaining=49, reset_s=1.2)
    assert limits.input_tokens == Allowance(limit=30_000, remaining=29_000, reset_s=1.4)
    assert limits.output_tokens == Allowance(limit=8_000, remaining=8_000, reset_s=0.0)
    assert limits.tokens is None


def test_a_debt_is_told_as_nothing_left() -> None:
    gate = Gate(HiddenLimits(output_tokens_per_minute=6_000))
    gate.begin_output(9_000, 0.0, 0.0)
    limits = refused(gate, 0.0).limits
    assert limits is not None
    assert limits.output_tokens == Allowance(limit=6_000, remaining=0, reset_s=60.0)


def test_the_headers_name_a_changed_limit_and_not_the_neighbour() -> None:
    gate = Gate(HiddenLimits(requests_per_minute=60, changes=((10.0, 0.5),), neighbour_share=0.5, neighbour_from_s=0.0))
    assert entered(gate, 0.0).requests == Allowance(limit=60, remaining=59, reset_s=1.0)
    limits = entered(gate, 20.0).requests
    assert limits is not None
    assert (limits.limit, limits.remaining) == (30, 29)
    for _ in range(29):
        entered(gate, 20.0)
    assert refused(gate, 20.0).retry_after_s == 4.0  # a quarter of a request flows in each second


def test_a_server_without_headers_tells_nothing() -> None:
    gate = Gate(HiddenLimits(requests_per_minute=1, headers=False))
    assert enter(gate, 0.0) == Admitted(None)
    assert refused(gate, 0.0).limits is None
    assert refused(gate, 0.0).retry_after_s == 60.0


def test_a_server_may_refuse_without_saying_for_how_long() -> None:
    gate = Gate(HiddenLimits(requests_per_minute=1, retry_after=False))
    entered(gate, 0.0)
    assert refused(gate, 0.0).retry_after_s is None


def test_too_many_at_once_are_refused_without_headers_until_one_leaves() -> None:
    gate = Gate(HiddenLimits(requests_per_minute=600, max_concurrency=2))
    entered(gate, 0.0)
    entered(gate, 0.0)
    assert refused(gate, 0.0) == Refused(Fault.RATE_LIMITED, "too many calls at once", 1.0)
    gate.leave(0, 0.0)
    entered(gate, 0.0)


@pytest.mark.parametrize(
    "fields",
    [
        {"tokens_per_minute": 10, "output_tokens_per_minute": 10},
        {"neighbour_share": 1.5},
        {"requests_per_minute": 0},
        {"tokens_per_minute": -1},
    ],
)
def test_limits_that_make_no_sense_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give"):
        HiddenLimits(**fields)


def test_what_is_limited_says_how_output_is_counted() -> None:
    assert HiddenLimits(output_tokens_per_minute=5).output_metering == "meter"
    assert HiddenLimits().output_metering == "meter"
    assert HiddenLimits(tokens_per_minute=5).output_metering == "reserve"
