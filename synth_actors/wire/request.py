"""Which bytes are this request?

The head of an HTTP/1.1 request (RFC 9112), and the frame of a body whose length is not known.  What httpx2 was given
goes out as it is, but nothing that would end a line where no line ends: a value with CR or LF in it would be a header,
or a request, of whoever wrote the value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

import httpx2

LAST_CHUNK = b"0\r\n\r\n"

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH = re.compile(rb"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The bytes of a head, and what they promise of the body: `length` bytes, or chunks, or nothing."""

    data: bytes = field(repr=False)  # keys among it
    length: int
    is_chunked: bool
    closes: bool  # it says `connection: close`


def head_of(request: httpx2.Request) -> RequestHead:
    """The head of a request.

    Raises:
        httpx2.LocalProtocolError: a name, a value, the method or the target holds what must not be sent, or the headers
            contradict each other; nothing was sent.
    """
    method = request.method.encode("ascii", "replace")
    target = request.extensions.get("target") or request.url.raw_path
    if not _is_token(method):
        raise httpx2.LocalProtocolError(f"{method[:80]!r} is no method that can be sent")
    if not isinstance(target, bytes) or not _TARGET.fullmatch(target):
        raise httpx2.LocalProtocolError(f"{_path(target)} is no target that can be sent: give bytes without blanks")
    if method == b"CONNECT":
        raise httpx2.LocalProtocolError("CONNECT is not spoken here: use httpx2's own transport for proxies")
    lines = [b"%b %b HTTP/1.1" % (method, target)]
    length: int | None = None
    is_chunked = closes = False
    for name, value in request.headers.raw:
        _check(name, value)
        lines.append(b"%b: %b" % (name, value))
        match len(name):
            case 10 if name.lower() == b"connection":
                closes = closes or b"close" in value.lower()
            case 14 if name.lower() == b"content-length":
                length = _length(value, length)
            case 17 if name.lower() == b"transfer-encoding":
                if value.lower() != b"chunked":
                    raise httpx2.LocalProtocolError(f"transfer-encoding {value[:80]!r}: only chunked can be sent")
                if is_chunked:
                    raise httpx2.LocalProtocolError(
                        "transfer-encoding is given twice: the body would be in chunks of chunks"
                    )
                is_chunked = True
    if is_chunked and length is not None:
        raise httpx2.LocalProtocolError("a request has either content-length or transfer-encoding, not both")
    lines.append(b"\r\n")
    return RequestHead(b"\r\n".join(lines), length or 0, is_chunked, closes)


def chunk_of(piece: bytes) -> bytes:
    """One chunk of a body whose length is not known; nothing for an empty piece, which would be its end."""
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""


def _check(name: bytes, value: bytes) -> None:
    if not _is_token(name):
        raise httpx2.LocalProtocolError(f"{name[:80]!r} is no name of a header")
    if _CONTROL.search(value):  # the value itself may be a key
        raise httpx2.LocalProtocolError(f"the value of the header {name.decode()!r} holds a control character")


def _path(target: object) -> str:
    """For an error: what stands in a query may be a key."""
    return repr(target.partition(b"?")[0][:80] if isinstance(target, bytes) else type(target).__name__)


def _length(value: bytes, before: int | None) -> int:
    if not _LENGTH.fullmatch(value):
        raise httpx2.LocalProtocolError(f"content-length {value[:80]!r} is no number of bytes")
    if before is not None and before != int(value):
        raise httpx2.LocalProtocolError(f"content-length is given as {before} and as {int(value)}")
    return int(value)


@lru_cache(maxsize=512)
def _is_token(name: bytes) -> bool:
    return _TOKEN.fullmatch(name) is not None
