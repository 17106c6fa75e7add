"""How do implementations of others read our logs: the `hdrhistogram` package, and Java's where it is installed?"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

JAR = Path("/usr/share/java/hdrhistogram.jar")  # Debian's libhdrhistogram-java


def intervals_of(path: Path) -> Iterator[HdrHistogram]:
    """The histograms of a log in order, read by the `hdrhistogram` package."""
    reader = HistogramLogReader(os.fspath(path), HdrHistogram(1, 3_600_000_000, 3))
    try:
        while (interval := reader.get_next_interval_histogram()) is not None:
            yield interval
    finally:
        reader.input_file.close()


def sum_by_tag(path: Path) -> dict[str, HdrHistogram]:
    """The intervals of each tag together, read by the `hdrhistogram` package."""
    sums: dict[str, HdrHistogram] = {}
    for interval in intervals_of(path):
        if interval.get_tag() in sums:
            sums[interval.get_tag()].add(interval)
        else:
            sums[interval.get_tag()] = interval
    return sums


def percentiles_by_java(log: Path, tag: str) -> str:
    """The percentile table that Java's own reader makes of all intervals of `tag`, in milliseconds."""
    java = shutil.which("java")
    if java is None or not JAR.exists():
        pytest.skip("Java's HdrHistogram is not installed (Debian: libhdrhistogram-java and a JRE)")
    command = [java, "-cp", str(JAR), "org.HdrHistogram.HistogramLogProcessor"]
    options = ["-i", str(log), "-tag", tag, "-outputValueUnitRatio", "1000"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return without_start(done.stdout)


def without_start(table: str) -> str:
    """The table without the line that says when the log began."""
    return "".join(line for line in table.splitlines(keepends=True) if not line.startswith("#[StartTime"))
