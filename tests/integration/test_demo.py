"""Does the command of `make demo` leave a thousand rows that another validator takes, twice in a row?"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.integration.support import ENDS_WITHIN_S, ROOT, assert_valid, distinct, rows_of

SCHEMA = ROOT / "examples" / "customers.schema.json"


def demo_command() -> list[str]:
    """What stands in the Makefile, with the command of this environment."""
    recipe = re.search(r"^demo:.*\n\t(.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    return shlex.split(recipe[1].replace("$(BIN)", str(Path(sys.executable).parent)))


def test_the_demo_makes_a_thousand_valid_distinct_rows_twice_in_a_row(tmp_path: Path) -> None:
    (tmp_path / "examples").mkdir()
    shutil.copy(SCHEMA, tmp_path / "examples")
    command = demo_command()
    assert command[1:] == shlex.split("generate examples/customers.schema.json -n 1000 -o customers.jsonl --overwrite")
    files = []
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=ENDS_WITHIN_S, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        assert {path.name for path in tmp_path.iterdir()} == {"examples", "customers.jsonl"}
        files.append((tmp_path / "customers.jsonl").read_bytes())
        rows = rows_of(tmp_path / "customers.jsonl")
        assert len(rows) == 1000
        assert_valid(rows, json.loads(SCHEMA.read_text()))
        assert distinct(rows) >= 990
        assert_readable(done.stderr)
    assert files[0] == files[1]


def assert_readable(summary: str) -> None:
    """Every figure that was promised, one line each, none of them longer than a wide terminal."""
    lines = summary.splitlines()
    assert re.fullmatch(r"1000 of 1000 rows in \d+\.\d\d s \([\d,.]+ rows/s\) -> customers\.jsonl", lines[0])
    for pattern in (
        r"  rows       \d+ exact duplicates, .*",
        r"  requests   50; p50 .+ m?s, p95 .+ m?s, p99 .+ m?s",
        r"  cache      \d+ hits of \d+ lookups",
        r"  tokens     [\d,]+ in, [\d,]+ out; cost \$0\.0000",
        r"  memory     peak \d+ MiB of \d+ MiB",
        r"  findings   .+",
    ):
        assert any(re.fullmatch(pattern, line) for line in lines), (pattern, summary)
    assert len(lines) <= 12
