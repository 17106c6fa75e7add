"""What makes a value, once a schema is compiled?

Every node has a `height`: how many further levels of objects and arrays its smallest value needs. Where the room left
is used up, optional parts of greater height are left out; so every recursion ends.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from synth_actors.sampling.errors import UnsatisfiableError

if TYPE_CHECKING:
    from synth_actors.sampling.document import Valid
    from synth_actors.sampling.record import Context

MOST_VALUES = 4_000
"""A document that already has so many values grows no further optional parts where its schema is recursive."""
NULL_SHARE = 0.12
_TRIES = 200

Maker = Callable[["Context"], Any]
Steps: TypeAlias = Generator[None, None, Any]
"""Pauses now and then, and returns the value."""


def finished(steps: Steps) -> Any:
    """The value, made without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value


class Node(ABC):
    """Makes values; `steps` does the same and pauses where a long document may be interrupted."""

    __slots__ = ("height", "sample")

    def __init__(self, sample: Maker) -> None:
        self.height = math.inf
        self.sample = sample

    @abstractmethod
    def reckon(self) -> float:
        """The height, as far as the heights of the parts are known by now."""

    def steps(self, ctx: Context) -> Steps:
        """The same value as `sample`, returned by the generator."""
        yield from ()
        return self.sample(ctx)


class Leaf(Node):
    """A value without parts."""

    __slots__ = ()

    def reckon(self) -> float:
        return 0.0


class Null(Leaf):
    """The value null, which is rarer than its alternatives."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(lambda _: None)


class Again(Node):
    """A schema that is compiled already, or is just being compiled further up."""

    __slots__ = ("target",)

    def __init__(self) -> None:
        super().__init__(self._again)
        self.target: Node | None = None

    def _again(self, ctx: Context) -> Any:
        assert self.target is not None
        return self.target.sample(ctx)

    def reckon(self) -> float:
        return math.inf if self.target is None else self.target.height


class Choice(Node):
    """One of several schemas."""

    __slots__ = ("null", "others", "share")

    def __init__(self, options: Sequence[Node]) -> None:
        super().__init__(self._one)
        self.null = next((option for option in options if isinstance(option, Null)), None)
        self.others = [option for option in options if not isinstance(option, Null)]
        self.share = NULL_SHARE if self.others else 1.0

    def _one(self, ctx: Context) -> Any:
        return self._chosen(ctx).sample(ctx)

    def steps(self, ctx: Context) -> Steps:
        return (yield from self._chosen(ctx).steps(ctx))

    def _chosen(self, ctx: Context) -> Node:
        if self.null is not None and ctx.stream.random() < self.share:
            return self.null
        room = ctx.room
        if len(self.others) == 1 and self.others[0].height <= room:
            return self.others[0]
        low = [option for option in self.others if option.height <= room]
        if low:
            return ctx.stream.pick(low)
        if self.null is not None:
            return self.null
        return min(self.others, key=lambda option: option.height)

    def reckon(self) -> float:
        return 0.0 if self.null is not None else min(option.height for option in self.others)


class Checked(Node):
    """A schema with keywords that generation alone cannot guarantee: values are made until one is valid."""

    __slots__ = ("keyword", "made", "path", "valid")

    def __init__(self, made: Node, valid: Valid, keyword: str, path: str) -> None:
        super().__init__(self._valid)
        self.made = made
        self.valid = valid
        self.keyword = keyword
        self.path = path

    def _valid(self, ctx: Context) -> Any:
        for _ in range(_TRIES):
            value = self.made.sample(ctx)
            if self.valid(value):
                return value
        raise UnsatisfiableError(self.keyword, self.path, f"none of {_TRIES} generated values is valid")

    def reckon(self) -> float:
        return self.made.height


def settle(nodes: Sequence[Node]) -> None:
    """Reckon the heights of all nodes; what stays infinite can never be finished."""
    changed = True
    while changed:
        changed = False
        for node in nodes:
            height = node.reckon()
            if height != node.height:
                node.height = height
                changed = True
