"""Do values come back unchanged, and does memory go back as soon as nothing in it lives?"""

from __future__ import annotations

from mmap import PAGESIZE

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.machine import map_pages
from synth_actors.policy.cache_entry import ENTRIES_PER_SEGMENT, ENTRY_OVERHEAD_BYTES, Entry, Memory
from synth_actors.policy.segments import DEAD_SHARE, SEGMENT_BYTES, SEGMENTS_AT_LEAST, Segments

ROOMY = 10**9
SMALL = SEGMENTS_AT_LEAST * PAGESIZE
"""So large a cache has segments of one page."""


class Allocator:
    """Keeps what it has given, so that a test can look at it afterwards."""

    def __init__(self) -> None:
        self.given: list[Closing] = []

    def __call__(self, size_bytes: int) -> Memory:
        self.given.append(Closing(size_bytes))
        return self.given[-1]

    @property
    def open_bytes(self) -> int:
        return sum(len(memory) for memory in self.given if not memory.closed)


class Closing(bytearray):
    closed = False

    def close(self) -> None:
        assert not self.closed
        self.closed = True


def add(segments: Segments, value: bytes) -> Entry:
    entry = Entry(b"k", len(value) + ENTRY_OVERHEAD_BYTES, 0.0, "maker")
    segments.add(entry, value)
    return entry


@pytest.mark.parametrize(
    ("max_bytes", "segment_bytes"),
    [
        (1, PAGESIZE),
        (SMALL, PAGESIZE),
        (3 * SMALL + PAGESIZE, 3 * PAGESIZE),
        (SEGMENTS_AT_LEAST * SEGMENT_BYTES, SEGMENT_BYTES),
        (2**40, SEGMENT_BYTES),
    ],
)
def test_a_small_cache_has_small_segments_of_whole_pages(max_bytes: int, segment_bytes: int) -> None:
    assert Segments(max_bytes, bytearray).segment_bytes == segment_bytes


def test_values_share_a_segment_until_it_is_full() -> None:
    segments = Segments(SMALL, bytearray)
    for _ in range(4):
        add(segments, bytes(PAGESIZE // 4))
    assert len(segments) == 1
    add(segments, b"x")
    assert len(segments) == 2


def test_a_segment_holds_a_bounded_number_of_entries() -> None:
    segments = Segments(ROOMY, bytearray)
    for _ in range(ENTRIES_PER_SEGMENT):
        add(segments, b"")
    assert len(segments) == 1
    add(segments, b"")
    assert len(segments) == 2


def test_a_larger_value_has_a_segment_of_its_own_and_the_open_one_stays_open() -> None:
    allocate = Allocator()
    segments = Segments(SMALL, allocate)
    first, large, second = add(segments, b"a"), add(segments, bytes(PAGESIZE + 1)), add(segments, b"b")
    assert first.segment is second.segment
    assert [len(memory) for memory in allocate.given] == [PAGESIZE, 2 * PAGESIZE]
    segments.remove(large)
    assert allocate.open_bytes == PAGESIZE


def test_only_pages_that_were_written_are_resident() -> None:
    segments = Segments(ROOMY, bytearray)
    add(segments, b"x")
    assert segments.resident_bytes == PAGESIZE
    add(segments, bytes(PAGESIZE - 1))
    assert segments.resident_bytes == PAGESIZE
    add(segments, b"x")
    assert segments.resident_bytes == 2 * PAGESIZE


def test_a_segment_goes_back_when_its_last_value_goes_also_the_one_that_is_written() -> None:
    allocate = Allocator()
    segments = Segments(SMALL, allocate)
    entries = [add(segments, bytes(PAGESIZE // 2)) for _ in range(5)]
    for entry in entries:
        segments.remove(entry)
    assert all(memory.closed for memory in allocate.given)
    assert (segments.live_bytes, segments.written_bytes, segments.resident_bytes, len(segments)) == (0, 0, 0, 0)
    assert segments.read(add(segments, b"again")) == b"again"


def test_mapped_pages_are_unmapped() -> None:
    segments = Segments(ROOMY, map_pages)
    entry = add(segments, b"text")
    assert entry.segment is not None
    memory = entry.segment.memory
    assert segments.read(entry) == b"text"
    segments.remove(entry)
    with pytest.raises(ValueError, match="closed"):
        memory[0:1]


def test_what_is_read_is_a_copy_that_outlives_its_segment() -> None:
    segments = Segments(ROOMY, map_pages)
    entry = add(segments, b"text")
    given = segments.read(entry)
    segments.clear()
    assert given == b"text"
    with pytest.raises(LookupError, match="has gone from the cache"):
        segments.read(entry)


def test_a_moved_value_is_the_same_and_its_old_segment_goes_back() -> None:
    allocate = Allocator()
    segments = Segments(SMALL, allocate)
    entries = [add(segments, bytes([number]) * 100) for number in range(3)]
    old = entries[0].segment
    assert old is not None
    segments.seal(old)
    for entry in entries:
        segments.move(entry)
    assert [segments.read(entry) for entry in entries] == [bytes([number]) * 100 for number in range(3)]
    assert [memory.closed for memory in allocate.given] == [True, False]
    assert segments.dead_bytes == 0


def test_new_values_and_moved_ones_lie_apart() -> None:
    segments = Segments(SMALL, bytearray)
    moved = add(segments, b"old")
    segments.move(moved)
    assert moved.segment is not add(segments, b"new").segment


def test_without_memory_nothing_changes() -> None:
    def none(size_bytes: int) -> Memory:
        raise OSError(12, "Cannot allocate memory")

    segments = Segments(SMALL, bytearray)
    entry = add(segments, b"text")
    segments._allocate = none
    with pytest.raises(MemoryError, match=f"no memory for {PAGESIZE} bytes of cached values"):
        segments.move(entry)
    assert (segments.read(entry), segments.live_bytes) == (b"text", 4)


def test_a_little_litter_is_left_where_it_is() -> None:
    segments = Segments(SMALL, bytearray)
    entries = [add(segments, bytes(PAGESIZE // 4)) for _ in range(100)]
    removed = 0
    while not segments.is_littered:
        segments.remove(entries[4 * removed])
        removed += 1
    assert segments.dead_bytes - PAGESIZE // 4 <= DEAD_SHARE * segments.written_bytes < segments.dead_bytes
    assert segments.most_dead().dead_bytes == PAGESIZE // 4


@given(
    values=st.lists(st.binary(max_size=40) | st.integers(0, 3 * PAGESIZE).map(bytes), min_size=1, max_size=40),
    steps=st.lists(st.tuples(st.sampled_from(["remove", "move", "add"]), st.integers(0, 10**6)), max_size=60),
)
def test_whatever_comes_moves_and_goes_values_and_sums_are_right(
    values: list[bytes], steps: list[tuple[str, int]]
) -> None:
    allocate = Allocator()
    segments = Segments(SMALL, allocate)
    held = [(add(segments, value), value) for value in values]
    for step, choice in steps:
        if step == "add":
            value = values[choice % len(values)]
            held.append((add(segments, value), value))
        elif held:
            entry, value = held[choice % len(held)]
            if step == "move":
                segments.move(entry)
            else:
                segments.remove(entry)
                held.remove((entry, value))
    for entry, value in held:
        assert segments.read(entry) == value
        assert entry.segment is not None
        assert entry.segment.entries[entry.slot] is entry
    assert segments.live_bytes == sum(len(value) for _entry, value in held)
    assert sum(len(segment.entries) for segment in segments) == len(held)
    assert segments.resident_bytes == sum(segment.resident_bytes for segment in segments) <= allocate.open_bytes
    assert allocate.open_bytes == sum(segment.size_bytes for segment in segments)


def test_reprs_say_what_lives() -> None:
    segments = Segments(SMALL, bytearray)
    entry = add(segments, b"text")
    assert repr(segments) == f"<Segments 1 of {PAGESIZE} bytes, live 4/4 bytes>"
    assert repr(entry.segment) == f"<Segment 1 entries, 4/4/{PAGESIZE} bytes>"
