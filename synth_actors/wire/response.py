"""What is the answer in these bytes?

The client's half of HTTP/1.1 (RFC 9112): bytes in, the head and the pieces of the body out.  `httptools`, the binding
of Node's parser llhttp, finds the parts; what an answer is allowed to be, and where it ends, is decided here.  Pure
and incremental: the cuts between two calls of `feed` mean nothing.

Where a body ends (RFC 9112, section 6.3): with the head after HEAD, 204 and 304; with the last chunk; after
`content-length` bytes; else where the connection ends.  Interim answers (1xx) are passed over, trailers are dropped.

Refused is what leaves a doubt where an answer ends, since the next one would begin in the doubt: two lengths, a length
beside chunks, another transfer coding, folded headers, control characters.  A line may end in a bare LF, and blanks may
follow the size of a chunk: both are common, and neither leaves a doubt.  What follows an answer is nobody's answer: the
connection is not used again.
"""

from __future__ import annotations

from dataclasses import dataclass

import httptools
import httpx2

MOST_HEAD_BYTES = 100 * 1024
"""Of the heads of all interim answers and the answer itself, or of its trailers; as httpx2's own transport has it."""

MOST_HEADERS = 256
"""Of one head; Node takes 2,000, Python's http.client 100."""

MOST_REASON_BYTES = 4096
"""Of the text behind the status."""

MOST_CHUNK_OVERHEAD_BYTES = 16 * 1024
"""So much more than twice its content and 16 bytes a piece may the frame of a chunked body take, as Go's net/http has
it: a sender of one-byte chunks with long extensions makes much work of nothing (CVE-2023-39326)."""

_FREE_BYTES_A_PIECE = 16


@dataclass(frozen=True, slots=True)
class Head:
    """The head of an answer; names of headers as they were sent."""

    status: int
    reason: bytes
    version: bytes
    headers: list[tuple[bytes, bytes]]


class _UnaskedError(Exception):
    """Another answer begins after the answer."""


class ResponseParser:
    """One answer to a request with this method.

    `head` is None until the head was read; `is_complete` once nothing more belongs to the answer; `may_reuse` whether
    the next answer may come over the same connection then.

    Raises (from `feed` and `end`):
        httpx2.RemoteProtocolError: these bytes are no answer, or one that breaks a limit above.  Nothing else.
    """

    def __init__(self, method: str = "POST") -> None:
        self.head: Head | None = None
        self.is_complete = False
        self.may_reuse = False
        self._is_head_only = method == "HEAD"
        self._is_interim = False
        self._reason = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0  # names and values of all heads and trailers
        self._begun_bytes = 0  # fed before the head was whole
        self._length: int | None = None
        self._is_chunked = False
        self._pieces: list[bytes] = []
        self._body_bytes = 0
        self._overhead_bytes = 0
        parser = httptools.HttpResponseParser(self)
        parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)
        self._parser: httptools.HttpResponseParser | None = parser

    def __repr__(self) -> str:
        state = "complete" if self.is_complete else "body" if self.head is not None else "head"
        return f"<ResponseParser {state}, {self._body_bytes} bytes of body>"

    @property
    def is_untouched(self) -> bool:
        """Whether nothing of an answer has come."""
        return self.head is None and self._begun_bytes == 0

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces of the body that are in `data`, without the frames of chunks."""
        if self._parser is None or not data:
            self.may_reuse = self.may_reuse and not data
            return []
        pieces: list[bytes] = []
        self._pieces = pieces
        had_head = self.head is not None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            if not self.is_complete:
                self._parser = None
                raise _problem(exc) from None
            self.may_reuse = False  # only what follows the answer is wrong
        self._count(len(data), pieces, had_head=had_head)
        if self.is_complete:
            self._parser = None  # each holds the other: nothing is left to the collector of cycles
        return pieces

    def end(self) -> None:
        """The sender has ended its side of the connection."""
        if self.is_complete:
            self.may_reuse = False
            return
        self._parser = None
        if self.head is None:
            begun = self._begun_bytes > 0
            raise httpx2.RemoteProtocolError(
                "Server disconnected in the middle of a response's head."
                if begun
                else "Server disconnected without sending a response."
            )
        if self._is_chunked or self._length is not None:
            expected = "chunked" if self._length is None else f"{self._length} expected"
            raise httpx2.RemoteProtocolError(
                "peer closed connection without sending complete message body "
                f"({self._body_bytes} bytes received, {expected})"
            )
        self.is_complete = True

    def _count(self, fed_bytes: int, pieces: list[bytes], *, had_head: bool) -> None:
        """Hold what was fed against the limits; what llhttp has begun to read calls nobody before it is whole."""
        body_bytes = sum(map(len, pieces))
        self._body_bytes += body_bytes
        if self.head is None:
            self._begun_bytes += fed_bytes
            if self._begun_bytes > MOST_HEAD_BYTES:
                raise self._refused(f"the head of the answer is longer than {MOST_HEAD_BYTES} bytes")
        elif had_head and self._is_chunked:
            frame_bytes = fed_bytes - body_bytes
            free_bytes = 2 * body_bytes + _FREE_BYTES_A_PIECE * max(1, len(pieces))
            self._overhead_bytes = max(0, self._overhead_bytes + frame_bytes - free_bytes)
            if self._overhead_bytes > MOST_CHUNK_OVERHEAD_BYTES:
                raise self._refused("the frames of the chunks are much longer than what is in them")

    def _refused(self, what: str) -> httpx2.RemoteProtocolError:
        self._parser = None
        return httpx2.RemoteProtocolError(what)

    # What httptools calls.

    def on_message_begin(self) -> None:
        """An answer begins."""
        if self.is_complete:
            raise _UnaskedError

    def on_status(self, reason: bytes) -> None:
        """A part of the text behind the status."""
        self._reason += reason
        if len(self._reason) > MOST_REASON_BYTES:
            raise httpx2.RemoteProtocolError(f"the status line of the answer is longer than {MOST_REASON_BYTES} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MOST_HEAD_BYTES:
            raise httpx2.RemoteProtocolError(f"the headers of the answer are longer than {MOST_HEAD_BYTES} bytes")
        if len(self._headers) >= MOST_HEADERS:
            raise httpx2.RemoteProtocolError(f"the answer has more than {MOST_HEADERS} headers")
        value = value.rstrip(b" \t")
        self._headers.append((name, value))
        if self.head is None:
            match len(name):
                case 14 if name.lower() == b"content-length":
                    self._length = int(value)  # llhttp has seen to it that it is a number
                case 17 if name.lower() == b"transfer-encoding":
                    if self._is_chunked or value.lower() != b"chunked":
                        raise httpx2.RemoteProtocolError(f"transfer-encoding {value[:80]!r} is not understood")
                    self._is_chunked = True

    def on_headers_complete(self) -> None:
        """A head is whole."""
        parser = self._parser
        assert parser is not None
        status, version = parser.get_status_code(), parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise httpx2.RemoteProtocolError(f"the answer is HTTP/{version}, which was not asked for")
        if status < 200:
            if status == 101:
                raise httpx2.RemoteProtocolError("the server switches to another protocol, which was not asked for")
            self._is_interim = True
            return
        headers, self._headers = self._headers, []  # what follows are trailers
        self._head_bytes = 0
        self.head = Head(status, self._reason, b"HTTP/" + version.encode(), headers)
        if self._is_head_only:
            self.is_complete = True  # llhttp waits for a body, so whether something follows cannot be seen

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        if not self.is_complete:  # after HEAD
            self._pieces.append(piece)

    def on_message_complete(self) -> None:
        """An answer is whole."""
        if self._is_interim:
            self._is_interim = False
            self._headers, self._reason = [], b""
            self._length, self._is_chunked = None, False
        elif not self._is_head_only:
            self.is_complete = True
            self.may_reuse = self._parser is not None and self._parser.should_keep_alive()


def _problem(exc: Exception) -> httpx2.RemoteProtocolError:
    """What was wrong, in our words where it was one of our callbacks that complained."""
    if isinstance(exc.__context__, httpx2.RemoteProtocolError):
        return exc.__context__
    what = str(exc) if isinstance(exc, httptools.HttpParserError) else "the server switches to another protocol"
    return httpx2.RemoteProtocolError(f"the answer is no HTTP/1.1: {what}")
