"""In what do two jobs differ, as far as that decides which rows come out?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

LONGEST_VALUE = 60


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """A line for each difference of two `JobSpec.identity()`: `job.seed: 0 -> 1`, `columns.plan: added`."""
    return [f"{_named(path)}: {words}" for path, words in _within((), old, new)]


def _within(path: tuple[str, ...], old: Any, new: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in {**old, **new}:
            if name not in new:
                yield (*path, name), "removed"
            elif name not in old:
                yield (*path, name), "added"
            else:
                yield from _within((*path, name), old[name], new[name])
    elif _kept(old) != _kept(new):
        yield path, f"{_shown(old)} -> {_shown(new)}"


def _kept(value: Any) -> str:
    """As JSON, which tells 1 from true and from 1.0."""
    return json.dumps(value, sort_keys=True)


def _named(path: tuple[str, ...]) -> str:
    """`job.schema: properties.age.maximum`: the key of the job file, and then what is inside it."""
    head, inside = ".".join(path[:2]), ".".join(path[2:])
    return f"{head}: {inside}" if inside else head


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."
