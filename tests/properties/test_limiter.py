"""Tokens under random load, faults, cancellations and changes of the cap, against a naive count."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_actors import EngineConfig, Request, SynthActorsError, open_engine
from synth_actors.messages import SetConcurrencyCap
from synth_actors.providers.base import Call, Fault
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import idle_problems

MAX = 6


class Watched:
    """Stands between the router, which alone borrows, and the limiter: a token is never borrowed above the total."""

    def __init__(self, limiter: trio.CapacityLimiter) -> None:
        self._limiter = limiter
        self.borrowed = 0
        self.peak = 0

    def acquire_on_behalf_of_nowait(self, borrower: object) -> None:
        self._limiter.acquire_on_behalf_of_nowait(borrower)
        assert self._limiter.borrowed_tokens <= self._limiter.total_tokens
        self.borrowed += 1
        self.peak = max(self.peak, self._limiter.borrowed_tokens)

    @property
    def total_tokens(self) -> float:
        return self._limiter.total_tokens

    @total_tokens.setter
    def total_tokens(self, value: float) -> None:
        assert 1 <= value <= MAX
        self._limiter.total_tokens = value


@dataclass(frozen=True)
class Ask:
    key: int
    after_s: float
    patience_s: float
    timeout_s: float | None
    stream: bool
    cache: str


@dataclass(frozen=True)
class Cap:
    after_s: float
    cap: int


seconds = st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.0, 3.0])
asks = st.builds(
    Ask,
    key=st.integers(0, 8),
    after_s=seconds,
    patience_s=st.sampled_from([0.0, 0.25, 1.0, 2.0, 100.0, 100.0, 100.0]),
    timeout_s=st.sampled_from([None, None, 0.5, 2.0]),
    stream=st.booleans(),
    cache=st.sampled_from(["use", "refresh", "bypass"]),
)
caps = st.builds(Cap, after_s=seconds, cap=st.integers(-1, 2 * MAX))
steps = st.builds(
    Step,
    delay_s=seconds,
    chunks=st.integers(1, 3),
    gap_s=st.sampled_from([0.0, 0.25]),
    fault=st.sampled_from([None, None, None, *Fault]),
    retry_after_s=st.sampled_from([None, 0.5]),
    chunks_before_fault=st.integers(0, 2),
    raises=st.sampled_from([None, None, None, RuntimeError("bug")]),
)


async def play(script: list[Step], plan: list[Ask | Cap], endpoint_limit: int | None) -> None:
    from synth_actors import Endpoint

    provider = ScriptedProvider(script)
    endpoint = Endpoint(provider=provider, name="e", max_concurrency=endpoint_limit)
    config = EngineConfig(max_concurrency=MAX, outage_patience_s=5.0, max_waiting=10)
    async with open_engine(endpoint, config) as engine:
        limiter = engine._wiring._limiter
        watched = Watched(limiter)
        router: Any = engine._wiring._router
        router._limiter = watched

        async def ask(item: Ask) -> None:
            request = Request(prompt=str(item.key), timeout_s=item.timeout_s, cache=item.cache)  # type: ignore[arg-type]
            with trio.move_on_after(item.patience_s):
                try:
                    if item.stream:
                        async with engine.stream(request) as stream:
                            async for _chunk in stream:
                                pass
                    else:
                        await engine.generate(request)
                except SynthActorsError:
                    pass

        async with trio.open_nursery() as nursery:
            for item in plan:
                await trio.sleep(item.after_s)
                if isinstance(item, Cap):
                    engine._wiring._router_box.tell(SetConcurrencyCap(item.cap))
                else:
                    nursery.start_soon(ask, item)
                assert provider.active <= limiter.borrowed_tokens
        await trio.testing.wait_all_tasks_blocked()
        assert idle_problems(engine) == []
        paid_calls = engine._wiring._counters().paid_calls
        assert len(provider.calls) == paid_calls <= watched.borrowed, "one may be taken back before it is sent"
        assert watched.peak <= min(MAX, endpoint_limit or MAX)
        assert provider.peak <= watched.peak


@settings(max_examples=60)
@given(
    script=st.lists(steps, max_size=15),
    plan=st.lists(st.one_of(asks, asks, asks, caps), min_size=1, max_size=25),
    endpoint_limit=st.sampled_from([None, 1, 3]),
)
def test_tokens_never_rise_above_the_total_and_all_come_back(
    script: list[Step], plan: list[Ask | Cap], endpoint_limit: int | None
) -> None:
    trio.run(play, script, plan, endpoint_limit, clock=trio.testing.MockClock(autojump_threshold=0))


def test_the_watch_would_see_a_token_too_many() -> None:
    limiter = trio.CapacityLimiter(1)
    watched = Watched(limiter)
    watched.acquire_on_behalf_of_nowait("one")
    limiter.total_tokens = 2
    watched.acquire_on_behalf_of_nowait("two")
    assert (watched.borrowed, watched.peak) == (2, 2)


async def test_a_long_random_run(autojump_clock: Any) -> None:
    chance = random.Random(11)

    def script(call: Call) -> Step:
        return Step(delay_s=chance.random(), fault=chance.choice([None, None, *Fault]), retry_after_s=0.5)

    plan: list[Ask | Cap] = []
    for _ in range(600):
        if chance.random() < 0.1:
            plan.append(Cap(chance.random() / 5, chance.randrange(-1, 2 * MAX)))
        else:
            patience_s = chance.choice([0.1, 1.0, 100.0])
            plan.append(Ask(chance.randrange(50), chance.random() / 20, patience_s, None, chance.random() < 0.3, "use"))
    await play([script(None) for _ in range(2000)], plan, None)  # type: ignore[arg-type]
