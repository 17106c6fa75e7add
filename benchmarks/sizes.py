"""How many bytes is `512M`?"""

from __future__ import annotations

import re

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
LEAST_BYTES = 64 * 2**20
"""Less, and Python with trio does not even start."""


def bytes_of(text: str) -> int:
    """A whole number of bytes, or of KiB, MiB, GiB by the letter behind it.

    Raises:
        ValueError: it is none, or too few to start with.
    """
    found = re.fullmatch(r"(\d{1,15})([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not found:
        raise ValueError(f"{text!r} is no size: give a number of bytes, or one with K, M or G behind it, such as 512M")
    size = int(found[1]) * UNITS[found[2].upper()]
    if size < LEAST_BYTES:
        raise ValueError(f"{text!r} is too little to start Python in: give {LEAST_BYTES // 2**20}M or more")
    return size
