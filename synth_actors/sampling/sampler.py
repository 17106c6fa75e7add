"""Which document belongs to this schema and this seed?

    sampler = sampler_for(schema)
    value = sampler.sample(seed)

A schema is compiled once and remembered.  The same schema and seed give the same value in every process and on every
machine, with the same version of mimesis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from synth_actors.sampling.compile import Compiler
from synth_actors.sampling.document import Document, Schema, escaped
from synth_actors.sampling.errors import UnsatisfiableError, UnsupportedError
from synth_actors.sampling.names import Hint
from synth_actors.sampling.nodes import Steps, finished, settle
from synth_actors.sampling.record import Context
from synth_actors.sampling.stream import Stream

DEPTH = 4
"""Documents of a recursive schema nest up to this much deeper than the smallest one."""
_TRIES = 8


class Sampler:
    """Makes the documents of one schema.

    Raises:
        SchemaError: nothing can be made for the schema; it names the keyword and its path.
    """

    def __init__(self, schema: Schema) -> None:
        self._validator = _validator(schema)
        document = Document(schema)
        compiler = Compiler(document)
        title = schema.get("title", "") if isinstance(schema, dict) else ""
        self._root = compiler.node(schema, "", Hint(title if isinstance(title, str) else ""))
        settle(compiler.nodes)
        if math.isinf(self._root.height):
            raise UnsatisfiableError("$ref", "", "the recursion never ends: every value needs another one inside")
        self._recursive = compiler.recursive

    def sample(self, seed: int) -> Any:
        """The document of a seed.

        Raises:
            UnsatisfiableError: no valid document was found within the bounded number of tries.
        """
        return finished(self.steps(seed))

    def _room(self, stream: Stream) -> float:
        """How many levels this document may open freely."""
        return self._root.height + stream.between(1, DEPTH) if self._recursive else math.inf

    def steps(self, seed: int) -> Steps:
        """The same document, returned by a generator that pauses now and then, so that others may run meanwhile."""
        stream = Stream(seed)
        value = None
        for _ in range(_TRIES):
            value = yield from self._root.steps(Context(stream, self._room(stream)))
            if self._validator.is_valid(value):
                return value
        error = next(self._validator.iter_errors(value))
        path = "/".join(map(str, error.schema_path))
        keyword = str(error.schema_path[-1]) if error.schema_path else "schema"
        raise UnsatisfiableError(keyword, f"/{path}", f"none of {_TRIES} documents was valid: {error.message[:200]}")


def _validator(schema: Schema) -> Any:
    """The independent judge of every document.

    Raises:
        UnsupportedError: the schema itself is not valid.
    """
    import jsonschema_rs  # late: heavy

    try:
        return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    except jsonschema_rs.ValidationError as exc:
        problem, where = exc.message, [escaped(str(part)) for part in exc.instance_path]
    except jsonschema_rs.ReferencingError as exc:
        problem, where = str(exc), []
    if not where:  # a reference that leads nowhere: compiling says which one, and where it stands
        Compiler(Document(schema)).node(schema, "", Hint())
        raise UnsupportedError("$ref", "", problem)
    path = "".join(f"/{part}" for part in where[:-1])
    raise UnsupportedError(where[-1], path, f"no valid JSON Schema: {problem}")


def sampler_for(schema: Mapping[str, Any]) -> Sampler:
    """The sampler of a schema, compiled at its first use; the order of its keys is the order of the properties.

    Raises:
        SchemaError: nothing can be made for the schema.
    """
    try:
        text = orjson.dumps(dict(schema))
    except TypeError as exc:
        raise UnsupportedError("schema", "", f"it cannot be written as JSON: {exc}") from exc
    return _compiled(text)


@lru_cache(maxsize=128)
def _compiled(text: bytes) -> Sampler:
    return Sampler(orjson.loads(text))
