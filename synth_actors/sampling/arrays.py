"""How many items, which ones, and are they distinct?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from synth_actors.sampling.errors import UnsatisfiableError
from synth_actors.sampling.merge import identity
from synth_actors.sampling.nodes import MOST_VALUES, Node, Steps, finished
from synth_actors.sampling.record import Record

if TYPE_CHECKING:
    from synth_actors.sampling.record import Context

_TRIES = 500
_USUAL = 4
_SOFT_TRIES = 4
_SHORT = 12
PAUSE_VALUES = 200
"""A long array pauses after about so many values, so that other tasks have their turn."""


class Array(Node):
    """A list: `prefix` nodes, then `rest` nodes; of each node in `sought` so many stand among the rest."""

    __slots__ = ("high", "low", "path", "prefix", "rest", "sought", "unique")

    def __init__(self, prefix: Sequence[Node], rest: Node | None, low: int, high: int | None, path: str) -> None:
        super().__init__(self._whole)
        self.prefix = list(prefix)
        self.rest = rest
        self.low = low
        self.high = high if rest is not None else min(len(prefix), len(prefix) if high is None else high)
        self.path = path
        self.unique = False
        self.sought: list[tuple[Node, int]] = []
        if self.high is not None and low > self.high:
            raise UnsatisfiableError(
                "minItems", path, f"at least {low} items are demanded, at most {self.high} are possible"
            )

    def reckon(self) -> float:
        needed = self.prefix[: self.low] + (
            [self.rest] if self.rest is not None and self.low > len(self.prefix) else []
        )
        needed += [node for node, count in self.sought if count > 0]
        return 1.0 + max((node.height for node in needed), default=-1.0)

    def _whole(self, ctx: Context) -> list[Any]:
        items: list[Any] = finished(self.steps(ctx))
        return items

    def steps(self, ctx: Context) -> Steps:
        outer = ctx.room
        ctx.room = outer - 1 if ctx.spent < MOST_VALUES else min(outer - 1, 0)
        nodes = self._nodes(ctx)
        add = self._adder(ctx)
        items: list[Any] = []
        record = ctx.record
        pause = ctx.spent + PAUSE_VALUES
        for position, node in enumerate(nodes):
            ctx.spent += 1
            if not add(items, node, required=position < self.low):
                break
            if ctx.spent >= pause:
                yield
                pause = ctx.spent + PAUSE_VALUES
        ctx.room, ctx.record = outer, record
        return items

    def _nodes(self, ctx: Context) -> list[Node]:
        count = self._count(ctx)
        nodes = self.prefix[:count]
        if self.rest is not None:
            nodes += [self.rest] * (count - len(nodes))
        free = list(range(len(self.prefix), len(nodes)))
        for node, times in self.sought:
            for position in (
                [ctx.stream.pick(free) for _ in range(min(times, len(free)))] if times == 1 else free[:times]
            ):
                nodes[position] = node
                free.remove(position)
        return nodes

    def _count(self, ctx: Context) -> int:
        wanted = sum(times for _, times in self.sought)
        low = max(self.low, len(self.prefix) + wanted if wanted else 0)
        most = max(low, len(self.prefix)) + (_USUAL if self.rest is not None else 0)
        most = most if self.high is None else min(most, self.high)
        usual = max(low, min(1, most), min(len(self.prefix), most))
        low_room = ctx.room < 0 or any(
            node.height > ctx.room for node in [*self.prefix[low:], *([self.rest] if self.rest else [])]
        )
        if low_room:
            return min(low, most)
        return ctx.stream.between(
            usual, max(usual, most if self.low == 0 or self.high is None else min(most, self.low + _USUAL))
        )

    def _adder(self, ctx: Context) -> Callable[..., bool]:
        if not self.unique:

            def add(items: list[Any], node: Node, *, required: bool) -> bool:  # noqa: ARG001 - as `add_new`
                value = node.sample(ctx)
                for _ in range(_SOFT_TRIES if isinstance(value, str) and len(items) < _SHORT else 0):
                    if value not in items:
                        break
                    value = node.sample(ctx)  # allowed twice, but nobody tags a thing twice
                items.append(value)
                ctx.record = Record(ctx.stream)  # the next item is about somebody else
                return True

            return add
        seen: set[bytes] = set()

        def add_new(items: list[Any], node: Node, *, required: bool) -> bool:
            for _ in range(_TRIES if required else 10):
                value = node.sample(ctx)
                ctx.record = Record(ctx.stream)
                if (key := identity(value)) not in seen:
                    seen.add(key)
                    items.append(value)
                    return True
            if required:
                raise UnsatisfiableError(
                    "uniqueItems", self.path, f"{len(items)} distinct items were found, {self.low} are needed"
                )
            return False

        return add_new
