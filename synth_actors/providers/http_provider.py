"""What do the providers that speak HTTP have in common?

One call: build the body, send it, read one JSON object or a stream of events into a `Progress`, and make a
`Completion` of it, or a `ProviderError`.  The adapters add only their wire format: what the body looks like and
what an answer means.

A server that answers with one JSON object although a stream was asked for is understood: the text is emitted in one
piece.

A JSON Schema is sent as the API's own structured output.  Where the endpoint refuses it, `schema_in_prompt` is set,
the call fails with SCHEMA_REFUSED, and from then on the schema is asked for in the system text.  It is set, too,
when a whole answer to a structured call is plainly no JSON: then the server ignored the schema, and the model never
saw it.
"""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import httpx2
import orjson

from synth_actors.policy.cache_key import digest_of
from synth_actors.providers.access import access_of
from synth_actors.providers.base import Call, Completion, Emit, Fault, ProviderError
from synth_actors.providers.http_body import (
    TRANSPORT_ERRORS,
    UNKNOWN_USAGE,
    parse_json,
    read_error_body,
    read_events,
    read_whole,
)
from synth_actors.providers.http_client import Transport, open_client
from synth_actors.providers.http_errors import Reporter, read_error, refuses_schema, shows
from synth_actors.providers.json_only import AnswerText, JsonOnly, plainly_no_json
from synth_actors.providers.rate_headers import rate_limits
from synth_actors.providers.schema_subset import in_words
from synth_actors.providers.secrets import keep_out_of_foreign_logs
from synth_actors.types import NO_USAGE, Usage
from synth_actors.wire.reuse import Reuse

if TYPE_CHECKING:
    from synth_actors.config import Endpoint
    from synth_actors.types import StopReason
    from synth_actors.wire.sse import Event

_OURS = frozenset({"model", "messages", "stream"})


@dataclass(slots=True)
class Progress:
    """What is known of one answer so far."""

    call: Call
    text: AnswerText
    structured: bool  # the schema was sent as the API's own structured output
    usage: Usage | None = None  # None until the server says what was used
    stop_reason: StopReason | None = None
    model: str | None = None
    refused: bool = False  # the server said so in a text of its own, apart from the reason to stop
    ended: bool = False  # the terminal event was read

    def count(self, tokens: Mapping[str, object]) -> None:
        """Take the counts that the server gave; what it left out, or gave as no number, stays as it was."""
        known = {name: max(0, value) for name, value in tokens.items() if isinstance(value, int)}
        if known:
            self.usage = replace(self.usage or NO_USAGE, **known)
            self.call.note_usage(self.usage)


class HttpProvider(ABC):
    """The frame of one call over HTTP; an adapter fills in its wire format."""

    foreign_errors: ClassVar[tuple[type[Exception], ...]] = TRANSPORT_ERRORS
    """What the client library raises; translated once, here."""

    def __init__(self, endpoint: Endpoint, transport: Transport = "lean") -> None:
        access = access_of(endpoint)
        for name in _OURS & endpoint.extra_body.keys():
            # A plain ConfigError belongs to the configuration; a request with the same mistake is REJECTED below.
            raise _ours_error(f"endpoint {endpoint.name!r}: extra_body", name)
        self.name = endpoint.name
        self.model = endpoint.model
        self.identity = identity_of(endpoint, access.base_url)
        self.schema_in_prompt = False
        self._access = access
        self._extra_body = copy.deepcopy(endpoint.extra_body)  # what is sent stays what the identity says
        self._report = Reporter(access.secrets, endpoint.connect_timeout_s)
        keep_out_of_foreign_logs(access.secrets)
        self._reuse = Reuse()
        self._http = open_client(endpoint, access.base_url, access.user, reuse=self._reuse, transport=transport)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} at {_public(self._access.base_url)}>"

    def watch_connections(self, opened: Callable[[float], None]) -> None:
        """See `ConnectingProvider`."""
        self._reuse.opened = opened

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        """Make one call; see `Provider.generate`."""
        schema = None if self.schema_in_prompt or call.json_schema is None else self._subset(call.json_schema)
        in_prompt = call.json_schema is not None and schema is None
        only = JsonOnly(call.json_schema) if in_prompt and call.json_schema is not None else None
        progress = Progress(call, AnswerText(emit, only), structured=schema is not None)
        body = self._with_extras(self._body(call, schema), call)
        cause: Exception
        try:
            await self._exchange(body, progress, streamed=emit is not None)
            return self._completion(call, progress)
        except ProviderError as exc:
            exc.usage = progress.usage or exc.usage
            raise
        except self.foreign_errors as exc:
            cause = exc
        failure = self._translated(cause, progress)
        raise failure from (None if shows(cause, self._access.secrets) else cause)

    # What an adapter says.

    @abstractmethod
    def _subset(self, schema: dict[str, Any]) -> dict[str, Any] | None:
        """The part of the schema that the API takes; None when it has to be asked for in words."""

    @abstractmethod
    def _body(self, call: Call, schema: dict[str, Any] | None) -> dict[str, Any]:
        """The body of the call, without `stream` and extras; `schema` is what `_subset` gave."""

    @abstractmethod
    async def _post(self, body: bytes) -> httpx2.Response:
        """Send the body, which is JSON; the answer comes back unread."""

    @abstractmethod
    def _read_answer(self, answer: dict[str, Any], progress: Progress) -> None:
        """Read a whole answer."""

    @abstractmethod
    def _read_event(self, event: Event, progress: Progress) -> None:
        """Read one event of a streamed answer."""

    def _streamed(self, body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "stream": True}

    @abstractmethod
    def _whole_at_eof(self, progress: Progress) -> bool:
        """Whether a stream that ended without its terminal event holds the whole answer all the same."""

    def _translated(self, exc: Exception, progress: Progress) -> ProviderError:
        return self._report.of_transport(exc, progress.usage or NO_USAGE)

    # What they share.

    def _system(self, call: Call, schema: dict[str, Any] | None) -> str | None:
        """The system text, with the schema in words where it is not sent otherwise."""
        if call.json_schema is None or schema is not None:
            return call.request.system
        words = in_words(call.json_schema)
        return f"{call.request.system}\n\n{words}" if call.request.system else words

    def _with_extras(self, body: dict[str, Any], call: Call) -> dict[str, Any]:
        for name in _OURS & call.request.extra.keys():
            raise self._report.failed(_ours("extra", name), fault=Fault.REJECTED)
        return merged(merged(body, self._extra_body), call.request.extra)

    def _encoded(self, body: dict[str, Any]) -> bytes:
        try:
            return orjson.dumps(body)
        except TypeError as exc:
            raise self._report.failed(f"extra: cannot be written as JSON: {exc}", fault=Fault.REJECTED) from exc

    async def _exchange(self, body: dict[str, Any], progress: Progress, *, streamed: bool) -> None:
        """Send the body and read the answer into `progress`."""
        response = await self._post(self._encoded(self._streamed(body) if streamed else body))
        most = progress.call.max_response_bytes
        async with aclosing(response):
            if response.status_code >= 300:
                raise self._refused(response, await read_error_body(response), progress)
            self._note_limits(response, progress)
            if not streamed or response.headers.get("content-type", "").startswith("application/json"):
                self._read_whole(await read_whole(response, most, self._report), progress)
                return

            def take(event: Event) -> bool:
                self._read_event(event, progress)
                return progress.ended

            await read_events(response, most, self._report, take)
        progress.ended = progress.ended or self._whole_at_eof(progress)

    def _read_whole(self, content: bytes, progress: Progress) -> None:
        answer = parse_json(content, self._report)
        if answer.get("error") or answer.get("type") == "error":
            raise self._report.of_body(answer)
        self._read_answer(answer, progress)

    def _note_limits(self, response: httpx2.Response, progress: Progress) -> None:
        if (limits := rate_limits(response.headers.raw, now=time.time())) is not None:
            progress.call.note_limits(limits)

    def _refused(self, response: httpx2.Response, body: object, progress: Progress) -> ProviderError:
        self._note_limits(response, progress)
        status = response.status_code
        failure = self._report.of_status(status, response.headers, body, now=time.time())
        if progress.structured and refuses_schema(status, read_error(body)):
            self.schema_in_prompt = True
            failure.fault = Fault.SCHEMA_REFUSED
        return failure

    def _completion(self, call: Call, progress: Progress) -> Completion:
        if not progress.ended or progress.stop_reason is None:
            raise self._report.failed("the answer ended before its end: the terminal event never came")
        text = progress.text.whole()
        said = text.strip() and progress.stop_reason != "refusal"
        if progress.structured and said and plainly_no_json(text, call.json_schema or {}):
            self.schema_in_prompt = True
        return Completion(
            text=text, stop_reason=progress.stop_reason, usage=progress.usage or UNKNOWN_USAGE, model=progress.model
        )


def identity_of(endpoint: Endpoint, base_url: str) -> str:
    """What makes the answers of an endpoint: provider, model, address, and a digest of an `extra_body` if there is one.

    Whatever decides only who asks, who pays, how fast and how often is left out, so that a new key or another limit
    does not make what was paid for useless: key, credentials in the address, `extra_headers`, `verify`, `weight`,
    `price`, limits, timeouts, `stream`, and the endpoint's name.

    Raises:
        ConfigError: `extra_body` holds something that JSON cannot; the message says where.
    """
    parts = [str(endpoint.provider), endpoint.model, _public(base_url)]
    if endpoint.extra_body:
        parts.append(f"extra_body={digest_of(endpoint.extra_body, f'endpoint {endpoint.name!r}: extra_body')}")
    return "|".join(part.replace("%", "%25").replace("|", "%7C") for part in parts)


def _public(base_url: str) -> str:
    """The address without what may be secret in it: user and password; a query is there by its digest."""
    parts = urlsplit(base_url)
    query = digest_of({"query": parts.query}, "base_url") if parts.query else ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query).geturl()


def merged(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """`body` with everything in `extra`, which wins; objects in both are merged in the same way."""
    made = dict(body)
    for name, value in extra.items():
        old = made.get(name)
        made[name] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return made


def _ours(where: str, name: str) -> str:
    return f"{where}: {name!r} is set by the engine; leave it out and use the field of the endpoint or the request"


def _ours_error(where: str, name: str) -> Exception:
    from synth_actors.errors import ConfigError

    return ConfigError(_ours(where, name))
