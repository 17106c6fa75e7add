"""How is a histogram written so that every HdrHistogram reads it?

The compressed V2 encoding that the implementations in Java (`encodeIntoCompressedByteBuffer`), C, Go, Python and
JavaScript share: a header, then the counters in order as ZigZag LEB128 numbers, n empty ones as -n; deflated, behind
a header of its own, in base64.  It is made from the buckets that are in use: to fill a dense histogram of the
`hdrhistogram` package first would take 190 kB and more time than all of this.
"""

from __future__ import annotations

import base64
import struct
import zlib

from synth_actors.bucket_counts import index_of
from synth_actors.histogram import (
    EXACT_BELOW_US,
    HIGHEST_S,
    SIGNIFICANT_DIGITS,
    US_PER_S,
    Histogram,
)

LOWEST_US = 1
HIGHEST_US = int(HIGHEST_S) * US_PER_S
SUB_BUCKETS = EXACT_BELOW_US
"""Steps in which a power of two is counted; the lower half of them is used only below `EXACT_BELOW_US`."""
BUCKETS = (HIGHEST_US // SUB_BUCKETS).bit_length() + 1
"""Powers of two from `SUB_BUCKETS` on that reach `HIGHEST_US`, and the first bucket, which reaches down to 0."""

_ENCODING = 0x1C849303 | 0x10  # "| 0x10": counters of variable length
_COMPRESSED = 0x1C849304 | 0x10
_HEADER = struct.Struct(">iiiiqqd")
_OUTER = struct.Struct(">ii")
_NO_OFFSET = 0
_INTEGERS = 1.0  # the ratio of values to what is counted


def encode(histogram: Histogram) -> str:
    """The histogram in base64, in microseconds; it begins with `HISTFAAA`, as all of them do."""
    counters = _counters(histogram)
    header = _HEADER.pack(_ENCODING, len(counters), _NO_OFFSET, SIGNIFICANT_DIGITS, LOWEST_US, HIGHEST_US, _INTEGERS)
    deflated = zlib.compress(header + counters, zlib.Z_BEST_COMPRESSION)
    return base64.b64encode(_OUTER.pack(_COMPRESSED, len(deflated)) + deflated).decode("ascii")


def _counters(histogram: Histogram) -> bytes:
    written = bytearray()
    following = 0  # the index of the counter that comes next
    for low_us, count in zip(histogram.lowest_us, histogram.counts, strict=True):
        index = index_of(low_us)
        if index > following:
            _write_number(written, following - index)
        _write_number(written, count)
        following = index + 1
    return bytes(written)


def _write_number(written: bytearray, number: int) -> None:
    """ZigZag, then seven bits a byte, the lowest first; a count would need 55 bits before a ninth byte differed."""
    rest = number << 1 if number >= 0 else (-number << 1) - 1
    while rest > 0x7F:
        written.append(rest & 0x7F | 0x80)
        rest >>= 7
    written.append(rest)
