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
from types import SimpleNamespace

import pytest
import trio
import trio.testing
from rich.console import Console

from synth_actors import EngineConfig, open_engine
from synth_actors.cli.app import run_command
from synth_actors.cli.live import LiveView
from synth_actors.cli.live_frame import Frame, picture
from synth_actors.cli.progress import Bar, Lines, display_for
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


def drawn(shown: Frame, width: int, height: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    console.print(picture(shown, width, height))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("height", [12, 24, 50])
@pytest.mark.parametrize("width", [40, 80, 200])
async def test_no_line_is_longer_than_the_terminal_and_no_more_are_drawn_than_it_has(
    width: int, height: int, autojump_clock: trio.testing.MockClock
) -> None:
    endpoints = [scripted(f"{NASTY}{'x' * 200}{number}") for number in range(9)]
    full = replace(await frame(endpoints), note="why " * 100, messages=[f"{number} said " * 30 for number in range(99)])
    lines = drawn(full, width, height)
    assert max(map(len, lines)) <= width
    assert len(lines) == height
    assert "".join(lines).isprintable()


@pytest.mark.parametrize("width", [40, 80, 200])
async def test_what_does_not_fit_costs_no_name_of_a_figure(width: int, autojump_clock: trio.testing.MockClock) -> None:
    lines = drawn(replace(await frame([scripted("one")]), note="why " * 100), width)
    names = {line.split(" ")[0] for line in lines}
    assert names >= {"requests", "answers", "cache", "memory", "dollars", "waiting"}
    assert any(line.endswith("…") for line in lines)


async def test_what_was_said_last_stays_in_sight(autojump_clock: trio.testing.MockClock) -> None:
    endpoints = [scripted(f"e{number}") for number in range(20)]
    shown = replace(await frame(endpoints), messages=[f"said {number}" for number in range(9)])
    lines = drawn(shown, 80, 24)
    assert [line.strip() for line in lines[-3:]] == ["said 6", "said 7", "said 8"]
    more = [line.strip() for line in drawn(shown, 80, 50) if "said" in line]
    assert more == [f"said {number}" for number in range(9)]


async def test_a_line_of_an_endpoint_has_all_its_figures_at_80_columns(autojump_clock: trio.testing.MockClock) -> None:
    lines = drawn(await frame([scripted("anthropic:claude-haiku-5-5")]), 80)
    (head,) = [line for line in lines if line.startswith("endpoint")]
    assert head.split() == ["endpoint", "state", "calls", "failed", "at", "once", "tokens", "dollars", "p99"]
    (line,) = [line for line in lines if line.startswith("anthropic:claude-haiku-5-5")]
    assert re.search(r"-5-5 +open +30 +0 +10(/\d+)? +30k +0\.0400 +1\.00 s", line)


async def test_without_a_recent_part_the_durations_are_of_the_whole_run(autojump_clock: trio.testing.MockClock) -> None:
    text = "\n".join(drawn(replace(await frame([scripted("one")]), recent=None), 80))
    assert "p50 1.00 s, p95 2.00 s, p99 2.00 s in the whole run" in text


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
    assert re.search(r"one +open +30 +0 +10(/\d+)? +30k +0\.0400 +1\.00 s +script", text)
    assert text.count("[critical] requests wait for a place: --concurrency 24") == 3


async def test_more_endpoints_than_fit_are_counted(autojump_clock: trio.testing.MockClock) -> None:
    shown = await frame([scripted(f"e{number}") for number in range(20)])
    lines = drawn(shown, 80, 20)
    seen = sum(bool(re.match(r"e\d+ +open", line)) for line in lines)
    assert 0 < seen < 20
    assert any(line.startswith(f"and {20 - seen} more") for line in lines)
    assert sum(bool(re.match(r"e\d+ +open", line)) for line in drawn(shown, 80, 50)) == 20


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
        snapshot = engine.metrics_now()
    view.show(REPORT)  # the engine is closed: what is known of it stays
    view.close(REPORT, snapshot)
    view.close()
    shown = text.getvalue()
    assert shown.count("\x1b[?1049h") == shown.count("\x1b[?1049l") == 1
    left = shown[shown.index("\x1b[?1049l") :]
    assert "openai:m: evil [2J [bold]:smile:[/bold] name\n" in left
    assert "340 of 1,000 rows, 7 missing" in left
    assert "20 entries" in left
    assert "in the whole run" in left
    assert re.search(r"^local +open +20 ", left, re.MULTILINE)
    assert "\x1b" not in left[len("\x1b[?1049l") :]
    assert shown.rindex("\x1b[?25l") < shown.rindex("\x1b[?25h") < shown.rindex("\x1b[?1049l")


def test_where_nothing_is_asked_the_other_screen_is_never_shown() -> None:
    text = io.StringIO()
    view = LiveView(console_on(text))
    view.watch(None)
    view.say("all is there")
    view.show(REPORT)
    view.close(REPORT)
    assert text.getvalue() == "all is there\n"


async def test_what_was_said_before_is_printed_once_and_seen_below_the_figures() -> None:
    text = io.StringIO()
    view = LiveView(console_on(text))
    async with open_engine(["local"]) as engine:
        view.watch(engine)
        view.say("metrics: here")
        view.show(RowsReport(asked=10))
        view.show(RowsReport(asked=10))
        view.close(RowsReport(asked=10))
    before, on_other_screen, left = re.split(r"\x1b\[\?1049[hl]", text.getvalue())
    assert before == "metrics: here\n"
    assert "metrics: here" in on_other_screen
    assert "metrics: here" not in left


async def test_a_terminal_that_has_gone_ends_no_run() -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(5, "Input/output error")

    view = LiveView(console_on(Gone()))
    async with open_engine(["local"]) as engine:
        view.watch(engine)
        view.show(RowsReport(asked=10))
        await engine.generate("Fact", max_tokens=400)
        view.close(RowsReport(asked=10))


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("terminal", ["dumb", ""])
def test_on_a_terminal_that_cannot_be_drawn_on_there_are_lines(
    live: bool, terminal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: True, write=lambda _text: 0, flush=lambda: None))
    monkeypatch.setenv("TERM", terminal)
    assert isinstance(display_for(rows_on_stdout=False, live=live), Lines)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(display_for(rows_on_stdout=False, live=live), LiveView if live else Bar)


def test_a_bar_ends_with_the_last_figures(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    bar = Bar()
    bar.show(RowsReport(asked=10))
    bar.close(RowsReport(asked=10, valid=10))
    assert "10/10" in capsys.readouterr().err


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
    restored = shown.index("\x1b[?1049l")
    assert shown.index("\x1b[?25h") < restored < shown.rindex("of 200,000 rows") < shown.rindex("of 200000 rows in")


def _read_until(file: int, wanted: str) -> str:
    text, give_up_at = "", time.monotonic() + 60
    while wanted not in text:
        assert select.select([file], [], [], give_up_at - time.monotonic())[0], f"no {wanted!r} in {text!r}"
        text += os.read(file, 65536).decode(errors="replace")
    return text
