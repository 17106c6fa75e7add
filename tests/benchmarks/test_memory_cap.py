"""Does the system keep the cap, also for processes that are started, and is a lack of memory said in one line?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks
from benchmarks.memory_cap import MIB, cap_memory, lack_of_memory
from synth_actors import ConfigError

ROOT = Path(benchmarks.__file__).parent.parent
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux keeps the limit")


def run(program: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: a limit that was lowered stays lowered."""
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)


@LINUX
def test_what_is_beyond_the_cap_is_refused_to_this_process_and_to_its_children() -> None:
    done = run(
        "import subprocess, sys\n"
        "from benchmarks.memory_cap import MIB, cap_memory\n"
        "fits = bytearray(150 * MIB)\n"
        "del fits\n"
        "cap_memory(150 * MIB)\n"
        "child = 'bytearray(150 * 2**20)'\n"
        "print(subprocess.run([sys.executable, '-c', child], capture_output=True, text=True).stderr.split()[-1])\n"
        "try:\n"
        "    bytearray(150 * MIB)\n"
        "except MemoryError:\n"
        "    print('refused')\n"
    )
    assert done.stdout.split() == ["MemoryError", "refused"], done.stderr


@LINUX
def test_threads_under_a_cap_reserve_a_hundredth_of_what_they_would() -> None:
    program = (
        "import threading\n"
        "import psutil\n"
        "from benchmarks.memory_cap import MIB, cap_memory\n"
        "{}\n"
        "used = lambda: psutil.Process().memory_info().vms / MIB\n"
        "before, ready, end = used(), threading.Barrier(9), threading.Event()\n"
        "def work():\n"
        "    kept = [bytearray(3000) for _ in range(100)]\n"
        "    ready.wait()\n"
        "    end.wait()\n"
        "threads = [threading.Thread(target=work) for _ in range(8)]\n"
        "[thread.start() for thread in threads]\n"
        "ready.wait()\n"
        "print(used() - before)\n"
        "end.set()\n"
    )
    free, capped = (float(run(program.format(first)).stdout) for first in ("", "cap_memory(512 * MIB)"))
    assert capped < 8 * 2.5
    assert free > 2 * capped


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="there it is refused anyway")
def test_a_cap_below_what_is_used_already_is_refused_and_says_how_much_that_is() -> None:
    with pytest.raises(ConfigError, match=r"--memory-cap 1M: [\d,]+ MiB are in use before .*; give more"):
        cap_memory(MIB)


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_where_there_is_no_such_limit_that_is_said(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    with pytest.raises(ConfigError, match="--memory-cap 512M: this system cannot limit address space"):
        cap_memory(512 * MIB)


@LINUX
def test_a_limit_of_the_system_below_the_cap_is_named() -> None:
    done = run(
        "import resource\n"
        "from benchmarks.memory_cap import MIB, cap_memory\n"
        "resource.setrlimit(resource.RLIMIT_AS, (400 * MIB, 400 * MIB))\n"
        "try:\n"
        "    cap_memory(512 * MIB)\n"
        "except Exception as exc:\n"
        "    print(exc)\n"
    )
    assert done.stdout == "--memory-cap 512M: the system allows 400 MiB already (ulimit -v); give less\n", done.stderr


def test_a_lack_of_memory_is_one_line_wherever_it_stands_and_nothing_else_is() -> None:
    inside = ExceptionGroup("tasks", [ValueError(), ExceptionGroup("more", [MemoryError()])])
    caused = RuntimeError("the engine was closed")
    caused.__cause__ = MemoryError()
    for exc in (MemoryError(), inside, caused):
        assert "--concurrency" in (lack_of_memory(exc) or "")
    looped = ValueError()
    looped.__context__ = looped
    assert lack_of_memory(looped) is None
    assert lack_of_memory(ExceptionGroup("tasks", [OSError()])) is None
