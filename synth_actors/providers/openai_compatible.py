"""How does one speak to a server with OpenAI's Chat Completions API?

On httpx2, without OpenAI's SDK: POST {base_url}/chat/completions.  A call succeeds only if a `finish_reason`
arrived, and a stream only if after it `[DONE]` or a clean end of the body came.  Dialects that are understood:
vLLM, llama.cpp, SGLang, Ollama, OpenRouter, Azure, Mistral, Google's compatible server: error objects inside a 200
or in an event, usage in the last event, in its own event or missing (then the tokens are unknown and `cost_usd` is
None), a `stop_reason` or `matched_stop` beside `finish_reason`.

- `finish_reason`: stop, eos -> end, or stop when the server names the stop sequence that it met (OpenAI itself does
  not: there "end" may be one of `Request.stop`); length -> max_tokens; content_filter, or a `refusal` text ->
  refusal. tool_calls and function_call mean that the model waits for something that nobody here does: REJECTED.
- Schemas: OpenAI's own service gets the strict subset with `strict: true` where there is one.  A server with
  another `base_url` gets the whole schema without `strict`: servers that decode by grammar enforce more than the
  strict subset holds, and those that forward to OpenAI take it as a hint.  `extra_body` may say otherwise.
- The bound on tokens is `max_completion_tokens` for OpenAI's own service, whose newer models take nothing else, and
  `max_tokens` for all others; if `extra` or `extra_body` holds one of the two, only that one is sent.
- A server that refuses `stream_options` is asked without from then on: the usage of its streams is unknown.
- Reasoning (`reasoning_content`, `reasoning`) is neither returned nor emitted.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import httpx2

from synth_actors.providers.base import Call, Fault, Metering, ProviderError
from synth_actors.providers.http_body import parse_json
from synth_actors.providers.http_provider import HttpProvider, Progress
from synth_actors.providers.http_request import RequestForm
from synth_actors.providers.schema_subset import openai_strict

if TYPE_CHECKING:
    from synth_actors.config import Endpoint
    from synth_actors.providers.http_client import Transport
    from synth_actors.types import StopReason
    from synth_actors.wire.sse import Event

_LOG = logging.getLogger("synth_actors")

_STOP_REASONS: Mapping[str, StopReason] = {
    "stop": "end",
    "eos": "end",
    "eos_token": "end",
    "stop_sequence": "stop",
    "length": "max_tokens",
    "max_tokens": "max_tokens",
    "content_filter": "refusal",
}
_KINDS_OF_MESSAGE = frozenset({"content", "refusal", "tool_calls", "function_call", "reasoning", "reasoning_content"})
_NOBODY_ANSWERS = ("tool_calls", "function_call")
_TOKEN_BOUNDS = ("max_tokens", "max_completion_tokens")
_NAME_OF_SCHEMA = "output"
_OPTIONS = "stream_options"


class OpenAICompatibleProvider(HttpProvider):
    """One model of OpenAI's, or of any server that speaks its Chat Completions API.

    Raises:
        ConfigError: the key is missing, or something else of the endpoint cannot be used.  Nothing was sent.
    """

    output_metering: Metering = "reserve"

    def __init__(self, endpoint: Endpoint, transport: Transport = "lean") -> None:
        super().__init__(endpoint, transport)
        self._usage_in_streams = True
        key = {"authorization": f"Bearer {self._access.key}"} if self._access.key else {}
        headers = {"content-type": "application/json", **key, **endpoint.extra_headers}
        url = f"{self._access.base_url}/chat/completions"
        self._form = RequestForm.of(self._http.build_request("POST", url, headers=headers))

    def _subset(self, schema: dict[str, Any]) -> dict[str, Any] | None:
        strict = openai_strict(schema) if self._access.home else None
        if strict is None:
            return {"name": _NAME_OF_SCHEMA, "schema": schema}
        return {"name": _NAME_OF_SCHEMA, "schema": strict, "strict": True}

    def _body(self, call: Call, schema: dict[str, Any] | None) -> dict[str, Any]:
        request = call.request
        messages = [{"role": turn.role, "content": turn.content} for turn in request.as_messages()]
        if (system := self._system(call, schema)) is not None:
            messages.insert(0, {"role": "system", "content": system})
        body: dict[str, Any] = {"model": self.model, "messages": messages}
        if not any(bound in request.extra or bound in self._extra_body for bound in _TOKEN_BOUNDS):
            body[_TOKEN_BOUNDS[self._access.home]] = request.max_tokens
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.stop:
            body["stop"] = list(request.stop)
        if request.seed is not None:
            body["seed"] = request.seed
        if schema is not None:
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def _streamed(self, body: dict[str, Any]) -> dict[str, Any]:
        options = {_OPTIONS: {"include_usage": True}} if self._usage_in_streams else {}
        return {**options, **body, "stream": True}

    async def _exchange(self, body: dict[str, Any], progress: Progress, *, streamed: bool) -> None:
        ours = streamed and self._usage_in_streams and _OPTIONS not in body
        try:
            await super()._exchange(body, progress, streamed=streamed)
        except ProviderError as exc:
            if not (ours and exc.status in (400, 422) and _OPTIONS in str(exc)):
                raise
            self._do_without_usage()
            await super()._exchange(body, progress, streamed=streamed)  # the first was refused before work

    def _do_without_usage(self) -> None:
        if self._usage_in_streams:
            self._usage_in_streams = False
            _LOG.warning("%s: the server refuses %s: what its streams use and cost is not known", self.name, _OPTIONS)

    async def _post(self, body: bytes) -> httpx2.Response:
        return await self._http.send(self._form.filled(body), stream=True)  # unread, whether it is a stream or not

    def _read_answer(self, answer: dict[str, Any], progress: Progress) -> None:
        self._count(answer.get("usage"), progress)
        self._name(answer.get("model"), progress)
        choice = self._choice(answer)
        message = choice.get("message") if choice else None
        if choice is None or not isinstance(message, dict):
            raise self._report.failed("the answer has no choices with a message: is this the Chat Completions API?")
        if not _KINDS_OF_MESSAGE & message.keys():
            raise self._report.failed("the message of the answer says nothing: it has no content")
        self._add(message.get("content"), progress)
        self._stop(choice, message, progress)
        if progress.stop_reason is None:
            raise self._report.failed("the answer has no finish_reason")
        progress.ended = True

    def _read_event(self, event: Event, progress: Progress) -> None:
        if event.data.strip() == b"[DONE]":
            progress.ended = True
            return
        if not event.data.strip():
            return
        data = parse_json(event.data, self._report)
        if data.get("error") or event.kind == "error":
            raise self._report.of_body(data)
        self._count(data.get("usage"), progress)
        self._name(data.get("model"), progress)
        if (choice := self._choice(data)) is not None:
            delta = choice.get("delta") or {}
            if not isinstance(delta, dict):
                raise self._report.failed("an event of the stream has the wrong shape")
            self._add(delta.get("content"), progress)
            self._stop(choice, delta, progress)

    def _whole_at_eof(self, progress: Progress) -> bool:
        return progress.stop_reason is not None  # some gateways leave [DONE] out

    def _choice(self, data: dict[str, Any]) -> dict[str, Any] | None:
        choices = data.get("choices")
        if not choices:  # the event with the usage has none
            return None
        if not isinstance(choices, list) or not isinstance(choices[0], dict):
            raise self._report.failed("the answer has choices of the wrong shape")
        choice: dict[str, Any] = choices[0]
        if choice.get("index") not in (0, None, "0"):
            raise self._report.failed("the answer has several choices; leave `n` out of extra", fault=Fault.REJECTED)
        if choice.get("error"):
            raise self._report.of_body(choice)
        return choice

    def _add(self, content: object, progress: Progress) -> None:
        for part in content if isinstance(content, list) else [content]:
            if isinstance(part, dict) and "type" not in part:
                raise self._report.failed("a part of the answer has no type")
            text = part.get("text") if isinstance(part, dict) else part  # Mistral sends a list of parts
            if text is not None:
                if not isinstance(text, str):
                    raise self._report.failed("a text of the answer is no string")
                progress.text.add(text)

    def _stop(self, choice: dict[str, Any], message: dict[str, Any], progress: Progress) -> None:
        refused = message.get("refusal")
        if isinstance(refused, str) and refused:
            progress.text.add(refused)
            progress.refused = True
        reason = choice.get("finish_reason")
        if not reason:  # some servers send "" until the end
            return
        if not isinstance(reason, str):
            raise self._report.failed(f"the reason to stop is no text: {reason!r}")
        if reason in _NOBODY_ANSWERS:
            what = f"the model stopped for {reason!r}, which nobody here answers; leave tools out of extra"
            raise self._report.failed(what, fault=Fault.REJECTED)
        if reason not in _STOP_REASONS:
            raise self._report.failed(f"the model stopped for an unknown reason, {reason!r}")
        met = choice.get("stop_reason", choice.get("matched_stop"))  # vLLM, SGLang: the string, or a token's number
        stop: StopReason = "stop" if reason == "stop" and isinstance(met, str) and met else _STOP_REASONS[reason]
        progress.stop_reason = "refusal" if progress.refused else stop

    def _count(self, usage: object, progress: Progress) -> None:
        if not isinstance(usage, dict):
            return
        details = usage.get("prompt_tokens_details")
        parts = details if isinstance(details, dict) else {}
        read, written = parts.get("cached_tokens"), parts.get("cache_write_tokens")
        prompt = usage.get("prompt_tokens")
        if isinstance(prompt, int):  # OpenAI counts what its cache holds as part of the prompt, Anthropic does not
            prompt -= sum(part for part in (read, written) if isinstance(part, int))
        tokens = {"input_tokens": prompt, "output_tokens": usage.get("completion_tokens")}
        progress.count({**tokens, "cache_read_tokens": read, "cache_write_tokens": written})

    def _name(self, model: object, progress: Progress) -> None:
        if isinstance(model, str) and model:
            progress.model = model
