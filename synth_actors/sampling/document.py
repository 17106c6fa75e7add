"""Where does a reference of a schema point, and is a value valid against a part of it?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import unquote

from synth_actors.sampling.errors import UnsatisfiableError, UnsupportedError

Schema: TypeAlias = dict[str, Any] | bool
Valid: TypeAlias = Callable[[Any], bool]
_ROOT = "urn:synth-actors:root"


class Document:
    """A whole schema, which its references point into."""

    def __init__(self, root: Schema) -> None:
        self.root = root
        self.base = root.get("$id", "") if isinstance(root, dict) else ""
        self._anchors = {name: (schema, path) for name, schema, path in _anchored(root, "")}

    def resolve(self, reference: str, path: str) -> tuple[Schema, str]:
        """The schema that a `$ref` at `path` points to, and where it stands.

        Raises:
            UnsupportedError: it points out of the document.
            UnsatisfiableError: there is nothing where it points.
        """
        local = reference.removeprefix(self.base) if self.base and reference.startswith(self.base) else reference
        if local and not local.startswith("#"):
            raise UnsupportedError("$ref", path, f"{reference!r} points out of the document; move it under $defs")
        pointer = unquote(local.removeprefix("#"))
        if pointer and not pointer.startswith("/"):
            if pointer not in self._anchors:
                raise UnsatisfiableError("$ref", path, f"no $anchor is named {pointer!r}")
            return self._anchors[pointer]
        return self._at(pointer, reference, path), pointer

    def _at(self, pointer: str, reference: str, path: str) -> Schema:
        found: Any = self.root
        for part in pointer.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(key)] if isinstance(found, list) else found[key]
            except (KeyError, IndexError, ValueError, TypeError):
                raise UnsatisfiableError("$ref", path, f"{reference!r} points to nothing") from None
        if not isinstance(found, (dict, bool)):
            raise UnsatisfiableError("$ref", path, f"{reference!r} points to no schema")
        return found

    def validator(self, schemas: Iterable[Schema]) -> Valid:
        """Whether a value is valid against all of the schemas, which are parts of this document."""
        import jsonschema_rs  # late: heavy

        root = (
            {k: v for k, v in self.root.items() if k not in ("$id", "$schema")}
            if isinstance(self.root, dict)
            else self.root
        )
        registry = jsonschema_rs.Registry([(_ROOT, self._absolute(root))])
        whole = {"allOf": [self._absolute(schema) for schema in schemas]}
        valid: Valid = jsonschema_rs.Draft202012Validator(whole, registry=registry, validate_formats=True).is_valid
        return valid

    def _absolute(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return [self._absolute(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        done = {key: value if key in ("enum", "const") else self._absolute(value) for key, value in schema.items()}
        if isinstance(reference := schema.get("$ref"), str):
            done["$ref"] = _ROOT + (reference.removeprefix(self.base) or "#")
        return done


def _anchored(schema: Any, path: str) -> Iterator[tuple[str, Schema, str]]:
    if isinstance(schema, list):
        for index, item in enumerate(schema):
            yield from _anchored(item, f"{path}/{index}")
    elif isinstance(schema, dict):
        if isinstance(name := schema.get("$anchor"), str):
            yield name, schema, path
        for key, value in schema.items():
            if key not in ("enum", "const"):
                yield from _anchored(value, f"{path}/{escaped(key)}")


def escaped(name: str) -> str:
    """A name as part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


@lru_cache(maxsize=512)
def matcher(pattern: str) -> Valid:
    """Whether a string matches the expression anywhere, as JSON Schema means it."""
    import jsonschema_rs  # late: heavy

    valid: Valid = jsonschema_rs.Draft202012Validator({"pattern": pattern}).is_valid
    return valid
