"""Ten thousand callers want a hundred answers, all at once: what is paid, and is everybody answered?

Bursts as they come from a web page, a retry storm or a workload with hot prompts.  `test_identical_requests.py` has the
rules for one flight; here a hundred flights of a hundred callers end in every way at once, some read as streams.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors import (
    DeadlineExceededError,
    Engine,
    EngineConfig,
    GenerationError,
    Request,
    Response,
    open_engine,
)
from synth_actors.providers.base import Call, Fault
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import ONE_DOLLAR, assert_idle, dollar_endpoint, spent_usd

CALLERS = 10_000
KEYS = 100
EACH = CALLERS // KEYS
STREAMS_EACH = 20
"""Of the callers of a key, where some read streams."""


@dataclass
class Burst:
    """What became of the callers of one burst."""

    engine: Engine
    answered: dict[str, list[Response]] = field(default_factory=lambda: defaultdict(list))
    failed: dict[str, list[GenerationError]] = field(default_factory=lambda: defaultdict(list))
    left: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[str, GenerationError]] = field(default_factory=list)

    async def ask(self, request: Request, *, leaves_at: float = float("inf")) -> None:
        """Wait for the whole answer, or leave."""
        prompt = request.prompt or ""
        with trio.CancelScope(deadline=leaves_at) as scope:
            try:
                self.answered[prompt].append(await self.engine.generate(request))
            except GenerationError as exc:
                self.failed[prompt].append(exc)
        self.left[prompt] += scope.cancelled_caught

    async def read(self, request: Request, *, leaves_at: float = float("inf")) -> None:
        """Read the answer as it comes; who has read a piece of one that breaks off is in `broken`."""
        prompt = request.prompt or ""
        text = ""
        with trio.CancelScope(deadline=leaves_at) as scope:
            try:
                async with self.engine.stream(request) as stream:
                    async for chunk in stream:
                        text += chunk.text
                    response = await stream.response()
                    assert text == response.text
                    self.answered[prompt].append(response)
            except GenerationError as exc:
                self.failed[prompt].append(exc)
                if text:
                    self.broken.append((text, exc))
        self.left[prompt] += scope.cancelled_caught

    def billed_usd(self) -> float:
        """What responses and errors carried away."""
        usages = [response.usage for responses in self.answered.values() for response in responses]
        usages += [exc.usage for errors in self.failed.values() for exc in errors if exc.usage is not None]
        return sum(usage.cost_usd or 0.0 for usage in usages)

    def sources(self) -> Counter[str]:
        return Counter(response.source for responses in self.answered.values() for response in responses)

    def ended(self) -> int:
        """Callers who know what became of them: with `CALLERS` of them nobody is stuck."""
        return sum(map(len, self.answered.values())) + sum(map(len, self.failed.values())) + sum(self.left.values())


def prompts() -> list[str]:
    return [f"prompt {number}" for number in range(KEYS)]


def shuffled_followers() -> Iterator[tuple[str, bool]]:
    """All but the leaders in a random order, and whether each reads a stream."""
    each = [(prompt, number < STREAMS_EACH) for prompt in prompts() for number in range(EACH - 1)]
    random.Random(5).shuffle(each)
    return iter(each)


def repeating(**step: Any) -> Callable[[Call], Step]:
    """Every call is answered with its own prompt."""
    return lambda call: Step(text=f"about {call.request.prompt}", usage=ONE_DOLLAR, **step)


def failing_first(**failing: Any) -> Callable[[Call], Step]:
    """The first call of each prompt fails, the next ones do not."""
    seen: set[str] = set()

    def script(call: Call) -> Step:
        prompt = call.request.prompt or ""
        first = prompt not in seen
        seen.add(prompt)
        return Step(text=f"about {prompt}", chunks=2, delay_s=1.0, gap_s=0.25, **failing if first else {})

    return script


async def burst(
    engine: Engine, lead: Callable[[Burst, str], Any], *, streams: bool = False, timeout_s: float | None = None
) -> Burst:
    """`lead` is what the first caller of each prompt does; 99 others of each follow while it waits."""
    result = Burst(engine)
    async with trio.open_nursery() as nursery:
        for prompt in prompts():
            nursery.start_soon(lead, result, prompt)
        await trio.testing.wait_all_tasks_blocked()
        for prompt, reads in shuffled_followers():
            request = Request(prompt=prompt, timeout_s=timeout_s)
            nursery.start_soon(result.read if reads and streams else result.ask, request)
    await assert_idle(engine)
    assert result.ended() == CALLERS
    assert result.billed_usd() <= spent_usd(engine)
    return result


async def waits(result: Burst, prompt: str) -> None:
    await result.ask(Request(prompt=prompt))


async def leaves(result: Burst, prompt: str) -> None:
    await result.ask(Request(prompt=prompt), leaves_at=0.5)


async def leaves_a_stream(result: Burst, prompt: str) -> None:
    await result.read(Request(prompt=prompt), leaves_at=1.1)  # having read its first piece


async def is_in_a_hurry(result: Burst, prompt: str) -> None:
    await result.ask(Request(prompt=prompt, timeout_s=0.5))


def assert_all_shared(result: Burst, *, of_each: int) -> None:
    """A hundred calls answered everybody who stayed, and one of each hundred paid."""
    for prompt in prompts():
        assert {response.text for response in result.answered[prompt]} == {f"about {prompt}"}
        assert len(result.answered[prompt]) == of_each
        sources = Counter(response.source for response in result.answered[prompt])
        assert sources == {"call": 1, "shared": of_each - 1}
    assert result.billed_usd() == spent_usd(result.engine) == KEYS


@pytest.mark.parametrize("streams", [False, True], ids=["asking", "some reading"])
async def test_ten_thousand_callers_of_a_hundred_keys_make_a_hundred_paid_calls(
    streams: bool, autojump_clock: Any
) -> None:
    provider = ScriptedProvider(repeating(delay_s=1.0, chunks=3, gap_s=0.25))
    async with open_engine(dollar_endpoint(provider)) as engine:
        result = await burst(engine, waits, streams=streams)
        assert Counter(call.request.prompt for call in provider.calls) == dict.fromkeys(prompts(), 1)
        assert_all_shared(result, of_each=EACH)
        assert trio.current_time() == 1.75


async def test_callers_who_wait_at_the_door_cost_nothing_more(autojump_clock: Any) -> None:
    provider = ScriptedProvider(repeating(delay_s=1.0))
    async with open_engine(dollar_endpoint(provider), EngineConfig(max_waiting=500, max_concurrency=10)) as engine:
        result = await burst(engine, waits)
        assert len(provider.calls) == spent_usd(engine) == result.billed_usd() == KEYS
        sources = result.sources()
        assert (sources["call"], sources["shared"] + sources["cache"]) == (KEYS, CALLERS - KEYS)
        assert sources["cache"] > 0
        assert trio.current_time() == KEYS / 10


@pytest.mark.parametrize(("lead", "streams"), [(leaves, False), (leaves_a_stream, True)], ids=["asking", "reading"])
async def test_leaders_who_leave_take_no_answer_from_their_followers(
    lead: Callable[[Burst, str], Any], streams: bool, autojump_clock: Any
) -> None:
    provider = ScriptedProvider(repeating(delay_s=1.0, chunks=3, gap_s=0.25))
    async with open_engine(dollar_endpoint(provider)) as engine:
        result = await burst(engine, lead, streams=streams)
        assert (len(provider.calls), provider.cancelled) == (KEYS, 0)
        assert set(result.left.values()) == {1}
        assert_all_shared(result, of_each=EACH - 1)


async def test_leaders_who_run_out_of_time_take_no_answer_from_their_followers(autojump_clock: Any) -> None:
    provider = ScriptedProvider(repeating(delay_s=1.0))
    async with open_engine(dollar_endpoint(provider)) as engine:
        result = await burst(engine, is_in_a_hurry, streams=True)
        assert (len(provider.calls), provider.cancelled) == (KEYS, 0)
        for prompt in prompts():
            (late,) = result.failed[prompt]
            assert isinstance(late, DeadlineExceededError)
            assert late.usage is not None
            assert late.usage.cost_usd == 0.0
        assert_all_shared(result, of_each=EACH - 1)


async def test_when_everybody_runs_out_of_time_the_calls_are_cancelled_and_everybody_is_told(
    autojump_clock: Any,
) -> None:
    provider = ScriptedProvider(repeating(delay_s=5.0))
    async with open_engine(dollar_endpoint(provider)) as engine:
        result = await burst(engine, is_in_a_hurry, timeout_s=2.0)
        assert (len(provider.calls), provider.cancelled) == (KEYS, KEYS)
        assert {len(errors) for errors in result.failed.values()} == {EACH}
        assert all(isinstance(exc, DeadlineExceededError) for errors in result.failed.values() for exc in errors)
        assert trio.current_time() == 2.0
        await engine.generate("prompt 0")  # nothing stands in the way of the next one


@pytest.mark.parametrize(("lead", "streams"), [(waits, False), (leaves, True)], ids=["asking", "some reading"])
async def test_a_call_that_fails_for_good_fails_for_everybody_once_and_is_paid_once(
    lead: Callable[[Burst, str], Any], streams: bool, autojump_clock: Any
) -> None:
    script = failing_first(fault=Fault.REJECTED, fault_usage=ONE_DOLLAR)
    provider = ScriptedProvider(script)
    async with open_engine(dollar_endpoint(provider)) as engine:
        result = await burst(engine, lead, streams=streams)
        assert len(provider.calls) == KEYS
        errors = [exc for each in result.failed.values() for exc in each]
        assert len({id(exc) for exc in errors}) == len(errors) == CALLERS - sum(result.left.values())
        assert all(isinstance(exc, GenerationError) for exc in errors)
        assert result.billed_usd() == spent_usd(engine) == KEYS
        for each in result.failed.values():
            assert sum(exc.usage.cost_usd or 0.0 for exc in each if exc.usage) == 1.0
        fresh = await engine.generate("prompt 0")  # a failure is not kept
        assert (fresh.source, fresh.text) == ("call", "about prompt 0")


async def test_a_call_that_is_refused_before_work_is_repeated_for_the_whole_flight(autojump_clock: Any) -> None:
    provider = ScriptedProvider(failing_first(fault=Fault.RATE_LIMITED, retry_after_s=2.0))
    async with open_engine(dollar_endpoint(provider)) as engine:
        result = await burst(engine, waits, streams=True)
        assert len(provider.calls) == 2 * KEYS
        assert_all_shared(result, of_each=EACH)


async def test_who_has_read_of_a_text_that_breaks_off_is_told_and_the_others_get_the_next(autojump_clock: Any) -> None:
    steady = "steady"
    scripted = failing_first(fault=Fault.FAILED, fault_usage=ONE_DOLLAR, chunks_before_fault=1)
    provider = ScriptedProvider(lambda call: Step() if call.request.prompt == steady else scripted(call))
    async with open_engine(dollar_endpoint(provider)) as engine:
        for number in range(10 * KEYS):  # what earns a hundred repeats
            await engine.generate(Request(prompt=steady, sample_index=number))
        before_usd = spent_usd(engine)
        result = await burst(engine, waits, streams=True)
        assert len(provider.calls) == 10 * KEYS + 2 * KEYS
        assert len(result.broken) == KEYS * STREAMS_EACH
        assert all(exc.partial == text for text, exc in result.broken)
        for prompt in prompts():
            assert len(result.answered[prompt]) == EACH - STREAMS_EACH
            assert {response.text for response in result.answered[prompt]} == {f"about {prompt}"}
        assert result.billed_usd() == spent_usd(engine) - before_usd == 2 * KEYS
