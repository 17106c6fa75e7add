"""How does a JSON Schema keep its references when it is put inside another one?

`#/$defs/...` stays what it is, since definitions are lifted to the top; every other `#...` is re-based to the place
where the schema now stands.  References that leave the document are refused: nothing is fetched to understand a schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from synth_actors.errors import ConfigError

ROWS_PATH = "#/properties/rows/items"
"""Where the schema of one row stands inside the schema of an answer."""

DEFINITIONS = ("$defs", "definitions")
_MAPS_OF_SCHEMAS = frozenset({"properties", "patternProperties", "dependentSchemas", *DEFINITIONS})
_DATA = frozenset({"enum", "const", "default", "examples", "example"})

Rewrite = Callable[[str], str]


def answer_schema(row: Mapping[str, Any], count: int) -> dict[str, Any]:
    """The schema of `{"rows": [...]}` with exactly `count` rows that follow `row`.

    Raises:
        ConfigError: `row` refers to another document.
    """
    own_id = row.get("$id", "")
    moved = _rewritten(dict(row), lambda reference: _rebased(reference, own_id))
    lifted = {name: moved.pop(name) for name in DEFINITIONS if name in moved}
    for name in ("$schema", "$id"):
        moved.pop(name, None)
    rows = {"type": "array", "items": moved, "minItems": count, "maxItems": count}
    return {
        "type": "object",
        "properties": {"rows": rows},
        "required": ["rows"],
        "additionalProperties": False,
        **lifted,
    }


def _rebased(reference: str, own_id: str) -> str:
    local = reference.removeprefix(own_id) or "#"
    if not local.startswith("#"):
        raise ConfigError(
            f"schema: $ref {reference!r} leaves the schema; copy what it names under $defs and use '#/$defs/NAME'"
        )
    if local.startswith(tuple(f"#/{name}/" for name in DEFINITIONS)):
        return local
    if local == "#" or local.startswith("#/"):
        return ROWS_PATH + local[1:]
    return local  # an $anchor is found wherever it stands


def _rewritten(schema: dict[str, Any], rewrite: Rewrite) -> dict[str, Any]:
    return {key: _part(key, value, rewrite) for key, value in schema.items()}


def _part(key: str, value: Any, rewrite: Rewrite) -> Any:
    if key in _DATA:
        return value
    if key in ("$ref", "$dynamicRef") and isinstance(value, str):
        return rewrite(value)
    if key in _MAPS_OF_SCHEMAS and isinstance(value, dict):
        return {name: _rewritten(part, rewrite) if isinstance(part, dict) else part for name, part in value.items()}
    if isinstance(value, dict):
        return _rewritten(value, rewrite)
    if isinstance(value, list):
        return [_rewritten(part, rewrite) if isinstance(part, dict) else part for part in value]
    return value


def resolve(schema: Any, root: Mapping[str, Any], depth: int = 8) -> dict[str, Any]:
    """`schema` with its own `$ref`, its nullable alternative and a single `allOf` followed, as far as that is simple.

    What is not simple (several alternatives, an unknown pointer) comes back as it is; `True` and `False` as `{}`.
    """
    if not isinstance(schema, Mapping) or depth == 0:
        return {}
    here = dict(schema)
    if isinstance(reference := here.pop("$ref", None), str):
        return resolve({**_target(reference, root), **here}, root, depth - 1)
    for keyword in ("anyOf", "oneOf", "allOf"):
        parts = here.get(keyword)
        if isinstance(parts, list) and len(real := [part for part in parts if part != {"type": "null"}]) == 1:
            del here[keyword]
            return resolve({**(real[0] if isinstance(real[0], Mapping) else {}), **here}, root, depth - 1)
    if isinstance(here.get("type"), list):
        kinds = [kind for kind in here["type"] if kind != "null"]
        here["type"] = kinds[0] if len(kinds) == 1 else kinds
    return here


def _target(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        found = found.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}
