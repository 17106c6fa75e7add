from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors import machine
from synth_actors.actors.actor import Decider
from synth_actors.actors.mailbox import Mailbox
from synth_actors.actors.supervisor import Supervisor
from synth_actors.actors.watchdog import MemoryWatchdog, WatchdogSources, read_in_thread, trim_in_thread
from synth_actors.errors import ConfigError, EngineClosedError
from synth_actors.feed import Held
from synth_actors.machine import Container, ContainerMemory
from synth_actors.messages import BoundCache, DropExpired, Optimize, SetConcurrencyCap, SetMemoryLimit, Shrink
from synth_actors.policy.memory import MemoryPolicy
from synth_actors.policy.memory_limit import MIB
from synth_actors.policy.restart import RestartBudget

OPEN = 60 * MIB
LIMIT = 560 * MIB
INTERVAL_S = 0.25


@dataclass
class Process:
    """What is resident; memory that the cache gave up stays so until it is trimmed."""

    foreign: int = 0
    cache: int = 0
    expired: int = 0
    untrimmed: int = 0
    per_call: int = 0
    held: Held = field(default_factory=Held)
    container: Container | None = None
    in_flight: int = 0
    trims: int = 0
    read: list[float] = field(default_factory=list)
    reading_fails: bool = False
    on_trim: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint

    def rss_bytes(self) -> int:
        if self.reading_fails:
            self.reading_fails = False
            raise OSError("no such process")
        self.read.append(trio.current_time())
        return OPEN + self.foreign + self.cache + self.untrimmed + self.per_call * self.in_flight

    async def trim(self) -> None:
        await self.on_trim()
        self.trims += 1
        self.untrimmed = 0

    def release(self, count: int) -> None:
        self.cache -= count
        self.untrimmed += count


class Cache(Decider[Any]):
    """Gives up what it is told to."""

    def __init__(self, mailbox: Mailbox[Any], process: Process) -> None:
        super().__init__(mailbox)
        self.process = process
        self.wanted: list[int] = []
        self.bounds: list[int] = []

    def handle(self, message: Any) -> None:
        match message:
            case BoundCache(footprint_bytes):
                self.bounds.append(footprint_bytes)
            case Shrink(wanted_bytes):
                self.wanted.append(wanted_bytes)
                self.process.release(wanted_bytes)
            case DropExpired(reply):
                self.process.release(self.process.expired)
                reply.send(1)
            case _:
                raise AssertionError(message)


class Router(Decider[SetConcurrencyCap]):
    """Obeys at once."""

    def __init__(self, mailbox: Mailbox[SetConcurrencyCap], process: Process) -> None:
        super().__init__(mailbox)
        self.process = process
        self.demand = process.in_flight
        self.caps: list[int] = []

    def handle(self, message: SetConcurrencyCap) -> None:
        self.caps.append(message.cap)
        self.process.in_flight = min(self.demand, message.cap)


async def read_at_once(container: Container) -> ContainerMemory | None:
    await trio.lowlevel.checkpoint()
    return container.read()


class Kit:
    """A watchdog, a process that it looks at, and those whom it tells."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.cache = Cache(Mailbox("cache", 10), process)
        self.router = Router(Mailbox("router", 10), process)
        self.box: Mailbox[Any] = Mailbox("watchdog", 10)
        self.policy = MemoryPolicy(LIMIT, OPEN, 100)
        self.watchdog = MemoryWatchdog(
            self.box,
            cache=self.cache.mailbox,
            router=self.router.mailbox,
            policy=self.policy,
            sources=WatchdogSources(
                cache_bytes=lambda: process.cache,
                pages_bytes=lambda: process.cache,
                in_flight=lambda: process.in_flight,
                held=process.held,
                container=process.container,
                read=read_at_once,
                rss_bytes=process.rss_bytes,
                trim=process.trim,
            ),
            interval_s=INTERVAL_S,
        )


@asynccontextmanager
async def running(process: Process) -> AsyncIterator[Kit]:
    kit = Kit(process)
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery)
        for actor in (kit.cache, kit.router):
            supervisor.start(actor)
        supervisor.start(kit.watchdog, RestartBudget())
        await trio.testing.wait_all_tasks_blocked()
        try:
            yield kit
        finally:  # the supervisor shields its actors: a test that fails must not wait for them for ever
            for name in ("router", "cache", "watchdog"):
                await supervisor.stop(name)
            nursery.cancel_scope.cancel()


async def test_memory_is_read_every_interval(autojump_clock: trio.testing.MockClock) -> None:
    async with running(Process()) as kit:
        await trio.sleep(1.1)
        assert kit.process.read == pytest.approx([0.25, 0.5, 0.75, 1.0])
        assert kit.watchdog.snapshot().state == "ok"


async def test_a_cache_that_is_too_large_is_shrunk_and_trimmed(autojump_clock: trio.testing.MockClock) -> None:
    async with running(Process(cache=480 * MIB, foreign=10 * MIB)) as kit:
        await trio.sleep(10.0)
        snapshot = kit.watchdog.snapshot()
        assert snapshot.state == "ok"
        assert snapshot.shrinks == len(kit.cache.wanted) > 0
        assert snapshot.trims == kit.process.trims > 0
        assert snapshot.released_bytes == sum(kit.cache.wanted)
        assert snapshot.rss_bytes <= kit.policy.low_bytes
        assert snapshot.peak_rss_bytes == OPEN + 490 * MIB
        assert (snapshot.limit_bytes, snapshot.rss_at_open_bytes) == (LIMIT, OPEN)
        assert (snapshot.high_bytes, snapshot.low_bytes) == (kit.policy.high_bytes, kit.policy.low_bytes)
        assert snapshot.cache_bytes == snapshot.accounted_bytes == kit.process.cache
        assert kit.router.caps == []


async def test_memory_of_running_calls_lowers_the_cap_and_gives_it_back(autojump_clock: trio.testing.MockClock) -> None:
    async with running(Process(in_flight=100, per_call=5 * MIB)) as kit:
        await trio.sleep(1.0)
        snapshot = kit.watchdog.snapshot()
        assert snapshot.state == "slowed"
        assert snapshot.slowdowns == 1
        assert snapshot.bytes_per_call == 5 * MIB
        assert kit.router.caps == [88], "a little at first, to see what it gives"
        kit.process.per_call = 0
        await trio.sleep(120.0)
        assert kit.router.caps[-1] == 100
        assert kit.watchdog.snapshot().state == "ok"
        assert kit.cache.wanted == []


async def test_memory_that_is_not_the_engine_s_is_said_once_and_not_fought(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="synth_actors"):
        async with running(Process(cache=5 * MIB, in_flight=10)) as kit:
            await trio.sleep(1.0)
            kit.process.foreign = 900 * MIB
            await trio.sleep(120.0)
            snapshot = kit.watchdog.snapshot()
            assert snapshot.state == "not_reclaimable"
            assert snapshot.not_reclaimable == snapshot.trims == 1
            assert kit.process.cache == 5 * MIB
            assert kit.router.caps == [], "nothing is lowered"
    assert sum("not reclaimable" in record.message for record in caplog.records) == 1


async def test_a_lower_limit_is_looked_at_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with running(Process(cache=400 * MIB)) as kit:
        await trio.sleep(0.1)
        limit = OPEN + 380 * MIB
        assert await kit.box.ask(SetMemoryLimit(limit)) is True
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == pytest.approx(0.1)
        assert len(kit.cache.wanted) == 1
        await trio.sleep(1.0)
        snapshot = kit.watchdog.snapshot()
        assert snapshot.limit_bytes == limit
        assert snapshot.rss_bytes <= snapshot.low_bytes
        assert snapshot.state == "ok"


async def test_the_cache_is_bounded_before_anything_was_looked_at(autojump_clock: trio.testing.MockClock) -> None:
    async with running(Process()) as kit:
        await trio.testing.wait_all_tasks_blocked()
        assert (kit.process.read, trio.current_time()) == ([], 0.0)
        assert kit.cache.bounds == [225 * MIB], "half of what is free below nine tenths"


async def test_a_container_with_less_room_bounds_the_cache_at_opening(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    container = container_of(tmp_path, 1000 * MIB, 970 * MIB, 0)
    async with running(Process(container=container)) as kit:
        assert kit.cache.bounds == [25 * MIB], "it is tight: only what it may have in any case"


async def test_a_container_with_less_room_than_the_limit_bounds_the_cache_before_it_is_tight(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    container = container_of(tmp_path, 1000 * MIB, 700 * MIB, 0)  # 300 are left, 50 of them are for others
    async with running(Process(container=container)) as kit:
        assert kit.cache.bounds == [(300 - 50 - 25) * MIB // 2]
        await trio.sleep(1.0)
        assert kit.watchdog.snapshot().state == "ok"


async def test_a_bound_is_told_only_when_it_moves(autojump_clock: trio.testing.MockClock) -> None:
    async with running(Process()) as kit:
        await trio.sleep(3.1)
        told = list(kit.cache.bounds)
        kit.process.foreign += 2 * MIB
        await trio.sleep(3.0)
        assert kit.cache.bounds == told
        kit.process.foreign += 200 * MIB
        await trio.sleep(3.0)
        assert kit.cache.bounds[len(told) :] == [124 * MIB], "half of what is left"


async def test_a_shrink_is_a_bound_that_what_comes_in_meanwhile_cannot_pass(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(Process(cache=480 * MIB)) as kit:
        await trio.sleep(0.3)
        assert kit.cache.bounds[-1] == kit.process.cache == 480 * MIB - kit.cache.wanted[0]


async def test_after_optimize_the_state_is_that_of_the_memory_as_it_is_then(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(Process(cache=480 * MIB, expired=300 * MIB)) as kit:
        await trio.sleep(0.3)
        assert kit.watchdog.snapshot().state == "shrinking"
        await kit.box.ask(Optimize())
        assert kit.watchdog.snapshot().state == "ok"


async def test_what_a_long_shrink_gives_back_is_counted_to_its_end(autojump_clock: trio.testing.MockClock) -> None:
    process = Process(cache=500 * MIB)
    async with running(process) as kit:
        kit.cache.process = Process(cache=500 * MIB)  # it obeys, and the pages go later, in portions
        await trio.sleep(0.3)
        (wanted,) = kit.cache.wanted
        for _ in range(4):
            process.cache -= wanted // 4
            await trio.sleep(INTERVAL_S)
        assert kit.watchdog.snapshot().released_bytes == pytest.approx(wanted, abs=4)


async def test_a_limit_below_what_was_held_at_opening_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with running(Process()) as kit:
        with pytest.raises(ConfigError, match="leave no room"):
            await kit.box.ask(SetMemoryLimit(OPEN))
        await trio.sleep(1.0)
        assert kit.watchdog.snapshot().limit_bytes == LIMIT


def container_of(folder: Path, limit: int, usage: int, inactive_file: int) -> Container:
    """A control group with these figures."""
    (folder / "proc" / "self").mkdir(parents=True)
    (folder / "group").mkdir()
    (folder / "proc" / "self" / "cgroup").write_text("0::/\n")
    mount = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    (folder / "proc" / "self" / "mountinfo").write_text(mount)
    for name, text in (("max", limit), ("current", usage), ("stat", f"anon 1\ninactive_file {inactive_file}")):
        (folder / "group" / f"memory.{name}").write_text(f"{text}\n")
    return Container(str(folder / "group"), str(folder / "proc"))


async def test_a_container_that_others_have_filled_is_pressure(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    container = container_of(tmp_path, 1000 * MIB, 980 * MIB, 0)
    async with running(Process(cache=200 * MIB, container=container)) as kit:
        await trio.sleep(0.3)
        snapshot = kit.watchdog.snapshot()
        assert snapshot.state == "shrinking"
        assert (snapshot.container_limit_bytes, snapshot.container_working_set_bytes) == (1000 * MIB, 980 * MIB)
        assert len(kit.cache.wanted) == 1


async def test_a_container_full_of_page_cache_is_none(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    container = container_of(tmp_path, 1000 * MIB, 995 * MIB, 600 * MIB)
    async with running(Process(cache=200 * MIB, container=container)) as kit:
        await trio.sleep(5.0)
        snapshot = kit.watchdog.snapshot()
        assert snapshot.state == "ok"
        assert snapshot.container_working_set_bytes == 395 * MIB
        assert kit.cache.wanted == []


async def test_optimize_answers_what_the_process_really_gave_back(autojump_clock: trio.testing.MockClock) -> None:
    async with running(Process(cache=50 * MIB, expired=20 * MIB)) as kit:
        assert await kit.box.ask(Optimize()) == 20 * MIB
        assert kit.process.cache == 30 * MIB


async def test_optimize_never_answers_below_zero(autojump_clock: trio.testing.MockClock) -> None:
    process = Process(cache=50 * MIB)
    async with running(process) as kit:

        async def allocate_meanwhile() -> None:
            process.foreign += MIB

        process.on_trim = allocate_meanwhile
        assert await kit.box.ask(Optimize()) == 0


async def test_optimize_does_not_put_off_the_next_look(autojump_clock: trio.testing.MockClock) -> None:
    async with running(Process()) as kit:
        for _ in range(10):
            await trio.sleep(0.1)
            await kit.box.ask(Optimize())
        assert {0.25, 0.5, 0.75} <= {round(at, 9) for at in kit.process.read}


async def test_optimize_after_the_cache_has_stopped_is_told_so(autojump_clock: trio.testing.MockClock) -> None:
    async with running(Process()) as kit:
        kit.cache.stop(None)
        with pytest.raises(EngineClosedError):
            await kit.box.ask(Optimize())
        await trio.sleep(1.0)
        assert len(kit.process.read) >= 4  # it still looks


async def test_optimize_when_the_watchdog_stops_is_told_so(autojump_clock: trio.testing.MockClock) -> None:
    message = Optimize()
    async with running(Process(on_trim=trio.sleep_forever)) as kit:
        kit.box.tell(message)
        await trio.testing.wait_all_tasks_blocked()
        assert not message.reply.answered
    assert message.reply.answered


async def test_a_watchdog_that_crashes_starts_again_and_keeps_its_figures(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(Process(cache=480 * MIB, foreign=10 * MIB)) as kit:
        await trio.sleep(0.3)
        shrinks = kit.watchdog.snapshot().shrinks
        kit.process.reading_fails = True
        await trio.sleep(10.0)
        assert kit.watchdog.snapshot().shrinks >= shrinks > 0
        assert kit.watchdog.snapshot().state == "ok"
    assert "crashed and starts again" in caplog.text


async def test_what_a_shrink_gives_back_is_counted_until_nothing_goes_any_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(Process(cache=480 * MIB)) as kit:
        kit.cache.handle = kit.cache.wanted.append  # type: ignore[assignment, method-assign]  # gives up nothing at once
        await trio.sleep(0.3)
        for part in (60 * MIB, 4 * MIB, MIB, 0, 7 * MIB):  # the last is not of the shrink
            kit.process.cache -= part
            await trio.sleep(INTERVAL_S)
        snapshot = kit.watchdog.snapshot()
        assert (snapshot.shrinks, snapshot.released_bytes) == (1, 65 * MIB)


async def test_a_container_is_read_in_a_thread(tmp_path: Path) -> None:
    memory = await read_in_thread(container_of(tmp_path, 1000 * MIB, 995 * MIB, 600 * MIB))
    assert memory == ContainerMemory(limit_bytes=1000 * MIB, working_set_bytes=395 * MIB)
    assert memory.room_bytes == 605 * MIB


async def test_a_program_that_keeps_all_threads_busy_does_not_keep_the_watchdog_from_its_work(tmp_path: Path) -> None:
    limiter = trio.to_thread.current_default_thread_limiter()
    busy = [object() for _ in range(int(limiter.total_tokens))]
    for each in busy:
        limiter.acquire_on_behalf_of_nowait(each)
    try:
        with trio.fail_after(5.0):
            await trim_in_thread()
            await read_in_thread(container_of(tmp_path, 1000 * MIB, 995 * MIB, 600 * MIB))
    finally:
        for each in busy:
            limiter.release_on_behalf_of(each)


async def test_trimming_this_process_leaves_it_alive() -> None:
    await trim_in_thread()
    assert isinstance(machine.trim_heap(), bool)
