"""In which ways can a server say where its answer ends?

Each `Framing` is one answer as bytes with what a client must make of it (RFC 9112, section 6.3).  `ends` is what the
server does afterwards, `reusable` whether the connection may carry another request.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from typing import Literal

TEXT = b"One sentence about otters."
_GZIP = gzip.compress(TEXT, mtime=0)
_DEFLATE = zlib.compress(TEXT)


def chunked(*pieces: bytes, trailers: bytes = b"", extension: bytes = b"") -> bytes:
    """A body in chunks."""
    chunks = [b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces]
    return b"".join([*chunks, b"0", extension, b"\r\n", trailers, b"\r\n"])


def answer(*fields: bytes, body: bytes = b"", line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """A status line, header fields and a body."""
    return b"\r\n".join([line, *fields, b"", body])


def with_length(body: bytes, *fields: bytes) -> bytes:
    return answer(b"Content-Length: %d" % len(body), *fields, body=body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """One answer and what it means."""

    name: str
    sent: bytes
    body: bytes = TEXT
    status: int = 200
    method: str = "POST"
    ends: Literal["stays", "fin", "closes"] = "stays"
    reusable: bool = True


_IN_CHUNKS = b"Transfer-Encoding: chunked"
_NO_LENGTH = answer(b"Content-Type: text/plain", body=TEXT)
_INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_OLD = answer(b"Connection: keep-alive", b"Content-Length: 26", body=TEXT, line=b"HTTP/1.0 200 OK")

FRAMINGS = (
    Framing(name="length", sent=with_length(TEXT)),
    Framing(name="length of nothing", sent=with_length(b""), body=b""),
    Framing(name="the same length twice", sent=with_length(TEXT, b"Content-Length: 26")),
    Framing(name="no reason phrase", sent=answer(b"Content-Length: 26", body=TEXT, line=b"HTTP/1.1 200 ")),
    Framing(name="an error with a body", sent=with_length(TEXT).replace(b"200 OK", b"529 Overloaded"), status=529),
    Framing(name="chunked", sent=answer(_IN_CHUNKS, body=chunked(TEXT))),
    Framing(name="small chunks", sent=answer(_IN_CHUNKS, body=chunked(*(TEXT[i : i + 1] for i in range(len(TEXT)))))),
    Framing(name="chunked nothing", sent=answer(_IN_CHUNKS, body=chunked()), body=b""),
    Framing(name="chunk extensions", sent=answer(_IN_CHUNKS, body=chunked(TEXT, extension=b";a=b"))),
    Framing(
        name="trailers",
        sent=answer(
            _IN_CHUNKS, b"Trailer: X-Sum", body=chunked(TEXT[:9], TEXT[9:], trailers=b"X-Sum: 26\r\nX-B: 1\r\n")
        ),
    ),
    Framing(
        name="connection close, length", sent=with_length(TEXT, b"Connection: close"), ends="closes", reusable=False
    ),
    Framing(name="connection close, and it stays open", sent=with_length(TEXT, b"Connection: close"), reusable=False),
    Framing(
        name="connection close, chunked",
        sent=answer(_IN_CHUNKS, b"Connection: close", body=chunked(TEXT)),
        ends="closes",
        reusable=False,
    ),
    Framing(name="until EOF by FIN", sent=_NO_LENGTH, ends="fin", reusable=False),
    Framing(name="until EOF by closing", sent=_NO_LENGTH, ends="closes", reusable=False),
    Framing(name="until EOF, nothing", sent=answer(b"A: b"), body=b"", ends="fin", reusable=False),
    Framing(name="until EOF, HTTP/1.0", sent=_NO_LENGTH.replace(b"/1.1", b"/1.0"), ends="closes", reusable=False),
    Framing(name="HTTP/1.0 with a length", sent=with_length(TEXT).replace(b"/1.1", b"/1.0"), reusable=False),
    Framing(name="HTTP/1.0 that stays open", sent=_OLD),
    Framing(name="100 before it", sent=_CONTINUE + with_length(TEXT)),
    Framing(name="103 before it", sent=_INTERIM + answer(_IN_CHUNKS, body=chunked(TEXT))),
    Framing(
        name="100, 102 and 103 before it", sent=_CONTINUE + b"HTTP/1.1 102 \r\n\r\n" + _INTERIM + with_length(TEXT)
    ),
    Framing(name="gzip", sent=with_length(_GZIP, b"Content-Encoding: gzip")),
    Framing(
        name="gzip, chunked",
        sent=answer(_IN_CHUNKS, b"Content-Encoding: gzip", body=chunked(_GZIP[:7], _GZIP[7:])),
    ),
    Framing(name="gzip until EOF", sent=answer(b"Content-Encoding: gzip", body=_GZIP), ends="fin", reusable=False),
    Framing(name="deflate", sent=with_length(_DEFLATE, b"Content-Encoding: deflate")),
    Framing(
        name="both encodings", sent=with_length(gzip.compress(_DEFLATE, mtime=0), b"Content-Encoding: deflate, gzip")
    ),
    Framing(name="HEAD with a length", sent=answer(b"Content-Length: 26"), body=b"", method="HEAD"),
    Framing(name="HEAD in chunks", sent=answer(_IN_CHUNKS), body=b"", method="HEAD"),
    Framing(name="HEAD without either", sent=answer(b"A: b"), body=b"", method="HEAD"),
    Framing(name="204", sent=answer(b"A: b", line=b"HTTP/1.1 204 No Content"), status=204, body=b""),
    Framing(
        name="304 with the length of what it leaves out",
        sent=answer(b"Content-Length: 26", b"ETag: x", line=b"HTTP/1.1 304 Not Modified"),
        status=304,
        body=b"",
        method="GET",
    ),
)
