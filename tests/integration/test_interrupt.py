"""What does Ctrl-C leave behind: in the folder, and at the server?"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
import trio

from synth_actors import EngineConfig, open_engine
from synth_actors.datasets import generate_rows
from tests.integration.prompt_server import ANSWERED_ROWS_OF_HOLDS
from tests.integration.support import PLAIN_PATHS, SHOP, PromptServer, Run, assert_valid, endpoint, rows_of, start

AT_ONCE = 5
GONE_WITHIN_S = 1.5
"""One second is what users are told; the rest is for a machine that others use too."""


def wait_until_held(server: PromptServer, calls: int) -> None:
    ends = time.monotonic() + 30
    while server.figures()["waiting"] < calls:
        assert time.monotonic() < ends, server.figures()
        time.sleep(0.02)  # another process: there is nothing to wait on but its figures


def wait_until_left(server: PromptServer) -> None:
    since = time.monotonic()
    while server.figures()["waiting"]:
        assert time.monotonic() - since < GONE_WITHIN_S, server.figures()
        time.sleep(0.02)


def wait_for_line(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    line = "first"
    while words not in line:
        assert line, "it ended without a word"
        line = process.stderr.readline()


def test_a_second_ctrl_c_keeps_the_whole_rows_and_hangs_up_on_the_server(
    tmp_path: Path, prompt_server: PromptServer
) -> None:
    job = ("-n", 1000, "--rows-per-request", 10, "--concurrency", AT_ONCE, "-o", "rows.jsonl")
    with start(tmp_path, *job, "--endpoint", f"openai:holds@{prompt_server.url}/v1") as process:
        wait_until_held(prompt_server, AT_ONCE)
        process.send_signal(signal.SIGINT)
        wait_for_line(process, "stopping: ")
        process.send_signal(signal.SIGINT)
        wait_until_left(prompt_server)
        out, err = process.communicate(timeout=20)
        run = Run(tmp_path, process.returncode, out, err)
    assert run.status == 130, run
    assert run.files() == {"rows.jsonl.partial", "rows.jsonl.journal"}
    rows = rows_of(tmp_path / "rows.jsonl.partial")
    assert len(rows) == ANSWERED_ROWS_OF_HOLDS
    assert_valid(rows)
    assert "40 of 1000 rows" in run.err
    assert "rows.jsonl.partial" in run.err
    assert run.err.splitlines()[-1] == "synth-actors: interrupted"
    figures = prompt_server.figures()
    assert figures["left"] == AT_ONCE
    assert run.tokens == (figures["input_tokens"], figures["output_tokens"])


@pytest.mark.parametrize("kind", ["anthropic", "openai"])
async def test_leaving_the_rows_early_hangs_up_on_the_server(kind: str, prompt_server: PromptServer) -> None:
    held = endpoint(kind, "holds", prompt_server.url + PLAIN_PATHS[kind])
    async with open_engine([held], EngineConfig(max_concurrency=AT_ONCE)) as engine:
        async with generate_rows(engine, SHOP, 1000, rows_per_request=10) as rows:
            assert_valid([await rows.receive() for _ in range(ANSWERED_ROWS_OF_HOLDS)])
            await trio.to_thread.run_sync(wait_until_held, prompt_server, AT_ONCE)
        await trio.to_thread.run_sync(wait_until_left, prompt_server)
        assert (await engine.metrics()).router.in_flight == 0
