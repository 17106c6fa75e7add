"""Where in a row does a column stand, and what may stand there?"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from synth_actors.datasets.references import DEFINITIONS, answer_schema, resolve
from synth_actors.schema import canonical, validator_of

MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Place:
    """A property: the keys that lead to it, its JSON type if it has one, and what is wrong with a value there."""

    path: tuple[str, ...]
    kind: str | None
    multiple_of: int | float | None
    problem: Callable[[Any], str | None]


class Places:
    """The properties of a row, by their names with dots between: `address.city`."""

    def __init__(self, json_schema: Mapping[str, Any]) -> None:
        # Inside the schema of an answer, its references do not depend on what stands at the root.
        self._answer = answer_schema(json_schema, 1)
        self._row = self._answer["properties"]["rows"]["items"]

    def find(self, name: str) -> Place | None:
        """The property that is called `name`; None when there is none."""
        found = next(self._find(name, self._row, ()), None)
        if found is None:
            return None
        path, part = found
        resolved = resolve(part, self._answer)
        kind, step = resolved.get("type"), resolved.get("multipleOf")
        return Place(
            path,
            kind if isinstance(kind, str) else None,
            step if isinstance(step, int | float) and step > 0 else None,
            self._problem_of(part),
        )

    def near(self, name: str) -> str | None:
        """A property that is called nearly so."""
        near = difflib.get_close_matches(name, list(self._names(self._row, "", 3)), n=1, cutoff=0.7)
        return near[0] if near else None

    def _find(self, name: str, schema: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        properties = _properties(schema, self._answer)
        if name in properties:
            yield (*path, name), properties[name]
        for key, part in properties.items():
            if name.startswith(f"{key}.") and len(path) < MAX_DEPTH:
                yield from self._find(name[len(key) + 1 :], part, (*path, key))

    def _names(self, schema: Any, prefix: str, depth: int) -> Iterator[str]:
        for key, part in _properties(schema, self._answer).items() if depth else ():
            yield f"{prefix}{key}"
            yield from self._names(part, f"{prefix}{key}.", depth - 1)

    def _problem_of(self, part: Any) -> Callable[[Any], str | None]:
        definitions = {name: self._answer[name] for name in DEFINITIONS if name in self._answer}
        alone = {"allOf": [part], "properties": self._answer["properties"], **definitions}
        check = validator_of(canonical(alone))

        def problem(value: Any) -> str | None:
            found = check(value)
            return None if found is None else found.removeprefix("the whole: ")

        return problem


def _properties(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = resolve(schema, root).get("properties")
    return properties if isinstance(properties, Mapping) else {}
