"""Does the incremental parser see the same events as a reading of the whole text by the letter of the standard?"""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.wire.sse import Event, EventParser, EventTooLongError


def reference(body: bytes) -> tuple[list[Event], int | None]:
    """The standard's algorithm over the whole text at once."""
    text = body.removeprefix(b"\xef\xbb\xbf").decode("latin-1")  # a letter for every byte
    lines = re.split(r"\r\n|\n|\r", text)[:-1]  # what follows the last line end is no line
    events: list[Event] = []
    data, kind, last_id, retry = "", "", "", None
    for line in lines:
        if line == "":
            if data != "":
                events.append(
                    Event(text_of(kind) or "message", data.removesuffix("\n").encode("latin-1"), text_of(last_id))
                )
            data, kind = "", ""
            continue
        if line.startswith(":"):
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data += value + "\n"
        elif field == "event":
            kind = value
        elif field == "id" and "\0" not in value:
            last_id = value
        elif field == "retry" and re.fullmatch("[0-9]{1,18}", value):
            retry = int(value)
    return events, retry


def text_of(letters: str) -> str:
    return letters.encode("latin-1").decode("utf-8", "replace")


def parse(chunks: list[bytes]) -> tuple[list[Event], int | None]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)], parser.retry_ms


FIELDS = [
    "event: a\ndata: b\n\n",
    "data: {}\n\ndata: {}\n\n",
    "data",
    "data:",
    "data: ",
    "event: ",
    "id: ",
    "retry: ",
    ":",
    ": ",
    "data: {}\n\n",
]
ENDS = ["\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n"]
PIECES = st.sampled_from(FIELDS + ENDS + ["x", "é", "🦦", "12", "\0", "\ufeff", "\u2028", "\x0b", "\x85", " "])
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=30).map(lambda pieces: "".join(pieces).encode())
BODIES = TEXTS | st.lists(TEXTS | st.binary(max_size=6), max_size=4).map(b"".join)


def cut(body: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in pairwise(marks)]


@given(BODIES, st.lists(st.integers(min_value=0, max_value=10_000), max_size=12))
def test_any_cutting_of_any_text_gives_the_events_of_the_standard(body: bytes, places: list[int]) -> None:
    assert parse(cut(body, places)) == reference(body)


@given(BODIES)
def test_one_byte_at_a_time_gives_the_same_as_the_whole(body: bytes) -> None:
    assert parse([body[i : i + 1] for i in range(len(body))]) == parse([body])


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"data: a\n\n", [Event("message", b"a")]),
        (b"data:a\ndata: b\n\n", [Event("message", b"a\nb")]),
        (b"data\n\n", [Event("message", b"")]),
        (b"event: ping\n\n", []),
        (b": keep-alive\n\ndata: x\r\n\r\n", [Event("message", b"x")]),
        (b"id: 7\ndata: x\n\ndata: y\n\n", [Event("message", b"x", "7"), Event("message", b"y", "7")]),
        (b"\xef\xbb\xbfdata: x\r\r", [Event("message", b"x")]),
        (b"data: never finished\n", []),
        (b"event: a\ndata:  two spaces\n\n", [Event("a", b" two spaces")]),
    ],
)
def test_the_examples_of_the_standard(body: bytes, events: list[Event]) -> None:
    assert parse([body])[0] == events
    assert parse([body[i : i + 1] for i in range(len(body))])[0] == events


@pytest.mark.parametrize("chunk", [b"data: " + b"x" * 100, b"data: xxxxxxxx\n", b"y" * 7])
def test_an_event_that_never_ends_is_refused_before_it_fills_the_memory(chunk: bytes) -> None:
    parser = EventParser(max_event_bytes=1000)

    def endless() -> None:
        for _ in range(1000):
            parser.feed(chunk)

    with pytest.raises(EventTooLongError, match="1000 bytes"):
        endless()


def test_many_events_together_may_be_longer_than_one_may_be() -> None:
    parser = EventParser(max_event_bytes=100)
    assert len(parser.feed(b"data: 0123456789\n\n" * 1000)) == 1000
