"""What does Ctrl-C leave behind: in the folder, and at the server?"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.integration.prompt_server import ANSWERED_ROWS_OF_HOLDS
from tests.integration.support import PromptServer, Run, assert_valid, rows_of, start

AT_ONCE = 5
GONE_WITHIN_S = 1.5
"""One second is what users are told; the rest is for a machine that others use too."""


def wait_until_held(server: PromptServer, calls: int) -> None:
    ends = time.monotonic() + 30
    while server.figures()["waiting"] < calls:
        assert time.monotonic() < ends, server.figures()
        time.sleep(0.02)  # another process: there is nothing to wait on but its figures


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_ctrl_c_keeps_the_whole_rows_and_hangs_up_on_the_server(
    tmp_path: Path, prompt_server: PromptServer, kind: str
) -> None:
    url = f"{prompt_server.url}/v1" if kind == "openai" else prompt_server.url
    job = ("-n", 1000, "--rows-per-request", 10, "--concurrency", AT_ONCE, "-o", "rows.jsonl")
    with start(tmp_path, *job, "--endpoint", f"{kind}:holds@{url}") as process:
        wait_until_held(prompt_server, AT_ONCE)
        process.send_signal(signal.SIGINT)
        sent_at = time.monotonic()
        while prompt_server.figures()["waiting"]:
            assert time.monotonic() - sent_at < GONE_WITHIN_S, prompt_server.figures()
            time.sleep(0.02)
        out, err = process.communicate(timeout=20)
        run = Run(tmp_path, process.returncode, out, err)
    assert run.status == 130, run
    assert run.files() == {"rows.jsonl.partial"}
    rows = rows_of(tmp_path / "rows.jsonl.partial")
    assert len(rows) == ANSWERED_ROWS_OF_HOLDS
    assert_valid(rows)
    assert "40 of 1000 rows" in run.err
    assert "rows.jsonl.partial" in run.err
    assert run.err.splitlines()[-1] == "synth-actors: interrupted"
    figures = prompt_server.figures()
    assert figures["left"] == AT_ONCE
    assert run.tokens == (figures["input_tokens"], figures["output_tokens"])
