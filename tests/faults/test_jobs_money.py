"""The budget is used up, or the key is refused in the middle: the job stops at once, and goes on when it is mended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_actors.errors import BudgetExceededError
from tests.jobs.scripted_job import (
    COST_USD,
    THREADS_ANSWER_WITHIN_S,
    Asked,
    Fails,
    JobFolder,
    Model,
    Said,
    Server,
    all_right,
    assert_whole,
    finish,
    serving,
    spec_of,
    standing_of,
)

MOST_USD = 0.0037
"""The most that one call of these jobs may cost."""


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def job(tmp_path: Path, server: Server) -> JobFolder:
    return JobFolder(tmp_path, server.url)


# The budget.


def test_a_used_up_budget_ends_the_run_and_a_higher_one_completes_it(job: JobFolder, server: Server) -> None:
    job.write(budget_usd=0.015)
    ran = job.run()
    assert ran.status == 1
    assert ran.last.startswith("synth-actors: budget_usd=0.015: ")
    assert ran.last.endswith("; raise budget_usd under [job]"), "another max_tokens would be another job"
    assert "30: the job was stopped, for the reason in the last line" in ran.err
    assert "put right what the last line says, then run it again with --resume" in ran.err
    paid = len(server.asked)
    assert paid * COST_USD <= 0.015
    assert f"${paid * COST_USD:.4f} of $0.015" in job.run(command="status").err

    job.write(budget_usd=1.0)
    assert job.run("--resume").status == 0
    assert_whole(job.output, 60)
    assert len(server.asked) == len(set(server.asked)) == 12


def test_the_same_budget_again_makes_no_call_and_says_what_was_spent(job: JobFolder, server: Server) -> None:
    job.write(budget_usd=0.015)
    job.run()
    paid = len(server.asked)
    for _ in range(3):
        ran = job.run("--resume")
        assert ran.status == 1
        assert f"budget_usd=0.015: {paid * COST_USD:.6f} is spent, or may be, and the next call may cost" in ran.last
    assert len(server.asked) == paid


def test_a_budget_that_was_overspent_still_lets_a_job_with_all_its_answers_end(job: JobFolder, server: Server) -> None:
    assert job.run().status == 0
    job.output.unlink()
    job.write(budget_usd=0.001)
    ran = job.run("--resume")
    assert ran.status == 0, ran.err
    assert len(server.asked) == 12
    assert_whole(job.output, 60)


def test_a_budget_too_small_for_one_call_leaves_no_file(job: JobFolder, server: Server) -> None:
    job.write(budget_usd=0.0001)
    ran = job.run()
    assert (ran.status, server.asked, job.files()) == (1, [], set())
    assert "budget_usd=0.0001: 0.000000 is spent, or may be, and the next call may cost 0.00" in ran.last


@given(budgets=st.lists(st.floats(0.001, 0.03), min_size=1, max_size=5), broken=st.sets(st.integers(0, 40)))
@settings(max_examples=15)
def test_no_sequence_of_runs_spends_more_than_the_budget(
    tmp_path_factory: pytest.TempPathFactory, budgets: list[float], broken: set[int]
) -> None:
    """Some calls break off: they may be on the bill, so they count with the most that they may have cost."""
    clock = trio.testing.MockClock(autojump_threshold=THREADS_ANSWER_WITHIN_S)
    trio.run(_spend, tmp_path_factory.mktemp("job"), budgets, broken, clock=clock)


async def _spend(folder: Path, budgets: list[float], broken: set[int]) -> None:

    def script(asked: Asked) -> Said | Fails:
        return Fails(500, "broken off") if len(model.asked) in broken else all_right(asked)

    model = Model(script)
    complete = False
    for number, budget_usd in enumerate(sorted(budgets)):
        asked_before = len(model.asked)
        result = await finish(spec_of(folder, model, budget_usd=budget_usd, concurrency=2), resume=number > 0)
        broken_off = len(model.asked) - len(model.answered)
        at_least, at_most = len(model.answered) * COST_USD, len(model.answered) * COST_USD + broken_off * MOST_USD
        assert at_least <= budget_usd + 1e-12 or len(model.asked) == asked_before
        if len(model.asked) > asked_before:
            standing = standing_of(folder)
            assert at_least - 1e-9 <= standing.spent_usd <= min(at_most, budget_usd) + 1e-9
        complete = complete or result.complete
        assert result.complete == complete
        if not complete:
            # A call that broke off and may not be made again is no reason to stop the others.
            reasons = result.report.missing_reasons
            assert isinstance(result.error, BudgetExceededError) or all("budget_usd=" in text for text in reasons)
    model.script = all_right
    assert (await finish(spec_of(folder, model, budget_usd=1.0), resume=True)).complete
    assert_whole(folder / "rows.jsonl", 60)
    assert len(model.answered) == len(set(model.answered)) == 12


# The key.


def test_a_key_that_is_refused_in_the_middle_stops_the_job_at_once(job: JobFolder, server: Server) -> None:
    job.write(concurrency=3)

    def revoked(asked: Asked) -> Said | Fails:
        return all_right(asked) if len(server.answered) < 5 else Fails(401, "this key was revoked")

    server.script = revoked
    ran = job.run()
    assert ran.status == 1
    assert ran.last == "synth-actors: openai:scripted: HTTP 401 (scripted): this key was revoked"
    assert "check the key" in ran.err
    assert "put right what the last line says, then run it again with --resume" in ran.err
    assert len(server.answered) == 5
    assert len(server.asked) - len(server.answered) <= 3
    assert "uncertain" not in ran.err

    server.script = all_right
    job.write(api_key="new")
    assert job.run("--resume").status == 0
    assert set(server.keys[-7:]) == {"Bearer new"}
    assert_whole(job.output, 60)
    assert len(server.answered) == len(set(server.answered)) == 12


def test_a_second_endpoint_completes_the_job_when_the_first_ones_key_is_refused(job: JobFolder, server: Server) -> None:
    server.script = lambda asked: all_right(asked) if len(server.answered) < 5 else Fails(401, "revoked")
    with serving() as spare:
        text = job.file.read_text()
        first = text[text.index("[[job.endpoints]]") : text.index("[limits]")]
        second = first.replace('"scripted"', '"spare"').replace(server.url, spare.url)
        job.file.write_text(text.replace("[limits]", second + "[limits]"))
        ran = job.run()
        assert ran.status == 0, ran.err
        assert len(server.answered) + len(spare.answered) == 12
        assert len(server.answered) == 5
    assert_whole(job.output, 60)
