"""Which random numbers belong to this document?

The Mersenne Twister of the standard library seeded with an integer gives the same `random()` and `getrandbits()` on
every machine and every Python; everything here is built on these two.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


def seed_of(parts: Iterable[bytes]) -> int:
    """A 128-bit seed of the parts; each is framed by its length, so that no two lists of parts are confused."""
    digest = blake2b(digest_size=16, person=b"synth_actors")
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return int.from_bytes(digest.digest(), "big")


class Stream(random.Random):
    """One document's random numbers."""

    def pick(self, items: Sequence[T]) -> T:
        """One of `items`, which is not empty."""
        return items[int(self.random() * len(items))]

    def between(self, low: int, high: int) -> int:
        """An integer of low..high, both included, of any size."""
        width = high - low + 1
        if width < 1 << 40:
            return low + int(self.random() * width)
        return low + self.getrandbits(width.bit_length() + 64) % width

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def fill(self, mask: str) -> str:
        """The mask with every `#` replaced by a digit and every `@` by a capital letter."""
        made: list[str] = []
        for text, digits, letters in _runs(mask):
            if digits:
                made.append(f"{int(self.random() * 10**digits):0{digits}d}")
            elif letters:
                made.append("".join([chr(65 + int(self.random() * 26)) for _ in range(letters)]))
            else:
                made.append(text)
        return "".join(made)

    def shuffled(self, items: Iterable[T]) -> list[T]:
        """The items in a random order."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = int(self.random() * (last + 1))
            order[last], order[other] = order[other], order[last]
        return order


@lru_cache(maxsize=1024)
def _runs(mask: str) -> tuple[tuple[str, int, int], ...]:
    """The mask in pieces: plain text, how many digits, how many letters."""
    pieces = re.findall(r"#{1,15}|@+|[^#@]+", mask)
    return tuple(("", len(p), 0) if p[0] == "#" else ("", 0, len(p)) if p[0] == "@" else (p, 0, 0) for p in pieces)
