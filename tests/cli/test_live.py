"""Does a person see all figures of a run in the terminal, in any width, and nothing that the terminal would obey?"""

from __future__ import annotations

import io
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing
from rich.console import Console

from synth_actors import EngineConfig, open_engine
from synth_actors.cli.app import run_command
from synth_actors.cli.live import LiveView
from synth_actors.cli.live_frame import MOST_ENDPOINTS, Frame, picture
from synth_actors.cli.progress import Bar
from synth_actors.config import Endpoint, Price
from synth_actors.datasets.report import RowsReport
from synth_actors.findings import Finding
from synth_actors.policy.interval import between
from synth_actors.providers.base import Fault
from synth_actors.snapshot import Snapshot
from synth_actors.testing import ScriptedProvider, Step
from synth_actors.types import Usage

NASTY = "evil\x1b[2J\x07[bold]:smile:[/bold]\nname"
REPORT = RowsReport(asked=1000, valid=340, missing=7, usage=Usage(input_tokens=10, output_tokens=10, cost_usd=0.12))
FINDING = Finding(
    kind="throughput",
    rule="r",
    severity="critical",
    what="requests wait for a place",
    evidence={},
    remedy="EngineConfig(max_concurrency=10 -> 24)",
)


def scripted(name: str, *, fault: Fault | None = None) -> Endpoint:
    step = Step(delay_s=1.0, fault=fault, usage=Usage(input_tokens=1000, output_tokens=500))
    provider = ScriptedProvider(lambda call: step, name=name)
    price = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)
    return Endpoint(provider=provider, model=provider.model, name=name, price=price)


async def looked(endpoints: list[Endpoint]) -> tuple[Snapshot, Snapshot]:
    """Two looks at an engine that is busy."""
    config = EngineConfig(max_concurrency=10, budget_usd=5.0)
    async with open_engine(endpoints, config) as engine, trio.open_nursery() as nursery:
        before = engine.metrics_now(histograms=True)
        for number in range(40):
            nursery.start_soon(engine.generate, f"Fact {number} about otters.")
        await trio.sleep(2.5)
        after = engine.metrics_now(histograms=True, whole=True)
        nursery.cancel_scope.cancel()
    return before, after


async def frame(endpoints: list[Endpoint]) -> Frame:
    before, after = await looked(endpoints)
    return Frame(
        report=REPORT,
        elapsed_s=10.0,
        before=40,
        note="waiting for two",
        snapshot=after,
        recent=between(before, after, cpu_s=0.0),
        findings=[FINDING] * 5,
    )


def drawn(shown: Frame, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=24, force_terminal=True, color_system=None)
    console.print(picture(shown, width))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 80, 200])
async def test_no_line_is_longer_than_the_terminal_and_all_fit_its_24(
    width: int, autojump_clock: trio.testing.MockClock
) -> None:
    endpoints = [scripted(f"{NASTY}{'x' * 200}{number}") for number in range(9)]
    lines = drawn(await frame(endpoints), width)
    assert max(map(len, lines)) <= width
    assert len(lines) <= 23
    assert "".join(lines).isprintable()


async def test_all_figures_are_there(autojump_clock: trio.testing.MockClock) -> None:
    lines = drawn(await frame([scripted("one"), scripted("two")]), 200)
    text = "\n".join(lines)
    assert "340 of 1,000 rows, 7 missing  30.0 rows/s  22 s to go" in text
    assert "8.0/s now, 8.0/s on average; 10 of 10 under way, 10 waiting" in text
    assert re.search(r"p50 1\.00 s, p95 2\.00 s, p99 2\.00 s in the last 2 s", text)
    assert re.search(r"cache +0\.0% hits, 20 entries, \d\.\d MiB", text)
    assert re.search(r"memory +[\d,]+ of [\d,]+ MiB", text)
    assert re.search(r"dollars +\$0\.1200 of \$5", text)
    assert re.search(r"waiting +waiting for two", text)
    assert re.search(r"one +open +30 +0 +10(/\d+)? +1\.00 s +30,000 +0\.0400 +script", text)
    assert text.count("[critical] requests wait for a place: --concurrency 24") == 3


async def test_more_endpoints_than_fit_are_counted(autojump_clock: trio.testing.MockClock) -> None:
    lines = drawn(await frame([scripted(f"e{number}") for number in range(MOST_ENDPOINTS + 3)]), 80)
    assert sum(line.startswith("e") and "open" in line for line in lines) == MOST_ENDPOINTS
    assert any(line.startswith("and 3 more") for line in lines)


async def test_endpoints_that_fail_stand_out(autojump_clock: trio.testing.MockClock) -> None:
    bad = await frame([scripted("bad", fault=Fault.OVERLOADED), scripted("good")])
    (line,) = [line for line in drawn(bad, 80) if line.startswith("bad")]
    assert int(line.split()[3]) > 0


def test_before_the_engine_is_there_the_rows_are_shown() -> None:
    assert drawn(Frame(report=RowsReport(asked=10), elapsed_s=0.0), 80)[0].endswith("0 of 10 rows  0.0 rows/s")


# the view


def console_on(text: io.StringIO) -> Console:
    return Console(file=text, width=80, height=24, force_terminal=True, color_system=None)


async def test_a_view_takes_figures_and_leaves_the_last_of_them_on_the_screen() -> None:
    text = io.StringIO()
    view = LiveView(console_on(text))
    async with open_engine(["local"]) as engine:
        view.watch(engine)
        view.show(RowsReport(asked=10))
        await engine.generate_batch([f"Fact {number}" for number in range(20)], max_tokens=400)
        view.say(f"openai:m: {NASTY}")
        view.show(replace(REPORT, missing=0), "a note")
    view.show(REPORT)  # the engine is closed: what is known of it stays
    view.close()
    view.close()
    shown = text.getvalue()
    assert "openai:m: evil [2J [bold]:smile:[/bold] name" in shown
    last = shown[shown.rindex("340 of 1,000 rows") :]
    assert "20 entries" in last
    assert "local" in last
    assert shown.rstrip("\n").endswith("\x1b[?25h")


def test_a_name_is_no_smiley_for_the_bar_either(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar()
    bar.show(RowsReport(asked=10))
    bar.say("openai:m: no answer")
    bar.close()
    assert "openai:m: no answer" in capsys.readouterr().err


# the command


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    Path("a.json").write_text(json.dumps(schema))
    return tmp_path


def test_without_a_terminal_it_says_so_and_goes_on_with_lines(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command(["generate", "a.json", "-n", "5", "-o", "rows.jsonl", "--live"]) == 0
    err = capfd.readouterr().err
    assert err.startswith("--live needs a terminal: stderr is none, or TERM says so; lines instead\n")
    assert "5 of 5 rows" in err


def test_without_metrics_there_is_nothing_to_watch(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("c.toml").write_text("[engine]\nmetrics = false\n")
    arguments = ["generate", "a.json", "-n", "5", "-o", "rows.jsonl", "--live", "--config", "c.toml"]
    assert run_command(arguments) == 2
    assert "--live: metrics = false records no durations; leave out one of the two" in capfd.readouterr().err


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo terminal here")
def test_ctrl_c_leaves_the_terminal_as_it_was_and_the_last_figures_on_it(here: Path) -> None:
    controller, terminal = os.openpty()
    command = [sys.executable, "-m", "synth_actors", "generate", "a.json", "-n", "200000", "-o", "r.jsonl", "--live"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    try:
        shown = _read_until(controller, "under way")
        process.send_signal(signal.SIGINT)
        shown += _read_until(controller, "interrupted")
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.wait()
        os.close(controller)
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1
    assert shown.rindex("of 200,000 rows") < shown.rindex("\x1b[?25h") < shown.rindex("-> r.jsonl.partial")


def _read_until(file: int, wanted: str) -> str:
    text, give_up_at = "", time.monotonic() + 60
    while wanted not in text:
        assert select.select([file], [], [], give_up_at - time.monotonic())[0], f"no {wanted!r} in {text!r}"
        text += os.read(file, 65536).decode(errors="replace")
    return text
