"""Is every wrong input one line that names the field, the value and the remedy, with exit status 2 and no file?"""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from synth_actors.cli.app import run_command
from tests.integration.support import COMMAND, ENDS_WITHIN_S, SHOP

NOT_WRITABLE = "/sys/kernel/out.jsonl"
"""Nobody may write there, not even root, for whom read-only folders are none."""
OK = ("schema.json", "-n", "5", "-o", "out.jsonl")
UNSUPPORTED = '{"type": "object", "properties": {"a": {"dependencies": {"x": ["y"]}}}, "required": ["a"]}'
IMPOSSIBLE = (
    '{"properties": {"a": {"type": "integer", "minimum": 5, "maximum": 2}}, "required": ["a"], "type": "object"}'
)


@dataclass(frozen=True)
class Wrong:
    """Arguments after `generate`, what the one line must say, and files beside schema.json."""

    arguments: tuple[str, ...]
    field: str
    value: str
    remedy: str
    config: str | None = None
    schema: str | None = None
    process: bool = False  # as users run it; the others in this process, since a start costs most of a second


CONFIG = ("--config", "config.toml")
TABLE = {
    "an unknown endpoint": Wrong((*OK, "--endpoint", "mistral:small"), "endpoint", "'mistral'", "anthropic"),
    "a slash for a colon": Wrong(
        (*OK, "--endpoint", "anthropic/claude-haiku-5-5"),
        "",
        "anthropic/claude-haiku-5-5",
        "anthropic:claude-haiku-5-5",
    ),
    "an address without http": Wrong(
        (*OK, "--endpoint", "openai:m@localhost:8000/v1"),
        "endpoint",
        "m@localhost:8000/v1",
        "@http://localhost:8000/v1",
    ),
    "an unset key": Wrong(
        (*OK, "--endpoint", "openai:gpt-x"), "openai:gpt-x", "OPENAI_API_KEY", "set OPENAI_API_KEY", process=True
    ),
    "a key variable that is not set": Wrong(
        (*OK, *CONFIG),
        "openai:m",
        "TEAM_KEY",
        "set TEAM_KEY",
        config='[[endpoints]]\nprovider = "openai"\nmodel = "m"\napi_key_env = "TEAM_KEY"\nbase_url = "http://[::1]:9/v1"',
    ),
    "a schema that is no JSON": Wrong(OK, "SCHEMA", "schema.json", "give a JSON Schema file", schema="{not json"),
    "a schema with a wrong type": Wrong(OK, "SCHEMA", "schema.json", "not a valid", schema='{"type": "strnig"}'),
    "a negative count": Wrong(("schema.json", "-n", "-5", "-o", "out.jsonl"), "-n", "-5", "from 1 up", process=True),
    "a missing module": Wrong(("shop.models:Order", *OK[1:]), "SCHEMA", "'shop'", "installed packages"),
    "a folder below a file": Wrong(
        ("schema.json", "-n", "5", "-o", "schema.json/out.jsonl"), "-o", "schema.json/out.jsonl", "folder"
    ),
    "a folder that cannot be written": Wrong(
        ("schema.json", "-n", "5", "-o", NOT_WRITABLE), "-o", NOT_WRITABLE, "folder", process=True
    ),
    "a folder as the file": Wrong(("schema.json", "-n", "5", "-o", "/tmp"), "-o", "/tmp", ".jsonl"),
    "a negative limit": Wrong((*OK, *CONFIG), "max_concurrency", "-4", "1", config="[engine]\nmax_concurrency = -4"),
    "a negative time": Wrong(
        (*OK, *CONFIG), "timeout_s", "-1", "0", config='[engine]\ntimeout_s = -1\n[[endpoints]]\nprovider = "local"'
    ),
    "a negative limit of memory": Wrong(
        (*OK, *CONFIG), "memory_limit_bytes", "-1", "", config="[engine]\nmemory_limit_bytes = -1"
    ),
    "a limit that is already reached": Wrong(
        (*OK, *CONFIG), "memory_limit_bytes", "1000000", "", config="[engine]\nmemory_limit_bytes = 1000000"
    ),
    "an unknown key": Wrong(
        (*OK, *CONFIG), "max_retries", "unknown", "max_attempts", config="[engine]\nmax_retries = 3"
    ),
    "an unknown table": Wrong((*OK, *CONFIG), "motor", "unknown", "[engine]", config="[motor]\nx = 3"),
    "a negative price": Wrong(
        (*OK, *CONFIG),
        "input_usd_per_mtok",
        "-1",
        "0",
        config='[[endpoints]]\nprovider = "local"\nprice = {input_usd_per_mtok = -1, output_usd_per_mtok = 1}',
    ),
    "a keyword that local cannot honour": Wrong(
        OK, "SCHEMA schema.json", "'dependencies' at #/properties/a", "another endpoint", schema=UNSUPPORTED
    ),
    "bounds that leave nothing": Wrong(
        OK, "SCHEMA schema.json", "'maximum' at #/properties/a", "change the schema", schema=IMPOSSIBLE
    ),
    "a fallback that could never help": Wrong(
        (*OK, "--endpoint", "openai:m@http://127.0.0.1:9/v1", "--endpoint", "local"),
        "SCHEMA schema.json",
        "'maximum' at #/properties/a",
        "another endpoint",
        schema=IMPOSSIBLE,
    ),
}


def put_files(folder: Path, wrong: Wrong) -> None:
    (folder / "schema.json").write_text(wrong.schema or json.dumps(SHOP))
    if wrong.config is not None:
        (folder / "config.toml").write_text(wrong.config)


@dataclass(frozen=True)
class Done:
    """How the command ended."""

    folder: Path
    status: int
    out: str
    err: str


def run_process(folder: Path, wrong: Wrong) -> Done:
    folder.mkdir()
    put_files(folder, wrong)
    done = subprocess.run(
        [*COMMAND, *wrong.arguments],
        cwd=folder,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN_S,
        check=False,
    )
    return Done(folder, done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """Those that run as processes, two at a time."""
    root = tmp_path_factory.mktemp("wrong")
    chosen = {name: wrong for name, wrong in TABLE.items() if wrong.process}
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(run_process, (root / str(number) for number in range(len(chosen))), chosen.values())
        return dict(zip(chosen, done, strict=True))


def judge(wrong: Wrong, done: Done) -> None:
    assert done.status == 2, done
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("synth-actors: ")
    for words in (wrong.field, wrong.value, wrong.remedy):
        assert words in line
    assert {path.name for path in done.folder.iterdir()} <= {"schema.json", "config.toml"}


@pytest.mark.parametrize("name", [name for name, wrong in TABLE.items() if wrong.process])
def test_wrong_input_ends_the_command_with_one_line(name: str, processes: dict[str, Done]) -> None:
    judge(TABLE[name], processes[name])
    assert not Path(NOT_WRITABLE).exists()


@pytest.mark.parametrize("name", [name for name, wrong in TABLE.items() if not wrong.process])
def test_wrong_input_is_one_line_with_field_value_and_remedy(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    put_files(tmp_path, TABLE[name])
    status = run_command(["generate", *TABLE[name].arguments])
    judge(TABLE[name], Done(tmp_path, status, *capfd.readouterr()))
