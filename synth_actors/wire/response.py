"""What is the answer in these bytes?

The client's half of HTTP/1.1 (RFC 9112): bytes in, the head and the pieces of the body out.  `httptools`, the binding
of Node's parser llhttp, finds the parts; what an answer is allowed to be, and where it ends, is decided here.  Pure
and incremental: the cuts between two calls of `feed` mean nothing.

Where a body ends (RFC 9112, section 6.3): with the head after HEAD, 204 and 304; with the last chunk; after
`content-length` bytes; else where the connection ends.  Interim answers (1xx) are passed over, trailers are dropped.

Refused is what leaves a doubt where an answer ends, since the next one would begin in the doubt: two lengths, a length
beside chunks, another transfer coding, an interim answer that announces a body, folded headers, control characters.  A
line of a head may end in a bare LF, blanks may follow the size of a chunk, line ends may come before an answer: all are
seen in the wild, and none leaves a doubt.  What follows an answer is nobody's answer: the connection is not used again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import httptools
import httpx2

MOST_HEAD_BYTES = 100 * 1024
"""Of the heads of all interim answers and the answer itself, line ends and all; as httpx2's own transport has it.
Names and values of all trailers together may take as much."""

MOST_HEADERS = 256
"""Of one head, or trailers of one body; Node takes 2,000, Python's http.client 100."""

MOST_REASON_BYTES = 4096
"""Of the text behind the status."""

MOST_CHUNK_OVERHEAD_BYTES = 16 * 1024
"""So much more than twice its content and 16 bytes a chunk may the frame of a chunked body take, as Go's net/http has
it: a sender of one-byte chunks with long extensions makes much work of nothing (CVE-2023-39326).  Counted after each
`feed`, from the one after the head's: credit is not saved up for later, but within one `feed` the order is not seen."""

_FREE_BYTES_A_CHUNK = 16
_MOST_LENGTH_DIGITS = 20  # of 2**64, which is llhttp's limit; only zeros in front could be more
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


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
        self._closes = False  # something other than the answer's last word on it has ended the connection's use
        self._reason = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0  # fed before the head was whole
        self._trailers = self._trailer_bytes = 0
        self._length: int | None = None
        self._is_chunked = False
        self._pieces: list[bytes] = []  # of the body, in what is being fed
        self._chunks = 0  # that began in what is being fed
        self._body_bytes = 0
        self._overhead_bytes = 0
        parser = httptools.HttpResponseParser(self)
        parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
            lenient_keep_alive=True,  # the answer follows an interim one that closes; else `_UnaskedError`
        )
        self._parser: httptools.HttpResponseParser | None = parser

    def __repr__(self) -> str:
        state = "complete" if self.is_complete else "body" if self.head is not None else "head"
        return f"<ResponseParser {state}, {self._body_bytes} bytes of body>"

    @property
    def is_chunked(self) -> bool:
        """Whether the body came, or comes, in chunks."""
        return self._is_chunked

    @property
    def is_untouched(self) -> bool:
        """Whether nothing of an answer has come."""
        return self.head is None and self._head_bytes == 0

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces of the body that are in `data`, without the frames of chunks."""
        if self._parser is None or not data:
            self.may_reuse = self.may_reuse and not data
            return []
        pieces: list[bytes] = []
        self._pieces = pieces
        self._chunks = 0
        had_head = self.head is not None
        if had_head:
            self._pass_on(data)
        elif len(data) <= (room := MOST_HEAD_BYTES - self._head_bytes):
            self._pass_on_head(data)
        else:
            self._pass_on_head(data[:room])
            if self.is_complete:
                self.may_reuse = False
            else:
                self._pass_on(data[room:])
        body_bytes = sum(map(len, pieces))
        self._body_bytes += body_bytes
        if had_head and self._is_chunked:
            self._count_overhead(len(data), body_bytes)
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
            raise httpx2.RemoteProtocolError(
                "Server disconnected in the middle of a response's head."
                if self._head_bytes > 0
                else "Server disconnected without sending a response."
            )
        if self._is_chunked or self._length is not None:
            expected = "chunked" if self._length is None else f"{self._length} expected"
            raise httpx2.RemoteProtocolError(
                "peer closed connection without sending complete message body "
                f"({self._body_bytes} bytes received, {expected})"
            )
        self.is_complete = True

    def _pass_on_head(self, data: bytes) -> None:
        self._head_bytes += len(data)
        self._pass_on(data)
        if self.head is None and self._head_bytes >= MOST_HEAD_BYTES:
            self._parser = None
            raise httpx2.RemoteProtocolError(f"the head of the answer is longer than {MOST_HEAD_BYTES} bytes")

    def _pass_on(self, data: bytes) -> None:
        """To llhttp, which passes over line ends behind an answer without a word: the last one goes by itself."""
        if data[-1] not in b"\r\n" or len(data) == 1:
            self._execute(data)
            return
        view = memoryview(data)
        self._execute(view[:-1])
        if self.is_complete:
            self.may_reuse = False
        else:
            self._execute(view[-1:])

    def _execute(self, data: bytes | memoryview) -> None:
        parser = self._parser
        assert parser is not None
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            if not self.is_complete or not isinstance(exc.__context__, Exception | None):
                self._parser = None
                raise _problem(exc) from None  # kept in no variable, which its traceback would hold in a cycle
            self.may_reuse = False  # only what follows the answer is wrong

    def _count_overhead(self, fed_bytes: int, body_bytes: int) -> None:
        more_bytes = fed_bytes - 3 * body_bytes - _FREE_BYTES_A_CHUNK * self._chunks
        self._overhead_bytes = max(0, self._overhead_bytes + more_bytes)
        if self._overhead_bytes > MOST_CHUNK_OVERHEAD_BYTES:
            self._parser = None
            raise httpx2.RemoteProtocolError("the frames of the chunks are much longer than what is in them")

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
        if self.head is not None:
            self._on_trailer(name, value)
            return
        if len(self._headers) >= MOST_HEADERS:
            raise httpx2.RemoteProtocolError(f"the answer has more than {MOST_HEADERS} headers")
        match len(name):
            case 14 if name.lower() == b"content-length":
                self._length = _length(value)
            case 17 if name.lower() == b"transfer-encoding":
                # Blanks only: behind a tab llhttp no longer takes the body for chunks.
                if self._is_chunked or value.rstrip(b" ").lower() != b"chunked":
                    raise httpx2.RemoteProtocolError(f"transfer-encoding {value[:80]!r} is not understood")
                self._is_chunked = True
        self._headers.append((name, value.rstrip(b" \t")))

    def _on_trailer(self, name: bytes, value: bytes) -> None:
        self._trailers += 1
        self._trailer_bytes += len(name) + len(value)
        if self._trailers > MOST_HEADERS or self._trailer_bytes > MOST_HEAD_BYTES:
            raise httpx2.RemoteProtocolError(
                f"the trailers of the answer are more than {MOST_HEADERS}, or longer than {MOST_HEAD_BYTES} bytes"
            )

    def on_headers_complete(self) -> None:
        """A head is whole."""
        parser = self._parser
        assert parser is not None
        status, version = parser.get_status_code(), parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise httpx2.RemoteProtocolError(f"the answer is HTTP/{version}, which was not asked for")
        if _CONTROL.search(self._reason):
            raise httpx2.RemoteProtocolError("the status line of the answer holds a control character")
        if status < 200:
            self._is_interim = True
            _check_interim(status, has_body=self._is_chunked or bool(self._length))
            return
        headers, self._headers = self._headers, []
        self.head = Head(status, self._reason, b"HTTP/" + version.encode(), headers)
        if version == "1.0" and (self._is_chunked or _says_close(headers)):
            self._closes = True  # RFC 9112, sections 6.1 and 9.3; llhttp lets `keep-alive` prevail
        if self._is_head_only:
            self.is_complete = True  # llhttp waits for a body, so whether something follows cannot be seen

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._chunks += 1

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        if not self.is_complete:  # after HEAD
            self._pieces.append(piece)

    def on_message_complete(self) -> None:
        """An answer is whole."""
        parser = self._parser
        assert parser is not None
        if self._is_interim:
            self._is_interim = False
            self._closes = self._closes or not parser.should_keep_alive()
            self._headers, self._reason = [], b""
            self._length, self._is_chunked = None, False
        elif not self._is_head_only:
            self.is_complete = True
            self.may_reuse = parser.should_keep_alive() and not self._closes


def _length(value: bytes) -> int:
    """Of a body; llhttp has seen to it that it is a number, with blanks behind it."""
    digits = value.rstrip(b" \t")
    if len(digits) > _MOST_LENGTH_DIGITS:
        raise httpx2.RemoteProtocolError(f"content-length has {len(digits)} digits")
    return int(digits)


def _check_interim(status: int, *, has_body: bool) -> None:
    if status < 100:
        raise httpx2.RemoteProtocolError(f"the answer has the status {status}, which HTTP does not know")
    if status == 101:
        raise httpx2.RemoteProtocolError("the server switches to another protocol, which was not asked for")
    if has_body:  # RFC 9110, section 15.2: there is none; llhttp reads one after some of them
        raise httpx2.RemoteProtocolError(f"the interim answer {status} announces a body, which it cannot have")


def _says_close(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name.lower() == b"connection" and b"close" in value.lower() for name, value in headers)


def _problem(exc: Exception) -> BaseException:
    """What was wrong: what one of our callbacks raised, be it a Ctrl-C that came there, or what llhttp says."""
    cause = exc.__context__
    if cause is not None and not isinstance(cause, httptools.HttpParserError):
        return cause
    what = str(exc) if isinstance(exc, httptools.HttpParserError) else "the server switches to another protocol"
    return httpx2.RemoteProtocolError(f"the answer is no HTTP/1.1: {what}")
