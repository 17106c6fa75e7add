"""Does every answer mean the same however it is cut, and the same as for an independent parser?"""

from __future__ import annotations

from dataclasses import dataclass

import h11
import httpx2
from hypothesis import assume, given

from synth_actors.wire.response import ResponseParser
from tests.wire.answers import CUTS, Answer, answers, cut
from tests.wire.feeding import bytewise


@dataclass(frozen=True)
class Outcome:
    """What a parser made of an answer: its head, its body, and where that left the connection."""

    status: int
    reason: bytes
    version: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    is_complete: bool
    may_reuse: bool


def outcome(feeds: list[bytes], method: str) -> Outcome:
    parser = ResponseParser(method)
    body = b"".join(piece for data in feeds for piece in parser.feed(data))
    head = parser.head
    assert head is not None
    return Outcome(
        head.status, head.reason, head.version, tuple(head.headers), body, parser.is_complete, parser.may_reuse
    )


def meant(answer: Answer) -> Outcome:
    return Outcome(
        answer.status,
        answer.reason,
        answer.version,
        answer.headers,
        answer.body,
        not answer.end_needed,
        answer.may_reuse,
    )


@given(answers(), CUTS)
def test_an_answer_means_what_was_put_into_it_whole_in_bytes_and_cut_anywhere(
    answer: Answer, places: list[int]
) -> None:
    expected = meant(answer)
    assert outcome([answer.data], answer.method) == expected
    assert outcome(bytewise(answer.data), answer.method) == expected
    assert outcome(cut(answer.data, places), answer.method) == expected


@given(answers(), CUTS)
def test_an_answer_is_whole_at_its_last_byte_and_no_sooner(answer: Answer, places: list[int]) -> None:
    parser = ResponseParser(answer.method)
    begun = answer.data[:-1]
    for data in cut(begun, places):
        parser.feed(data)
    assert not parser.is_complete
    assert not parser.may_reuse
    if not answer.end_needed or parser.head is None:
        try:
            parser.end()
        except httpx2.RemoteProtocolError:
            return
        raise AssertionError("an answer that lacks its last byte was taken for whole")
    parser.end()
    assert parser.is_complete


@given(answers(), answers(), CUTS)
def test_a_second_answer_behind_the_first_is_never_mixed_into_it(
    first: Answer, second: Answer, places: list[int]
) -> None:
    assume(not first.end_needed)
    parser = ResponseParser(first.method)
    body = b"".join(piece for data in cut(first.data + second.data, places) for piece in parser.feed(data))
    assert parser.head is not None
    assert (parser.head.status, tuple(parser.head.headers), body) == (first.status, first.headers, first.body)
    assert parser.is_complete
    assert not parser.may_reuse


@given(answers(), CUTS)
def test_h11_reads_the_same_in_every_answer_that_it_reads(answer: Answer, places: list[int]) -> None:
    try:
        theirs = by_h11(answer, cut(answer.data, places))
    except h11.RemoteProtocolError:
        assume(False)  # a blank between the size of a chunk and its extension; one answer in thirty has it
    ours = outcome(cut(answer.data, places), answer.method)
    assert theirs == (ours.status, ours.reason, ours.version, in_small_letters(ours.headers), ours.body)


def in_small_letters(headers: tuple[tuple[bytes, bytes], ...]) -> tuple[tuple[bytes, bytes], ...]:
    """As h11 has it: the one value that it rewrites is that of Transfer-Encoding."""
    return tuple((name, value.lower() if name == b"Transfer-Encoding" else value) for name, value in headers)


def by_h11(answer: Answer, feeds: list[bytes]) -> tuple[int, bytes, bytes, tuple[tuple[bytes, bytes], ...], bytes]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=answer.method, target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    head: h11.Response | None = None
    body = b""
    for data in [*filter(None, feeds), *([b""] if answer.end_needed else [])]:  # b"" is the end of the connection
        connection.receive_data(data)
        while (event := connection.next_event()) is not h11.NEED_DATA:
            match event:
                case h11.Response():
                    head = event
                case h11.Data():
                    body += bytes(event.data)
                case h11.EndOfMessage():
                    assert head is not None
                    headers = tuple((bytes(name), bytes(value)) for name, value in head.headers.raw_items())
                    return head.status_code, head.reason, b"HTTP/" + head.http_version, headers, body
                case h11.PAUSED:
                    break
    raise AssertionError("h11 finds no end")
