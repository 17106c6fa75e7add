"""Which properties does an object get, and do they agree with each other?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from synth_actors.sampling import corpus
from synth_actors.sampling.errors import UnsatisfiableError
from synth_actors.sampling.nodes import MOST_VALUES, Node, Steps
from synth_actors.sampling.record import Record

if TYPE_CHECKING:
    from synth_actors.sampling.record import Context

OPTIONAL_SHARE = 0.9
"""How often a property that need not be there is there."""
_TRIES = 200
_FREE_KEYS = 3

Key = Callable[["Context"], str]
Repair = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class Shape:
    """What an object may hold.

    `extra` are makers of further properties: a maker of names and the node of the values.
    """

    path: str
    declared: dict[str, Node] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    dependents: dict[str, list[str]] = field(default_factory=dict)
    extra: tuple[tuple[Key, Node], ...] = ()
    low: int = 0
    high: int | None = None
    own_record: bool = False
    repairs: tuple[Repair, ...] = ()
    allows: Callable[[str], bool] | None = None


class Object(Node):
    """A dict, its properties in the order of the schema."""

    __slots__ = ("fixed", "shape")

    def __init__(self, shape: Shape) -> None:
        super().__init__(self._whole)
        self.shape = shape
        simple = not (shape.dependents or shape.extra or shape.low or shape.high is not None)
        self.fixed = [(name, node, name in shape.required) for name, node in shape.declared.items()] if simple else None

    def reckon(self) -> float:
        shape = self.shape
        heights = [shape.declared[name].height for name in shape.required]
        if (missing := shape.low - len(shape.required)) > 0:
            others = sorted(node.height for name, node in shape.declared.items() if name not in shape.required)
            others += [min(node.height for _, node in shape.extra)] * missing if shape.extra else []
            heights += others[:missing]
        return 1.0 + max(heights, default=-1.0)

    def _whole(self, ctx: Context) -> dict[str, Any]:
        outer, record = self._enter(ctx)
        value: dict[str, Any] = {}
        stream, room = ctx.stream, ctx.room
        for name, node, required in self.fixed if self.fixed is not None else self._chosen(ctx):
            if required or (node.height <= room and stream.random() < OPTIONAL_SHARE):
                value[name] = node.sample(ctx)
        return self._leave(ctx, value, outer, record)

    def steps(self, ctx: Context) -> Steps:
        outer, record = self._enter(ctx)
        value: dict[str, Any] = {}
        stream, room = ctx.stream, ctx.room
        for name, node, required in self.fixed if self.fixed is not None else self._chosen(ctx):
            if required or (node.height <= room and stream.random() < OPTIONAL_SHARE):
                value[name] = yield from node.steps(ctx)
        return self._leave(ctx, value, outer, record)

    def _enter(self, ctx: Context) -> tuple[float, Record]:
        outer, record = ctx.room, ctx.record
        ctx.room = outer - 1 if ctx.spent < MOST_VALUES else min(outer - 1, 0)
        ctx.spent += len(self.shape.declared)
        if self.shape.own_record:
            ctx.record = Record(ctx.stream)
        return outer, record

    def _leave(self, ctx: Context, value: dict[str, Any], outer: float, record: Record) -> dict[str, Any]:
        ctx.room, ctx.record = outer, record
        for repair in self.shape.repairs:
            repair(value)
        return value

    def _chosen(self, ctx: Context) -> list[tuple[str, Node, bool]]:
        """The properties of this object when their number or their dependence on each other matters."""
        shape, stream = self.shape, ctx.stream
        names = set(shape.required)
        optional = [n for n in shape.declared if n not in names and shape.declared[n].height <= ctx.room]
        likely = [n for n in optional if stream.random() < OPTIONAL_SHARE]
        for name in stream.shuffled(likely):
            grown = self._with_dependents(names | {name})
            if grown is not None and (shape.high is None or len(grown) <= shape.high):
                names = grown
        for name in sorted((n for n in shape.declared if n not in names), key=lambda n: shape.declared[n].height):
            if len(names) >= shape.low or shape.declared[name].height == float("inf"):
                break
            names = self._with_dependents(names | {name}) or names
        chosen = [(name, node, True) for name, node in shape.declared.items() if name in names]
        return chosen + self._further(ctx, names)

    def _with_dependents(self, names: set[str]) -> set[str] | None:
        """The names and all that they demand; None when one of those cannot be."""
        todo = list(names)
        grown = set(names)
        while todo:
            for needed in self.shape.dependents.get(todo.pop(), ()):
                if needed not in self.shape.declared:
                    return None
                if needed not in grown:
                    grown.add(needed)
                    todo.append(needed)
        return grown

    def _further(self, ctx: Context, names: set[str]) -> list[tuple[str, Node, bool]]:
        shape = self.shape
        makers = [pair for pair in shape.extra if pair[1].height <= ctx.room] or list(shape.extra)
        missing = max(0, shape.low - len(names))
        if not shape.declared and not missing and makers and makers[0][1].height <= ctx.room:
            missing = ctx.stream.between(1, _FREE_KEYS)
        if shape.high is not None:
            missing = min(missing, shape.high - len(names))
        taken = set(names)
        further: list[tuple[str, Node, bool]] = []
        for _ in range(missing):
            try:
                key, node = self._new_name(ctx, makers, taken)
            except UnsatisfiableError:
                if len(taken) < shape.low:
                    raise
                break
            taken.add(key)
            further.append((key, node, True))
        return further

    def _new_name(self, ctx: Context, makers: list[tuple[Key, Node]], taken: set[str]) -> tuple[str, Node]:
        for _ in range(_TRIES if makers else 0):
            make, node = ctx.stream.pick(makers)
            name = make(ctx)
            if (
                name not in taken
                and name not in self.shape.declared
                and (self.shape.allows is None or self.shape.allows(name))
            ):
                return name, node
        raise UnsatisfiableError(
            "minProperties", self.shape.path, f"no further property name was found beyond {len(taken)}"
        )


def free_key(ctx: Context) -> str:
    """A word as the name of a property."""
    return ctx.stream.pick(corpus.words())
