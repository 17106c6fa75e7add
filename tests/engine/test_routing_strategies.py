"""Which endpoint gets how much, under each way of routing, and is that to be seen?"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio

from synth_actors import BudgetExceededError, Endpoint, EngineConfig, Price, Request, Usage
from synth_actors.providers.base import Call, Fault
from synth_actors.testing import ScriptedProvider, Step
from tests.faults.guarantees import PRICE, Run, guaranteed, requests

WORK_S = 1.0
CHEAP = Price(input_usd_per_mtok=1_000_000 / 4096, output_usd_per_mtok=1_000_000 / 4096)
DEAR = PRICE


def answering(name: str, price: Price | None = None, **fields: Any) -> Endpoint:
    provider = ScriptedProvider(lambda call: Step(delay_s=WORK_S), name=name, model=f"model-of-{name}")
    return Endpoint(provider=provider, model=provider.model, name=name, price=price, **fields)


def failing(name: str, fault: Fault, price: Price | None = None) -> Endpoint:
    provider = ScriptedProvider(lambda call: Step(fault=fault, delay_s=0.01), name=name)
    return Endpoint(provider=provider, model=provider.model, name=name, price=price)


def answers(run: Run) -> Counter[str]:
    """How many responses each endpoint made."""
    return Counter(response.endpoint for response in run.responses)


# weighted


@pytest.mark.parametrize("max_concurrency", [1, 10, 400])
async def test_weights_of_three_to_one_give_exactly_three_quarters(max_concurrency: int, autojump_clock: Any) -> None:
    endpoints = [answering("three", DEAR, weight=3.0), answering("one", DEAR, weight=1.0)]
    async with guaranteed(endpoints, EngineConfig(routing="weighted", max_concurrency=max_concurrency)) as run:
        await run.ask_all(requests(400))
    assert answers(run) == {"three": 300, "one": 100}


async def test_weights_are_mixed_evenly_and_not_in_blocks(autojump_clock: Any) -> None:
    endpoints = [answering("three", DEAR, weight=3.0), answering("one", DEAR, weight=1.0)]
    async with guaranteed(endpoints, EngineConfig(routing="weighted", max_concurrency=1)) as run:
        for request in requests(40):
            await run.ask(request)
    order = [ending.response.endpoint for ending in run.endings if ending.response is not None]
    assert all(order[start : start + 4].count("one") == 1 for start in range(0, 40, 4))


async def test_what_a_full_endpoint_could_not_take_is_not_owed_to_it_afterwards(autojump_clock: Any) -> None:
    endpoints = [answering("three", DEAR, weight=3.0, max_concurrency=1), answering("one", DEAR, weight=1.0)]
    config = EngineConfig(routing="weighted", max_concurrency=10)
    async with guaranteed(endpoints, config) as run:
        await run.ask_all(requests(100))
        assert trio.current_time() == 10.0, "no place stays empty"
        # Where its call is the last to end in a second, the other may have the place, but not twice running.
        assert 5 <= answers(run)["three"] <= 10
        for request in requests(140)[100:]:
            await run.ask(request)
    order = [ending.response.endpoint for ending in run.endings if ending.response is not None]
    assert order[-40:].count("three") == 30, "were it owed what it could not take, it would have them all"


async def test_the_weight_of_an_endpoint_that_is_down_goes_to_the_others(autojump_clock: Any) -> None:
    endpoints = [failing("down", Fault.UNREACHABLE, DEAR), answering("up", DEAR)]
    async with guaranteed(endpoints, EngineConfig(routing="weighted")) as run:
        await run.ask_all(requests(400))
    assert run.lost == []
    assert answers(run) == {"up": 400}


# cheapest


async def test_the_cheapest_is_chosen_whatever_the_order(autojump_clock: Any) -> None:
    endpoints = [answering("dear", DEAR), answering("cheap", CHEAP)]
    async with guaranteed(endpoints, EngineConfig(routing="cheapest")) as run:
        await run.ask_all(requests(200))
    assert answers(run) == {"cheap": 200}


async def test_the_price_of_what_is_asked_decides_and_not_that_of_a_token(autojump_clock: Any) -> None:
    cheap_to_read = Price(input_usd_per_mtok=1_000_000 / 2**14, output_usd_per_mtok=1_000_000 / 2**8)
    cheap_to_write = Price(input_usd_per_mtok=1_000_000 / 2**12, output_usd_per_mtok=1_000_000 / 2**10)
    endpoints = [answering("reads", cheap_to_read), answering("writes", cheap_to_write)]
    long = [Request(prompt=f"{number} " + "word " * 4000, max_tokens=5) for number in range(20)]
    short = [Request(prompt=f"{number}", max_tokens=5) for number in range(20)]
    async with guaranteed(endpoints, EngineConfig(routing="cheapest", max_concurrency=1)) as run:
        for request in (*long, *short):
            await run.ask(request)
    by_length = {len(e.request.prompt or "") > 100: e.response.endpoint for e in run.endings if e.response is not None}
    assert by_length == {True: "reads", False: "writes"}


async def test_when_the_cheap_one_is_full_the_dearer_takes_the_rest(autojump_clock: Any) -> None:
    endpoints = [answering("dear", DEAR), answering("cheap", CHEAP, max_concurrency=10)]
    async with guaranteed(endpoints, EngineConfig(routing="cheapest", max_concurrency=40)) as run:
        await run.ask_all(requests(200))
        assert trio.current_time() == 5.0
    assert answers(run) == {"cheap": 50, "dear": 150}


@pytest.mark.parametrize("fault", [Fault.OVERLOADED, Fault.UNREACHABLE, Fault.FAILED, Fault.FATAL])
async def test_when_the_cheap_one_is_down_the_dearer_takes_all(fault: Fault, autojump_clock: Any) -> None:
    endpoints = [answering("dear", DEAR), failing("cheap", fault, CHEAP)]
    async with guaranteed(endpoints, EngineConfig(routing="cheapest", max_concurrency=10)) as run:
        await run.ask_all(requests(200))
    assert run.lost == []
    assert answers(run) == {"dear": 200}


async def test_one_without_a_price_is_the_last_resort(autojump_clock: Any) -> None:
    endpoints = [answering("unpriced"), answering("dear", DEAR, max_concurrency=10)]
    async with guaranteed(endpoints, EngineConfig(routing="cheapest", max_concurrency=40)) as run:
        for request in requests(20):
            await run.ask(request)
        assert run.attempts_now("unpriced") == 0
        await run.ask_all(requests(220)[20:])
    assert answers(run)["unpriced"] == 150, "which is better than none"
    paid = [response for response in run.responses if response.source == "call"]
    assert all((response.usage.cost_usd is None) == (response.endpoint == "unpriced") for response in paid)


# least_loaded


async def test_the_load_is_shared_by_the_places_that_there_are(autojump_clock: Any) -> None:
    endpoints = [answering("small", DEAR, max_concurrency=10), answering("large", DEAR, max_concurrency=30)]
    async with guaranteed(endpoints, EngineConfig(routing="least_loaded", max_concurrency=20)) as run:
        await run.ask_all(requests(400))
        assert trio.current_time() == 20.0
    assert answers(run) == {"small": 100, "large": 300}


async def test_a_slow_one_gets_as_many_fewer_as_it_is_slower(autojump_clock: Any) -> None:
    slow_one = ScriptedProvider(lambda call: Step(delay_s=4 * WORK_S), name="slow")
    slow = Endpoint(provider=slow_one, model="m", name="slow", price=DEAR)
    async with guaranteed(
        [slow, answering("fast", DEAR)], EngineConfig(routing="least_loaded", max_concurrency=20)
    ) as run:
        await run.ask_all(requests(1000))
    assert 0.75 <= answers(run)["fast"] / 1000 <= 0.85


# What can be seen of it.


async def test_a_fallback_is_seen_in_the_response(autojump_clock: Any) -> None:
    endpoints = [failing("first", Fault.FAILED, DEAR), answering("second", DEAR)]
    async with guaranteed(endpoints) as run:
        await run.ask(requests(1)[0])
    (response,) = run.responses
    assert (response.endpoint, response.model, response.attempts) == ("second", "model-of-second", 2)
    assert run.snapshot is not None
    assert run.snapshot.router.failovers == 1
    assert run.snapshot.router.endpoints["first"].last_message == "first: scripted"


@pytest.mark.parametrize(
    "fault", [Fault.RATE_LIMITED, Fault.OVERLOADED, Fault.UNREACHABLE, Fault.REJECTED, Fault.FATAL]
)
async def test_whatever_is_wrong_with_the_first_the_second_is_tried_at_once(fault: Fault, autojump_clock: Any) -> None:
    endpoints = [failing("first", fault, DEAR), answering("second", DEAR)]
    async with guaranteed(endpoints) as run:
        await run.ask(requests(1)[0])
        assert trio.current_time() == 0.01 + WORK_S
    assert [(response.endpoint, response.attempts) for response in run.responses] == [("second", 2)]


async def test_a_request_that_names_its_endpoints_goes_nowhere_else(autojump_clock: Any) -> None:
    endpoints = [answering("a", DEAR), failing("b", Fault.REJECTED, DEAR), answering("c", DEAR)]
    async with guaranteed(endpoints, EngineConfig(routing="least_loaded")) as run:
        await run.ask_all(requests(20, endpoints=("b", "c")))
    assert answers(run) == {"c": 20}
    assert run.attempts_at("a") == 0


# Limits of the configuration.


@pytest.mark.parametrize(
    ("limit", "fields"),
    [
        ({"requests_per_minute": 600}, {}),
        ({"output_tokens_per_minute": 3000}, {"max_tokens": 5}),
    ],
    ids=["requests", "output tokens"],
)
async def test_six_hundred_a_minute_is_ten_a_second(
    limit: dict[str, Any], fields: dict[str, Any], autojump_clock: Any
) -> None:
    provider = ScriptedProvider(lambda call: Step())
    endpoint = Endpoint(provider=provider, model="m", name="limited", price=DEAR, **limit)
    async with guaranteed(endpoint) as run:
        await run.ask_all(requests(700, **fields))
        assert trio.current_time() == pytest.approx(10.0, abs=0.11)
    assert (run.lost, run.attempts) == ([], 700)


async def test_a_limit_on_input_tokens_counts_what_the_server_counts(autojump_clock: Any) -> None:
    def script(call: Call) -> Step:
        return Step(usage=Usage(input_tokens=len(call.request.prompt or "") // 4, output_tokens=1))

    provider = ScriptedProvider(script)
    endpoint = Endpoint(provider=provider, model="m", name="limited", price=DEAR, input_tokens_per_minute=6000)
    wanted = [Request(prompt=f"{number:08} " + "x" * 31, max_tokens=5) for number in range(700)]
    async with guaranteed(endpoint) as run:
        await run.ask_all(wanted)
        assert trio.current_time() == pytest.approx(10.0, abs=0.2), "10 tokens each"
    assert (run.lost, run.attempts) == ([], 700)


async def test_what_is_over_the_limit_of_one_endpoint_goes_to_the_next(autojump_clock: Any) -> None:
    limited = answering("limited", DEAR, requests_per_minute=60)
    async with guaranteed([limited, answering("free", DEAR)]) as run:
        await run.ask_all(requests(200))
        assert trio.current_time() <= 3.0
    assert run.lost == []
    assert 60 <= answers(run)["limited"] <= 63


# Dollars.


async def test_an_endpoint_that_would_pass_the_budget_is_left_out_while_the_cheaper_fits(autojump_clock: Any) -> None:
    costs_ten = Price(input_usd_per_mtok=0.0, output_usd_per_mtok=2_000_000.0)
    costs_one = Price(input_usd_per_mtok=0.0, output_usd_per_mtok=200_000.0)
    endpoints = [answering("dear", costs_ten), answering("cheap", costs_one)]  # in the order of preference
    async with guaranteed(endpoints, EngineConfig(budget_usd=25.5, max_concurrency=1)) as run:
        for request in requests(10, max_tokens=5):
            await run.ask(request)
    assert answers(run) == {"dear": 2, "cheap": 5}
    assert [type(error) for error in run.lost] == [BudgetExceededError] * 3
    assert run.snapshot is not None
    assert run.snapshot.counters.cost_usd == 25.0


@pytest.mark.parametrize("max_concurrency", [1, 10, 100])
@pytest.mark.parametrize("routing", ["preference", "least_loaded", "cheapest", "weighted", "fastest"])
async def test_no_way_of_routing_passes_the_budget(routing: Any, max_concurrency: int, autojump_clock: Any) -> None:
    endpoints = [answering("dear", DEAR), answering("cheap", CHEAP)]
    config = EngineConfig(routing=routing, max_concurrency=max_concurrency, budget_usd=1.0)
    async with guaranteed(endpoints, config) as run:
        await run.ask_all(requests(300))
    assert run.snapshot is not None
    assert 0.8 <= (run.snapshot.counters.cost_usd or 0.0) <= 1.0
    assert {type(error) for error in run.lost} == {BudgetExceededError}
