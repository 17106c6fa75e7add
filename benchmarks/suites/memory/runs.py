"""What did each process come to?  Starts `process.py` once a repeat for each kind of work."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import benchmarks
from benchmarks.case import Load, Measured, NotMeasured
from benchmarks.engines import upstream
from benchmarks.suites.memory.results import REFUSED, Result, Work, result_of

MB = 1e6
ROUNDS, LARGE_ROUNDS = 30, 20
ENDPOINT_ROUNDS = 3
OPERATIONS_PER_CALL = 3
CHUNKS, LARGE_CHUNKS = 300, 4000
"""Pieces of six letters: 1.8 KB and 24 KB."""
LATENCY_S = 0.01
PATIENCE_S = 600.0
MOST_FAILED_SHARE = 0.01


def peak(load: Load) -> Measured:
    """Megabytes at the most."""
    found = _steady(load)
    return Measured(value=found.peak_bytes / MB, recording=found.recording)


def at_the_end(load: Load) -> Measured:
    """Megabytes after the last answer."""
    return Measured(value=_steady(load).end_bytes / MB)


def growth(load: Load) -> Measured:
    """Megabytes that came after the first tenth of the requests, beside those that came after the first half."""
    found = _steady(load)
    beside = {"after the first half": (found.end_bytes - found.after_half_bytes) / MB}
    return Measured(value=(found.end_bytes - found.after_tenth_bytes) / MB, beside=beside)


def streamed(load: Load) -> Measured:
    """Megabytes above what was resident before the first call, beside the same as a list."""
    as_it_comes, as_a_list = (_run(kind, load, LARGE_ROUNDS, LARGE_CHUNKS) for kind in ("batch", "list"))
    return Measured(value=as_it_comes.above_start_bytes / MB, beside={"as a list": as_a_list.above_start_bytes / MB})


@lru_cache(maxsize=1)
def _steady(load: Load) -> Result:
    return _run("steady", load, ROUNDS, CHUNKS)


def _run(kind: str, load: Load, rounds: int, chunks: int) -> Result:
    calls = min(rounds * load.concurrency, max(load.concurrency, load.operations // OPERATIONS_PER_CALL))
    if load.endpoint:
        calls = min(calls, ENDPOINT_ROUNDS * load.concurrency)
    with upstream(load, latency=LATENCY_S, chunks=chunks) as endpoint:
        work = Work(
            kind=kind,
            calls=calls,
            concurrency=load.concurrency,
            endpoint=endpoint if isinstance(endpoint, str) else f"openai:{endpoint.model}@{endpoint.base_url}",
            budget_usd=None if load.budget is None else load.budget.left_usd,
        )
        found = _in_a_process(work)
    if load.budget is not None:
        load.budget.spent_usd += found.spent_usd
    if found.failed > MOST_FAILED_SHARE * calls:
        raise NotMeasured(f"{found.failed} of {calls} requests failed; this would be the memory of errors")
    return found


def _in_a_process(work: Work) -> Result:
    command = [sys.executable, "-m", "benchmarks.suites.memory.process", json.dumps(work.as_dict())]
    root = Path(benchmarks.__file__).parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=PATIENCE_S)
    if done.returncode == REFUSED:
        raise NotMeasured(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return result_of(done.stdout)
