"""How does one speak to Anthropic's Messages API?

By the official SDK, which builds the request, its headers and its authorization: of the first call, whose form the
others fill with their bodies (`RequestForm`), since nothing else of them differs.  The body is given whole
(`client.post`, the SDK's own way for parameters that it does not name: 2.12 has no `temperature` argument) and the
answer is taken raw, because of what the SDK does with it otherwise: a stream that
ends early raises nothing, an error event becomes a status error with status 200, bad JSON a bare `JSONDecodeError`,
a wrong shape an object full of None.  Here a call succeeds only if `message_stop` arrived (streamed) or the message
has its `stop_reason` (whole).

- `stop_reason`: end_turn -> end, stop_sequence -> stop, max_tokens and model_context_window_exceeded -> max_tokens,
  refusal -> refusal.  tool_use and pause_turn mean that the model waits for something that nobody here does:
  REJECTED.
- Text is the concatenation of all text blocks; thinking is neither returned nor emitted.
- `seed`: the API has none, so a request with one is REJECTED, not sent without it.
- A model that the SDK knows to be deprecated is logged once, as a warning on the logger `synth_actors`.
- The system text, which stays the same from request to request, is marked for the prompt cache, unless the endpoint's
  `extra_body` or the request's `extra` names a `cache_control`: None for none, and it is not sent, or one of the user's
  own.  What was written to the cache and read from it is counted apart.
- Through the engine a call costs 254 us of CPU, by the SDK as it comes 844 (`python -m benchmarks --suite wire`).
- `max_retries=0`, no deadlines but the connection's: both are the engine's.  No OpenTelemetry spans of the SDK's
  own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import anthropic
import httpx2
from anthropic.resources.messages import DEPRECATED_MODELS

from synth_actors.providers.base import Call, Fault, Metering, ProviderError
from synth_actors.providers.http_body import TRANSPORT_ERRORS, parse_json, read_error_body
from synth_actors.providers.http_provider import HttpProvider, Progress
from synth_actors.providers.http_request import RequestForm
from synth_actors.providers.schema_subset import anthropic_subset
from synth_actors.types import NO_USAGE

if TYPE_CHECKING:
    from synth_actors.config import Endpoint
    from synth_actors.providers.http_client import Transport
    from synth_actors.types import StopReason
    from synth_actors.wire.sse import Event

_LOG = logging.getLogger("synth_actors")

_STOP_REASONS: Mapping[str, StopReason] = {
    "end_turn": "end",
    "stop_sequence": "stop",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "refusal": "refusal",
}
_COUNTS: Mapping[str, str] = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_write_tokens": "cache_creation_input_tokens",
}
_NOBODY_ANSWERS = ("tool_use", "pause_turn")
_MARK = "cache_control"


class AnthropicProvider(HttpProvider):
    """One Claude model, or a server that speaks the same protocol.

    Raises:
        ConfigError: the key is missing, or something else of the endpoint cannot be used.  Nothing was sent.
    """

    foreign_errors = (*TRANSPORT_ERRORS, anthropic.AnthropicError)
    output_metering: Metering = "meter"

    def __init__(self, endpoint: Endpoint, transport: Transport = "lean") -> None:
        super().__init__(endpoint, transport)
        if (end := DEPRECATED_MODELS.get(self.model)) is not None:
            # Not warnings.warn: under "error" it would end the program, by default nobody would see it.
            _LOG.warning("%s: the model is deprecated and ends on %s; choose a newer one", self.name, end)
        no_key: dict[str, Any] = {} if self._access.key else {"Authorization": anthropic.Omit()}
        self._form: RequestForm | None = None  # until the SDK has made the first request
        self._http.event_hooks = {"request": [self._keep_form], "response": [_refuse]}
        self._client = anthropic.AsyncAnthropic(
            api_key=self._access.key or "",  # never None: the SDK would look for one in the environment and on disk
            base_url=self._access.base_url,
            http_client=self._http,
            timeout=self._http.timeout,
            max_retries=0,
            default_headers={**no_key, **endpoint.extra_headers},
            open_telemetry=False,
        )

    def _subset(self, schema: dict[str, Any]) -> dict[str, Any] | None:
        return anthropic_subset(schema)

    def _body(self, call: Call, schema: dict[str, Any] | None) -> dict[str, Any]:
        request = call.request
        if request.seed is not None:
            raise self._report.failed("seed: Anthropic's API has none; leave it out", fault=Fault.REJECTED)
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": request.max_tokens,
            "messages": [{"role": turn.role, "content": turn.content} for turn in request.as_messages()],
        }
        if (system := self._system(call, schema)) is not None:
            body["system"] = self._marked(system, call)
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.stop:
            body["stop_sequences"] = list(request.stop)
        if schema is not None:
            body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        return body

    def _marked(self, system: str, call: Call) -> Any:
        if not system.strip() or any(_MARK in extra for extra in (self._extra_body, call.request.extra)):
            return system  # an empty text takes no mark; a mark of the user's own is the only one
        return [{"type": "text", "text": system, _MARK: {"type": "ephemeral"}}]

    def _with_extras(self, body: dict[str, Any], call: Call) -> dict[str, Any]:
        made = super()._with_extras(body, call)
        return made if made.get(_MARK, ...) is not None else {name: made[name] for name in made if name != _MARK}

    async def _keep_form(self, request: httpx2.Request) -> None:
        if self._form is None:
            self._form = RequestForm.of(request)

    async def _post(self, body: bytes) -> httpx2.Response:
        if self._form is not None:
            return await self._http.send(self._form.filled(body), stream=True)
        answer = await self._client.post(
            "/v1/messages",
            cast_to=httpx2.Response,
            content=body,
            options={"headers": {"content-type": "application/json"}},
            stream=True,  # unread, whether it is a stream or not
            stream_cls=anthropic.AsyncStream[Any],
        )
        return cast("httpx2.Response", answer)  # `cast_to` has it handed back as it is

    def _translated(self, exc: Exception, progress: Progress) -> ProviderError:
        if isinstance(exc, anthropic.APIStatusError):
            return self._refused(exc.response, exc.body, progress)
        cause = exc.__cause__ if isinstance(exc, anthropic.APIConnectionError) else exc
        return self._report.of_transport(cause if isinstance(cause, Exception) else exc, progress.usage or NO_USAGE)

    def _read_answer(self, answer: dict[str, Any], progress: Progress) -> None:
        self._count(answer.get("usage"), progress)
        self._name(answer.get("model"), progress)
        content = answer.get("content")
        if not isinstance(content, list):
            raise self._report.failed("the answer has no list of content: is this Anthropic's Messages API?")
        for block in content:
            if not isinstance(block, dict) or not isinstance(block.get("type"), str):
                raise self._report.failed("a block of the answer has no type: is this Anthropic's Messages API?")
            if block["type"] == "text":
                progress.text.add(self._string(block.get("text")))
        self._stop(answer.get("stop_reason"), progress)
        progress.ended = True

    def _read_event(self, event: Event, progress: Progress) -> None:
        if event.kind == "ping" or not event.data:
            return
        data = parse_json(event.data, self._report)
        match data.get("type", event.kind):
            case "content_block_delta":
                self._delta(data.get("delta"), progress)
            case "content_block_start":
                self._delta(data.get("content_block"), progress)
            case "message_start":
                message = self._object(data.get("message"))
                self._count(message.get("usage"), progress)
                self._name(message.get("model"), progress)
            case "message_delta":
                self._count(data.get("usage"), progress)
                delta = self._object(data.get("delta"))
                if delta.get("stop_reason") is not None:
                    self._stop(delta["stop_reason"], progress)
            case "message_stop":
                progress.ended = True
            case "error":
                raise self._report.of_body(data)

    def _whole_at_eof(self, progress: Progress) -> bool:
        return progress.ended  # message_stop or nothing

    def _delta(self, delta: object, progress: Progress) -> None:
        part = self._object(delta)
        if part.get("type") in ("text_delta", "text"):
            progress.text.add(self._string(part.get("text")))

    def _stop(self, reason: object, progress: Progress) -> None:
        if not isinstance(reason, str):
            raise self._report.failed("the answer has no stop_reason")
        if reason in _NOBODY_ANSWERS:
            what = f"the model stopped for {reason!r}, which nobody here answers; leave tools out of extra"
            raise self._report.failed(what, fault=Fault.REJECTED)
        if reason not in _STOP_REASONS:
            raise self._report.failed(f"the model stopped for an unknown reason, {reason!r}")
        progress.stop_reason = _STOP_REASONS[reason]

    def _count(self, usage: object, progress: Progress) -> None:
        if isinstance(usage, dict):  # the counts of a stream are cumulative: the last one holds
            progress.count({name: usage.get(theirs) for name, theirs in _COUNTS.items()})

    def _name(self, model: object, progress: Progress) -> None:
        if isinstance(model, str) and model:
            progress.model = model

    def _object(self, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._report.failed("an event of the stream has the wrong shape")
        return value

    def _string(self, value: object) -> str:
        if not isinstance(value, str):
            raise self._report.failed("a text of the answer is no string")
        return value


async def _refuse(response: httpx2.Response) -> None:
    """Raise what the SDK would for an error status, which reads the body first, however long it is."""
    if response.status_code >= 300:
        body = await read_error_body(response)
        raise anthropic.APIStatusError(f"HTTP {response.status_code}", response=response, body=body)
