"""How alike are the texts of two rows, without keeping the texts?

A text is the set of its character 5-grams, and two are as alike as these sets overlap (Jaccard).  A MinHash signature
(Broder, "On the resemblance and containment of documents", 1997) estimates that from 128 numbers; texts that share a
band of them are worth comparing (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3.4).
"""

from __future__ import annotations

import re
import sys
import unicodedata
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, log, log1p
from typing import Any

from rensa import RMinHash

SLOTS = 128
"""Numbers in a signature; the standard error of an estimate is sqrt(J * (1 - J) / 128), 0.035 at 0.8, 0.027 at 0.9."""
SEED = 0
SHINGLE = 5
LEAST_WORDS_OF_A_STRING = 5
"""Shorter strings are names, addresses and labels, which are alike in rows that are not."""
LEAST_WORDS = 8
RECALL = 0.95
"""Of pairs that are exactly as alike as the threshold, the part that meets in a band."""
MOST_CHANCE_MEETINGS = 0.1
"""Of pairs that are half as alike as the threshold, the part that meets in a band all the same."""

_TEXT_WORD = re.compile(r"\b[^\W\d_]+\b")
_LETTERS = re.compile(r"[^\W\d_]+")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]"
)  # Thai, Lao, Khmer, kana, Han: two a word
_LOW_BYTE = slice(0, None, 4)
_EACH_LOW_BIT = int.from_bytes(b"\x01" * SLOTS, "little")
_PRIME = 2**31 - 1


def words_of(row: Any) -> str | None:
    """The words of a row, normalised; None when it says too little in sentences to be compared.

    All strings in the order of their paths, lower case, with one space between words; words with digits in them, as ids
    and times have, are left out.  Strings of `LEAST_WORDS_OF_A_STRING` words must have `LEAST_WORDS` together: without
    them, rows of names and labels would be alike.  Names and labels count all the same, for a short remark about one
    customer is often made about another too, and does not make the two the same.
    """
    strings = list(_strings(row))
    count = 0
    for text in strings:
        number = _words_in(text) if " " in text or not text.isascii() else 1
        count += number if number >= LEAST_WORDS_OF_A_STRING else 0
    if count < LEAST_WORDS:
        return None
    whole = "\n".join(strings)
    return " ".join(_TEXT_WORD.findall((whole if whole.isascii() else unicodedata.normalize("NFKC", whole)).lower()))


def _words_in(text: str) -> int:
    """Between white space, so that an id or a time is one; a telephone number is none, though it has spaces."""
    number = len(text.split())
    if number >= LEAST_WORDS_OF_A_STRING:
        number = min(number, len(_LETTERS.findall(text)))
    return number if text.isascii() else number + len(_UNSPACED.findall(text)) // 2


def _strings(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                yield text
            case dict() as members:
                waiting += [members[key] for key in sorted(members, reverse=True)]
            case list() as items:
                waiting += reversed(items)


def shingles(text: str) -> list[str]:
    """The character 5-grams of a text of at least five characters."""
    return [text[start : start + SHINGLE] for start in range(len(text) - SHINGLE + 1)]


@dataclass(frozen=True, slots=True)
class Signature:
    """`full` is 128 numbers of 32 bits; `sketch` their low bytes as one integer, which is all that is kept."""

    full: bytes
    sketch: int


def signature(text: str) -> Signature:
    """The signature of a text of at least five characters, the same in every process and on every machine."""
    sketch = RMinHash(SLOTS, SEED)
    sketch.update(shingles(text))
    numbers = array("I", sketch.digest())
    if sys.byteorder == "big":
        numbers.byteswap()
    full = numbers.tobytes()
    return Signature(full, int.from_bytes(full[_LOW_BYTE], "little"))


def resemblance(one: int, other: int) -> float:
    """The estimated Jaccard of two texts, from their sketches: 0.0 to 1.0.

    One byte a slot is enough: different slots agree by chance once in 256, which is taken off (Li and König, "b-bit
    minwise hashing", 2010).
    """
    differing = one ^ other
    for shift in (4, 2, 1):
        differing |= differing >> shift
    alike = 1 - (differing & _EACH_LOW_BIT).bit_count() / SLOTS
    return max(0.0, (alike - 1 / 256) / (1 - 1 / 256))


@dataclass(frozen=True, slots=True)
class Banding:
    """`bands` bands of `slots` slots each; a pair of Jaccard J meets in one with 1 - (1 - J^slots)^bands."""

    bands: int
    slots: int

    def chance(self, jaccard: float) -> float:
        """How probably two texts that are so alike share a band."""
        return 1.0 - (1.0 - jaccard**self.slots) ** self.bands

    def keys(self, signature: Signature) -> list[int]:
        """A number below 2^31 for each band; equal for equal bands at the same place."""
        width = 4 * self.slots
        full = signature.full
        return [
            (int.from_bytes(full[start : start + width], "little") * 521 + start) % _PRIME
            for start in range(0, width * self.bands, width)
        ]


def banding_for(threshold: float) -> Banding:
    """The fewest slots a band that find `RECALL` at the threshold and seldom meet by chance; else the most that fit."""
    fitting = [found for slots in range(1, SLOTS + 1) if (found := _banding(threshold, slots)) is not None]
    selective = (each for each in fitting if each.chance(threshold / 2) <= MOST_CHANCE_MEETINGS)
    return next(selective, fitting[-1])


def _banding(threshold: float, slots: int) -> Banding | None:
    shared = threshold**slots
    bands = 1 if shared == 1.0 else ceil(log(1.0 - RECALL) / log1p(-shared))
    return Banding(bands, slots) if bands * slots <= SLOTS else None
