"""What does a request get when there is no model behind it?

A schema becomes a realistic, valid JSON document; a prompt without schema becomes some sentences about its topic. The
same messages, system text, seed, sample index, namespace and schema give the same answer on every machine with the same
release of mimesis, whose lists of names and words are drawn from; `temperature` and `extra` steer a model, and there is
none here, so they change nothing.

The endpoint has nothing that could change an answer, and the seed is the request's. So `identity` says the two things
that no request does: the generation of what is written here and in `sampling`, and the release of mimesis. Where
either has changed, answers that were kept are made anew, for nothing.

`max_tokens` bounds free text, at four characters a token. A JSON document is always whole: half of it would be of no
use to anybody, and here it costs nothing. `stop` ends both where it says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

import orjson
import trio

from synth_actors.errors import ConfigError
from synth_actors.providers.base import Call, Completion, Emit, Fault, ProviderError
from synth_actors.sampling.errors import SchemaError
from synth_actors.sampling.prose import essay
from synth_actors.sampling.sampler import sampler_for
from synth_actors.sampling.stream import Stream, seed_of
from synth_actors.types import StopReason, Usage

if TYPE_CHECKING:
    from synth_actors.config import Endpoint
    from synth_actors.types import Request

BYTES_PER_TOKEN = 4
GENERATION = 1
"""To be raised with every change of what is made for a request; it is a part of each seed, and of `identity`."""
_MOST_PIECES = 32
_PIECE = 16


class LocalProvider:
    """Answers inside this process, for nothing.

    Raises:
        ConfigError: the endpoint sets something that only a server could honour.
    """

    model = "local"

    def __init__(self, endpoint: Endpoint) -> None:
        if endpoint.model not in ("", "local"):
            raise ConfigError(f"Endpoint.model: {endpoint.model!r}: 'local' has one model; leave it out")
        for field, value in (("extra_body", endpoint.extra_body), ("extra_headers", endpoint.extra_headers)):
            if value:
                raise ConfigError(f"Endpoint.{field}: 'local' sends nothing to a server; leave it out")
        self.name = endpoint.name
        self.identity = f"local/{GENERATION}|mimesis/{metadata.version('mimesis')}"

    def __repr__(self) -> str:
        return f"<LocalProvider {self.name}>"

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        """One answer; with `emit` in several pieces.

        Raises:
            ProviderError: REJECTED, when nothing can be made for the schema; it names the keyword and its path.
        """
        await trio.lowlevel.checkpoint()
        text, reason = await _text(call)
        text, reason = _stopped(text, reason, call.request.stop)
        if emit is not None:
            for piece in _pieces(text):
                emit(piece)
                await trio.lowlevel.checkpoint()
        usage = Usage(input_tokens=_tokens(_prompt(call)), output_tokens=_tokens(text.encode()))
        return Completion(text=text, stop_reason=reason, usage=usage, model=self.model)

    async def aclose(self) -> None:
        """Nothing is open."""


def knows_format(name: str) -> bool:
    """Whether values are made for a `format` of this name."""
    from synth_actors.sampling.formats import FORMATS  # late: heavy

    return name in FORMATS


def check_schema(json_schema: Mapping[str, Any]) -> None:
    """Whether documents can be made for a schema, as far as that is known without making one.

    Raises:
        ConfigError: they cannot; it names the keyword and its path.
    """
    from synth_actors.sampling.errors import SchemaError
    from synth_actors.sampling.sampler import sampler_for

    try:
        sampler_for(json_schema)
    except SchemaError as exc:
        where = f"{exc.keyword!r} at #{exc.path}"
        remedy = "change the schema, or use another endpoint than 'local'"
        raise ConfigError(f"'local' cannot honour {where}: {exc.reason}; {remedy}") from exc


async def _text(call: Call) -> tuple[str, StopReason]:
    if call.json_schema is None:
        return _prose(call)
    try:
        steps = sampler_for(call.json_schema).steps(seed_of_call(call))
        while True:
            try:
                next(steps)
            except StopIteration as done:
                return _json(done.value), "end"
            await trio.lowlevel.checkpoint()
    except SchemaError as exc:
        raise ProviderError(Fault.REJECTED, str(exc)) from exc


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer of more than 64 bits
        import json

        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _prose(call: Call) -> tuple[str, StopReason]:
    most = call.request.max_tokens * BYTES_PER_TOKEN
    text = essay(Stream(seed_of_call(call)), call.request.as_messages()[-1].content, most)
    return (text, "end") if len(text) <= most else (text[:most], "max_tokens")


def _stopped(text: str, reason: StopReason, stops: tuple[str, ...]) -> tuple[str, StopReason]:
    ends = [at for stop in stops if stop and (at := text.find(stop)) >= 0]
    return (text[: min(ends)], "stop") if ends else (text, reason)


def _pieces(text: str) -> Iterator[str]:
    size = max(math.ceil(len(text) / _MOST_PIECES), min(_PIECE, math.ceil(len(text) / 2)), 1)
    for start in range(0, len(text), size):
        yield text[start : start + size]


def seed_of_call(call: Call) -> int:
    """The seed of everything that decides the answer."""
    return seed_of(_parts(call.request, call.json_schema))


def _parts(request: Request, json_schema: dict[str, Any] | None) -> Iterator[bytes]:
    yield f"local/{GENERATION}".encode()
    yield orjson.dumps([request.seed, request.sample_index, request.namespace, request.system])
    for message in request.as_messages():
        yield message.role.encode()
        yield message.content.encode("utf-8", "surrogatepass")
    if json_schema is not None:
        yield orjson.dumps(json_schema, option=orjson.OPT_SORT_KEYS)


def _prompt(call: Call) -> bytes:
    """Everything that a model would read."""
    texts = [call.request.system or "", *(message.content for message in call.request.as_messages())]
    schema = orjson.dumps(call.json_schema) if call.json_schema is not None else b""
    return "".join(texts).encode("utf-8", "surrogatepass") + schema


def _tokens(text: bytes) -> int:
    return math.ceil(len(text) / BYTES_PER_TOKEN)
