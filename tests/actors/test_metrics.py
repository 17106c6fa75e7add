from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
import trio.testing

from synth_actors.actors.mailbox import Mailbox
from synth_actors.actors.metrics import COLLECT_INTERVAL_S, FOLD_AT_ONCE, FOLD_SLICE, MetricsActor, Sources
from synth_actors.actors.supervisor import Supervisor
from synth_actors.errors import EngineClosedError
from synth_actors.messages import TakeSnapshot
from synth_actors.policy.restart import RestartBudget
from synth_actors.reply import Failed
from synth_actors.samples import CAPACITY, SampleBuffer
from synth_actors.snapshot import (
    SERIES,
    CacheSnapshot,
    Counters,
    MailboxSnapshot,
    MemorySnapshot,
    RouterSnapshot,
    Snapshot,
)


class Owners:
    """Whoever owns the figures, as the actor sees them."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.broken = False
        self.waits: list[float] = []

    def take_waits(self) -> dict[str, list[float]]:
        taken, self.waits = self.waits, []
        return {"cache": taken}

    def cache(self) -> CacheSnapshot:
        if self.broken:
            raise RuntimeError("the cache cannot say")
        return CacheSnapshot(hits=3, misses=1)

    def sources(self) -> Sources:
        return Sources(
            cache=self.cache,
            router=lambda: RouterSnapshot(backlog=7, endpoints={}),
            memory=lambda: MemorySnapshot(rss_bytes=11),
            counters=lambda: self.counters,
            mailboxes=lambda: {"cache": MailboxSnapshot(depth=2)},
            mailbox_waits=self.take_waits,
        )


class Kit:
    """A running MetricsActor and everything around it."""

    def __init__(self) -> None:
        self.box: Mailbox[TakeSnapshot] = Mailbox("metrics", 100)
        self.samples = SampleBuffer()
        self.owners = Owners()
        self.actor = MetricsActor(self.box, samples=self.samples, sources=self.owners.sources())

    async def snapshot(self) -> Snapshot:
        snapshot = await self.box.ask(TakeSnapshot())
        assert isinstance(snapshot, Snapshot)
        return snapshot

    def folded(self, series: str) -> int:
        return self.actor.latencies.totals()[series].count


@asynccontextmanager
async def running() -> AsyncIterator[Kit]:
    kit = Kit()
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery)
        supervisor.start(kit.actor, RestartBudget())
        await trio.testing.wait_all_tasks_blocked()
        yield kit
        await supervisor.stop("metrics")
        nursery.cancel_scope.cancel()


async def test_a_snapshot_has_every_series_and_the_figures_of_every_owner(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running() as kit:
        kit.owners.counters = Counters(submitted=5, succeeded=4, waiting=1)
        kit.samples.add_call("a", 0.5, 0.1)
        kit.samples.add_attempt("a", "success", 0.4, None, None)
        kit.samples.add_cached("a", 0.00001)
        await trio.sleep(2.0)
        snapshot = await kit.snapshot()
    assert tuple(snapshot.latency) == SERIES
    assert snapshot.latency["response"].max_s == 0.5
    assert snapshot.latency["queue"].count == snapshot.latency["service"].count == 1
    assert snapshot.latency["ttft"].count == 0
    assert snapshot.latency["cached_response"].count == 1
    assert snapshot.cache.hit_rate == 0.75
    assert (snapshot.router.backlog, snapshot.memory.rss_bytes, snapshot.mailboxes["cache"].depth) == (7, 11, 2)
    assert snapshot.taken_at_s == pytest.approx(2.0)
    assert snapshot.throughput_per_s == pytest.approx(2.0)


async def test_a_snapshot_holds_what_was_measured_just_before_it_was_asked_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running() as kit:
        for count in (1, 2, 3):
            kit.samples.add_call("a", 0.2, 0.1)
            kit.samples.add_attempt("a", "success", 0.1, 0.05, 0.001)
            kit.samples.add_connection("a", 0.01)
            snapshot = await kit.snapshot()
            counts = {name: summary.count for name, summary in snapshot.latency.items()}
            assert counts.pop("mailbox_wait") >= 0
            assert counts == dict.fromkeys(counts, count) | {"cached_response": 0}


async def test_samples_are_folded_without_anybody_asking(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as kit:
        kit.samples.add_shared("a", 0.3)
        await trio.sleep(COLLECT_INTERVAL_S * 1.1)
        assert kit.folded("response") == 1
        assert kit.samples.waiting == 0
        kit.samples.add_shared("a", 0.3)
        await trio.sleep(COLLECT_INTERVAL_S * 1.1)
        assert kit.folded("response") == 2


async def test_many_samples_are_folded_in_slices_between_which_others_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    turns: list[int] = []
    async with running() as kit:

        async def neighbour() -> None:
            while True:
                turns.append(kit.folded("cached_response"))
                await trio.lowlevel.checkpoint()

        for _ in range(20 * FOLD_SLICE):
            kit.samples.add_cached("a", 0.00001)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(neighbour)
            snapshot = await kit.snapshot()
            nursery.cancel_scope.cancel()
    assert snapshot.latency["cached_response"].count == 20 * FOLD_SLICE
    growth = [after - before for before, after in pairwise(turns)]
    assert max(growth) <= 2 * FOLD_SLICE  # the first slice may be inline, in the turn of who asks
    assert len(set(turns)) >= 10


async def test_a_snapshot_asked_for_during_a_long_fold_comes_with_what_was_there_when_it_was_asked_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    counts: list[int] = []
    async with running() as kit:

        async def ask(task_status: trio.TaskStatus[None]) -> None:
            task_status.started()  # up to the wait for the answer there is no checkpoint
            counts.append((await kit.snapshot()).latency["response"].count)

        async with trio.open_nursery() as nursery:
            for wave in range(3):
                for _ in range(5 * FOLD_SLICE):
                    kit.samples.add_shared("a", 0.1 + wave)
                await nursery.start(ask)
    assert counts == [5 * FOLD_SLICE, 10 * FOLD_SLICE, 15 * FOLD_SLICE]


async def test_everybody_who_asks_at_once_is_answered(autojump_clock: trio.testing.MockClock) -> None:
    answered: list[Snapshot] = []
    async with running() as kit:
        for _ in range(3 * FOLD_SLICE):
            kit.samples.add_cached("a", 0.001)

        async def ask() -> None:
            answered.append(await kit.snapshot())

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(ask)
    assert [snapshot.latency["cached_response"].count for snapshot in answered] == [3 * FOLD_SLICE] * 50


async def test_who_stops_waiting_for_a_snapshot_disturbs_nobody(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as kit:
        for _ in range(10 * FOLD_SLICE):
            kit.samples.add_cached("a", 0.001)
        with trio.CancelScope() as scope:
            scope.cancel()
            await kit.snapshot()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kit.snapshot)
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert (await kit.snapshot()).latency["cached_response"].count == 10 * FOLD_SLICE


async def test_who_waits_for_a_fold_when_the_actor_stops_is_told_so(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as kit:
        for _ in range(50 * FOLD_SLICE):
            kit.samples.add_cached("a", 0.001)
        waiting = [TakeSnapshot() for _ in range(3)]
        for message in waiting:
            kit.box.tell(message)
        await trio.lowlevel.checkpoint()
    assert all(isinstance(message.reply.take(), Failed) for message in waiting)
    with pytest.raises(EngineClosedError):
        await kit.snapshot()


async def test_an_owner_that_cannot_answer_fails_that_snapshot_and_the_actor_starts_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running() as kit:
        kit.samples.add_call("a", 0.5, 0.1)
        kit.samples.add_attempt("a", "success", 0.4, None, None)
        kit.owners.broken = True
        with pytest.raises(EngineClosedError):
            await kit.snapshot()
        kit.owners.broken = False
        await trio.sleep(1.0)
        assert (await kit.snapshot()).latency["response"].count == 1  # no sample was lost


async def test_out_of_range_and_dropped_samples_are_counted(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as kit:
        kit.samples.add_cached("a", -1.0)
        assert (await kit.snapshot()).latency["cached_response"].out_of_range == 1
        for _ in range(CAPACITY + 5):
            kit.samples.add_cached("a", 0.001)
        assert kit.samples.dropped == 5
        assert (await kit.snapshot()).latency["cached_response"].count == CAPACITY


def test_a_full_buffer_drops_and_counts_and_keeps_its_size() -> None:
    buffer = SampleBuffer()
    for _ in range(CAPACITY + 10):
        buffer.add_call("a", 0.1, 0.0)
        buffer.add_shared("a", 0.1)
    assert buffer.dropped == 30
    taken = buffer.take()
    assert max(len(samples) for samples in taken.values()) == CAPACITY
    assert buffer.waiting == 0
    assert not any(buffer.take().values())


async def test_every_series_is_there_by_endpoint_and_outcome_and_the_totals_are_of_what_succeeded(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running() as kit:
        samples = kit.samples
        samples.add_call("a", 0.5, 0.1)
        samples.add_shared("a", 0.6)
        samples.add_call("b", 0.7, 0.2)
        samples.add_failed("b", "rate_limited", 60.0)
        samples.add_failed("", "cancelled", 3.0)
        samples.add_attempt("a", "success", 0.4, 0.1, 0.01)
        samples.add_attempt("b", "overloaded", 9.0, None, None)
        kit.owners.waits = [0.001, 0.002]
        snapshot = await kit.snapshot()
    found = {(s.name, s.endpoint, s.outcome): s.summary.count for s in snapshot.series}
    assert found == {
        ("response", "a", "call"): 1,
        ("response", "a", "shared"): 1,
        ("response", "b", "call"): 1,
        ("response", "b", "rate_limited"): 1,
        ("response", "", "cancelled"): 1,
        ("queue", "a", "call"): 1,
        ("queue", "b", "call"): 1,
        ("service", "a", "success"): 1,
        ("service", "b", "overloaded"): 1,
        ("ttft", "a", "success"): 1,
        ("tpot", "a", "success"): 1,
        ("mailbox_wait", "", "success"): 2,
    }
    assert [s.actor for s in snapshot.series if s.name == "mailbox_wait"] == ["cache"]
    assert snapshot.latency["response"].count == 3
    assert snapshot.latency["response"].max_s == 0.7
    assert snapshot.latency["service"].max_s == 0.4
    assert all(series.histogram is None for series in snapshot.series)


async def test_a_snapshot_with_histograms_has_all_counts(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as kit:
        for _ in range(3):
            kit.samples.add_shared("a", 0.5)
        snapshot = await kit.box.ask(TakeSnapshot(histograms=True))
        now = kit.actor.snapshot_now(histograms=True)
    for each in (snapshot, now):
        histogram = each.series[0].histogram
        assert histogram is not None
        assert histogram.counts == (3,)
        assert histogram.summary() == each.series[0].summary


async def test_a_snapshot_at_once_folds_no_more_than_a_turn_has_time_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running() as kit:
        for _ in range(3 * FOLD_AT_ONCE):
            kit.samples.add_cached("a", 0.001)
        assert kit.actor.snapshot_now(histograms=False).latency["cached_response"].count == FOLD_AT_ONCE
        assert (await kit.snapshot()).latency["cached_response"].count == 3 * FOLD_AT_ONCE


async def test_without_metrics_no_sample_is_kept() -> None:
    buffer = SampleBuffer(enabled=False)
    buffer.add_call("a", 0.1, 0.0)
    buffer.add_cached("a", 0.1)
    assert (buffer.waiting, buffer.dropped) == (0, 0)


async def test_a_look_is_late_when_the_loop_comes_round_after_its_time(mock_clock: trio.testing.MockClock) -> None:
    async with running() as kit:
        for elapsed_s in (COLLECT_INTERVAL_S, COLLECT_INTERVAL_S + 0.009, COLLECT_INTERVAL_S + 0.35):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(elapsed_s)
            await trio.testing.wait_all_tasks_blocked()
        loop = (await kit.snapshot()).loop
    assert (loop.looks, loop.late) == (3, 1)
    assert loop.late_s == loop.longest_late_s == pytest.approx(0.35)
    assert 0 < loop.elapsed_s < 10
