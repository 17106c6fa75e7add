"""What do the tests of the store share?"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from synth_actors.storage.sqlite import Format, read_store

TABLE = "CREATE TABLE number (n INTEGER PRIMARY KEY, body BLOB)"
FORMAT = Format(what="journal", application_id=1234, version=3, script=(TABLE,))
INSERT = "INSERT INTO number VALUES (?, ?)"

CHILD = f"""
import os, sys, zlib
from pathlib import Path
import trio
from synth_actors.storage.sqlite import Format, open_store
INSERT = {INSERT!r}
FORMAT = {FORMAT!r}
path = Path(sys.argv[1])
def tell(what):
    os.write(1, f"{{what}}\\n".encode())
"""


def numbers(connection: sqlite3.Connection) -> list[int]:
    """The numbers in the order in which they were written."""
    return [n for (n,) in connection.execute("SELECT n FROM number ORDER BY rowid")]


def stored(path: Path) -> list[int]:
    """The same, without opening the store."""
    return read_store(path, FORMAT, numbers)


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process that runs `code` after `CHILD`."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def names(folder: Path) -> list[str]:
    """What stands in `folder`."""
    return sorted(path.name for path in folder.iterdir())
