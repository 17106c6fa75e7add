from __future__ import annotations

from typing import Any

import pytest
import trio

from synth_actors import DeadlineExceededError, open_engine
from synth_actors.policy.single_flight import Flight
from synth_actors.providers.base import Fault
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import ONE_DOLLAR, assert_idle, dollar_endpoint


async def test_followers_that_time_out_together_look_at_no_other_one_and_the_last_one_carries_the_bill(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    waiters = Flight.waiters.fget  # type: ignore[attr-defined]

    def count(flight: Flight[Any, Any]) -> Any:
        looked.append(len(flight))
        return waiters(flight)

    monkeypatch.setattr(Flight, "waiters", property(count))
    bills: list[float | None] = []

    async def ask() -> None:
        with pytest.raises(DeadlineExceededError) as caught:
            await engine.generate("p", timeout_s=10)
        assert caught.value.usage is not None
        bills.append(caught.value.usage.cost_usd)

    provider = ScriptedProvider([Step(fault=Fault.FAILED, fault_usage=ONE_DOLLAR), Step(delay_s=100)])
    async with open_engine(dollar_endpoint(provider)) as engine:
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(ask)
        assert sum(looked) == 0
        assert bills == [0.0] * 199 + [1.0]
        await assert_idle(engine)
