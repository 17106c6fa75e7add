"""What do the tests of engines with a troubled durable cache share?  Every text is a function of its prompt."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
import trio.testing

from synth_actors import CacheConfig, Engine, EngineConfig, open_engine
from synth_actors.snapshot import DurableSnapshot
from synth_actors.testing import ScriptedProvider, Step

COUNT = 120
PROMPTS = [f"prompt {n}" for n in range(COUNT)]


@dataclass(frozen=True)
class Run:
    """What a run has paid for, how many answers were missing or wrong, and how its file was at the end."""

    paid: int
    unanswered: int
    wrong: int
    durable: DurableSnapshot

    @property
    def is_right(self) -> bool:
        """Whether every request was answered with its own text."""
        return not self.unanswered and not self.wrong


def text_of(prompt: str) -> str:
    """About 1,600 characters that no other prompt has."""
    return blake2b(prompt.encode()).hexdigest() * 12


def provider(delay_s: float = 0.0) -> ScriptedProvider:
    """The endpoint of every run, always with one identity."""
    return ScriptedProvider(lambda call: Step(text=text_of(call.request.prompt or ""), delay_s=delay_s), name="main")


def kept_at(path: Path, *, ttl_s: float | None = None, max_concurrency: int = 20) -> EngineConfig:
    """Memory holds a single answer, so that the file is asked again and again."""
    cache = CacheConfig(path=path, ttl_s=ttl_s, max_entries=1)
    return EngineConfig(cache=cache, max_concurrency=max_concurrency)


async def ask(engine: Engine, prompts: Sequence[str], *, times: int = 1, is_settled: bool = True) -> Run:
    """Ask all of them, as often as that; what was paid is that of the engine so far.

    Each time ends when what was paid is in the file or dropped, unless the writer is held up: `is_settled=False`.
    """
    unanswered = wrong = 0
    for _ in range(times):
        for prompt, outcome in zip(prompts, await engine.generate_batch(prompts), strict=True):
            unanswered += outcome.response is None
            wrong += outcome.response is not None and outcome.response.text != text_of(prompt)
        await trio.testing.wait_all_tasks_blocked()  # what was paid is on its way
        if is_settled and engine._wiring._store is not None:
            await engine._wiring._store._tier.flush()
    snapshot = await engine.metrics()
    assert snapshot.cache.durable is not None
    return Run(snapshot.counters.paid_calls, unanswered, wrong, snapshot.cache.durable)


async def run(path: Path, prompts: Sequence[str] = PROMPTS, *, times: int = 1, ttl_s: float | None = None) -> Run:
    """An engine of its own."""
    async with open_engine(provider(), kept_at(path, ttl_s=ttl_s)) as engine:
        return await ask(engine, prompts, times=times)


async def works(path: Path) -> bool:
    """Whether a fresh engine answers from what is there, and one after it without a call."""
    first, second = await run(path), await run(path)
    return first.is_right and second.is_right and second.paid == 0 and second.durable.state == "open"


def warnings(log: pytest.LogCaptureFixture) -> list[str]:
    """What was said of the file."""
    return [
        record.getMessage()
        for record in log.records
        if record.levelno >= logging.WARNING and "durable cache" in record.getMessage()
    ]


# ------------------------------------------------------------------------------------------------------ other processes

CHILD = """
import json, logging, os, sys
from pathlib import Path
import trio
import synth_actors.engine, synth_actors.wiring, synth_actors.tier.disk
from synth_actors import open_engine
from tests.faults.durable import *
path, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
prompts = [f"prompt {n}" for n in range(first, last)]
said = []
class Ear(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())
logging.getLogger("synth_actors").addHandler(Ear(logging.WARNING))
"""


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process that runs `code` after `CHILD`."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def tell(run: Run, said: list[str]) -> None:
    """From the child: how it went."""
    os.write(1, json.dumps({"run": asdict(run), "said": said}).encode() + b"\n")


def told(line: str) -> tuple[Run, list[str]]:
    """In the parent: how it went."""
    report: dict[str, Any] = json.loads(line)
    fields = report["run"]
    return Run(**{**fields, "durable": DurableSnapshot(**fields["durable"])}), report["said"]
