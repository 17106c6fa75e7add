"""Which answers can a server send, and what has a client to make of each?

The strategies of hypothesis: an `Answer` is drawn as what it means, then written as bytes, so that a test knows what
the parser must say without asking another parser.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from hypothesis import strategies as st

Frame = Literal["length", "chunked", "until the end", "none", "head only"]
NO_BODY = {204, 304}
TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
RESERVED = {b"content-length", b"transfer-encoding", b"connection", b"proxy-connection", b"upgrade"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer as bytes, and what it means; `end_needed` where only the end of the connection ends the body."""

    data: bytes
    method: str
    status: int
    reason: bytes
    version: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    may_reuse: bool
    frame: Frame

    @property
    def end_needed(self) -> bool:
        return self.frame == "until the end"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` cut at some of its places (any numbers; they are taken modulo its length); pieces may be empty."""
    marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(marks)]


CUTS = st.lists(st.integers(min_value=0, max_value=10_000), max_size=10)

_NAMES = (
    st.text(TOKEN, min_size=1, max_size=12).map(str.encode).filter(lambda name: name.lower() not in RESERVED)
) | st.sampled_from([b"Content-Type", b"Trailer", b"TE", b"Set-Cookie", b"content-lengthy", b"x-transfer-encoding"])
_VISIBLE = [*range(0x21, 0x7F), *range(0x80, 0x100)]
_LETTERS = st.lists(st.sampled_from([*_VISIBLE, 0x20, 0x09]), max_size=12).map(bytes)
_VALUES = _LETTERS.map(lambda value: value.strip(b" \t")) | st.sampled_from(
    [b"", b"chunked", b"close", b"0", b'"a\\"b"']
)
_BLANKS = st.sampled_from([b"", b" ", b"\t", b"  \t "])
_LINE_ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"])
_FIELDS = st.lists(st.tuples(_NAMES, _VALUES), max_size=3)
_STATUSES = st.sampled_from([200, 201, 204, 304, 400, 404, 429, 500, 529]) | st.integers(min_value=200, max_value=599)
_REASONS = st.sampled_from([b"OK", b"", b"Too Many Requests", b"\xc3\x9cberlastet", b"a\tb "])
# Parts of what ends a line, a chunk, an answer: a body that looks like a frame is still a body.
_TEXTS = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"0\r\n\r\n", b"5\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"{}", b"\0"])
    | st.binary(max_size=20),
    max_size=8,
).map(b"".join)


@st.composite
def field_lines(draw: st.DrawFn, fields: list[tuple[bytes, bytes]]) -> bytes:
    """Fields as lines, with blanks around the values and now and then a bare LF."""
    lines = b""
    for name, value in fields:
        # Behind `chunked` a tab is refused, see test_response.py.
        after = draw(_BLANKS) if name != b"Transfer-Encoding" else b" "
        lines += name + b":" + draw(_BLANKS) + value + after + draw(_LINE_ENDS)
    return lines


@st.composite
def interim_answers(draw: st.DrawFn) -> bytes:
    """What may come before an answer."""
    status = draw(st.sampled_from([100, 102, 103, 104, 150, 199]))
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, draw(_REASONS), draw(field_lines(draw(_FIELDS))))


@st.composite
def chunks(draw: st.DrawFn, body: bytes) -> bytes:
    """A body in chunks of drawn sizes, with extensions and trailers."""
    size = draw(st.sampled_from([b"%x", b"%X", b"%04x", b"%x "]))
    extensions = st.sampled_from([b"", b"", b";a", b";a=b", b';a="b c";d'])
    pieces = [piece for piece in cut(body, draw(CUTS)) if piece]
    framed = [size % len(piece) + draw(extensions) + b"\r\n" + piece + b"\r\n" for piece in pieces]
    trailers = draw(field_lines(draw(st.lists(st.tuples(_NAMES, _VALUES), max_size=2))))
    return b"".join(framed) + draw(st.sampled_from([b"0", b"000"])) + draw(extensions) + b"\r\n" + trailers + b"\r\n"


@st.composite
def answers(draw: st.DrawFn, version: bytes | None = None) -> Answer:
    """Any answer that is to be accepted, within all limits."""
    version = version or draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0"]))
    method = draw(st.sampled_from(["POST", "POST", "GET", "HEAD"]))
    status, reason, body = draw(_STATUSES), draw(_REASONS), draw(_TEXTS)
    framing: Frame = draw(st.sampled_from(["length", "chunked", "until the end"]))
    headers = draw(_FIELDS)
    close = draw(st.sampled_from([None, None, b"close", b"Close, x", b"keep-alive", b"x"]))
    if close is not None:
        headers.append((b"Connection", close))
    if framing == "length":
        headers.append((draw(st.sampled_from([b"Content-Length", b"content-length"])), b"%d" % len(body)))
    elif framing == "chunked":
        headers.append((b"Transfer-Encoding", draw(st.sampled_from([b"chunked", b"Chunked"]))))
    headers = draw(st.permutations(headers))
    before = b"".join(draw(st.lists(interim_answers(), max_size=2)))
    head = b"HTTP/%b %d %b\r\n%b\r\n" % (version, status, reason, draw(field_lines(headers)))
    if method == "HEAD" or status in NO_BODY:
        sent = body = b""
        framing = "head only" if method == "HEAD" else "none"
    else:
        sent = draw(chunks(body)) if framing == "chunked" else body
    is_kept = (close == b"keep-alive" if version == b"1.0" else close not in {b"close", b"Close, x"}) and framing in {
        "length",
        "chunked",
        "none",
    }
    if version == b"1.0" and any(name == b"Transfer-Encoding" for name, _ in headers):
        is_kept = False  # RFC 9112, section 6.1
    return Answer(
        data=before + head + sent,
        method=method,
        status=status,
        reason=reason,
        version=b"HTTP/" + version,
        headers=tuple(headers),
        body=body,
        may_reuse=is_kept,
        frame=framing,
    )
