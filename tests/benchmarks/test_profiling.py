"""Do both profilers of each kind find what is hot, and does the flame graph show the same?"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from html import unescape

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import profiling
from benchmarks.cpu_profile import CProfile, Pyinstrument
from benchmarks.flame_graph import to_html
from benchmarks.memory_profile import Memray, Tracemalloc
from benchmarks.profiling import Frame, Profile, Profiler, hottest, profiler_for, shortened

TURNS = 600_000
HELD_BYTES = 40 * 2**20


def busy_function(turns: int) -> int:
    total = 0
    for number in range(turns):
        total += number * number % 7
    return total


async def a_task(turns: int) -> None:
    await trio.lowlevel.checkpoint()
    for _ in range(10):
        busy_function(turns // 10)
        await trio.sleep(0.002)


async def tasks() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a_task, TURNS)
        nursery.start_soon(a_task, TURNS)


@pytest.mark.parametrize("make", [CProfile, Pyinstrument])
def test_a_cpu_profile_names_the_function_of_a_task_that_takes_the_time(make: Callable[[], Profiler]) -> None:
    profiler = make()
    profiler.start()
    trio.run(tasks)
    profile = profiler.stop()
    hot = profile.hottest[0]
    assert (hot.frame.function, hot.frame.file) == ("busy_function", "tests/benchmarks/test_profiling.py")
    assert hot.own > 0.5 * profile.total
    assert hot.whole >= hot.own
    heaviest = max(profile.stacks, key=lambda stack: profile.stacks[stack])
    names = [frame.function.rpartition(".")[2] for frame in heaviest]
    assert names[-2:] == ["a_task", "busy_function"]
    assert names.index("unrolled_run") < names.index("a_task")  # trio's loop is what runs the task
    assert not [hot for hot in profile.hottest if "poll" in hot.frame.function]
    title, head, first, *rest = profile.lines()
    assert title.startswith(f"--profile cpu: {profile.tool}")
    assert head.split() == ["itself", "share", "in", "all", "function"]
    assert re.search(r"\d\.\d{3} s +\d+\.\d% +\d+\.\d%  busy_function  tests/benchmarks/test_profiling.py:\d+$", first)
    assert len(rest) <= 14


def holding_function() -> bytearray:
    return bytearray(HELD_BYTES)


def memory_work(was_seen: Callable[[], bool] = lambda: True) -> None:
    held = holding_function()
    for _ in range(1000):
        if was_seen():
            break
        busy_function(1000)
    del held


def test_a_memory_profile_names_who_held_most_although_it_was_given_back() -> None:
    profiler = Tracemalloc()
    profiler.start()
    memory_work(lambda: profiler._most_bytes > HELD_BYTES)
    profile = profiler.stop()
    hot = profile.hottest[0]
    assert hot.frame.function == "return bytearray(HELD_BYTES)"
    assert hot.frame.file == "tests/benchmarks/test_profiling.py"
    assert HELD_BYTES <= hot.own < 1.1 * HELD_BYTES
    assert "40.0" in next(iter(profile.lines()))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no memray for Windows")
def test_memray_names_who_held_most_although_it_was_given_back() -> None:
    profiler = Memray()
    profiler.start()
    memory_work()
    hot = profiler.stop().hottest[0]
    assert (hot.frame.function, hot.frame.file) == ("holding_function", "tests/benchmarks/test_profiling.py")
    assert HELD_BYTES <= hot.own < 1.1 * HELD_BYTES


def test_what_is_installed_is_taken_and_else_what_python_brings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(profiler_for("cpu"), Pyinstrument)
    monkeypatch.setattr(profiling, "find_spec", lambda _name: None)
    assert isinstance(profiler_for("cpu"), CProfile)
    assert isinstance(profiler_for("memory"), Tracemalloc)


def test_paths_are_shown_without_what_is_the_same_for_all() -> None:
    assert shortened(trio.__file__) == "trio/__init__.py"
    assert shortened(json.__file__) == "json/__init__.py"
    assert shortened(profiling.__file__) == "benchmarks/profiling.py"
    assert shortened("C:\\Python\\Lib\\site-packages\\trio\\_x.py") == "trio/_x.py"
    assert shortened("<string>") == "<string>"


FRAMES = st.builds(Frame, st.sampled_from("abcd"), st.sampled_from(("x.py", "")), st.integers(1, 2))
STACKS = st.dictionaries(
    st.lists(FRAMES, min_size=1, max_size=6).map(tuple), st.integers(1, 100).map(float), max_size=8
)


@given(STACKS)
def test_own_times_sum_up_to_all_and_recursion_counts_once(stacks: dict[tuple[Frame, ...], float]) -> None:
    hot = hottest(stacks)
    assert sum(one.own for one in hot) == sum(stacks.values())
    assert [one.own for one in hot] == sorted((one.own for one in hot), reverse=True)
    for one in hot:
        assert one.own == sum(weight for stack, weight in stacks.items() if stack[-1] == one.frame)
        assert one.whole == sum(weight for stack, weight in stacks.items() if one.frame in stack)


def a_profile(stacks: dict[tuple[Frame, ...], float]) -> Profile:
    total = sum(stacks.values())
    return Profile(kind="memory", tool="t", about="a", total=total, hottest=hottest(stacks), stacks=stacks)


@given(STACKS)
def test_boxes_of_a_flame_graph_lie_side_by_side_below_their_callers(stacks: dict[tuple[Frame, ...], float]) -> None:
    page = to_html(a_profile(stacks))
    found = re.findall(r'top: (\d+)px; [^"]*" data-x="([^"]*)" data-w="([^"]*)"', page)
    boxes = [(int(top) // 18, float(x), float(x) + float(width)) for top, x, width in found]
    if not stacks:
        assert boxes == []
        return
    assert len(boxes) == 1 + len({stack[:depth] for stack in stacks for depth in range(1, len(stack) + 1)})
    for row, start, end in boxes:
        near = [(a, b) for other, a, b in boxes if other == row and (a, b) != (start, end)]
        assert all(b <= start + 2e-6 or a >= end - 2e-6 for a, b in near)
        if row:
            assert any(a <= start + 2e-6 and end <= b + 2e-6 for other, a, b in boxes if other == row - 1)


def test_a_flame_graph_shows_names_as_text_and_needs_no_network() -> None:
    odd = Frame("</button><script>alert(1)</script>\"'", "x.py", 3)
    page = to_html(a_profile({(Frame("main", "m.py", 1), odd): 3.0 * 2**20, (Frame("main", "m.py", 1),): 2.0**20}))
    assert page.count("<script>") == 1
    assert "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")
    titles = [unescape(title) for title in re.findall(r'title="([^"]*)"', page)]
    assert titles == ["all: 4.00 MiB, 100.0 %", "main  m.py:1: 4.00 MiB, 100.0 %", f"{odd}: 3.00 MiB, 75.0 %"]
