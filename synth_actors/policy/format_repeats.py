"""How many misses ask again for what differs only in its formatting?

It takes 10 us and more to bring a prompt to its normal form, so not every miss is compared: all of the first ones, and
then the first ones of every few thousand.  What is compared is compared with the latest few thousand that were.  So
a repetition is not seen when what it repeats fell between two of these windows, or lies too far back: the share is a
lower bound.  It is near the truth when repetitions follow soon, as with a template that is sometimes indented.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from synth_actors.policy.cache_key import normalised_key_of
from synth_actors.types import Request

CHECKED_AT_FIRST: Final = 512
"""Misses that are all compared."""
WINDOW_EVERY: Final = 4096
"""Then, of each so many misses ..."""
WINDOW: Final = 256
"""... so many are."""
REMEMBERED: Final = 4096
"""Prompts that a miss is compared with: two digests each, about 1 MB."""
LONGEST_CHARS: Final = 64 * 1024
"""A request with more text, which would hold up a turn for a millisecond, is not compared."""


class FormatRepeats:
    """Counts misses whose text, but for the formatting, was asked for by an earlier miss with another key.

    `checked` are the misses that were compared, `repeats` those of them that asked again, `too_long` those left out
    for their length.  It is of no use where `CacheConfig.normalise_prompts` is on: there both have one key.
    """

    def __init__(self) -> None:
        self.checked = self.repeats = self.too_long = 0
        self._misses = 0
        self._latest: OrderedDict[bytes, bytes] = OrderedDict()  # normalised key -> the plain one that asked last

    def note(self, plain_key: bytes, request: Request) -> None:
        """A lookup of `request`, whose key is `plain_key`, has led to a call.

        A miss of the same key again is none that formatting has caused.

        Raises:
            ConfigError: never for a request that has a plain key (`cache_key`).
        """
        number = self._misses
        self._misses = number + 1
        if number >= CHECKED_AT_FIRST and (number - CHECKED_AT_FIRST) % WINDOW_EVERY >= WINDOW:
            return
        if _chars(request) > LONGEST_CHARS:
            self.too_long += 1
            return
        self.checked += 1
        normalised = normalised_key_of(request)
        before = self._latest.pop(normalised, plain_key)
        if before != plain_key:
            self.repeats += 1
        self._latest[normalised] = plain_key
        if len(self._latest) > REMEMBERED:
            self._latest.popitem(last=False)

    @property
    def share(self) -> float:
        """Repeats per checked miss, 0.0 to 1.0, of which there may be more; 0.0 before the first."""
        return self.repeats / self.checked if self.checked else 0.0

    def __repr__(self) -> str:
        return f"<FormatRepeats checked={self.checked} repeats={self.repeats} too_long={self.too_long}>"


def _chars(request: Request) -> int:
    texts = (request.prompt, request.system, *(message.content for message in request.messages or ()))
    return sum(len(text) for text in texts if text)
