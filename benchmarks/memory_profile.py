"""Which lines hold the memory, at the moment when most is held?"""

from __future__ import annotations

import linecache
import threading
import tracemalloc
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.profiling import Frame, Profile, hottest, shortened

DEPTH = 25
"""Frames of each allocation that tracemalloc keeps, the innermost ones: each costs time and memory."""
LOOK_S = 0.05
MORE = 1.1
"""A snapshot takes long: another one is worth it when so many times as much is held."""


class Memray:
    """Every allocation of Python and of C, at the high-water mark."""

    def __init__(self) -> None:
        import memray

        self._tool = f"memray {version('memray')}"
        self._folder = TemporaryDirectory(prefix="benchmarks-memray-")
        self._path = Path(self._folder.name) / "allocations"
        self._tracker = memray.Tracker(
            destination=memray.FileDestination(self._path, compress_on_exit=False),
            trace_python_allocators=True,  # else one sees only who happened to need another arena
            file_format=memray.FileFormat.AGGREGATED_ALLOCATIONS,  # a file of a few MB, however long it runs
        )

    def start(self) -> None:
        """As `Profiler.start`."""
        self._tracker.__enter__()

    def stop(self) -> Profile:
        """As `Profiler.stop`."""
        from memray import FileReader

        self._tracker.__exit__(None, None, None)
        stacks: dict[tuple[Frame, ...], float] = defaultdict(float)
        with self._folder, FileReader(self._path) as reader:
            for record in reader.get_high_watermark_allocation_records(merge_threads=True):
                frames = (Frame(function, shortened(file), line) for function, file, line in record.stack_trace())
                stacks[tuple(frames)[::-1]] += record.size
        stacks[Frame("outside of Python", "", 0),] += stacks.pop((), 0.0)
        return _profile(self._tool, "allocated during the pass and held at its highest moment", stacks)


class Tracemalloc:
    """What Python itself brings: allocations of Python objects; a thread notices when most is held."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="benchmarks.peak", daemon=True)
        self._most_bytes = 0.0
        self._peak: tracemalloc.Snapshot | None = None

    def start(self) -> None:
        """As `Profiler.start`."""
        tracemalloc.start(DEPTH)
        self._thread.start()

    def stop(self) -> Profile:
        """As `Profiler.stop`."""
        self._ended.set()
        self._thread.join()
        self._look()
        tracemalloc.stop()
        assert self._peak is not None, "the first look takes one"
        stacks: dict[tuple[Frame, ...], float] = defaultdict(float)
        names: dict[tuple[str, int], Frame] = {}
        for statistic in self._peak.statistics("traceback"):
            stack = tuple(_named(frame.filename, frame.lineno, names) for frame in statistic.traceback)
            stacks[stack] += statistic.size
        return _profile("tracemalloc", "of Python objects, held at the highest moment that was seen", stacks)

    def _run(self) -> None:
        while not self._ended.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        held_bytes, _ = tracemalloc.get_traced_memory()
        if self._peak is None or held_bytes > MORE * self._most_bytes:
            self._peak = tracemalloc.take_snapshot()
            self._most_bytes = held_bytes


def _named(file: str, line: int, names: dict[tuple[str, int], Frame]) -> Frame:
    """tracemalloc knows lines and no functions: the line's text says what it is."""
    found = names.get((file, line))
    if found is None:
        text = linecache.getline(file, line).strip()
        found = names[file, line] = Frame(text or "?", shortened(file), line)
    return found


def _profile(tool: str, what: str, stacks: dict[tuple[Frame, ...], float]) -> Profile:
    total = sum(stacks.values())
    about = f"{total / 2**20:,.1f} MiB {what}"
    return Profile(kind="memory", tool=tool, about=about, total=total, hottest=hottest(stacks), stacks=dict(stacks))
