"""Which servers that we did not write do the tests speak to?

A pytest plugin: `llmock_url` and `llama_server_url` start one server each per session, as a process of its own, the
first time a test asks.  `llmock` is the scripted one (its own package registers a fixture named `llmock`; this one
runs apart from the test's process, as a real server does), `llama_server` the real one.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

STARTS_WITHIN_S = 60.0


@pytest.fixture(scope="session")
def llmock_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The root of an llmock; Anthropic's API is below `/anthropic`, OpenAI's below `/v1`, scripts below `/_llmock`."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    program = "from llmock.cli import app; app()"
    command = [sys.executable, "-c", program, "serve", "--port", str(port), "--log-level", "warning"]
    with running(command, tmp_path_factory.mktemp("llmock")) as process:
        _wait_for_port(process, port)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def llama_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The root of a llama.cpp server with a model of noise; both APIs are below `/v1`, counters at `/metrics`."""
    folder = tmp_path_factory.mktemp("llama")
    command = [sys.executable, str(Path(__file__).with_name("llama_server.py")), str(folder)]
    with running(command, folder) as process:
        yield first_line(process, folder)


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs during the block, in `folder`, where its stderr goes to `log`."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=dict(os.environ), cwd=folder)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def first_line(process: subprocess.Popen[bytes], folder: Path) -> str:
    """What a server prints when it is ready: its address."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(STARTS_WITHIN_S):
            raise TimeoutError(f"the server said nothing in {STARTS_WITHIN_S} s")
    if line := process.stdout.readline().decode().strip():
        return line
    raise RuntimeError(f"the server ended: {(folder / 'log').read_text()[-2000:]}")


def _wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    ends = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < ends:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)  # another process: there is nothing to wait on but its port
        else:
            return
    raise TimeoutError(f"nobody listens on port {port} after {STARTS_WITHIN_S} s")
