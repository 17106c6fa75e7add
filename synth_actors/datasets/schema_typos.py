"""What in a schema file looks like a slip of the pen?

JSON Schema takes a keyword that it does not know for an annotation, so `minLenght` is valid and demands nothing.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any

_OF_SCHEMA = frozenset(
    "items contains additionalProperties propertyNames if then else not unevaluatedItems unevaluatedProperties "
    "additionalItems contentSchema".split()
)
_OF_SCHEMAS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems", "items"})
_OF_NAMES = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
_OTHERS = frozenset(
    "$schema $id $ref $anchor $dynamicRef $dynamicAnchor $recursiveRef $recursiveAnchor $vocabulary $comment id type "
    "enum const multipleOf minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength pattern minItems "
    "maxItems uniqueItems minContains maxContains minProperties maxProperties required dependentRequired dependencies "
    "format contentEncoding contentMediaType title description default deprecated readOnly writeOnly examples "
    "example discriminator externalDocs xml".split()
)
_KEYWORDS = sorted(_OF_SCHEMA | _OF_SCHEMAS | _OF_NAMES | _OTHERS)
_FORMATS = frozenset(
    "date-time date time duration email idn-email hostname idn-hostname ipv4 ipv6 uri uri-reference iri iri-reference "
    "uuid uri-template json-pointer relative-json-pointer regex".split()
)


def slips(text: str | bytes, schema: dict[str, Any]) -> Iterator[str]:
    """What looks wrong in `text`, which holds `schema`, a line each."""
    yield from (f"the key {name!r} stands twice in one object: the last one holds" for name in _twice(text))
    yield from _within(schema, "#")


def _twice(text: str | bytes) -> list[str]:
    found: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        found.extend(dict.fromkeys(name for name in names if names.count(name) > 1))

    json.loads(text, object_pairs_hook=look)
    return found


def _within(schema: Any, path: str) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    for keyword, value in schema.items():
        if keyword not in _KEYWORDS and not keyword.startswith("x-"):
            yield f"unknown keyword {keyword!r} at {path}: {_near(keyword, _KEYWORDS)}it is taken for an annotation"
        elif keyword == "format" and isinstance(value, str) and value not in _FORMATS:
            yield from _format(value, path)
        else:
            for part, where in _parts(keyword, value, f"{path}/{keyword}"):
                yield from _within(part, where)


def _parts(keyword: str, value: Any, path: str) -> Iterator[tuple[Any, str]]:
    if isinstance(value, list) and keyword in _OF_SCHEMAS:
        yield from ((part, f"{path}/{index}") for index, part in enumerate(value))
    elif isinstance(value, dict) and keyword in _OF_NAMES:
        yield from ((part, f"{path}/{name}") for name, part in value.items())
    elif keyword in _OF_SCHEMA:
        yield value, path


def _format(name: str, path: str) -> Iterator[str]:
    from synth_actors.providers.local import knows_format  # late: heavy

    if not knows_format(name):
        yield f"unknown format {name!r} at {path}: {_near(name, sorted(_FORMATS))}no value is checked for it"


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f"did you mean {near[0]!r}? " if near else ""
