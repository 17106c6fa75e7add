"""Do readers that are not ours find in an interval log what happened, when, and with the same percentiles?"""

from __future__ import annotations

import io
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.testing
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from synth_actors import EngineConfig, open_engine
from synth_actors.actors.metrics import FOLD_AT_ONCE
from synth_actors.errors import ConfigError
from synth_actors.histogram import Histogram
from synth_actors.telemetry import hlog
from synth_actors.telemetry.hdr_encoding import BUCKETS, SUB_BUCKETS, encode
from synth_actors.telemetry.hgrm import write_percentiles
from synth_actors.telemetry.hlog import HlogWriter, IntervalLog, log_intervals
from synth_actors.testing import ScriptedProvider
from tests.telemetry.readers import intervals_of, percentiles_by_java, sum_by_tag, without_start
from tests.telemetry.samples import histogram_of, mixed_samples

GOLDEN = Path(__file__).with_name("golden")
BEGUN = 1_764_540_000.125


def filled(samples: list[float]) -> HdrHistogram:
    """The dense histogram that the `hdrhistogram` package makes of the samples itself."""
    dense = HdrHistogram(1, 3_600_000_000, 3)
    for sample in samples:
        assert dense.record_value(int(sample * 1_000_000 + 0.5))
    return dense


def write_two_intervals(path: Path) -> None:
    with HlogWriter(path, start_wall_s=BEGUN) as log:
        log.write(histogram_of(mixed_samples(5000, 1)), start_s=0.0, end_s=1.0, tag="response.a")
        log.write(histogram_of(mixed_samples(50, 3)), start_s=0.0, end_s=1.0, tag="response.b")
        log.write(histogram_of(mixed_samples(3000, 2)), start_s=1.0, end_s=1.75, tag="response.a")


# ----------------------------------------------------------------------------------------------------------- encoding


@given(st.lists(st.floats(0.0, 3600.0), max_size=80))
def test_what_is_decoded_has_every_counter(samples: list[float]) -> None:
    decoded = HdrHistogram.decode(encode(histogram_of(samples)))
    expected = filled(samples)
    assert list(decoded.counts) == list(expected.counts)
    assert (decoded.bucket_count, decoded.sub_bucket_count) == (BUCKETS, SUB_BUCKETS)
    assert decoded.get_total_count() == len(samples)


@given(st.integers(1, 2**40), st.sampled_from([0.0, 0.0001, 0.002047, 0.002048, 1.0, 3600.0]))
def test_a_counter_may_be_as_large_as_it_gets(count: int, value_s: float) -> None:
    one = histogram_of([value_s])
    decoded = HdrHistogram.decode(encode(Histogram(lowest_us=one.lowest_us, counts=(count,), max_s=value_s)))
    assert decoded.get_total_count() == count
    assert decoded.get_count_at_value(int(value_s * 1_000_000 + 0.5)) == count


def test_a_hundred_thousand_mixed_samples_have_the_same_percentiles() -> None:
    samples = sorted(mixed_samples(100_000, 7))
    histogram = histogram_of(samples)
    decoded = HdrHistogram.decode(encode(histogram))
    for share in (0.5, 0.9, 0.99, 0.999, 0.9999):
        theirs_s = decoded.get_value_at_percentile(100.0 * share) / 1_000_000
        assert theirs_s == pytest.approx(histogram.percentile_s(share), rel=1e-12)
        assert theirs_s == pytest.approx(samples[int(share * len(samples) + 0.5) - 1], rel=0.001)


# ------------------------------------------------------------------------------------------------------------- format


def test_a_log_has_the_lines_of_javas_writer() -> None:
    text = io.StringIO()
    log = HlogWriter(text, start_wall_s=BEGUN)
    log.write(histogram_of([0.25]), start_s=0.0, end_s=1.5, tag="response.a")
    log.write(histogram_of([3.0]), start_s=1.5, end_s=2.25)
    log.close()
    head, first, second = text.getvalue().splitlines()[:5], *text.getvalue().splitlines()[5:]
    assert head == [
        "#[Logged by synth-actors: values in microseconds, Interval_Max in milliseconds]",
        "#[Histogram log format version 1.3]",
        "#[StartTime: 1764540000.125 (seconds since epoch), Sun Nov 30 22:00:00 UTC 2025]",
        "#[BaseTime: 1764540000.125 (seconds since epoch)]",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"',
    ]
    assert first.startswith("Tag=response.a,0.000,1.500,250.111,HISTFAAA")
    assert second.startswith("1.500,0.750,3000.319,HISTFAAA")


def test_another_reader_finds_the_times_and_the_tags(tmp_path: Path) -> None:
    write_two_intervals(tmp_path / "a.hlog")
    found = [
        (each.get_tag(), each.get_start_time_stamp() / 1000 - BEGUN, each.get_end_time_stamp() / 1000 - BEGUN)
        for each in intervals_of(tmp_path / "a.hlog")
    ]
    expected = [("response.a", 0.0, 1.0), ("response.b", 0.0, 1.0), ("response.a", 1.0, 1.75)]
    assert [tag for tag, *_ in found] == [tag for tag, *_ in expected]
    assert [times for _, *times in found] == [pytest.approx(times) for _, *times in expected]


@pytest.mark.parametrize("tag", ["response.a", "response.b"])
def test_java_finds_our_percentiles_in_our_log(tmp_path: Path, tag: str) -> None:
    write_two_intervals(tmp_path / "a.hlog")
    samples = {"response.a": mixed_samples(5000, 1) + mixed_samples(3000, 2), "response.b": mixed_samples(50, 3)}
    ours = io.StringIO()
    write_percentiles(histogram_of(samples[tag]), ours)
    assert percentiles_by_java(tmp_path / "a.hlog", tag) == ours.getvalue()


@pytest.mark.parametrize("tag", ["response.a", "response.b"])
def test_what_java_has_read_of_this_log_is_what_is_written_today(tmp_path: Path, tag: str) -> None:
    write_two_intervals(tmp_path / "a.hlog")
    kept, new = sum_by_tag(GOLDEN / "two-intervals.hlog")[tag], sum_by_tag(tmp_path / "a.hlog")[tag]
    assert list(kept.counts) == list(new.counts)
    table = without_start((GOLDEN / f"java-{tag}.hgrm").read_text(encoding="utf-8"))
    for line in table.splitlines()[2:-3]:
        value_ms, _, count, *_ = map(float, line.split())
        index = new.get_counts_array_index(round(1000 * value_ms))
        assert sum(new.counts[: index + 1]) == count


@pytest.mark.parametrize("tag", ["a, b\n#[BaseTime: 0]", "é", "50%,", 'x"y', "half \ud800"])
def test_a_tag_cannot_break_its_line(tmp_path: Path, tag: str) -> None:
    with HlogWriter(tmp_path / "a.hlog", start_wall_s=BEGUN) as log:
        log.write(histogram_of([1.0]), start_s=0.0, end_s=1.0, tag=tag)
    (found,) = sum_by_tag(tmp_path / "a.hlog")
    assert found.isascii()
    assert not set(found) & set(', \n"')


# --------------------------------------------------------------------------------------------------------------- files


def test_a_log_is_continued_under_a_header_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.hlog"
    write_two_intervals(path)
    path.write_bytes(path.read_bytes() + b"Tag=response.a,5.000,1.000,2.0")  # its writer was killed here
    with HlogWriter(path, start_wall_s=BEGUN + 100.0) as log:
        log.write(histogram_of([1.0]), start_s=0.0, end_s=1.0, tag="response.c")
    *_, last = intervals_of(path)
    assert last.get_tag() == "response.c"
    assert last.get_start_time_stamp() / 1000 == pytest.approx(BEGUN + 100.0)
    assert sum_by_tag(path)["response.a"].get_total_count() == 8000


@pytest.mark.parametrize("content", [b'{"id": 1}\n', b"\xff\xfe", b"x"])
def test_a_file_that_is_no_log_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="holds something else than an interval log; name another file"):
        HlogWriter(path, start_wall_s=BEGUN)
    assert path.read_bytes() == content


# ------------------------------------------------------------------------------------------------------- of an engine


CALLS = "response.scripted.call"


def counts_of(path: Path, tag: str) -> list[tuple[float, float, int]]:
    """Start and end in seconds after the first line's start of the log, and how many samples."""
    return [
        (each.get_start_time_stamp() / 1000, each.get_end_time_stamp() / 1000, each.get_total_count())
        for each in intervals_of(path)
        if each.get_tag() == tag
    ]


async def until(log: IntervalLog, intervals: int) -> None:
    while log.intervals < intervals:
        await trio.lowlevel.checkpoint()


async def test_each_interval_holds_what_happened_in_it(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    path = tmp_path / "a.hlog"
    async with open_engine([ScriptedProvider()]) as engine:
        await engine.generate("before the log")
        async with log_intervals(engine, path, 1.0) as log:
            await engine.generate("a")
            await engine.generate("b")
            mock_clock.jump(1.0)
            await until(log, 1)
            mock_clock.jump(1.0)  # nothing happens in this one
            await until(log, 2)
            await engine.generate("c")
            mock_clock.jump(0.25)
        assert log.problem is None
    first, second = counts_of(path, CALLS)
    begun = first[0]
    assert [first[1] - begun, *second[:2]] == pytest.approx([1.0, begun + 2.0, begun + 2.25])
    assert (first[2], second[2]) == (2, 1)
    assert log.lines == len(list(intervals_of(path)))


async def test_the_intervals_together_are_the_engines_own_histogram(tmp_path: Path) -> None:
    path = tmp_path / "a.hlog"
    async with open_engine(["local"]) as engine:
        async with log_intervals(engine, path, 0.01):
            for batch in range(5):
                await engine.generate_batch([f"{batch} {number % 40}" for number in range(60)], max_tokens=20)
        whole = {hlog.tag_of(each): each.histogram for each in engine.metrics_now(histograms=True).series}
    read = sum_by_tag(path)
    assert {"response.local.call", "service.local.success", "cached_response.local.cache"} <= set(read)
    for tag, sums in read.items():
        histogram = whole[tag]
        assert histogram is not None
        assert sums.get_total_count() == histogram.count
        assert [sums.get_count_at_value(low) for low in histogram.lowest_us] == list(histogram.counts)


async def test_the_last_interval_is_written_when_the_program_is_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "a.hlog"
    async with open_engine([ScriptedProvider()]) as engine:
        with trio.CancelScope() as scope:
            async with log_intervals(engine, path, 60.0) as log:
                await engine.generate("a")
                scope.cancel()
                await trio.sleep_forever()
    assert scope.cancelled_caught
    assert [count for *_, count in counts_of(path, CALLS)] == [1]
    assert log.problem is None


async def test_the_last_interval_has_everything_be_it_more_than_is_folded_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.hlog"
    many = 5 * FOLD_AT_ONCE
    async with open_engine([ScriptedProvider()]) as engine, log_intervals(engine, path, 60.0):
        for _ in range(many):
            engine._wiring._samples.add_call("scripted", 0.1, 0.0)
    assert [count for *_, count in counts_of(path, CALLS)] == [many]


async def test_the_last_interval_is_written_when_the_body_raises(tmp_path: Path) -> None:
    path = tmp_path / "a.hlog"
    async with open_engine([ScriptedProvider()]) as engine:
        with pytest.raises(KeyError, match="its own"):  # noqa: PT012  (the body is what is tested)
            async with log_intervals(engine, path, 60.0):
                await engine.generate("a")
                raise KeyError("its own")
    assert [count for *_, count in counts_of(path, CALLS)] == [1]


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A named pipe, and the descriptor of the one that reads it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield path, reader
    with suppress(OSError):
        os.close(reader)


async def test_trouble_with_the_disk_is_one_warning_and_the_engine_goes_on(
    pipe: tuple[Path, int], mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    path, reader = pipe
    async with open_engine([ScriptedProvider()]) as engine, log_intervals(engine, path, 1.0) as log:
        os.close(reader)
        for number in range(3):
            assert (await engine.generate(f"p{number}")).text == "ok"
            mock_clock.jump(1.0)
            await trio.testing.wait_all_tasks_blocked()
        while log.problem is None:
            await trio.lowlevel.checkpoint()
    assert isinstance(log.problem, BrokenPipeError)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [f"hlog {path}: cannot be written (Broken pipe): it ends here, the run goes on"]


async def test_a_disk_that_hangs_keeps_nobody_from_leaving(
    pipe: tuple[Path, int], autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    path, reader = pipe
    async with open_engine([ScriptedProvider()]) as engine:
        async with log_intervals(engine, path, 1.0) as log:
            fill(path)
            await engine.generate("a")
            left_at = trio.current_time()
        assert trio.current_time() - left_at == pytest.approx(hlog.LAST_S)
    assert isinstance(log.problem, TimeoutError)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    os.close(reader)  # the write that hung fails now, in its thread, which closes the file
    assert log._writer is not None
    while not log._writer._file.closed:
        await trio.to_thread.run_sync(threading.Event().wait, 0.001)


async def test_a_disk_that_fails_while_the_block_is_left_is_one_warning_too(
    pipe: tuple[Path, int], mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    path, reader = pipe

    async def fail_soon() -> None:
        await trio.testing.wait_all_tasks_blocked(0.01)  # until the first write hangs, and the last one waits for it
        os.close(reader)

    async with open_engine([ScriptedProvider()]) as engine, trio.open_nursery() as nursery:
        async with log_intervals(engine, path, 1.0) as log:
            fill(path)
            await engine.generate("a")
            mock_clock.jump(1.0)
            await until(log, 1)
            await engine.generate("b")
            nursery.start_soon(fail_soon)
        assert (await engine.generate("c")).text == "ok"
    assert isinstance(log.problem, BrokenPipeError)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert log._writer is not None
    assert log._writer._file.closed


async def test_a_pipe_that_nobody_reads_keeps_nobody_from_leaving(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    async with open_engine([ScriptedProvider()]) as engine:
        with trio.move_on_after(1.0) as scope:
            async with log_intervals(engine, path):
                pytest.fail("it was entered")
        assert scope.cancelled_caught
        assert (await engine.generate("a")).text == "ok"
    reader = os.open(path, os.O_RDONLY)  # now the thread comes back, and closes what it has opened
    assert await trio.to_thread.run_sync(lambda: read_to_the_end(reader))
    os.close(reader)


def read_to_the_end(descriptor: int) -> bytes:
    parts = iter(lambda: os.read(descriptor, 4096), b"")
    return b"".join(parts)


def fill(path: Path) -> None:
    """Leave no room in a pipe."""
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    for size in (4096, 1):
        with suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * size)
    os.close(writer)


@pytest.mark.parametrize(("path", "reason"), [("/dev/full", "No space left"), ("/nowhere/a.hlog", "No such file")])
async def test_a_file_that_cannot_be_written_is_refused_at_once(path: str, reason: str) -> None:
    async with open_engine(["local"]) as engine:
        with pytest.raises(ConfigError, match=f"hlog '{path}': cannot be written .{reason}.*; name another file"):
            async with log_intervals(engine, path):
                pytest.fail("it was entered")


@pytest.mark.parametrize("interval_s", [0.0, -1.0, float("nan"), float("inf"), True, "1", None])
async def test_an_interval_that_is_none_is_refused(tmp_path: Path, interval_s: float) -> None:
    async with open_engine(["local"]) as engine:
        with pytest.raises(ConfigError, match="give seconds above 0"):
            async with log_intervals(engine, tmp_path / "a.hlog", interval_s):
                pytest.fail("it was entered")
    assert not (tmp_path / "a.hlog").exists()


async def test_an_engine_that_records_no_durations_has_no_log(tmp_path: Path) -> None:
    async with open_engine(["local"], EngineConfig(metrics=False)) as engine:
        with pytest.raises(ConfigError, match=r"EngineConfig\(metrics=False\) records no durations"):
            async with log_intervals(engine, tmp_path / "a.hlog"):
                pytest.fail("it was entered")


async def test_two_logs_are_not_written_to_one_file_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "a.hlog"
    async with open_engine(ScriptedProvider([])) as engine, open_engine(ScriptedProvider([])) as other:
        async with log_intervals(engine, path):
            for each in (engine, other):
                with pytest.raises(ConfigError, match="another log of this process is written there"):
                    async with log_intervals(each, tmp_path / "." / "a.hlog"):
                        pass
        async with log_intervals(other, path) as log:  # the first one is closed
            assert log.problem is None
