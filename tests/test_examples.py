"""Does everything that we show to a reader run as it stands, without a key?

Every `examples/*.py`, every python block of `PAGES` (a whole program), and in their console blocks every line
`$ synth-actors ...` or `$ python ...`.  `$ make TARGET` must name a target.  What cannot run here is preceded by a line
`<!-- no-run: the reason -->`.  A block of text behind `<!-- from: examples/NAME.py -->`, or behind
`<!-- from: the program above -->`, is a part of what that program prints.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
HOW_TO = ("monitoring", "never-pay-twice", "opentelemetry", "performance", "troubleshooting")
PAGES = (README, *(page for name in HOW_TO if (page := ROOT / "docs" / "how-to" / f"{name}.md").exists()))
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

RUN = ("synth-actors", "python")
MARK = re.compile(r"<!--\s*no-run\s*(?::\s*(?P<reason>.*?)\s*)?-->")
ABOVE = "the program above"
FROM = re.compile(rf"<!-- from: (?P<program>examples/\w+\.py|{ABOVE}) -->")
PATIENCE_S = 120.0  # a hang becomes a failure; nothing here takes more than a few seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block: `line` is where it begins, `no_run` the reason not to run it (None: run it).

    `source` is the program that has printed it (a path, or its text), None where it is not said.
    """

    page: str
    language: str
    line: int
    text: str
    no_run: str | None
    source: str | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str, name: str = "README.md") -> list[Block]:
    """The fenced blocks of a Markdown page, in order."""
    found: list[Block] = []
    before = ""
    lines = enumerate(page.splitlines(), start=1)
    for number, line in lines:
        if fence := re.match(r"(`{3,})\s*(\w*)", line):
            inside: list[str] = []
            for _, content in lines:
                if content.rstrip() == fence[1]:
                    break
                inside.append(content)
            mark = MARK.fullmatch(before)
            reason = (mark["reason"] or "") if mark else None
            text = "\n".join(inside) + "\n"
            source = made["program"] if (made := FROM.fullmatch(before)) else None
            if source == ABOVE:
                source = next(block.text for block in reversed(found) if block.language == "python")
            found.append(Block(page=name, language=fence[2], line=number, text=text, no_run=reason, source=source))
            before = ""
        elif line.strip():
            before = line.strip()
    return found


def commands_of(block: Block) -> list[str]:
    """What the reader types: the lines behind `$`, joined where a backslash goes on."""
    whole = block.text.replace("\\\n", " ")
    return [line[2:].split("  #", 1)[0].strip() for line in whole.splitlines() if line.startswith("$ ")]


BLOCKS = [block for page in PAGES for block in blocks_of(page.read_text(encoding="utf-8"), page.name)]
PROGRAMS = [block for block in BLOCKS if block.language == "python" and block.no_run is None]
SESSIONS = [block for block in BLOCKS if block.language == "console" and block.no_run is None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder but for `examples/`, so that a command of a page finds the files that it names."""
    if (ROOT / "examples").exists():
        shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """`command` in an environment that holds no key and no setting of this machine but the path to this Python."""
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "LANG": "C.UTF-8",
    }
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)


def assert_ran(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr


def test_there_are_examples() -> None:
    assert EXAMPLES, "examples/ holds no program"


def test_the_readme_shows_a_program_and_a_command() -> None:
    assert [block for block in PROGRAMS if block.page == README.name], "README.md has no python block that may run"
    assert [block for block in SESSIONS if block.page == README.name], "README.md has no console block that may run"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_says_something(example: Path, folder: Path) -> None:
    done = run([sys.executable, str(folder / "examples" / example.name)], folder)
    assert_ran(done)
    assert done.stdout.strip()


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_a_program_of_a_page_runs(block: Block, folder: Path) -> None:
    program = folder / "program.py"
    program.write_text(block.text, encoding="utf-8")
    assert_ran(run([sys.executable, str(program)], folder))


@pytest.mark.parametrize("block", SESSIONS, ids=str)
def test_a_console_session_of_a_page_runs(block: Block, folder: Path) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    commands = commands_of(block)
    assert commands, f"{block}: a console block without a line that begins with `$ `"
    for command in commands:
        program, *rest = command.split()
        if program == "make":
            assert {word for word in rest if "=" not in word} <= targets, command
        else:
            assert program in RUN, f"{block}: {command!r}: put `<!-- no-run: why -->` above"
            assert_ran(run(["/bin/sh", "-c", command], folder))


PRINTED = [block for block in BLOCKS if block.source is not None]


def test_what_a_page_says_a_program_prints_is_what_it_prints(folder: Path) -> None:
    assert PRINTED, "docs/how-to/performance.md shows what examples/11_performance.py prints"
    for source in {str(block.source) for block in PRINTED}:
        program = folder / source if source.startswith("examples/") else folder / "above.py"
        if not program.exists():
            program.write_text(source, encoding="utf-8")
        done = run([sys.executable, str(program)], folder)
        assert_ran(done)
        other = [str(block) for block in PRINTED if block.source == source and block.text not in done.stdout]
        assert other == [], f"it prints something else now:\n{done.stdout}"
        (folder / "above.py").unlink(missing_ok=True)


def test_whoever_is_not_run_says_why() -> None:
    assert [str(block) for block in BLOCKS if block.no_run == ""] == []


def test_a_mark_counts_only_right_above_its_block() -> None:
    page = "<!-- no-run: needs a key -->\n\n```python\nx\n```\ntext\n```console\n$ a b \\\n  c  # why\nout\n```\n"
    first, second = blocks_of(page)
    assert (first.language, first.line, first.text, first.no_run) == ("python", 3, "x\n", "needs a key")
    assert (second.no_run, commands_of(second)) == (None, ["a b    c"])
    assert blocks_of("<!-- no-run -->\n```python\n```\n")[0].no_run == ""


def test_what_was_printed_belongs_to_the_program_above_it() -> None:
    page = "```python\na\n```\n```python\nb\n```\nprints\n<!-- from: the program above -->\n```text\n1\n```\n"
    assert [block.source for block in blocks_of(page)] == [None, None, "b\n"]
