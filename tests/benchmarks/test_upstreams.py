"""Does every case of the upstreams suite run, against real servers, and does it state the aims of the issue?"""

from __future__ import annotations

import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from benchmarks.__main__ import make_report
from benchmarks.arguments import parse
from benchmarks.case import Load
from benchmarks.server import PROGRAM, figures, serving
from benchmarks.suites import SUITES

TINY = Load(concurrency=1, operations=10)


# An SDK that reads a stream on trio leaves httpx2's generators to the garbage collector; our own providers do not.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("frozen_heap")
def test_every_case_of_the_upstreams_suite_runs_at_a_tiny_size_and_no_call_fails() -> None:
    arguments = parse(
        ["--suite", "upstreams", "--iterations", "1", "--warmup", "0", "--concurrency", str(TINY.concurrency)]
    )
    report = make_report(arguments, TINY, "")
    assert [row.name for row in report.rows] == [case.name for case in SUITES["upstreams"](TINY.concurrency)]
    failed = [row for row in report.rows if row.name.endswith("failed")]
    assert [(row.value.max, row.bare and row.bare.max) for row in failed] == [(0, 0), (0, 0)]
    assert all(row.value.min > 0 for row in report.rows if row.unit in ("s", "calls/s", "us CPU"))


def test_the_aims_are_stated_for_the_sizes_they_were_set_for() -> None:
    aims = [(case.unit, case.aim) for case in SUITES["upstreams"](100) if case.aim is not None]
    stated = [(unit, aim.of, aim.at, aim.limit) for unit, aim in aims]
    assert stated.count(("calls/s", "ratio", "least", 0.9)) == 6
    assert stated.count(("calls", "value", "most", 0)) == 2
    assert stated.count(("us CPU", "share", "most", 15)) == 4
    assert [limit for unit, _, _, limit in stated if unit == "s"] == [3, 3, 2.2]
    assert [limit for unit, _, _, limit in stated if unit == "%"] == [10, 10, 5]
    assert {case.unit for case in SUITES["upstreams"](7) if case.aim is not None} == {"calls"}


def test_the_server_counts_what_it_was_asked() -> None:
    with serving(latency=0.0) as url:
        assert figures(url) == {
            "accepted": 0,
            "failed": 0,
            "rejected": 0,
            "left": 0,
            "connections": 1,
            "in_flight": 0,
            "most_in_flight": 0,
        }


def test_the_server_ends_with_the_process_that_started_it() -> None:
    # The one in between starts the server and ends at once; that the pipe is closed then says that the server ended.
    program = f"""
import os, subprocess, sys
subprocess.Popen([sys.executable, {str(PROGRAM)!r}, "--parent", str(os.getpid())])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", urlsplit(done.stdout.strip()).port)) != 0
