"""Does `synth-actors cache clear` say what goes, and ask before it does?"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from synth_actors.cli.app import run_command
from synth_actors.tier import open_tier
from tests.tier.support import ENOUGH_BYTES, kept, names, rows_in

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def cache(*arguments: object) -> int:
    return run_command(["cache", *map(str, arguments)])


def unpriced(path: Path) -> None:
    async def fill() -> None:
        async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES) as tier:
            for n, cost_usd in enumerate((None, None, 0.5)):
                tier.post(dataclasses.replace(kept(n), cost_usd=cost_usd))

    trio.run(fill)


WORTH = "$0.5000 (and 2 answers of unknown cost) and 303 tokens"


def test_what_went_says_how_much_of_it_has_no_known_cost(tmp_path: Path, capsys: Capture) -> None:
    unpriced(tmp_path / "c")
    assert cache("clear", "c") == 0
    assert f"  stood for  {WORTH}\n" in capsys.readouterr().out


def test_a_dry_run_says_what_would_go_and_changes_nothing(tmp_path: Path, capsys: Capture) -> None:
    unpriced(tmp_path / "c")
    before = (tmp_path / "c").read_bytes()
    assert cache("clear", "c", "--dry-run") == 0
    assert capsys.readouterr().out == f"c: 3 answers would go, 0 would be left; they stand for {WORTH}\n"
    assert cache("clear", "c", "--dry-run", "--older-than", "2w") == 0
    assert "c: 0 answers would go, 3 would be left" in capsys.readouterr().out
    assert (tmp_path / "c").read_bytes() == before
    assert names(tmp_path) == ["c"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such terminals there")
@pytest.mark.parametrize(
    ("answer", "options", "status", "left"),
    [
        ("y\n", [], 0, 0),
        ("Yes\n", [], 0, 0),
        ("n\n", [], 1, 3),
        ("\n", [], 1, 3),
        ("\x04", [], 1, 3),  # Ctrl-D
        (None, ["--yes"], 0, 0),
        (None, ["--older-than", "2w"], 0, 3),
    ],
)
def test_on_a_terminal_it_asks_before_anything_goes(
    tmp_path: Path, answer: str | None, options: list[str], status: int, left: int
) -> None:
    import pty

    unpriced(tmp_path / "c")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "synth_actors", "cache", "clear", "c", *options],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        if answer is not None:
            asked = b""
            while b"Delete? [y/N]" not in asked:
                asked += os.read(ours, 4096)
            assert f"c: 3 answers would go, 0 would be left; they stand for {WORTH}" in asked.decode()
            os.write(ours, answer.encode())
        out, _ = process.communicate()
        with suppress(OSError):  # Linux: nobody is left on the other side
            assert b"Traceback" not in os.read(ours, 4096)
    os.close(ours)
    assert process.returncode == status
    assert (b"went" in out) == (status == 0)
    assert rows_in(tmp_path / "c") == left
