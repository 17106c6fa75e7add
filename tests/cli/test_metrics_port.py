"""Do `--metrics-port` and `--hlog` show what a run does while it runs, and refuse in time what they cannot do?"""

from __future__ import annotations

import dataclasses
import json
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from synth_actors.cli import generate
from synth_actors.cli.app import run_command
from synth_actors.cli.metrics_port import MetricsPage, metrics_page
from synth_actors.cli.settings import Settings, load_settings
from synth_actors.config import as_endpoint
from synth_actors.providers.base import Call, Completion, Emit
from tests.datasets.row_server import RowServer
from tests.telemetry.readers import sum_by_tag

Capture = pytest.CaptureFixture[str]
SCHEMA = {"type": "object", "properties": {"id": {"type": "integer", "minimum": 1}}, "required": ["id"]}
JOB = '[job]\nschema = "a.json"\ncount = 45\noutput = "rows.jsonl"\n'


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text(json.dumps(SCHEMA))
    Path("job.toml").write_text(JOB)


def command(*arguments: object) -> int:
    return run_command(["generate", "a.json", "-n", "45", "-o", "rows.jsonl", *map(str, arguments)])


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


class HeldServer(RowServer):
    """Answers once `release` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        await trio.to_thread.run_sync(self.release.wait, 20)
        return await super().generate(call, emit)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> HeldServer:
    """What the endpoint of the next run is: no flag can name it."""
    server = HeldServer()

    def with_server(*args: Any, **fields: Any) -> Settings:
        return dataclasses.replace(load_settings(*args, **fields), endpoints=(as_endpoint(server),))

    monkeypatch.setattr(generate, "load_settings", with_server)
    return server


def page_while_running(server: HeldServer, port: int) -> str:
    """What is served once all three calls are out; then they are answered."""
    try:
        while True:
            try:
                with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    text: str = answer.read().decode()
            except URLError:  # not there so far
                continue
            if re.search(r"^synth_actors_in_flight 3", text, re.MULTILINE):
                return text
    finally:
        server.release.set()


def test_the_figures_of_a_run_are_served_while_it_runs_and_not_after(held: HeldServer, capfd: Capture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(page_while_running, held, port)
        assert command("--metrics-port", port) == 0
        text = looking.result(20)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert [sample.value for sample in families["synth_actors_requests_waiting"].samples] == [3.0]
    assert f"metrics: http://127.0.0.1:{port}/metrics\n" in capfd.readouterr().err
    with pytest.raises(URLError):
        urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)


def test_with_port_0_it_is_said_which_one_was_free(capfd: Capture) -> None:
    assert command("--metrics-port", 0) == 0
    found = re.findall(r"^metrics: http://127\.0\.0\.1:(\d+)/metrics$", capfd.readouterr().err, re.MULTILINE)
    assert len(found) == 1
    assert int(found[0]) > 0


@pytest.mark.parametrize("name", ["generate", "run"])
def test_a_port_in_use_is_said_in_one_line_before_anything_is_asked(
    name: str, taken_port: int, held: HeldServer, capfd: Capture
) -> None:
    arguments = ["a.json", "-n", "45", "-o", "rows.jsonl"] if name == "generate" else ["job.toml"]
    assert run_command([name, *arguments, "--metrics-port", str(taken_port)]) == 2
    err = capfd.readouterr().err
    assert err == f"synth-actors: --metrics-port {taken_port}: is in use; give another, or 0 for any free one\n"
    assert held.asked == []
    assert {path.name for path in Path().iterdir()} == {"a.json", "job.toml"}


@pytest.mark.parametrize("port", ["65536", "-1", "x", "9464.5"])
def test_what_is_no_port_is_refused(port: str, capfd: Capture) -> None:
    assert command("--metrics-port", port) == 2
    assert capfd.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_without_the_package_it_is_said_what_to_install(
    dry: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert command("--metrics-port", 0, *dry) == 2
    err = capfd.readouterr().err
    assert err.startswith("synth-actors: --metrics-port 0: prometheus-client is not installed: ")
    assert err.endswith("pip install 'synth-actors[prometheus]'\n")
    assert command() == 0


def test_a_dry_run_opens_no_port_and_no_log(capfd: Capture) -> None:
    assert command("--metrics-port", 0, "--hlog", "run.hlog", "--dry-run") == 0
    assert "metrics:" not in capfd.readouterr().err
    assert not Path("run.hlog").exists()


@pytest.mark.parametrize("name", ["generate", "run"])
def test_the_log_of_a_run_has_every_answer(name: str) -> None:
    arguments = ["a.json", "-n", "45", "-o", "rows.jsonl"] if name == "generate" else ["job.toml"]
    assert run_command([name, *arguments, "--hlog", "run.hlog"]) == 0
    assert sum_by_tag(Path("run.hlog"))["response.local.call"].get_total_count() == 3


def test_a_second_run_continues_the_log() -> None:
    assert command("--hlog", "run.hlog") == 0
    assert command("--hlog", "run.hlog", "--overwrite", "--seed", 1) == 0
    assert sum_by_tag(Path("run.hlog"))["response.local.call"].get_total_count() == 6


@pytest.mark.parametrize("path", ["rows.jsonl", "rows.jsonl.partial", "rows.jsonl.journal", "answers.cache"])
def test_a_log_is_none_of_the_files_of_the_run(path: str, capfd: Capture) -> None:
    assert command("--hlog", path, "--cache", "answers.cache") == 2
    said = f"--hlog {path}: is a file of this run itself; name another, such as run.hlog"
    assert capfd.readouterr().err == f"synth-actors: {said}\n"
    assert not Path(path).exists()


@pytest.mark.parametrize(
    ("path", "reason"), [("a.json", "holds something else than an interval log"), ("no/a.hlog", "cannot be written")]
)
def test_a_log_that_cannot_be_is_refused_before_anything_is_asked(path: str, reason: str, capfd: Capture) -> None:
    assert command("--hlog", path) == 2
    err = capfd.readouterr().err
    assert err.startswith(f"synth-actors: --hlog '{path}': {reason}")
    assert err.count("\n") == 1
    assert {file.name for file in Path().iterdir()} == {"a.json", "job.toml"}


def test_a_log_does_not_go_to_stdout(capfd: Capture) -> None:
    assert command("--hlog", "-") == 2
    assert capfd.readouterr().err.startswith("synth-actors: --hlog -: ")
    assert not Path("-").exists()


def test_a_log_needs_durations(capfd: Capture) -> None:
    Path("c.toml").write_text("[engine]\nmetrics = false\n")
    assert command("--hlog", "run.hlog", "--config", "c.toml") == 2
    assert "--hlog run.hlog: metrics = false records no durations" in capfd.readouterr().err


def test_what_closing_the_page_takes_is_no_time_of_the_run(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now

    @contextmanager
    def closes_slowly(port: int | None, say: Callable[[str], None]) -> Iterator[MetricsPage | None]:
        with metrics_page(port, say) as page:
            yield page
        clock.now += 1000.0

    monkeypatch.setattr("synth_actors.cli.run.metrics_page", closes_slowly)
    monkeypatch.setattr("synth_actors.cli.run.time", clock)
    assert command("--metrics-port", 0) == 0
    assert "45 of 45 rows in 0.00 s" in capsys.readouterr().err
