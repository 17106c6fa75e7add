"""What does the user put in, and what do they hold afterwards?

Everything here is frozen.  `Request` is a pydantic model, since it is input and must be validated; everything the
engine hands back is a slotted dataclass.  Durations are seconds (`_s`), money is US dollars (`_usd`), sizes are bytes
(`_bytes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypedDict, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, field_validator

from synth_actors.frozen import quick_init
from synth_actors.usage import NO_USAGE as NO_USAGE
from synth_actors.usage import Usage as Usage
from synth_actors.validated import Validated

StopReason = Literal["end", "max_tokens", "stop", "refusal"]
Source = Literal["call", "shared", "cache"]
CacheMode = Literal["use", "refresh", "bypass"]


@runtime_checkable
class OutputFormat(Protocol):
    """What an answer must look like, when neither a pydantic model nor a JSON Schema says it all.

    `tag` names the format in the cache key: two formats with equal `tag` and equal `json_schema()` are the same one.
    A format with `lenient = True` makes something of every whole answer: also those that were cut at `max_tokens` or
    refused become a `Response`, whose `stop_reason` says so; its `parse` must not raise.
    """

    tag: str

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema (draft 2020-12) that the model is asked to follow."""
        ...

    def parse(self, text: str) -> Any:
        """The value in `text`.  Raises `ValueError` with the reason when there is none."""
        ...


class Message(BaseModel):
    """One turn of a conversation; the system text stands in `Request.system`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["user", "assistant"]
    content: str


class RequestFields(TypedDict, total=False):
    """The keywords of `Request` that may follow a prompt given as a `str`."""

    system: str | None
    output_schema: type[BaseModel] | Mapping[str, Any] | OutputFormat | None
    max_tokens: int
    temperature: float | None
    stop: tuple[str, ...]
    seed: int | None
    sample_index: int
    namespace: str
    endpoints: tuple[str, ...] | None
    timeout_s: float | None
    cache: CacheMode
    extra: Mapping[str, Any]


class Request(Validated):
    """One thing to generate.

    Exactly one of `prompt` and `messages` is given.  What is not set is not sent to the provider.  `extra` is merged
    verbatim into the provider's body.  Two requests that differ in any field but `timeout_s` and `cache` have different
    cache keys; `sample_index` exists to ask for another sample of the same prompt.

    Raises:
        ConfigError: a field is unknown or out of range; it names the field, the value and the remedy.
    """

    # The keys are remembered here by the engine, outside the fields, so that a copy with changed fields has none.
    __slots__ = ("_key", "_normalised_key")

    prompt: str | None = None
    messages: tuple[Message, ...] | None = Field(default=None, min_length=1)
    system: str | None = None
    output_schema: Any = None
    max_tokens: int = Field(default=1024, ge=1)
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    stop: tuple[str, ...] = ()
    seed: int | None = None
    sample_index: int = Field(default=0, ge=0)
    namespace: str = ""
    endpoints: tuple[str, ...] | None = Field(default=None, min_length=1)
    timeout_s: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    cache: CacheMode = "use"
    extra: Mapping[str, Any] = Field(default_factory=dict)

    @field_validator("stop", "endpoints", mode="before")
    @classmethod
    def _one_string_is_a_tuple_of_one(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("output_schema")
    @classmethod
    def _known_kind_of_schema(cls, value: Any) -> Any:
        if value is None or isinstance(value, Mapping) or (isinstance(value, type) and issubclass(value, BaseModel)):
            return value
        if isinstance(value, OutputFormat) and not isinstance(value, type):
            return value
        raise ValueError(
            "give a pydantic model class, a JSON Schema as a dict, or an object with tag, json_schema() and parse()"
        )

    def _check(self) -> str | None:
        if (self.prompt is None) == (self.messages is None):
            return "give exactly one of prompt and messages"
        return None

    def as_messages(self) -> tuple[Message, ...]:
        """The conversation, also when only a prompt was given."""
        if self.messages is not None:
            return self.messages
        return (Message(role="user", content=self.prompt or ""),)


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where the time of one response went.

    `queue_s` from submission to the dispatch of the attempt that answered, `service_s` that attempt, `ttft_s` from its
    dispatch to its first token (None when it was not streamed), `total_s` from submission to the answer.
    """

    queue_s: float
    ttft_s: float | None
    service_s: float
    total_s: float


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One whole answer of an endpoint: what is cached and what every waiter of a flight shares."""

    text: str
    stop_reason: StopReason
    endpoint: str
    model: str


@quick_init
@dataclass(frozen=True, slots=True)
class Response:
    """What a request came to.

    `usage` is what *this* response added: zero unless `source` is "call", so that the sum over all responses and errors
    is the bill.  `attempts` counts the calls to providers behind it, 0 when it came from the cache.
    """

    answer: Answer
    data: Any
    usage: Usage
    source: Source
    attempts: int
    number: int
    timings: Timings

    @property
    def text(self) -> str:
        """The whole text."""
        return self.answer.text

    @property
    def stop_reason(self) -> StopReason:
        """Why the model stopped."""
        return self.answer.stop_reason

    @property
    def endpoint(self) -> str:
        """Name of the endpoint that made the answer."""
        return self.answer.endpoint

    @property
    def model(self) -> str:
        """Model that made the answer, as the endpoint names it."""
        return self.answer.model

    @property
    def request_id(self) -> str:
        """Name of this request in the logs; unique within its engine."""
        return f"req-{self.number}"

    @property
    def cached(self) -> bool:
        """True when an entry of the cache answered."""
        return self.source == "cache"

    def __repr__(self) -> str:
        shown = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        return f"<Response {self.request_id} {self.source} from {self.endpoint}: {shown!r}>"


@quick_init
@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of streamed text; `index` counts from 0 within the stream."""

    text: str
    index: int


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one request of a batch came to: `response` or `error`, the other is None.  `index` counts from 0."""

    index: int
    response: Response | None = None
    error: Exception | None = None
