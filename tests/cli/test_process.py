"""How does the command end when a signal comes, or when nobody reads?  Real processes, against a slow server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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

    @property
    def endpoint(self) -> str:
        return f"openai:m@http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: SlowServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        prompt = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"][-1]["content"]
        rows = [int(number) for number in re.findall(r"^Row (\d+)", prompt, re.MULTILINE)]
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


def wait_for(path: Path, lines: int) -> None:
    deadline = time.monotonic() + 20
    while not path.exists() or path.read_bytes().count(b"\n") < lines:
        assert time.monotonic() < deadline, "the rows never came"
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_cleanly_and_keeps_the_whole_rows(
    tmp_path: Path, server: SlowServer, number: signal.Signals, status: int
) -> None:
    process = start(tmp_path, "-n", "1000", "-o", "rows.jsonl", "--endpoint", server.endpoint, "--concurrency", "4")
    wait_for(tmp_path / "rows.jsonl.partial", 40)
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert process.returncode == status, err
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl.partial").read_text().splitlines()]
    assert [row["id"] for row in rows] == list(range(1, 41))
    assert not (tmp_path / "rows.jsonl").exists()
    assert b"Traceback" not in err
    assert b"40 of 1000 rows" in err


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
