"""The wall clock jumps by days while headers with dates arrive: nobody waits for a day, and nothing is negative.

The sockets are real, the engine's clock runs twenty times as fast as theirs, and `time.time` says what it likes.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import cycle
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors import EngineConfig, RateLimitedError
from synth_actors.policy.breaker import LONGEST_PAUSE_S
from synth_actors.testing import HiddenLimits, SimulatedProvider
from tests.faults.guarantees import PRICE, Run, guaranteed, priced, requests
from tests.providers.dialects import ANTHROPIC, DIALECTS, Dialect
from tests.providers.server import Received, Reply, Server, json_reply, serving

RATE = 20.0
SLACK_S = 10.0
DAY_S = 86_400.0
TRUE_TIME = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.name)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    made: Dialect = request.param
    return made


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as made:
        yield made


@pytest.fixture
def fast(mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch) -> trio.testing.MockClock:
    """A fast clock for the engine, and one on the wall that is a day off, now this way, now that."""
    mock_clock.rate = RATE
    offsets = cycle([0.0, DAY_S, -DAY_S, 0.0, -DAY_S, DAY_S])
    monkeypatch.setattr(time, "time", lambda: TRUE_TIME + next(offsets))
    return mock_clock


def date(after_s: float) -> str:
    """An HTTP date, by the clock of the server, which is right."""
    return format_datetime(datetime.fromtimestamp(TRUE_TIME + after_s, UTC), usegmt=True)


def stamp(after_s: float) -> str:
    return datetime.fromtimestamp(TRUE_TIME + after_s, UTC).isoformat().replace("+00:00", "Z")


class Limiting:
    """Answers every fourth request with 429 and dates first, then well; with a `date` of its own, or without."""

    def __init__(self, dialect: Dialect, *, dated: bool, wait_s: float = 2.0) -> None:
        self.dialect = dialect
        self.wait_s = wait_s
        self.own_date = {"date": date(0.0)} if dated else {}
        self.refused: set[str] = set()

    def limits(self, remaining: int) -> dict[str, str]:
        if self.dialect is ANTHROPIC:
            names = ("anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining")
            reset = {"anthropic-ratelimit-requests-reset": stamp(self.wait_s)}
        else:
            names = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests")
            reset = {"x-ratelimit-reset-requests": stamp(self.wait_s)}
        return {names[0]: "6000", names[1]: str(remaining), **reset}

    def __call__(self, request: Received) -> Reply:
        prompt = str(request.body["messages"][-1]["content"])
        if prompt not in self.refused and int(prompt[1:]) % 4 == 0:
            self.refused.add(prompt)
            headers = {"retry-after": date(self.wait_s), **self.own_date, **self.limits(5000)}
            return json_reply({"error": {"type": "rate_limit_error", "message": "slow down"}}, 429, headers)
        return json_reply(self.dialect.whole(), headers={**self.own_date, **self.limits(5000)})


async def check_nothing_is_negative(run: Run) -> None:
    assert all(ending.took_s >= 0.0 for ending in run.endings)
    for response in run.responses:
        timings = response.timings
        assert min(timings.queue_s, timings.service_s, timings.total_s) >= 0.0
    snapshot = await run.engine.metrics()
    assert snapshot.taken_at_s >= 0.0
    assert all(series.out_of_range == 0 for series in snapshot.latency.values())


async def test_dates_are_read_by_the_clock_of_the_server_that_sent_them(
    dialect: Dialect, server: Server, fast: Any
) -> None:
    server.answer = Limiting(dialect, dated=True)
    async with guaranteed(dialect.endpoint(server.url, price=PRICE), slack_s=SLACK_S) as run:
        await run.ask_all(requests(60), hangs_after_s=300.0)
        await check_nothing_is_negative(run)
    assert run.lost == []
    assert run.failures["rate_limited"] == 15
    refused = [e for e in run.endings if e.response is not None and e.response.attempts > 1]
    assert refused
    assert all(ending.took_s >= 1.0 for ending in refused), "a date has whole seconds: 2 s are at least 1"


async def test_without_the_servers_own_date_nobody_waits_for_a_day(dialect: Dialect, server: Server, fast: Any) -> None:
    server.answer = Limiting(dialect, dated=False)
    config = EngineConfig(outage_patience_s=5.0)
    async with guaranteed(dialect.endpoint(server.url, price=PRICE), config, slack_s=SLACK_S) as run:
        await run.ask_all(requests(60), hangs_after_s=300.0)
        await check_nothing_is_negative(run)
    assert all(ending.took_s <= 5.0 + LONGEST_PAUSE_S + SLACK_S for ending in run.endings)
    assert all(isinstance(error, RateLimitedError) for error in run.lost)
    assert run.responses


@pytest.mark.parametrize("offset_s", [-DAY_S, DAY_S])
async def test_a_wall_clock_that_is_a_day_off_changes_no_duration(
    offset_s: float, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumped = time.time() + offset_s
    server = SimulatedProvider(HiddenLimits(requests_per_minute=600, capacity_s=1.0), seed=1)
    async with guaranteed(priced(server)) as run, trio.open_nursery() as nursery:
        nursery.start_soon(run.ask_all, requests(100, timeout_s=60.0))
        await trio.sleep(3.0)
        monkeypatch.setattr(time, "time", lambda: jumped)
    assert run.lost == []
    assert trio.current_time() <= 12.0
