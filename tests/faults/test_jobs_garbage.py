"""Answers are garbage, truncated, wrong or repeated: what is good in them is kept, the rest is asked for again."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors.datasets.jobs.job_result import JobResult
from synth_actors.datasets.jobs.open_job import open_job
from tests.jobs.scripted_job import (
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
    row,
    rows_text,
    serving,
    spec_of,
    standing_of,
)

COUNT = 600
GARBAGE: dict[str, Callable[[Asked], str]] = {
    "prose": lambda _: "I am sorry, but as a language model I would rather talk about otters.",
    "half of the JSON": lambda asked: rows_text(asked)[: len(rows_text(asked)) // 2],
    "a fence": lambda asked: f"Here you are:\n```json\n{rows_text(asked)}\n```\nAnything else?",
    "a page": lambda _: "<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>",
    "nothing": lambda _: "",
    "commas": lambda asked: rows_text(asked).replace("}]}", "},]}"),
    "no rows": lambda _: '{"rows": []}',
    "another shape": lambda asked: json.dumps({"rows": [{"name": number} for number in asked.rows]}),
}


def five_percent_garbage(asked: Asked) -> Said:
    """Each kind of garbage as often."""
    if asked.chance.random() < 0.05:
        return Said(asked.chance.choice(list(GARBAGE.values()))(asked))
    return all_right(asked)


def fifth_truncated(asked: Asked) -> Said:
    """A fifth of the answers to several rows ends at `max_tokens`, anywhere."""
    chance = asked.chance
    if len(asked.rows) > 1 and chance.random() < 0.2:
        return Said(rows_text(asked)[: chance.randrange(len(rows_text(asked)))], "max_tokens")
    return all_right(asked)


def all_at_once(asked: Asked) -> Said:
    """Garbage, cuts, invalid rows, and rows that repeat the first one."""
    chance = asked.chance
    kind = chance.random()
    if kind < 0.05:
        return Said(chance.choice(list(GARBAGE.values()))(asked))
    rows = [row(number, asked.sample) for number in asked.rows]
    for each in rows:
        if chance.random() < 0.05:
            each["id"] = "one"
        elif chance.random() < 0.05 and asked.sample < 2:
            each["note"] = row(1)["note"]
    text = json.dumps({"rows": rows})
    if kind < 0.25 and len(rows) > 1:
        return Said(text[: chance.randrange(len(text))], "max_tokens")
    return Said(text)


SCRIPTS = {"garbage": five_percent_garbage, "truncated": fifth_truncated, "all at once": all_at_once}


def made(folder: Path, script: Callable[[Asked], Said], *, seed: int, concurrency: int, stops: int = 0) -> JobResult:
    """Run the job with answers that take a random time, stopped `stops` times in the middle; checks the ledger."""
    folder.mkdir()
    chance = random.Random(seed)
    model = Model(script, delay_s=lambda _: chance.uniform(0.01, 3.0))
    spec = spec_of(folder, model, count=COUNT, rows_per_request=10, concurrency=concurrency)

    async def main() -> JobResult:
        for stop in range(1, stops + 1):
            async with open_job(spec, resume=stop > 1) as job:
                job_rows = job.rows()
                await trio.sleep(0.4 * stop)
                await job_rows.aclose()  # leaving the block drains
        return await finish(spec, resume=stops > 0)

    result = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=THREADS_ANSWER_WITHIN_S))
    assert result.complete, result.report
    assert len(model.asked) == len(set(model.asked)) == len(model.answered) == standing_of(folder).answers
    return result


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_the_job_ends_complete_and_its_bytes_do_not_depend_on_what_came_first_or_on_stops(
    tmp_path: Path, script: Callable[[Asked], Said]
) -> None:
    first = made(tmp_path / "a", script, seed=1, concurrency=4)
    second = made(tmp_path / "b", script, seed=2, concurrency=32)
    third = made(tmp_path / "c", script, seed=3, concurrency=8, stops=4)
    whole = (tmp_path / "a/rows.jsonl").read_bytes()
    assert (tmp_path / "b/rows.jsonl").read_bytes() == whole
    assert (tmp_path / "c/rows.jsonl").read_bytes() == whole
    rows = [json.loads(line) for line in whole.splitlines()]
    assert [each["id"] for each in rows] == list(range(1, COUNT + 1))
    assert len({each["note"] for each in rows}) == COUNT
    assert first.report == second.report == third.report


def counts(tmp_path: Path, script: Callable[[Asked], Said]) -> dict[str, Any]:
    """What the manifest says of the rows."""
    made(tmp_path / "a", script, seed=1, concurrency=8)
    found: dict[str, Any] = json.loads((tmp_path / "a/manifest.json").read_bytes())["rows"]
    return found


FIRST_ASKED = [Asked(tuple(range(first, first + 10)), 0) for first in range(1, COUNT, 10)]


def test_the_report_counts_what_was_salvaged_and_what_was_asked_for_again(tmp_path: Path) -> None:
    def kind_of(asked: Asked) -> str:
        return list(GARBAGE)[asked.rows[0] // 10 % len(GARBAGE)]

    def garbage_first(asked: Asked) -> Said:
        return all_right(asked) if asked.sample else Said(GARBAGE[kind_of(asked)](asked))

    rows = counts(tmp_path, garbage_first)
    first = [(kind_of(asked), garbage_first(asked).text) for asked in FIRST_ASKED]
    whole = sum(10 for kind, _ in first if kind in ("a fence", "commas"))
    in_halves = sum(text.count("}") for kind, text in first if kind == "half of the JSON")
    assert in_halves > 0
    assert rows["salvaged"] == whole + in_halves
    assert rows["repaired"] == COUNT - whole - in_halves
    assert rows["invalid"] == sum(10 for kind, _ in first if kind == "another shape")
    assert (rows["valid"], rows["cut"]) == (COUNT, 0)


def test_the_report_counts_what_was_cut(tmp_path: Path) -> None:
    rows = counts(tmp_path, fifth_truncated)
    cut = sum(fifth_truncated(asked).stop_reason == "max_tokens" for asked in FIRST_ASKED)
    assert rows["cut"] >= cut > 5
    assert rows["missing"] == 0


# The same over HTTP.


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_the_command_ends_with_0_and_says_what_it_had_to_mend(
    tmp_path: Path, server: Server, script: Callable[[Asked], Said]
) -> None:
    server.script = script
    job = JobFolder(tmp_path, server.url)
    job.write(count=300)
    ran = job.run()
    assert ran.status == 0, ran.err
    assert_whole(job.output, 300)
    assert "made by asking again" in ran.err
    assert len(server.asked) == len(set(server.asked))


# A row that never comes right.


def test_a_row_that_never_comes_right_is_told_and_tried_again_by_each_resume(tmp_path: Path, server: Server) -> None:
    def one_wrong(asked: Asked) -> Said | Fails:
        rows = [row(number) if number != 7 else {"id": -7, "note": "never"} for number in asked.rows]
        return Said(json.dumps({"rows": rows}))

    server.script = one_wrong
    job = JobFolder(tmp_path, server.url)
    job.write(limits={"max_attempts": 3})
    ran = job.run()
    assert ran.status == 1
    assert ran.last == "synth-actors: 1 row is missing"
    assert "1: id: -7 is less than the minimum of 1" in ran.err
    assert "run it again with --resume: nothing that was answered is asked again" in ran.err
    assert "put right" not in ran.err
    assert len(server.asked) == 12 + 2
    assert job.run("--resume").status == 1
    assert len(server.asked) == 12 + 2 + 3
    assert server.asked[-1] == Asked((7,), 5)

    server.script = all_right
    assert job.run("--resume").status == 0
    assert len(server.asked) == 12 + 2 + 3 + 1
    assert_whole(job.output, 60)


def test_a_model_that_answers_only_nonsense_is_not_asked_for_ever(tmp_path: Path, server: Server) -> None:
    server.script = lambda asked: Said(GARBAGE["prose"](asked))
    job = JobFolder(tmp_path, server.url)
    job.write(count=2000)
    ran = job.run()
    assert ran.status == 1
    assert "none of the first" in ran.last
    assert len(server.asked) < 60
    server.script = all_right
    assert job.run("--resume").status == 0
    assert_whole(job.output, 2000)
