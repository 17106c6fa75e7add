"""Which text matches a regular expression, and has a given length?

The lengths that each part of an expression can have are a set, kept as the bits of an integer: bit n is set if a text
of n characters exists. A text of one exact length is then made from the top down, without trial and error.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from synth_actors.sampling.pattern_parse import ANY, Alternatives, Assertion, Chars, Node, Repeat, Sequence, parse

if TYPE_CHECKING:
    from synth_actors.sampling.stream import Stream

LONGEST = 512
"""Texts longer than this (or than the shortest allowed one by this much) are not aimed at."""
_USUAL_EXTRA = 6  # how often an endless repetition is usually repeated beyond its minimum

Free = Callable[["Stream"], str]


class Pattern:
    """Texts of an expression; `low` and `high` bound the length in code points.

    `exact` is False when the expression holds assertions, so that what comes out must be checked.

    Raises:
        PatternError: the expression cannot be generated from.
    """

    def __init__(self, expression: str, low: int = 0, high: int | None = None) -> None:
        tree, self.exact = _searched(parse(expression))
        self.low = low
        self.high = high
        self._free = _free(tree)
        self._tree = tree

    @cached_property
    def _sized(self) -> _Sized:
        limit = self.low + LONGEST if self.high is None else min(self.high, self.low + LONGEST)
        return _sized(self._tree, (1 << (limit + 1)) - 1)

    @cached_property
    def _lengths(self) -> tuple[int, ...]:
        bits = self._sized.bits >> self.low
        return tuple(self.low + n for n in range(bits.bit_length()) if bits >> n & 1)[:64]

    @property
    def is_empty(self) -> bool:
        """Whether no text of the expression has an allowed length."""
        return not self._lengths

    def text(self, stream: Stream) -> str:
        """One text; natural repetitions first, an exact length if those do not fit."""
        for _ in range(3):
            text = self._free(stream)
            if len(text) >= self.low and (self.high is None or len(text) <= self.high):
                return text
        return self._sized.text(stream, stream.pick(self._lengths))


def _searched(tree: Node) -> tuple[Node, bool]:
    """The tree that matches whole texts, since a schema's expression matches anywhere; and whether it is exact."""
    options = tree.options if isinstance(tree, Alternatives) else (tree,)
    anchored = [_anchored(option) for option in options]
    nodes = tuple(node for node, _ in anchored)
    return (nodes[0] if len(nodes) == 1 else Alternatives(nodes)), all(exact for _, exact in anchored)


def _anchored(option: Node) -> tuple[Node, bool]:
    parts = option.parts if isinstance(option, Sequence) else (option,)
    starts = bool(parts) and parts[0] == Assertion("^")
    ends = bool(parts) and parts[-1] == Assertion("$")
    inner = parts[starts : len(parts) - (ends and len(parts) > starts)]
    anywhere: tuple[Node, ...] = (Repeat(Chars(ANY), 0, None),)
    if any(
        _asserts(part) for part in inner
    ):  # an anchor inside may stand for the outer one: add nothing, check afterwards
        return Sequence(inner), False
    return Sequence((() if starts else anywhere) + inner + (() if ends else anywhere)), True


def _asserts(node: Node) -> bool:
    match node:
        case Assertion():
            return True
        case Sequence(parts):
            return any(_asserts(part) for part in parts)
        case Alternatives(options):
            return any(_asserts(option) for option in options)
        case Repeat(part):
            return _asserts(part)
    return False


def _free(node: Node) -> Free:
    """A maker of texts without regard to their length."""
    match node:
        case Chars(chars):
            return (lambda _: chars) if len(chars) == 1 else (lambda stream: stream.pick(chars))
        case Assertion():
            return lambda _: ""
        case Sequence(parts):
            makers = [_free(part) for part in parts]
            return lambda stream: "".join([make(stream) for make in makers])
        case Alternatives(options):
            choices = [_free(option) for option in options]
            return lambda stream: stream.pick(choices)(stream)
        case Repeat(part, low, high):
            return _free_repeat(part, low, high)


def _free_repeat(part: Node, low: int, high: int | None) -> Free:
    make = _free(part)
    surrounding = isinstance(part, Chars) and part.chars is ANY and low == 0 and high is None
    most = low if surrounding else low + _USUAL_EXTRA if high is None else min(high, low + 2 * _USUAL_EXTRA)
    if isinstance(part, Chars):
        chars = part.chars
        return lambda stream: "".join(stream.choices(chars, k=stream.between(low, most)))
    return lambda stream: "".join([make(stream) for _ in range(stream.between(low, most))])


class _Sized:
    """A part that makes texts of one exact length; `bits` are the lengths it can have."""

    def __init__(self, bits: int, text: Callable[[Stream, int], str]) -> None:
        self.bits = bits
        self.text = text


def _sized(node: Node, cap: int) -> _Sized:
    match node:
        case Chars(chars):
            return _Sized(2 & cap, lambda stream, _: stream.pick(chars))
        case Assertion():
            return _Sized(1, lambda _stream, _n: "")
        case Sequence(parts):
            return _in_order([_sized(part, cap) for part in parts], cap)
        case Alternatives(options):
            choices = [_sized(option, cap) for option in options]
            bits = 0
            for choice in choices:
                bits |= choice.bits
            return _Sized(bits, lambda stream, n: stream.pick([c for c in choices if c.bits >> n & 1]).text(stream, n))
        case Repeat(part, low, high):
            return _repeated(part, low, high, cap)


def _in_order(parts: list[_Sized], cap: int) -> _Sized:
    rest = [1]  # rest[k]: lengths of the last k parts together
    for part in reversed(parts):
        rest.append(_sums(part.bits, rest[-1], cap))

    def text(stream: Stream, n: int) -> str:
        made: list[str] = []
        for index, part in enumerate(parts):
            size = stream.pick(_splits(part.bits, rest[len(parts) - index - 1], n))
            made.append(part.text(stream, size))
            n -= size
        return "".join(made)

    return _Sized(rest[-1], text)


def _repeated(part: Node, low: int, high: int | None, cap: int) -> _Sized:
    if isinstance(part, Chars):
        most = cap.bit_length() - 1 if high is None else min(high, cap.bit_length() - 1)
        span = ((1 << (most + 1)) - 1) >> low << low if most >= low else 0
        return _Sized(span & cap, lambda stream, n: "".join(stream.choices(part.chars, k=n)))
    one = _sized(part, cap)
    times = [1]  # times[k]: lengths of exactly k repetitions
    longest = low + cap.bit_length()
    while len(times) <= (longest if high is None else min(high, longest)) and times[-1]:
        times.append(_sums(one.bits, times[-1], cap))

    def text(stream: Stream, n: int) -> str:
        count = stream.pick([k for k in range(low, len(times)) if times[k] >> n & 1])
        made: list[str] = []
        for left in range(count - 1, -1, -1):
            size = stream.pick(_splits(one.bits, times[left], n))
            made.append(one.text(stream, size))
            n -= size
        return "".join(made)

    bits = 0
    for k in range(low, len(times)):
        bits |= times[k]
    return _Sized(bits, text)


def _sums(left: int, right: int, cap: int) -> int:
    """Lengths of one text of `left` followed by one of `right`."""
    if left.bit_count() > right.bit_count():
        left, right = right, left
    total = 0
    while left:
        lowest = left & -left
        total |= right * lowest
        left ^= lowest
    return total & cap


def _splits(left: int, right: int, n: int) -> list[int]:
    return [size for size in range(n + 1) if left >> size & 1 and right >> (n - size) & 1]
