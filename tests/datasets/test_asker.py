"""What does a failure mean for the rows that it was about, and what for all the others?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
import trio.testing

from synth_actors.config import EngineConfig
from synth_actors.datasets.asker import DRAINED, FRUITLESS_TO_STOP, NOT_COMPLETE, Asker
from synth_actors.datasets.block import Block
from synth_actors.datasets.jobs.journal import Journal, Tariff
from synth_actors.datasets.jobs.journal_file import open_journal, standing
from synth_actors.datasets.plan import Plan, RowsJob
from synth_actors.datasets.report import RowsTally
from synth_actors.datasets.row_schema import Invalid, RowSchema, Valid
from synth_actors.engine import open_engine
from synth_actors.errors import ConfigError, GenerationError, OutputInvalidError
from synth_actors.providers.base import Call, Completion, Emit, Fault, ProviderError
from tests.datasets.row_server import RowServer, Script, all_right, row

SCHEMA = RowSchema({"type": "object", "properties": {"id": {"type": "integer", "minimum": 1}}, "required": ["id"]})
TARIFF = Tariff(free=frozenset(), most_usd=lambda request, endpoint: None)


@dataclass(slots=True)
class Asking:
    """An asker, and what it works with."""

    asker: Asker
    plan: Plan
    tally: RowsTally
    journal: Journal | None
    stops: list[None]

    def block(self, number: int, check: Callable[[int, Any], Valid | Invalid] | None = None) -> Block:
        rows = self.plan.rows_of(number)
        return Block(rows, check or (lambda _, value: SCHEMA.check(value)), max_attempts=self.plan.job.max_attempts)


@asynccontextmanager
async def asking(
    server: RowServer, *, workers: int = 2, config: EngineConfig | None = None, folder: Path | None = None
) -> AsyncIterator[Asking]:
    """With a journal when there is a folder for it."""
    plan = Plan(SCHEMA, RowsJob(count=1000, rows_per_request=2, max_attempts=3))
    tally, stops = RowsTally(1000), list[None]()
    async with AsyncExitStack() as stack:
        journal = None
        if folder is not None:
            store = open_journal(folder / "journal", {}, TARIFF, durability="process")
            journal, _ = await stack.enter_async_context(store)
        engine = await stack.enter_async_context(open_engine([server], config, attempt_log=journal))
        asker = Asker(engine, plan, tally, workers=workers, journal=journal, on_stop=lambda: stops.append(None))
        yield Asking(asker, plan, tally, journal, stops)


def always(fault: Fault, message: str) -> Script:
    return lambda rows, sample: ProviderError(fault, message)


async def test_a_block_is_asked_for_until_it_wants_nothing_more() -> None:
    def one_bad_at_first(rows: list[int], sample: int) -> object:
        return [{"id": 0} if number == 2 and not sample else row(number) for number in rows]

    async with asking(RowServer(one_bad_at_first)) as at:
        block = at.block(0)
        assert await at.asker.settle(0, block) is None
        assert block.made == {0: row(1), 1: row(2)}
        assert (at.tally.requests, at.tally.failed_requests) == (2, 0)
        assert at.asker.stopped_by is None


async def test_a_request_that_is_refused_for_good_leaves_only_its_own_rows() -> None:
    def one_poisoned(rows: list[int], sample: int) -> object:
        return ProviderError(Fault.REJECTED, "400: not this") if 3 in rows else all_right(rows, sample)

    async with asking(RowServer(one_poisoned)) as at:
        assert await at.asker.settle(0, at.block(0)) is None
        problem = await at.asker.settle(1, block := at.block(1))
        assert problem is not None
        assert "not this" in problem
        assert block.made == {}
        assert not at.asker.is_stopping
        assert await at.asker.settle(2, at.block(2)) is None


async def test_a_failure_that_may_pass_is_asked_again_in_the_same_words_as_often_as_an_answer() -> None:
    server = RowServer(
        lambda rows, sample: ProviderError(Fault.FAILED, "500") if 3 in rows else all_right(rows, sample)
    )
    async with asking(server, config=EngineConfig(max_attempts=1)) as at:
        assert await at.asker.settle(0, at.block(0)) is None
        assert "500" in str(await at.asker.settle(1, at.block(1)))
        assert server.asked[1:] == [([3, 4], 0)] * 3
        assert not at.asker.is_stopping


async def test_an_endpoint_that_can_not_be_used_stops_the_job() -> None:
    async with asking(RowServer(always(Fault.FATAL, "401: wrong key"))) as at:
        await at.asker.settle(0, at.block(0))
        assert isinstance(at.asker.stopped_by, GenerationError)
        assert "wrong key" in str(await at.asker.settle(1, at.block(1)))
        assert len(at.stops) == 1


async def test_what_never_brings_a_valid_row_is_not_asked_for_ever() -> None:
    server = RowServer(lambda rows, sample: "no")
    async with asking(server, workers=2) as at:
        number = 0
        while not at.asker.is_stopping:
            await at.asker.settle(number, at.block(number))
            number += 1
        assert isinstance(at.asker.stopped_by, OutputInvalidError)
        assert len(server.asked) == FRUITLESS_TO_STOP + 2


async def test_a_function_of_the_users_that_fails_stops_the_job_with_its_own_words() -> None:
    def check(row: int, value: Any) -> Valid | Invalid:
        raise ConfigError(f"columns.age: fails for row {row + 1}")

    async with asking(RowServer()) as at:
        assert await at.asker.settle(0, at.block(0, check)) == "columns.age: fails for row 1"
        assert str(at.asker.stopped_by) == "columns.age: fails for row 1"


async def test_without_an_engine_nothing_can_be_asked_and_it_says_so() -> None:
    plan = Plan(SCHEMA, RowsJob(count=2))
    asker = Asker(None, plan, RowsTally(2), workers=1)
    block = Block(range(2), lambda _, value: SCHEMA.check(value), max_attempts=1)
    assert await asker.settle(0, block) == NOT_COMPLETE
    assert isinstance(asker.stopped_by, ConfigError)


class Held(RowServer):
    """Answers when its gate is open."""

    def __init__(self, script: Script = all_right) -> None:
        super().__init__(script)
        self.gate = trio.Event()

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        self.prompts.append(call.request.prompt or "")
        await self.gate.wait()
        return await super().generate(call, emit)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await trio.lowlevel.checkpoint()


async def test_a_drain_waits_for_the_calls_that_are_out_and_takes_the_others_back(tmp_path: Path) -> None:
    server = Held()
    reasons: dict[int, str | None] = {}
    async with asking(server, config=EngineConfig(max_concurrency=2), folder=tmp_path) as at:
        assert at.journal is not None
        blocks = [at.block(number) for number in range(4)]

        async def settle(number: int) -> None:
            reasons[number] = await at.asker.settle(number, blocks[number])

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(settle, number)
            await until(lambda: len(server.prompts) == 2)
            at.asker.drain()
            await until(lambda: len(reasons) == 2)
            assert set(reasons.values()) == {DRAINED}
            server.gate.set()
        assert sorted(map(str, reasons.values())) == ["None", "None", DRAINED, DRAINED]
        assert len(server.asked) == 2
        found = await at.journal.read(standing)
        assert (found.answers, found.uncertain) == (2, ())
        assert len(at.stops) == 1
        assert await at.asker.settle(5, at.block(5)) == DRAINED


async def test_a_call_that_fails_during_a_drain_is_not_made_again(tmp_path: Path) -> None:
    server = Held(always(Fault.FAILED, "500"))
    async with asking(server, folder=tmp_path) as at, trio.open_nursery() as nursery:
        nursery.start_soon(at.asker.settle, 0, at.block(0))
        await until(lambda: len(server.prompts) == 1)
        at.asker.drain()
        server.gate.set()
    assert len(server.asked) == 1


async def test_an_answer_that_the_engine_found_too_large_counts_as_it_stands_in_the_journal(tmp_path: Path) -> None:
    server = RowServer(lambda rows, sample: f'{{"rows": [{{"id": 1}}, {{"id": 2}}]}}{" " * 5000}')
    async with asking(server, config=EngineConfig(max_response_bytes=1000), folder=tmp_path) as at:
        block = at.block(0)
        assert await at.asker.settle(0, block) is None
        assert block.made == {0: {"id": 1}, 1: {"id": 2}}
        assert len(server.asked) == 1
