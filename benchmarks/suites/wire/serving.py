"""Which server is called, and what did it do meanwhile?"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Final, Literal

import benchmarks
from benchmarks.case import NotMeasured
from benchmarks.server import open_files
from benchmarks.wire_server import Figures, Rules

ROOT = Path(benchmarks.__file__).parent.parent
_SPARE_FILES = 200

Scheme = Literal["plain", "TLS"]
SCHEMES: Final[tuple[Scheme, ...]] = ("plain", "TLS")


@dataclass(frozen=True, slots=True)
class Trust:
    """A certificate for 127.0.0.1 as PEM, key and chain, and a context of a client that believes it."""

    pem: bytes
    context: ssl.SSLContext


@dataclass(frozen=True, slots=True)
class Target:
    """A server that is running; `context` is for its clients, None where it speaks without TLS."""

    url: str
    context: ssl.SSLContext | None
    asks: IO[str]
    tells: IO[str]

    def figures(self) -> Figures:
        """What it did since it started."""
        self.asks.write("figures\n")
        self.asks.flush()
        return Figures(**json.loads(self.tells.readline()))


@lru_cache(maxsize=1)
def trust() -> Trust:
    """Made once: what it costs is in no figure.

    Raises:
        NotMeasured: nothing makes certificates here.
    """
    try:
        import trustme
    except ModuleNotFoundError:
        raise NotMeasured("needs the package trustme: install the dependency group test") from None
    authority, context = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(context)
    return Trust(authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes(), context)


@contextmanager
def serving(scheme: Scheme, rules: Rules, *, connections: int) -> Iterator[Target]:
    """A server with these rules, in a process that ends with the block; `rules.certificate` comes of the scheme.

    Raises:
        NotMeasured: no certificate can be made, or not so many files may be open.
    """
    if open_files() < connections + _SPARE_FILES:  # the server inherits the limit
        raise NotMeasured(f"{connections:,} connections need as many files; allow more (`ulimit -n`)")
    believed = trust() if scheme == "TLS" else None
    options = ["--latency", f"{rules.latency_s:g}", "--chunks", str(rules.chunks), "--gap", f"{rules.gap_s:g}"]
    with TemporaryDirectory() as folder:
        if believed is not None:
            certificate = Path(folder, "server.pem")
            certificate.write_bytes(believed.pem)
            options += ["--certificate", str(certificate)]
        with _started(options) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            if not (url := process.stdout.readline().strip()):
                raise RuntimeError("the server of the suite `wire` did not start")
            yield Target(url, believed.context if believed else None, process.stdin, process.stdout)


@contextmanager
def _started(options: list[str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.wire_server", *options]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
