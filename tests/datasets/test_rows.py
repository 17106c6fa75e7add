"""Exactly so many valid rows, in order, whatever the model answers?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from zlib import crc32

import orjson
import pytest
import trio
import trio.testing
from pydantic import BaseModel, Field

from synth_actors.config import Endpoint, EngineConfig, Price
from synth_actors.datasets.rows import Rows, generate_rows
from synth_actors.engine import Engine, open_engine
from synth_actors.errors import BudgetExceededError, ConfigError, GenerationError, OutputInvalidError
from synth_actors.providers.base import Call, Completion, Emit, Fault, ProviderError
from tests.datasets.row_server import USED, RowServer, all_right, row

SCHEMA = {
    "type": "object",
    "properties": {"id": {"type": "integer", "minimum": 1}, "plan": {"enum": ["free", "pro"]}},
    "required": ["id"],
}
ONE_AT_A_TIME = EngineConfig(max_concurrency=1, max_attempts=1)


class Customer(BaseModel):
    id: int = Field(ge=1)
    plan: str


def numbers(rows: list[Any]) -> list[int]:
    return [each["id"] for each in rows]


async def collect(rows: Rows[Any], into: list[Any] | None = None) -> list[Any]:
    found = [] if into is None else into
    async for each in rows:
        found.append(each)
    return found


async def made(server: RowServer, count: int, config: EngineConfig | None = None, **fields: Any) -> Any:
    async with (
        open_engine([server], config) as engine,
        generate_rows(engine, fields.pop("schema", SCHEMA), count, **fields) as rows,
    ):
        return await collect(rows), rows.report


async def test_rows_come_in_order_and_each_is_asked_for_once() -> None:
    server = RowServer()
    found, report = await made(server, 45)
    assert numbers(found) == list(range(1, 46))
    assert sorted(server.asked) == [(list(range(1, 21)), 0), (list(range(21, 41)), 0), (list(range(41, 46)), 0)]
    assert (report.asked, report.valid, report.missing, report.duplicates, report.complete) == (45, 45, 0, 0, True)
    assert (report.requests, report.usage.input_tokens, report.usage.output_tokens) == (3, 30, 21)


async def test_rows_are_instances_when_the_schema_is_a_model() -> None:
    found, _ = await made(RowServer(), 3, schema=Customer)
    assert found == [Customer(id=number, plan="pro") for number in (1, 2, 3)]


async def test_a_bad_row_costs_no_other_and_is_asked_for_again_alone() -> None:
    def third_is_bad_at_first(rows: list[int], sample: int) -> object:
        return [{"id": -1 if number == 3 and sample == 0 else number} for number in rows]

    server = RowServer(third_is_bad_at_first)
    found, report = await made(server, 20)
    assert numbers(found) == list(range(1, 21))
    assert server.asked[1:] == [([3], 1)]
    assert "the last one was refused: id: -1 is less than the minimum of 1" in server.prompts[1]
    assert (report.invalid, report.repaired, report.requests, report.missing) == (1, 1, 2, 0)


async def test_a_short_answer_is_topped_up_and_a_long_one_is_cut() -> None:
    def short_then_long(rows: list[int], sample: int) -> object:
        return [row(number) for number in rows[:15]] if sample == 0 else [*map(row, rows), row(999)]

    server = RowServer(short_then_long)
    found, report = await made(server, 20)
    assert numbers(found) == list(range(1, 21))
    assert server.asked[1] == ([16, 17, 18, 19, 20], 1)
    assert (report.repaired, report.invalid, report.valid) == (5, 0, 20)


async def test_rows_that_stay_bad_are_reported_and_never_padded() -> None:
    def one_never(rows: list[int], sample: int) -> object:
        return [{"id": 0} if number == 7 else row(number) for number in rows]

    server = RowServer(one_never)
    found, report = await made(server, 30, rows_per_request=10, max_attempts=3)
    assert numbers(found) == [number for number in range(1, 31) if number != 7]
    assert [asked for asked in server.asked if asked[1]] == [([7], 1), ([7], 2)]
    assert (report.missing, report.complete) == (1, False)
    assert report.missing_reasons == {"id: 0 is less than the minimum of 1": 1}


async def test_garbage_is_asked_for_again_as_another_sample() -> None:
    def garbage_first(rows: list[int], sample: int) -> object:
        return "I would rather not." if sample == 0 else all_right(rows, sample)

    found, report = await made(RowServer(garbage_first), 20)
    assert numbers(found) == list(range(1, 21))
    assert (report.failed_requests, report.repaired) == (1, 20)
    assert report.usage.output_tokens > 7, "what the garbage cost is part of the bill"


async def test_only_garbage_ends_with_a_report() -> None:
    found, report = await made(RowServer(lambda rows, sample: "no"), 40, max_attempts=2)
    assert found == []
    assert (report.valid, report.missing, report.failed_requests) == (0, 40, 4)
    assert sum(report.missing_reasons.values()) == 40


async def test_one_poisoned_request_leaves_all_the_others() -> None:
    def poisoned(rows: list[int], sample: int) -> object:
        return ProviderError(Fault.REJECTED, "400: not this one") if 1 in rows else all_right(rows, sample)

    server = RowServer(poisoned)
    found, report = await made(server, 1000, rows_per_request=10)
    assert numbers(found) == list(range(11, 1001))
    assert report.missing == 10
    assert ["not this one" in reason for reason in report.missing_reasons] == [True]
    assert [asked for asked in server.asked if 1 in asked[0]] == [(list(range(1, 11)), 0)], "asking again is no use"


async def test_a_request_that_may_succeed_later_is_asked_again_in_the_same_words() -> None:
    failures = iter([ProviderError(Fault.FAILED, "500")])

    def down_for_a_while(rows: list[int], sample: int) -> object:
        return next(failures, None) or all_right(rows, sample)

    server = RowServer(down_for_a_while)
    found, report = await made(server, 5, ONE_AT_A_TIME)
    assert numbers(found) == [1, 2, 3, 4, 5]
    assert report.failed_requests == 1
    assert [sample for _, sample in server.asked] == [0, 0], "a failure is no answer: the rows do not depend on it"


async def test_a_dead_endpoint_stops_the_job_with_its_own_message() -> None:
    server = RowServer(lambda rows, sample: ProviderError(Fault.FATAL, "401: wrong key"))
    async with (
        open_engine([server], EngineConfig(max_concurrency=2)) as engine,
        generate_rows(engine, SCHEMA, 10_000) as rows,
    ):
        with pytest.raises(GenerationError, match="wrong key"):
            await collect(rows)
        assert rows.report.missing == 10_000
    assert len(server.asked) <= 4


async def test_a_model_that_rejects_everything_is_not_asked_for_ever() -> None:
    server = RowServer(lambda rows, sample: ProviderError(Fault.REJECTED, "400: max_tokens is too large"))
    async with (
        open_engine([server], EngineConfig(max_concurrency=4)) as engine,
        generate_rows(engine, SCHEMA, 100_000) as rows,
    ):
        with pytest.raises(GenerationError, match="max_tokens is too large"):
            await collect(rows)
        assert rows.report.missing == 100_000
    assert len(server.asked) < 40


@pytest.mark.parametrize(
    ("answer", "words"),
    [("I would rather not.", "the answer is no JSON"), ([{"id": 0}] * 20, "id: 0 is less than the minimum of 1")],
    ids=["garbage", "invalid rows"],
)
async def test_a_model_that_never_makes_a_valid_row_is_not_paid_for_ever(answer: object, words: str) -> None:
    server = RowServer(lambda rows, sample: answer)
    async with (
        open_engine([server], EngineConfig(max_concurrency=4)) as engine,
        generate_rows(engine, SCHEMA, 100_000) as rows,
    ):
        with pytest.raises(OutputInvalidError, match=words):
            await collect(rows)
        assert rows.report.missing == 100_000
    assert len({tuple(numbers) for numbers, _ in server.asked}) < 40


async def test_one_valid_row_shows_that_the_job_is_not_hopeless() -> None:
    server = RowServer(lambda rows, sample: all_right(rows, sample) if 1 in rows else "no")
    found, report = await made(server, 1000, ONE_AT_A_TIME, rows_per_request=10, max_attempts=1)
    assert numbers(found) == list(range(1, 11))
    assert (report.missing, report.requests) == (990, 100)


async def test_the_budget_stops_the_job_after_every_paid_row_was_received() -> None:
    server = RowServer()
    price = Price(input_usd_per_mtok=0.0, output_usd_per_mtok=1000.0)  # 7 tokens: 0.7 cents; 512 at most: 51 cents
    endpoint = Endpoint(provider=server, price=price)
    async with (
        open_engine([endpoint], EngineConfig(budget_usd=0.54, max_concurrency=1)) as engine,
        generate_rows(engine, SCHEMA, 1000, max_tokens=512) as rows,
    ):
        found: list[Any] = []
        with pytest.raises(BudgetExceededError, match="budget_usd"):
            await collect(rows, found)
        report = rows.report
    assert len(found) == 20 * len(server.asked) > 0
    assert (report.valid, report.missing) == (len(found), 1000 - len(found))
    assert report.usage.cost_usd == pytest.approx(0.007 * len(server.asked))


async def test_the_same_seed_gives_the_same_rows_at_any_concurrency_and_another_seed_others() -> None:
    async def rows_of(seed: int, config: EngineConfig) -> list[Any]:
        async with (
            open_engine(["local"], config) as engine,
            generate_rows(engine, {**SCHEMA, "required": ["id", "plan"]}, 60, seed=seed) as rows,
        ):
            return await collect(rows)

    one = await rows_of(1, EngineConfig(max_concurrency=1))
    assert one == await rows_of(1, EngineConfig(max_concurrency=50))
    assert one != await rows_of(2, EngineConfig())


async def test_neighbours_that_are_slow_or_fail_change_nothing_for_the_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def third_fails(rows: list[int], sample: int) -> object:
        return ProviderError(Fault.FAILED, "500") if 21 in rows else all_right(rows, sample)

    calm, stormy = RowServer(), RowServer(third_fails, delay_s=3.0)
    await made(calm, 60, rows_per_request=10)
    await made(stormy, 60, ONE_AT_A_TIME, rows_per_request=10)
    without_third = {prompt for prompt in stormy.prompts if "Row 21:" not in prompt}
    assert without_third == {prompt for prompt in calm.prompts if "Row 21:" not in prompt}


async def test_exact_duplicates_are_delivered_and_counted() -> None:
    found, report = await made(RowServer(lambda rows, sample: [{"plan": "pro", "id": 1} for _ in rows]), 40)
    assert len(found) == 40
    assert report.duplicates == 39


async def test_a_server_that_answers_by_the_prompt_alone_gives_distinct_rows() -> None:
    class ByPrompt(RowServer):
        async def generate(self, call: Call, emit: Emit | None) -> Completion:
            seed = crc32((call.request.prompt or "").encode())
            rows = [{"id": 1 + seed * (at + 1) % 10**9} for at in range(20)]
            return Completion(text=orjson.dumps(rows).decode(), stop_reason="end", usage=USED)

    found, report = await made(ByPrompt(), 1000)
    assert len(found) == 1000
    assert report.duplicates <= 50


async def test_places_are_used_and_few_rows_are_held(autojump_clock: trio.testing.MockClock) -> None:
    server = RowServer(delay_s=1.0)
    async with (
        open_engine([server], EngineConfig(max_concurrency=5)) as engine,
        generate_rows(engine, SCHEMA, 2000, rows_per_request=10) as rows,
    ):
        await rows.receive()
        await trio.sleep(100)  # a reader that does not read
        assert server.most_in_flight == 5
        assert rows.ready <= 10 * 4 * 5
        started_at = trio.current_time()
        assert len(await collect(rows)) == 1999
    assert trio.current_time() - started_at == pytest.approx((200 - 20) / 5, abs=2)


async def test_leaving_early_stops_what_only_it_awaits(autojump_clock: trio.testing.MockClock) -> None:
    server = RowServer(delay_s=1.0)
    async with open_engine([server], EngineConfig(max_concurrency=3)) as engine:
        async with generate_rows(engine, SCHEMA, 10_000) as rows:
            assert numbers([await rows.receive()]) == [1]
        await trio.testing.wait_all_tasks_blocked()
        asked = len(server.asked)
        await trio.sleep(100)
        assert (len(server.asked), server.in_flight) == (asked, 0)
        assert (await engine.generate("Row 1", max_tokens=5)).text


async def test_who_leaves_early_gets_the_rows_beyond_a_slow_one(autojump_clock: trio.testing.MockClock) -> None:
    def first_never(rows: list[int], sample: int) -> object:
        return ProviderError(Fault.OVERLOADED, "529", retry_after_s=0.0) if 1 in rows else all_right(rows, sample)

    async with (
        open_engine([RowServer(first_never, delay_s=1.0)], EngineConfig(max_concurrency=4)) as engine,
        generate_rows(engine, SCHEMA, 100) as rows,
    ):
        with trio.move_on_after(20):
            await rows.receive()
        assert numbers(rows.take_finished()) == list(range(21, 101))


async def test_what_the_body_raises_leaves_as_itself() -> None:
    async with open_engine([RowServer()]) as engine:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with generate_rows(engine, SCHEMA, 100) as rows:
                await rows.receive()
                raise ZeroDivisionError
        with pytest.raises(KeyboardInterrupt):
            async with generate_rows(engine, SCHEMA, 100) as rows:
                raise KeyboardInterrupt


async def test_cancelling_the_reader_at_every_checkpoint_leaves_nothing_behind() -> None:
    for steps in range(1, 200):
        async with open_engine([RowServer()], EngineConfig(max_concurrency=2)) as engine:
            finished = False
            with trio.CancelScope() as scope:
                finished = await _cancelled_after(steps, engine, scope)
            await trio.testing.wait_all_tasks_blocked()
            snapshot = await engine.metrics()
            assert snapshot.router.in_flight == snapshot.router.backlog == 0
        if finished:
            return
    raise AssertionError("it never got to its end")


async def _cancelled_after(steps: int, engine: Engine, scope: trio.CancelScope) -> bool:
    class Counted(trio.abc.Instrument):
        left = steps

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            if task is me:
                self.left -= 1
                if self.left == 0:
                    scope.cancel()

    me = trio.lowlevel.current_task()
    counted = Counted()
    trio.lowlevel.add_instrument(counted)
    try:
        async with generate_rows(engine, SCHEMA, 6, rows_per_request=2) as rows:
            await collect(rows)
    finally:
        trio.lowlevel.remove_instrument(counted)
    return counted.left > 0


async def test_a_closed_channel_says_so() -> None:
    async with open_engine([RowServer()]) as engine, generate_rows(engine, SCHEMA, 100) as rows:
        await rows.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await rows.receive()


async def test_an_endpoint_that_is_not_there_is_refused() -> None:
    async with open_engine([RowServer()]) as engine, generate_rows(engine, SCHEMA, 10, endpoints=["nowhere"]) as rows:
        with pytest.raises(ConfigError, match="nowhere"):
            await rows.receive()


async def test_wrong_input_is_refused_at_the_call() -> None:
    async with open_engine([RowServer()]) as engine:
        for wrong in ({"count": -1}, {"schema": {"type": "nonsense"}}, {"max_tokens": 0}, {"rows_per_request": 0}):
            call: Callable[..., AbstractAsyncContextManager[Any]] = generate_rows
            with pytest.raises(ConfigError):
                call(engine, **{"schema": SCHEMA, "count": 1, **wrong})


async def test_no_rows_are_made_without_a_call() -> None:
    server = RowServer()
    found, report = await made(server, 0)
    assert (found, server.asked, report.complete) == ([], [], True)


async def test_a_second_run_is_answered_by_the_cache() -> None:
    server = RowServer()
    async with open_engine([server]) as engine:
        async with generate_rows(engine, SCHEMA, 100) as rows:
            first = await collect(rows)
        async with generate_rows(engine, SCHEMA, 120) as rows:
            assert (await collect(rows))[:100] == first
            assert rows.report.usage.input_tokens == 10, "only the last twenty rows are paid"
    assert len(server.asked) == 6


def test_a_report_can_be_written_as_json() -> None:
    from synth_actors.datasets.report import RowsReport

    assert dataclasses.asdict(RowsReport(asked=1))["usage"]["cost_usd"] == 0.0
