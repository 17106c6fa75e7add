from __future__ import annotations

import random

import pytest

from synth_actors.config import LongPromptPrices, Price
from synth_actors.policy.budget import Budget, Reservation
from synth_actors.policy.pricing import known_cost_usd, priced, upper_estimate_usd
from synth_actors.providers.base import Fault
from synth_actors.schema import output_of
from synth_actors.types import NO_USAGE, Message, Request, Usage

MAY_HAVE_COST = {Fault.FAILED, Fault.TIMED_OUT, Fault.TOO_LARGE, Fault.OUTPUT_INVALID, Fault.BUG}


PRICE = Price(
    input_usd_per_mtok=1.0, output_usd_per_mtok=10.0, cache_read_usd_per_mtok=0.1, cache_write_usd_per_mtok=2.0
)
LONG = {"above_tokens": 100_000, "input_usd_per_mtok": 5.0, "output_usd_per_mtok": 50.0}


def test_without_a_limit_everything_is_granted() -> None:
    budget = Budget(None)
    assert budget.reserve(1e12) is Reservation.GRANTED


def test_what_does_not_fit_waits_while_something_may_come_back() -> None:
    budget = Budget(10.0)
    assert budget.reserve(6.0) is Reservation.GRANTED
    assert budget.reserve(6.0) is Reservation.WAIT
    assert budget.reserve(4.0) is Reservation.GRANTED
    budget.settle(6.0, 1.0)
    assert budget.reserve(5.0) is Reservation.GRANTED
    budget.settle(4.0, 4.0)
    budget.settle(5.0, 5.0)
    assert budget.spent_usd == 10.0
    assert budget.reserve(0.01) is Reservation.EXCEEDED
    assert "budget_usd=10" in budget.refusal(0.01)


def test_spent_and_reserved_never_pass_the_limit_and_nothing_stays_reserved() -> None:
    chance = random.Random(3)
    for _ in range(200):
        budget = Budget(1.0)
        held: list[float] = []
        for _ in range(100):
            if held and chance.random() < 0.5:
                amount = held.pop(chance.randrange(len(held)))
                budget.settle(amount, amount * chance.random())
            else:
                amount = chance.random() / 3
                verdict = budget.reserve(amount)
                if verdict is Reservation.GRANTED:
                    held.append(amount)
                assert (verdict is Reservation.EXCEEDED) <= (not held)
            assert budget.spent_usd + budget.reserved_usd <= 1.0 + 1e-12
        for amount in held:
            budget.settle(amount, 0.0)
        assert budget.reserved_usd == 0.0


def test_the_price_of_every_kind_of_token() -> None:
    used = Usage(input_tokens=10**6, output_tokens=10**6, cache_read_tokens=10**6, cache_write_tokens=10**6)
    assert priced(used, PRICE).cost_usd == 1.0 + 10.0 + 0.1 + 2.0
    assert priced(used, None).cost_usd is None
    assert priced(Usage(), None).cost_usd == 0.0


def test_the_estimate_is_never_below_one_token_a_byte() -> None:
    output = output_of({"type": "object"})
    for text in ("plain", "é" * 50, "日本" * 50, "\x00\x7f\u2028", "\ud800"):
        for request in (
            Request(prompt=text, max_tokens=7),
            Request(messages=(Message(role="user", content=text),), system=text, max_tokens=7, extra={"a": text}),
        ):
            size = len(text.encode("utf-8", "surrogatepass"))
            if request.messages:
                size *= 3
            assert upper_estimate_usd(request, output, PRICE, {}) >= ((size + len(output.tag)) * 2.0 + 7 * 10.0) / 1e6


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_an_answer_that_extra_parameters_lengthen_or_repeat_is_estimated_so(name: str) -> None:
    plain = upper_estimate_usd(Request(prompt="p", max_tokens=100), None, PRICE, {})
    longer = Request(prompt="p", max_tokens=100, extra={name: 900})
    assert upper_estimate_usd(longer, None, PRICE, {}) >= plain + 800 * 10.0 / 1e6
    assert upper_estimate_usd(Request(prompt="p", max_tokens=100), None, PRICE, {name: 900, "n": 3}) >= 3 * 0.009
    shorter = Request(prompt="p", max_tokens=100, extra={name: 5})
    assert upper_estimate_usd(shorter, None, PRICE, {}) >= plain


def test_a_call_whose_cost_nobody_knows_is_counted_with_its_reserve() -> None:
    budget = Budget(10.0)
    budget.reserve(6.0)
    budget.settle(6.0, None)
    assert (budget.spent_usd, budget.reserved_usd) == (6.0, 0.0)
    for fault in Fault:
        known = known_cost_usd(NO_USAGE, fault)
        assert known == (None if fault in MAY_HAVE_COST else 0.0)
        assert known_cost_usd(Usage(output_tokens=5, cost_usd=2.0), fault) == 2.0
    assert known_cost_usd(NO_USAGE, None) == 0.0


def test_what_is_not_said_about_a_prompt_cache_costs_what_input_costs() -> None:
    price = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=10.0)
    used = Usage(input_tokens=1_000_000, cache_read_tokens=1_000_000, cache_write_tokens=1_000_000)
    assert priced(used, price).cost_usd == 3.0


def test_a_long_prompt_has_its_own_price_in_the_bill_and_in_the_estimate() -> None:
    price = PRICE.model_copy(update={"long_prompts": (LongPromptPrices.model_validate(LONG),)})
    assert priced(Usage(input_tokens=100_000, output_tokens=100_000), price).cost_usd == pytest.approx(0.1 + 1.0)
    assert priced(Usage(input_tokens=100_001, output_tokens=100_000), price).cost_usd == pytest.approx(
        0.5 + 5.0, rel=1e-4
    )
    read = Usage(input_tokens=1, cache_read_tokens=100_000)
    assert priced(read, price).cost_usd == pytest.approx(0.5, rel=1e-4), "what was read from a cache is prompt, too"
    request = Request(prompt="x" * 100_001, max_tokens=100_000)
    assert upper_estimate_usd(request, None, price, {}) >= 0.5 + 5.0
