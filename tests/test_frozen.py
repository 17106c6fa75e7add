"""Is a value with a quick `__init__` the frozen dataclass that it looks like?"""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace
from typing import Any

import pytest

from synth_actors.frozen import quick_init
from synth_actors.providers.base import Call, Completion
from synth_actors.types import Answer, Chunk, Outcome, Response, Timings
from synth_actors.usage import Usage

QUICK = (Usage, Timings, Answer, Response, Chunk, Outcome, Call, Completion)


@dataclass(frozen=True, slots=True)
class Plain:
    first: int
    third: str = "c"
    second: Any = field(default=None, kw_only=True)


@quick_init
@dataclass(frozen=True, slots=True)
class Quick:
    first: int
    third: str = "c"
    second: Any = field(default=None, kw_only=True)


def test_it_takes_what_the_dataclass_takes() -> None:
    assert inspect.signature(Quick) == inspect.signature(Plain)
    assert repr(Quick(1, "x", second=[2])) == repr(Plain(1, "x", second=[2])).replace("Plain", "Quick")
    assert Quick(first=1) == Quick(1, "c", second=None)
    assert hash(Quick(1)) == hash(Quick(1))


@pytest.mark.parametrize("arguments", [(), (1, "x", None)], ids=str)
def test_what_does_not_fit_is_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match="positional argument"):
        Quick(*arguments)


def test_it_is_frozen() -> None:
    value = Quick(1)
    with pytest.raises(FrozenInstanceError):
        value.first = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del value.first


def test_it_can_be_copied_replaced_and_pickled() -> None:
    usage = Usage(input_tokens=3, cost_usd=None)
    assert replace(usage, input_tokens=4) == Usage(input_tokens=4, cost_usd=None)
    assert copy.deepcopy(usage) == usage
    assert pickle.loads(pickle.dumps(usage)) == usage


@pytest.mark.parametrize("value", QUICK, ids=lambda cls: cls.__name__)
def test_nothing_that_is_quick_can_be_changed(value: type[Any]) -> None:
    names = list(inspect.signature(value).parameters)
    made = value(**dict.fromkeys(names, "x"))
    assert [getattr(made, name) for name in names] == ["x"] * len(names)
    with pytest.raises(FrozenInstanceError):
        setattr(made, names[0], "y")


def test_a_default_factory_is_refused_since_it_would_be_shared() -> None:
    with pytest.raises(TypeError, match="give it a slot, and a plain default"):

        @quick_init
        @dataclass(frozen=True, slots=True)
        class Wrong:
            values: list[int] = field(default_factory=list)


def test_a_class_without_slots_is_refused() -> None:
    with pytest.raises(TypeError, match="give it a slot"):

        @quick_init
        @dataclass(frozen=True)
        class Wrong:
            value: int
