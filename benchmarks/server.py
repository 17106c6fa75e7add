"""Which server is measured against?  That of the integration tests, in a process that ends with this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import benchmarks

PROGRAM = Path(benchmarks.__file__).parent.parent / "tests" / "integration" / "limited_server.py"
PATHS = {"anthropic": "", "openai": "/v1"}
FILES = 12_000
"""Ten thousand connections need as many files, on both sides; 1024 is what many systems allow without being asked."""


@contextmanager
def serving(**options: float) -> Iterator[str]:
    """The address of a server with these options: `latency`, `allow`, `chunks`, ... as its module names them."""
    open_files()  # the server inherits the limit
    given = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", f"{value:g}")]
    command = [sys.executable, str(PROGRAM), "--parent", str(os.getpid()), *given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if not (url := process.stdout.readline().strip()):
                raise RuntimeError(f"{PROGRAM.name} did not start")
            yield url
        finally:
            process.kill()


def figures(url: str) -> dict[str, int]:
    """What the server did since it started."""
    with urllib.request.urlopen(f"{url}/figures", timeout=10) as answer:
        found: dict[str, int] = json.load(answer)
    return found


def open_files() -> int:
    """How many files this process may have open, after asking for `FILES`."""
    try:
        import resource
    except ImportError:
        return FILES  # where there is no such limit
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return FILES if soft == resource.RLIM_INFINITY else soft
