"""Does `synth-actors cache` say what stands in the file, check it, empty it, and never make or break one?"""

from __future__ import annotations

import dataclasses
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest
import trio

from synth_actors.cli.app import run_command
from synth_actors.tier import open_tier
from synth_actors.tier.rows import identity_hash
from tests.tier.support import ENOUGH_BYTES, Clock, child, found, kept, key, names, rows_in, size_bytes

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def cache(*arguments: object) -> int:
    return run_command(["cache", *map(str, arguments)])


def filled(path: Path, ages_s: list[float], *, size: int = 1600) -> None:
    """Answers stored so many seconds ago."""

    async def fill() -> None:
        async with open_tier(path, ttl_s=None, max_file_bytes=ENOUGH_BYTES) as tier:
            for n, age_s in enumerate(ages_s):
                tier.post(kept(n, stored_at=time.time() - age_s, size=size))

    trio.run(fill)


def spoil(path: Path, n: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE entry SET text = 'wrong' WHERE key = ?", (key(n),))
        connection.commit()


def test_stats_says_what_stands_in_the_file_in_units(tmp_path: Path, capsys: Capture) -> None:
    filled(tmp_path / "c", [7300.0, 7200.0, 3500.0, 10.0, -500.0])
    before = (tmp_path / "c").read_bytes()
    assert cache("stats", "c") == 0
    out = capsys.readouterr().out
    for expected in (
        "c: durable cache",
        "answers    5, 7.8 KiB of text",
        r"file       \d+\.0 KiB, 0\.0 KiB of it free",
        r"stands for \$0\.1562 and 510 tokens",
        r"stored     from 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC \(2 h ago\) to .* \(8 m ahead\)",
        r"older than an hour: 2 \(40\.0%\), a day: 0 \(0\.0%\), 30 days: 0 \(0\.0%\); 1 is of the future and not"
        " served",
        r"haiku \(model-0\) [0-9a-f]{8}: 2 answers, 3\.1 KiB, \$0\.0469, 203 tokens",
        r"haiku \(model-2\) [0-9a-f]{8}: 1 answer, 1\.6 KiB, \$0\.0312, 102 tokens",
    ):
        assert re.search(f"^ *{expected}$", out, re.MULTILINE), expected
    assert (tmp_path / "c").read_bytes() == before
    assert names(tmp_path) == ["c"]


def test_stats_without_a_time_to_live_shows_how_old_answers_are(tmp_path: Path, capsys: Capture) -> None:
    day_s = 86_400.0
    filled(tmp_path / "c", [10.0, 4000.0, 2 * day_s, 40 * day_s])
    (tmp_path / "e.toml").write_text('[engine.cache]\npath = "c"\n')
    for arguments in (["c"], ["--config", "e.toml"]):
        assert cache("stats", *arguments) == 0
        assert "  older than an hour: 3 (75.0%), a day: 2 (50.0%), 30 days: 1 (25.0%)\n" in capsys.readouterr().out
    assert cache("clear", "c") == 0
    capsys.readouterr()
    assert cache("stats", "c") == 0
    assert "older than" not in (out := capsys.readouterr().out)
    assert "answers    0" in out


def test_stats_of_unpriced_answers_and_of_many_models(tmp_path: Path, capsys: Capture) -> None:
    async def fill() -> None:
        async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES) as tier:
            for n in range(25):
                tier.post(dataclasses.replace(kept(n), cost_usd=None, model=f"m{n}"))

    trio.run(fill)
    assert cache("stats", "c") == 0
    out = capsys.readouterr().out
    assert "stands for $0.0000 (and 25 answers of unknown cost)" in out
    assert "    and 5 more\n" in out


def test_the_configuration_names_the_file_and_the_time_to_live(tmp_path: Path, capsys: Capture) -> None:
    filled(tmp_path / "c", [100.0, 50.0, 10.0])
    (tmp_path / "e.toml").write_text('[engine.cache]\npath = "c"\nttl_s = 60.0\n')
    assert cache("stats", "--config", "e.toml") == 0
    assert "expired    1 (33.3%) is older than ttl_s=60\n" in capsys.readouterr().out
    assert cache("clear", "--config", "e.toml", "--expired") == 0
    assert "c: 1 answer went, 2 are left" in capsys.readouterr().out
    assert cache("verify", "--config", "e.toml") == 0
    assert capsys.readouterr().out == "c: whole, 2 answers\n"


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ([], []),
        (["--expired", "--config", "hour.toml"], [2, 3]),
        (["--older-than", "3500s"], [2, 3, 4]),
        (["--older-than", "0s"], [4]),
        (["--older-than", "1.5h"], [1, 2, 3, 4]),
        (["--older-than", "2w"], [0, 1, 2, 3, 4]),
        (["--damaged"], [0, 1, 2, 4]),
    ],
)
def test_clear_deletes_what_was_asked_for_and_gives_the_room_back(
    tmp_path: Path, capsys: Capture, options: list[str], left: list[int]
) -> None:
    filled(tmp_path / "c", [7200.0, 3600.0, 1000.0, 10.0, -500.0], size=50_000)
    (tmp_path / "hour.toml").write_text("[engine.cache]\nttl_s = 3600\n")
    spoil(tmp_path / "c", 3)
    before = size_bytes(tmp_path / "c")
    assert cache("clear", "c", *options) == 0
    out = capsys.readouterr().out
    gone = 5 - len(left)
    assert f"c: {gone} answer{'s' * (gone != 1)} went, {len(left)} are left" in out
    with closing(sqlite3.connect(tmp_path / "c")) as connection:
        there = {bytes(each) for (each,) in connection.execute("SELECT key FROM entry")}
    assert there == {key(n) for n in left}
    assert size_bytes(tmp_path / "c") <= before - 45_000 * (4 - len(left))
    assert names(tmp_path) == ["c", "hour.toml"]


def test_verify_tells_wrong_rows_and_how_to_delete_them(tmp_path: Path, capsys: Capture) -> None:
    filled(tmp_path / "c", [1.0] * 10)
    assert cache("verify", "c") == 0
    spoil(tmp_path / "c", 3)
    spoil(tmp_path / "c", 4)
    assert cache("verify", "c") == 1
    out = capsys.readouterr().out
    assert "c: damaged\n  2 of 10 rows are not what was written\n" in out
    assert "synth-actors cache clear FILE --damaged" in out
    assert cache("clear", "c", "--damaged") == 0
    assert cache("verify", "c") == 0
    assert "c: whole, 8 answers" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["verify", "stats", "clear"])
@pytest.mark.parametrize("damage", ["truncated", "overwritten"])
def test_a_damaged_file_is_told_with_status_1(tmp_path: Path, capsys: Capture, command: str, damage: str) -> None:
    filled(tmp_path / "c", [1.0] * 100)
    whole = (tmp_path / "c").read_bytes()
    part = whole[: len(whole) // 2] if damage == "truncated" else whole[:4096] + b"\xff" * (len(whole) - 4096)
    (tmp_path / "c").write_bytes(part)
    assert cache(command, "c") == 1
    said = capsys.readouterr()
    assert "damaged" in said.out + said.err
    assert "begins a fresh one" in said.out + said.err
    assert len(said.err.splitlines()) <= 1
    assert (tmp_path / "c").read_bytes() == part


@pytest.mark.parametrize("command", ["stats", "verify", "clear"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "there is no such file; look at the spelling"),
        ("no/such/folder", "there is no such file; look at the spelling"),
        ("folder", "is a folder; name a file"),
        ("empty", "nothing was ever written in it"),
        ("rows.csv", "is no durable cache; look at the spelling"),
        ("photo.JPG", "is no durable cache; look at the spelling"),
        ("/dev/null", "is no regular file; name another path"),
        ("other.db", "a database, but not a durable cache"),
    ],
)
def test_what_is_no_cache_is_refused_in_one_line_and_left_as_it_is(
    tmp_path: Path, capsys: Capture, command: str, name: str, message: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "rows.csv").write_text("id,name\n" + "1,otter\n" * 100)
    (tmp_path / "photo.JPG").write_bytes(b"\xff\xd8\xff\xe0" * 100)
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY)")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert cache(command, name) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("synth-actors: ")
    assert message in line
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("command", ["stats", "verify", "clear"])
@pytest.mark.parametrize("content", [b"id,name\n1,otter\n" * 50, b"\x7fELF" + bytes(500)])
def test_of_a_file_that_an_engine_would_set_aside_the_command_says_so(
    tmp_path: Path, capsys: Capture, command: str, content: bytes
) -> None:
    (tmp_path / "c").write_bytes(content)
    assert cache(command, "c") == 1
    said = capsys.readouterr()
    assert "is no durable cache, or one whose header is damaged" in said.out + said.err
    assert "sets the file aside" in said.out or "an engine would set the file aside and begin a fresh one" in said.err
    assert (tmp_path / "c").read_bytes() == content
    assert names(tmp_path) == ["c"]


WITHOUT_RIGHTS = """
from synth_actors.cli.app import run_command
run_command(["cache", "stats", "--help"])  # what is imported when it is needed may not be readable later
import synth_actors.cli.cache_file
os.chdir("/")
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(run_command(["cache", sys.argv[2], str(path)]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="other rights there")
@pytest.mark.parametrize(
    ("command", "file", "folder", "status", "message"),
    [
        *[(each, 0o000, 0o777, 2, "may not be read; make it readable") for each in ("stats", "verify", "clear")],
        *[(each, 0o666, 0o000, 2, "Permission denied; look at its folder") for each in ("stats", "verify", "clear")],
        ("clear", 0o444, 0o777, 2, "may not be written; make it writable"),
        ("clear", 0o666, 0o555, 2, "Permission denied; look at its folder"),
        ("stats", 0o444, 0o555, 0, ""),
        ("verify", 0o444, 0o555, 0, ""),
    ],
)
def test_rights_that_are_missing_are_told_in_one_line(
    command: str, file: int, folder: int, status: int, message: str
) -> None:
    with tempfile.TemporaryDirectory() as outer:  # tmp_path is closed to other users
        Path(outer).chmod(0o755)
        place = Path(outer) / "place"
        place.mkdir()
        filled(place / "c", [1.0])
        (place / "c").chmod(file)
        place.chmod(folder)
        with child(WITHOUT_RIGHTS, place / "c", command, stderr=subprocess.PIPE) as process:
            said = process.communicate()[1]
        place.chmod(0o777)
        assert process.returncode == status
        assert len(said.splitlines()) == bool(message)
        assert message in said
        assert (f"synth-actors: durable cache {place / 'c'}: " in said) == bool(message)
        assert rows_in(place / "c") == 1


def test_two_endpoints_of_one_name_are_told_apart(tmp_path: Path, capsys: Capture) -> None:
    async def fill() -> None:
        async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES) as tier:
            for n, address in ((1, "one"), (2, "other"), (4, "one")):
                tier.post(dataclasses.replace(kept(n), identity=address, model="m"))

    trio.run(fill)
    assert cache("stats", "c") == 0
    out = capsys.readouterr().out
    assert f"    haiku (m) {identity_hash('one').hex()[:8]}: 2 answers, " in out
    assert f"    haiku (m) {identity_hash('other').hex()[:8]}: 1 answer, " in out


def test_a_time_to_live_without_end_is_told_as_it_is_written(tmp_path: Path, capsys: Capture) -> None:
    filled(tmp_path / "c", [100.0])
    (tmp_path / "e.toml").write_text('[engine.cache]\npath = "c"\nttl_s = inf\n')
    assert cache("stats", "--config", "e.toml") == 0
    assert "expired    0 (0.0%) are older than ttl_s=inf\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stats"], "cache stats: give FILE, or --config with a path under [engine.cache]"),
        (
            ["verify", "--config", "none.toml"],
            "none.toml: engine.cache.path: is not set; set it, or give FILE",
        ),
        (["clear", "c", "--older-than", "soon"], "--older-than 'soon': is no age; give a number with s, m, h, d or w"),
        (["clear", "c", "--older-than", "-1h"], "--older-than '-1h': is no age"),
        (["clear", "c", "--older-than", "nand"], "--older-than 'nand': is no age"),
        (["clear", "c", "--older-than", ""], "--older-than '': is no age"),
        (
            ["clear", "c", "--expired"],
            "--expired: no ttl_s is given; give --config with ttl_s under [engine.cache], or --older-than AGE",
        ),
        (["clear", "--expired", "--config", "path.toml"], "--expired: no ttl_s is given"),
        (["clear", "c", "--expired", "--damaged"], "--expired, --older-than, --damaged: give one of them"),
        (["stats", "--config", "nul.toml"], "--config nul.toml: engine.cache.path='a\\x00b': has a NUL byte in it"),
        (["stats", "--config", "nowhere.toml"], "--config nowhere.toml: cannot be read"),
        (["shrink"], "synth-actors cache --help"),
        (["stats", "a", "b"], "synth-actors cache stats --help"),
    ],
)
def test_wrong_wishes_are_refused_in_one_line(
    tmp_path: Path, capsys: Capture, arguments: list[str], message: str
) -> None:
    filled(tmp_path / "c", [1.0])
    (tmp_path / "none.toml").write_text("[engine.cache]\nttl_s = 60.0\n")
    (tmp_path / "path.toml").write_text('[engine.cache]\npath = "c"\n')
    (tmp_path / "nul.toml").write_text('[engine.cache]\npath = "a\\u0000b"\n')
    assert cache(*arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line
    assert rows_in(tmp_path / "c") == 1


async def test_it_works_while_an_engine_uses_the_file(tmp_path: Path, capsys: Capture) -> None:
    async with open_tier(tmp_path / "c", ttl_s=None, max_file_bytes=ENOUGH_BYTES, wall=Clock()) as tier:
        for n in range(1000):
            tier.post(kept(n))
        await tier.flush()
        assert await trio.to_thread.run_sync(cache, "stats", "c") == 0
        assert "answers    1,000" in capsys.readouterr().out
        assert await trio.to_thread.run_sync(cache, "verify", "c") == 0
        assert await trio.to_thread.run_sync(cache, "clear", "c") == 0
        assert "1,000 answers went" in capsys.readouterr().out
        assert size_bytes(tmp_path / "c") < 100_000
        assert await found(tier, [1]) == []
        tier.post(kept(1))
        await tier.flush()
        assert await found(tier, [1]) == [1]
        assert tier.statistics().state == "open"
    assert rows_in(tmp_path / "c") == 1


@pytest.mark.parametrize("arguments", [[], ["--help"], ["stats", "--help"], ["clear", "--help"], ["verify", "--help"]])
def test_the_help_teaches_with_examples(capsys: Capture, arguments: list[str]) -> None:
    assert cache(*arguments) == 0
    assert "synth-actors cache" in capsys.readouterr().out.split("Examples:")[1]
