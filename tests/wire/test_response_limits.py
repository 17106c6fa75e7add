"""How much may an answer have of everything, and does one more of it end it, however it is cut?"""

from __future__ import annotations

import pytest

from synth_actors.wire.response import MOST_CHUNK_OVERHEAD_BYTES, MOST_HEAD_BYTES, MOST_HEADERS, MOST_REASON_BYTES
from tests.wire.feeding import CHUNKED, OK, bytewise, fed, is_reused, refusal


def test_a_head_of_the_greatest_length_is_read_and_one_byte_more_is_refused() -> None:
    interim = b"HTTP/1.1 100 x\r\n\r\n"
    frame = interim + OK + b"X: \r\n\r\n"
    for extra_bytes in (0, 1):
        answer = frame.replace(b"X: ", b"X: " + b"a" * (MOST_HEAD_BYTES - len(frame) + extra_bytes)) + b"body"
        for feeds in ([answer], bytewise(answer), [answer[:60_000], answer[60_000:]]):
            if extra_bytes:
                assert "longer than 102400 bytes" in refusal(feeds)
            else:
                assert fed(feeds)[1] == b"body"


def test_the_most_headers_are_read_and_one_more_is_refused() -> None:
    most = OK + b"a: 1\r\n" * (MOST_HEADERS - 1) + b"Content-Length: 0\r\n"
    assert is_reused(most + b"\r\n")
    for feeds in ([most + b"b: 2\r\n\r\n"], bytewise(most + b"b: 2\r\n\r\n")):
        assert "more than 256 headers" in refusal(feeds)


def test_the_longest_status_line_is_read_and_a_longer_one_is_refused() -> None:
    most = b"HTTP/1.1 200 " + b"a" * MOST_REASON_BYTES
    assert is_reused(most + b"\r\nContent-Length: 0\r\n\r\n")
    for feeds in ([most + b"a"], bytewise(most + b"a")):
        assert "status line" in refusal(feeds)


def test_too_many_trailers_are_refused() -> None:
    assert is_reused(CHUNKED + b"0\r\n" + b"a: 1\r\n" * MOST_HEADERS + b"\r\n")
    for feeds in (
        [CHUNKED + b"0\r\n" + b"a: 1\r\n" * (MOST_HEADERS + 1) + b"\r\n"],
        [CHUNKED + b"0\r\n", b"a: " + b"1" * MOST_CHUNK_OVERHEAD_BYTES],
        [CHUNKED + b"0\r\nb: " + b"1" * MOST_HEAD_BYTES + b"\r\n\r\n"],
    ):
        assert "trailers" in refusal(feeds) or "frames" in refusal(feeds)


@pytest.mark.parametrize("read_bytes", [1, 7, 16, 100, 65536])
@pytest.mark.parametrize(
    "endless",
    [
        b"1;" + b"a" * 2 * MOST_CHUNK_OVERHEAD_BYTES,
        b"0\r\na: " + b"a" * 2 * MOST_CHUNK_OVERHEAD_BYTES,
        b"1;aaaaaaaaaaaaaaaaa\r\n!\r\n" * (MOST_CHUNK_OVERHEAD_BYTES // 5 + 1000),
    ],
    ids=["extension", "trailer", "many extensions"],
)
def test_much_frame_around_little_content_is_refused_in_whatever_pieces_it_comes(
    endless: bytes, read_bytes: int
) -> None:
    """CVE-2023-39326; 16 bytes a piece were free once, so that endless frames in reads of 16 bytes were."""
    assert "frames" in refusal([CHUNKED] + [endless[at : at + read_bytes] for at in range(0, len(endless), read_bytes)])


def test_honest_chunks_of_one_byte_are_no_waste_however_they_are_cut() -> None:
    answer = CHUNKED + b"1;x=12345678\r\n!\r\n" * 5000 + b"0\r\n\r\n"
    for read_bytes in (1, 2, 3, 5, 1000):
        assert fed([answer[at : at + read_bytes] for at in range(0, len(answer), read_bytes)])[1] == b"!" * 5000


def test_a_frame_may_be_twice_as_long_as_what_is_in_it() -> None:
    chunk = b"1388;" + b"a" * 9990 + b"\r\n" + b"x" * 5000 + b"\r\n"
    for read_bytes in (len(chunk), 4 * len(chunk)):
        data = chunk * 40
        feeds = [CHUNKED, *(data[at : at + read_bytes] for at in range(0, len(data), read_bytes))]
        assert len(fed(feeds)[1]) == 40 * 5000
        assert "frames" in refusal([CHUNKED, *[chunk.replace(b"a", b"aa")] * 40])
