"""What does the parser of answers make of these bytes, in these pieces?"""

from __future__ import annotations

import httpx2
import pytest

from synth_actors.wire.response import ResponseParser

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
EMPTY = OK + b"Content-Length: 0\r\n\r\n"
HI = OK + b"Content-Length: 2\r\n\r\nhi"


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def fed(feeds: list[bytes], method: str = "POST") -> tuple[ResponseParser, bytes]:
    parser = ResponseParser(method)
    return parser, b"".join(piece for data in feeds for piece in parser.feed(data))


def refusal(feeds: list[bytes]) -> str:
    """What the parser says of these feeds, which it must not take."""
    with pytest.raises(httpx2.RemoteProtocolError) as caught:
        fed(feeds)
    return str(caught.value)


def is_reused(answer: bytes) -> bool:
    """Whether the connection may be used again, however the answer is cut."""
    whole, _ = fed([answer])
    cut, _ = fed(bytewise(answer))
    assert whole.is_complete
    assert cut.is_complete
    assert whole.may_reuse == cut.may_reuse
    return whole.may_reuse
