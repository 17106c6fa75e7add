"""Which functions take the time of trio's thread?

Both profilers see the stack of whichever task runs, from `trio.run` through the task's coroutine down.  What is seen
waiting is left out: for the poll of trio's loop, and for other processes.
"""

from __future__ import annotations

import cProfile
import pstats
import re
import sys
import threading
import time
from collections import defaultdict
from types import CodeType, FrameType
from typing import TYPE_CHECKING

from benchmarks.profiling import Frame, Hot, Profile, hottest, shortened

if TYPE_CHECKING:
    from pyinstrument.frame import Frame as Node

INTERVAL_S = 0.001
SWITCH_S = 0.0001
WAITING_CALLS = re.compile(
    r"\b(epoll|kqueue|select|poll|GetQueuedCompletionStatusEx|readline|acquire|waitpid|fork_exec)\b"
)
"""Built-in functions in which trio's loop, or somebody else, waits for others."""
WAITING_FILES = (
    "trio/_core/_io_epoll.py",
    "trio/_core/_io_kqueue.py",
    "benchmarks/server.py",
    "selectors.py",
    "subprocess.py",
)
"""Where that is done, for those who do not see built-in functions."""


class Pyinstrument:
    """Samples by the wall clock, every millisecond, whenever a function is called or left."""

    def __init__(self) -> None:
        import pyinstrument

        self._tool = f"pyinstrument {pyinstrument.__version__}"
        self._profiler = pyinstrument.Profiler(interval=INTERVAL_S, async_mode="disabled")

    def start(self) -> None:
        """As `Profiler.start`."""
        self._profiler.start()

    def stop(self) -> Profile:
        """As `Profiler.stop`."""
        session = self._profiler.stop()
        stacks: dict[tuple[Frame, ...], float] = defaultdict(float)
        root = session.root_frame()
        if root is not None:
            _collect(root, (), stacks)
        waited_s = _without_waiting(stacks)
        total_s = sum(stacks.values())
        about = f"{total_s:.1f} s at work, {session.sample_count:,} samples; {waited_s:.1f} s of waiting are left out"
        return Profile(
            kind="cpu", tool=self._tool, about=about, total=total_s, hottest=hottest(stacks), stacks=dict(stacks)
        )


def _collect(root: Node, above: tuple[Frame, ...], stacks: dict[tuple[Frame, ...], float]) -> None:
    """The own time of each node of the tree; by hand, since a deep stack is deeper than Python may recurse."""
    left = [(root, above)]
    while left:
        node, above = left.pop()
        if node.is_synthetic:  # the node above by itself
            stacks[above] += node.time
            continue
        function = f"{node.class_name}.{node.function}" if node.class_name else node.function
        file = "" if node.file_path in (None, "<built-in>") else shortened(node.file_path)
        stack = (*above, Frame(function, file, node.line_no or 0))
        stacks[stack] += node.time - sum(child.time for child in node.children)
        left += ((child, stack) for child in node.children)


class CProfile:
    """What Python itself brings: cProfile counts every call, and a thread looks at the stack for the flame graph."""

    def __init__(self) -> None:
        self._profile = cProfile.Profile()
        self._sampler = _Sampler(threading.get_ident())

    def start(self) -> None:
        """As `Profiler.start`."""
        self._sampler.start()
        self._profile.enable()

    def stop(self) -> Profile:
        """As `Profiler.stop`."""
        self._profile.disable()
        self._sampler.stop()
        stacks = self._sampler.stacks
        _without_waiting(stacks)
        functions = [hot for hot in _functions(self._profile) if not _is_wait(hot.frame)]
        total_s = sum(hot.own for hot in functions)
        calls = pstats.Stats(self._profile).total_calls  # type: ignore[attr-defined]  # typeshed does not know it
        about = f"{total_s:.1f} s at work, {calls:,} calls, each of which looks dearer than it is; waiting is left out"
        ordered = tuple(sorted(functions, key=lambda hot: -hot.own))
        return Profile(kind="cpu", tool="cProfile", about=about, total=total_s, hottest=ordered, stacks=dict(stacks))


def _functions(profile: cProfile.Profile) -> list[Hot]:
    found = pstats.Stats(profile).stats  # type: ignore[attr-defined]  # typeshed does not know it
    return [
        Hot(frame=Frame(function, "" if file == "~" else shortened(file), line), own=own_s, whole=whole_s)
        for (file, line, function), (_, _, own_s, whole_s, _) in found.items()
    ]


class _Sampler:
    """A thread that looks at the stack of another one; a look weighs as much CPU as was used since the one before.

    Python switches threads more often meanwhile: else it would look where the other one waits, and seldom elsewhere.
    """

    def __init__(self, thread: int) -> None:
        self.stacks: dict[tuple[Frame, ...], float] = defaultdict(float)
        self._watched = thread
        self._interval_s = sys.getswitchinterval()
        self._frames: dict[CodeType, Frame] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="benchmarks.sampler", daemon=True)

    def start(self) -> None:
        sys.setswitchinterval(SWITCH_S)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()
        sys.setswitchinterval(self._interval_s)

    def _run(self) -> None:
        before_s = time.process_time()
        while not self._ended.wait(INTERVAL_S):
            now_s = time.process_time()
            if (frame := sys._current_frames().get(self._watched)) is not None:
                self.stacks[self._stack(frame)] += now_s - before_s
            before_s = now_s

    def _stack(self, frame: FrameType | None) -> tuple[Frame, ...]:
        found = []
        while frame is not None:
            code = frame.f_code
            known = self._frames.get(code)
            if known is None:
                known = Frame(code.co_qualname, shortened(code.co_filename), code.co_firstlineno)
                self._frames[code] = known
            found.append(known)
            frame = frame.f_back
        return tuple(reversed(found))


def _without_waiting(stacks: dict[tuple[Frame, ...], float]) -> float:
    """Take out what waits; how many seconds that is."""
    waits = [stack for stack in stacks if not stack or _is_wait(stack[-1])]
    return sum(stacks.pop(stack) for stack in waits)


def _is_wait(frame: Frame) -> bool:
    return frame.file in WAITING_FILES or (not frame.file and WAITING_CALLS.search(frame.function) is not None)
