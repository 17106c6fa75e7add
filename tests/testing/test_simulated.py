"""Does the simulated provider take the time, the refusals and the bill that its configuration says?"""

from __future__ import annotations

from contextlib import suppress
from math import inf
from statistics import median
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors import CacheConfig, EngineConfig, Request, open_engine
from synth_actors.providers.base import Call, Completion, Fault, ProviderError, RateLimits, RemoteProvider
from synth_actors.testing import (
    Constant,
    HiddenLimits,
    LogNormal,
    Outage,
    Pace,
    SimulatedProvider,
    Trouble,
    check_provider,
    simulate,
)
from synth_actors.types import Usage
from tests.stepping import every_cancellation

STEADY = Pace(
    network_s=Constant(value=0.125),
    ttft_s=Constant(value=1.0),
    token_s=Constant(value=0.25),
    output_tokens=Constant(value=8),
    refusal_s=0.25,
)
"""A call of 0.125 + 1 + 8 x 0.25 seconds: all of them exact as binary fractions."""


def call(number: int = 0, **fields: Any) -> Call:
    return Call(
        request=Request(prompt=f"Sentence {number:03} about otters.", max_tokens=100, **fields), json_schema=None
    )


async def failure(provider: SimulatedProvider, made: Call | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await provider.generate(made or call(), None)
    return caught.value


class Taping:
    """What a call heard, and when."""

    def __init__(self) -> None:
        self.limits: list[tuple[float, RateLimits]] = []
        self.usage: list[Usage] = []
        self.texts: list[tuple[float, str]] = []

    def call(self) -> Call:
        return Call(
            request=call().request,
            json_schema=None,
            note_usage=self.usage.append,
            note_limits=lambda limits: self.limits.append((trio.current_time(), limits)),
        )

    def emit(self, text: str) -> None:
        self.texts.append((trio.current_time(), text))


def test_it_is_a_remote_provider() -> None:
    assert isinstance(SimulatedProvider(), RemoteProvider)
    assert SimulatedProvider(HiddenLimits(tokens_per_minute=5)).output_metering == "reserve"


@pytest.mark.parametrize(
    "hidden", [HiddenLimits(output_tokens_per_minute=60_000), HiddenLimits(tokens_per_minute=60_000)]
)
async def test_it_keeps_the_promises_of_a_provider(hidden: HiddenLimits, autojump_clock: Any) -> None:
    await check_provider(SimulatedProvider(hidden, STEADY))


async def test_an_answer_beyond_the_bound_fails_and_is_charged(autojump_clock: Any) -> None:
    provider = SimulatedProvider(pace=STEADY)
    error = await failure(provider, Call(request=call().request, json_schema=None, max_response_bytes=31))
    assert (error.fault, error.usage.output_tokens, provider.counts.failed) == (Fault.TOO_LARGE, 8, 1)
    await provider.generate(Call(request=call().request, json_schema=None, max_response_bytes=32), None)


async def test_a_call_takes_as_long_as_its_parts(autojump_clock: Any) -> None:
    provider = SimulatedProvider(pace=STEADY)
    completion = await provider.generate(call(), None)
    assert trio.current_time() == 3.125
    assert completion.usage == Usage(input_tokens=7, output_tokens=8)
    assert completion.stop_reason == "end"
    assert len(completion.text) == 8 * 4
    assert (provider.counts.ttft_s, provider.counts.busy_s) == ([1.0], 3.0)


async def test_a_streamed_answer_comes_in_pieces_and_is_the_same(autojump_clock: Any) -> None:
    tape = Taping()
    completion = await SimulatedProvider(pace=STEADY).generate(tape.call(), tape.emit)
    assert [at for at, _ in tape.texts] == [1.125, 1.625, 2.125, 2.625]
    assert "".join(text for _, text in tape.texts) == completion.text
    assert trio.current_time() == 3.125


async def test_an_answer_longer_than_max_tokens_is_cut(autojump_clock: Any) -> None:
    request = Request(prompt="otters", max_tokens=5)
    completion = await SimulatedProvider(pace=STEADY).generate(Call(request=request, json_schema=None), None)
    assert (completion.stop_reason, completion.usage.output_tokens) == ("max_tokens", 5)


@pytest.mark.parametrize(("streamed", "told_at"), [(True, 0.125), (False, 3.125)])
async def test_headers_are_stamped_at_acceptance_and_heard_early_only_on_a_stream(
    streamed: bool, told_at: float, autojump_clock: Any
) -> None:
    provider, tape = SimulatedProvider(HiddenLimits(requests_per_minute=60), STEADY), Taping()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(provider.generate, tape.call(), tape.emit if streamed else None)
        await trio.sleep(1.0)
        nursery.start_soon(provider.generate, call(1), None)
    ((at, limits),) = tape.limits
    assert at == told_at
    assert limits.requests is not None
    assert limits.requests.remaining == 59


async def test_a_refusal_by_a_bucket_comes_with_headers_and_retry_after(autojump_clock: Any) -> None:
    provider, tape = SimulatedProvider(HiddenLimits(requests_per_minute=1), STEADY), Taping()
    await provider.generate(call(), None)
    error = await failure(provider, tape.call())
    assert (error.fault, error.status, error.retry_after_s) == (Fault.RATE_LIMITED, 429, 57.0)
    assert [(at, limits.requests.remaining) for at, limits in tape.limits if limits.requests] == [(3.5, 0)]
    assert provider.counts.rejected == {Fault.RATE_LIMITED: 1}
    assert tape.usage == []


async def test_work_beyond_the_slots_waits_first_come_first_served(autojump_clock: Any) -> None:
    pace = Pace(ttft_s=Constant(value=1.0), token_s=Constant(value=0.0), output_tokens=Constant(value=5), slots=2)
    provider, order = SimulatedProvider(pace=pace), []

    async def one(number: int) -> None:
        await trio.sleep(number / 1000)
        await provider.generate(call(number), None)
        order.append((number, round(trio.current_time(), 3)))

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(one, number)
    assert order == [(0, 1.0), (1, 1.001), (2, 2.0), (3, 2.001), (4, 3.0), (5, 3.001)]
    assert provider.counts.peak_in_flight == 6
    assert [round(ttft_s, 3) for ttft_s in provider.counts.ttft_s] == [1.0, 1.0, 1.998, 1.998, 2.996, 2.996]


@pytest.mark.parametrize("fault", [Fault.OVERLOADED, Fault.UNREACHABLE])
async def test_in_an_outage_calls_are_refused_fast(fault: Fault, autojump_clock: Any) -> None:
    outage = Outage(start_s=10.0, length_s=5.0, fault=fault)
    provider = SimulatedProvider(pace=STEADY, trouble=Trouble(outages=(outage,), retry_after_s=3.0))
    await provider.generate(call(), None)  # time counts from here on
    await trio.sleep_until(9.875)
    error = await failure(provider)
    assert (error.fault, error.retry_after_s, trio.current_time()) == (fault, 3.0, 10.25)
    await trio.sleep_until(15.0)
    await provider.generate(call(), None)
    assert (provider.counts.rejected_in_all, provider.counts.completed) == (1, 2)


async def test_in_an_outage_of_the_other_kind_calls_are_accepted_worked_on_and_fail(autojump_clock: Any) -> None:
    outage = Outage(start_s=0.0, length_s=5.0, fault=Fault.FAILED)
    provider = SimulatedProvider(pace=STEADY, trouble=Trouble(outages=(outage,)))
    error = await failure(provider)
    assert (error.fault, error.status, error.usage.output_tokens) == (Fault.FAILED, 500, 8)
    assert trio.current_time() == 3.125
    assert (provider.counts.accepted, provider.counts.failed, provider.counts.busy_s) == (1, 1, 0.0)


def test_an_outage_has_a_fault_that_servers_have() -> None:
    with pytest.raises(ValueError, match="give OVERLOADED"):
        Outage(start_s=0.0, length_s=1.0, fault=Fault.FATAL)


async def test_noise_hits_its_share_of_the_calls(autojump_clock: Any) -> None:
    trouble = Trouble(overloaded_share=0.2, failed_share=0.1)
    provider = SimulatedProvider(trouble=trouble, seed=3)

    async def one(number: int) -> None:
        with suppress(ProviderError):
            await provider.generate(call(number), None)

    async with trio.open_nursery() as nursery:
        for number in range(2000):
            nursery.start_soon(one, number)
    counts = provider.counts
    assert counts.rejected == {Fault.OVERLOADED: pytest.approx(400, rel=0.15)}
    assert counts.failed == pytest.approx(160, rel=0.25)
    assert counts.attempts == counts.accepted + counts.rejected_in_all == 2000


async def test_a_keyword_that_it_does_not_know_is_refused_once_and_then_asked_in_the_prompt(
    autojump_clock: Any,
) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
    provider = SimulatedProvider(trouble=Trouble(refused_keywords=frozenset({"minimum"})))
    async with open_engine(provider) as engine:
        response = await engine.generate("A number.", output_schema=schema)
        assert response.data["n"] >= 3
        assert (response.attempts, provider.schema_in_prompt) == (2, True)
        again = await engine.generate("Another number.", output_schema=schema)
        assert again.attempts == 1
    assert provider.counts.rejected == {Fault.SCHEMA_REFUSED: 1}


async def test_what_is_allowed_is_what_the_limits_say(autojump_clock: Any) -> None:
    hidden = HiddenLimits(requests_per_minute=60, output_tokens_per_minute=600, changes=((60.0, 0.5),))
    provider = SimulatedProvider(hidden, STEADY)
    assert provider.allowed_requests(0.0, 120.0) == 60 + 60 + 30
    assert provider.allowed_tokens(0.0, 120.0) == 600 + 600 + 300
    await provider.generate(call(), None)
    assert provider.used_requests() == 1
    assert provider.used_tokens() == pytest.approx(8)
    assert SimulatedProvider().allowed_tokens(0.0, 1.0) == inf
    assert SimulatedProvider(HiddenLimits(input_tokens_per_minute=60)).allowed_tokens(1.0, 2.0) == 1


async def test_output_made_on_credit_counts_only_when_the_bucket_has_caught_up(autojump_clock: Any) -> None:
    provider = SimulatedProvider(HiddenLimits(output_tokens_per_minute=6, capacity_s=10), STEADY)  # it holds 1
    await provider.generate(call(), None)
    assert provider.used_tokens() == pytest.approx(provider.allowed_tokens(0.0, provider.elapsed_s()), abs=0.2)
    await trio.sleep(100.0)
    assert provider.used_tokens() == pytest.approx(8)


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_cancelled_call_leaves_its_place_at_once_and_pays_what_was_made(
    streamed: bool, autojump_clock: Any
) -> None:
    hidden = HiddenLimits(tokens_per_minute=6000, gives_back_unused=True, max_concurrency=1)
    provider, tape = SimulatedProvider(hidden, Pace(**{**fields_of(STEADY), "slots": 1})), Taping()
    with trio.move_on_at(2.25):
        await provider.generate(tape.call(), tape.emit if streamed else None)
    assert tape.usage[-1] == Usage(input_tokens=7, output_tokens=4)
    assert provider.counts.output_tokens == 4
    assert provider.used_tokens() == 7 + 4
    assert (provider.in_flight, provider.counts.cancelled) == (0, 1)
    await provider.generate(call(1), None)
    assert trio.current_time() == 2.25 + 3.125


def fields_of(pace: Pace) -> dict[str, Any]:
    return {name: getattr(pace, name) for name in Pace.__dataclass_fields__}


async def test_wherever_it_is_cancelled_nothing_stays_behind_and_everything_is_counted(autojump_clock: Any) -> None:
    hidden = HiddenLimits(tokens_per_minute=60_000, gives_back_unused=True, output_tokens_per_minute=None)
    for step in every_cancellation():
        provider, tape = SimulatedProvider(hidden, Pace(**{**fields_of(STEADY), "slots": 1})), Taping()
        completion: Completion | None = None
        with step:
            completion = await provider.generate(tape.call(), tape.emit)
        counts = provider.counts
        assert provider.in_flight == 0
        assert counts.attempts - counts.cancelled == counts.completed == (completion is not None)
        assert provider.used_tokens() == (7 * counts.accepted) + counts.output_tokens
        if tape.usage:
            assert tape.usage[-1].output_tokens == counts.output_tokens
        await provider.generate(call(1), None)  # the slot is free


async def test_wherever_a_refused_call_is_cancelled_it_is_counted_once(autojump_clock: Any) -> None:
    for step in every_cancellation():
        provider = SimulatedProvider(pace=STEADY, trouble=Trouble(overloaded_share=1.0))
        with step:
            await failure(provider)
        counts = provider.counts
        assert counts.attempts in (counts.rejected_in_all + counts.cancelled, 0)


async def test_an_answer_depends_on_the_request_and_the_seed_only(autojump_clock: Any) -> None:
    async def length(provider: SimulatedProvider, number: int) -> int:
        return (await provider.generate(call(number), None)).usage.output_tokens

    pace = Pace(output_tokens=LogNormal(median=30, sigma=0.4))
    one, other, another_seed = (
        SimulatedProvider(pace=pace),
        SimulatedProvider(pace=pace),
        SimulatedProvider(pace=pace, seed=1),
    )
    there = [await length(one, number) for number in range(50)]
    back = [await length(other, number) for number in reversed(range(50))]
    assert there == back[::-1]
    assert there != [await length(another_seed, number) for number in range(50)]
    assert len(set(there)) > 20


async def test_lengths_follow_their_distribution(autojump_clock: Any) -> None:
    pace = Pace(output_tokens=LogNormal(median=40, sigma=0.5))
    provider = SimulatedProvider(pace=pace)
    lengths: list[int] = []

    async def one(number: int) -> None:
        lengths.append((await provider.generate(call(number), None)).usage.output_tokens)

    async with trio.open_nursery() as nursery:
        for number in range(1000):
            nursery.start_soon(one, number)
    assert median(lengths) == pytest.approx(40, rel=0.1)
    assert max(lengths) == 100  # their max_tokens


async def _seen(seed: int) -> tuple[object, ...]:
    """Everything that 50 workers get out of a server with all kinds of trouble in a minute."""
    hidden = HiddenLimits(requests_per_minute=600, capacity_s=5, max_concurrency=40)
    trouble = Trouble(overloaded_share=0.05, failed_share=0.05, outages=(Outage(start_s=20.0, length_s=5.0),))
    provider = SimulatedProvider(hidden, trouble=trouble, seed=seed)
    numbers = iter(range(10_000))

    async def worker() -> None:
        for number in numbers:
            try:
                await provider.generate(call(number), None)
            except ProviderError as exc:
                await trio.sleep(exc.retry_after_s or 1.0)  # many wake at the same moment

    with trio.move_on_after(60.0):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(worker)
    counts = provider.counts
    return counts.attempts, counts.rejected, counts.failed, counts.output_tokens, counts.ttft_s, counts.accepted_at_s


def test_the_same_seed_gives_the_same_run_to_the_last_figure() -> None:
    runs = [simulate(_seen, 5, seed=7) for _ in range(3)]
    assert runs[0] == runs[1] == runs[2]
    assert simulate(_seen, 6, seed=7) != runs[0]


async def _engine_seen() -> tuple[object, ...]:
    provider = SimulatedProvider(pace=Pace(slots=20))
    async with open_engine(provider, EngineConfig(max_concurrency=50, cache=CacheConfig(enabled=False))) as engine:
        outcomes = await engine.generate_batch([Request(prompt=f"p{n}", max_tokens=300) for n in range(400)])
    assert all(outcome.error is None for outcome in outcomes)
    assert provider.counts.completed == 400
    return provider.counts.attempts, provider.counts.accepted_at_s, trio.current_time()


def test_an_engine_in_front_of_it_does_the_same_every_time() -> None:
    assert simulate(_engine_seen, seed=3) == simulate(_engine_seen, seed=3)


async def _order() -> list[int]:
    order: list[int] = []

    async def one(number: int) -> None:
        await trio.sleep(1.0)
        order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(one, number)
    return order


def test_who_goes_first_is_drawn_from_the_seed_and_time_jumps() -> None:
    assert simulate(_order, seed=1) == simulate(_order, seed=1) != simulate(_order, seed=2)
    assert simulate(_hours) == 3 * 3600.0


async def _hours() -> float:
    await trio.sleep(3 * 3600.0)
    return trio.current_time()
