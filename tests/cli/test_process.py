"""How does the command end when a signal comes, or when nobody reads?  Real processes, against a slow server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}


class SlowServer(ThreadingHTTPServer):
    """Answers chat completions with the rows asked for; requests that name a row above `limit` wait for `release`."""

    daemon_threads = True

    def __init__(self, limit: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.limit = limit
        self.release = threading.Event()
        self.held = threading.Semaphore(0)  # one for every request that waits
        self.asked = 0
        self.counting = threading.Lock()

    @property
    def endpoint(self) -> str:
        return f"openai:m@http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: SlowServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        prompt = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"][-1]["content"]
        rows = [int(number) for number in re.findall(r"^Row (\d+)", prompt, re.MULTILINE)]
        with self.server.counting:
            self.server.asked += 1
        if max(rows) > self.server.limit:
            self.server.held.release()
            self.server.release.wait(30)
        content = json.dumps({"rows": [{"id": number} for number in rows]})
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
        body = json.dumps({"id": "1", "object": "chat.completion", "model": "m", "created": 0, "choices": [choice]})
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body.encode())
        except OSError:
            self.close_connection = True  # the client was interrupted

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[SlowServer]:
    with SlowServer(limit=40) as slow:
        threading.Thread(target=slow.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield slow
        slow.release.set()
        slow.shutdown()


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    (folder / "a.json").write_text(json.dumps(SCHEMA))
    return subprocess.Popen(
        [sys.executable, "-m", "synth_actors", "generate", "a.json", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


JOB = ("-n", "1000", "-o", "rows.jsonl", "--concurrency", "4")


def wait_until_held(server: SlowServer, calls: int) -> None:
    for _ in range(calls):
        assert server.held.acquire(timeout=20), "the calls never came"


def wait_for_line(process: subprocess.Popen[bytes], words: bytes) -> None:
    assert process.stderr is not None
    line = b"first"
    while words not in line:
        assert line, "it ended without a word"
        line = process.stderr.readline()


def rows_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_waits_for_what_is_paid_and_asks_for_nothing_more(
    tmp_path: Path, server: SlowServer, number: signal.Signals, status: int
) -> None:
    with start(tmp_path, *JOB, "--endpoint", server.endpoint) as process:
        wait_until_held(server, 4)
        process.send_signal(number)
        wait_for_line(process, b"stopping: up to 10 s for the 4 calls that are out")
        server.release.set()
        _, err = process.communicate(timeout=20)
    assert process.returncode == status, err
    assert [row["id"] for row in rows_of(tmp_path / "rows.jsonl.partial")] == list(range(1, 121))
    assert not (tmp_path / "rows.jsonl").exists()
    assert b"Traceback" not in err
    assert b"120 of 1000 rows" in err
    assert b"--resume" in err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_stops_at_once_and_says_what_may_be_on_the_bill(
    tmp_path: Path, server: SlowServer, number: signal.Signals, status: int
) -> None:
    with start(tmp_path, *JOB, "--endpoint", server.endpoint, "--report", "run.html") as process:
        wait_until_held(server, 4)
        process.send_signal(number)
        wait_for_line(process, b"stopping: ")
        process.send_signal(number)
        _, err = process.communicate(timeout=5)
    assert process.returncode == status, err
    assert [row["id"] for row in rows_of(tmp_path / "rows.jsonl.partial")] == list(range(1, 41))
    assert b"Traceback" not in err
    assert b"40 of 1000 rows" in err
    assert b"4 calls have brought no answer and may be on the bill" in err
    page = (tmp_path / "run.html").read_text(encoding="utf-8")
    assert "interrupted" in page
    assert "40 valid of 1,000 asked for" in page


def test_impatient_signals_end_it_no_other_way_than_two(tmp_path: Path, server: SlowServer) -> None:
    with start(tmp_path, *JOB, "--endpoint", server.endpoint) as process:
        wait_until_held(server, 4)
        process.send_signal(signal.SIGINT)
        wait_for_line(process, b"stopping: ")
        for _ in range(5):
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    assert b"interrupted" in err


def test_what_was_answered_before_a_signal_is_not_asked_again(tmp_path: Path, server: SlowServer) -> None:
    with start(tmp_path, *JOB, "--endpoint", server.endpoint) as process:
        wait_until_held(server, 4)
        process.send_signal(signal.SIGINT)
        wait_for_line(process, b"stopping: ")
        server.release.set()
        process.communicate(timeout=20)
    asked = server.asked
    with start(tmp_path, *JOB, "--endpoint", server.endpoint, "--resume") as process:
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert (asked, server.asked) == (6, 50)
    assert [row["id"] for row in rows_of(tmp_path / "rows.jsonl")] == list(range(1, 1001))
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "rows.jsonl"}


def test_a_reader_that_has_seen_enough_ends_it_quietly(tmp_path: Path) -> None:
    with start(tmp_path, "-n", "100000", "-o", "-") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "id" in json.loads(process.stdout.readline())
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=20) == 1


def test_python_m_works_and_says_its_version(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "synth_actors", "--version"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"synth-actors \d+\.\d+\.\d+\n", done.stdout)
