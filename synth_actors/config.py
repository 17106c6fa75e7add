"""What may be set, and what does it mean?

Every part is validated once, when it is made; what cannot be honoured yet is refused, never ignored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, Strict, field_validator

from synth_actors.errors import ConfigError, without_password
from synth_actors.providers.base import MAX_RESPONSE_BYTES, Provider
from synth_actors.validated import Validated

Routing = Literal["preference", "least_loaded", "fastest", "cheapest", "weighted"]
Whole = Annotated[int, Strict()]
Real = Annotated[float, Strict()]
Switch = Annotated[bool, Strict()]
"""In a file `true` and "5" are slips of the pen, not 1 and 5; a whole number may stand for a decimal one."""

SMALLEST_FILE_BYTES = 2**20
"""Below this a database has no room for its own tables and one large answer."""
PROVIDERS = ("local", "anthropic", "openai")
_ADDRESS_WITHOUT_SCHEME = re.compile(r"@(?P<address>(localhost|[\w.-]+:\d+)(/.*)?)$")
"""Taken for a part of the model's name, it would send the prompts, and the key, to the provider's own service."""


class TokenPrices(Validated):
    """US dollars per million tokens.  Those of the provider's prompt cache cost what input does, unless it is given."""

    input_usd_per_mtok: Real = Field(ge=0.0)
    output_usd_per_mtok: Real = Field(ge=0.0)
    cache_read_usd_per_mtok: Real = Field(default=0.0, ge=0.0)
    cache_write_usd_per_mtok: Real = Field(default=0.0, ge=0.0)

    def model_post_init(self, _context: Any, /) -> None:
        for name in {"cache_read_usd_per_mtok", "cache_write_usd_per_mtok"} - self.model_fields_set:
            object.__setattr__(self, name, self.input_usd_per_mtok)


class LongPromptPrices(TokenPrices):
    """What a call costs, all of it, when its prompt has more than `above_tokens` tokens."""

    above_tokens: Whole = Field(ge=1)


class Price(TokenPrices):
    """What an endpoint's tokens cost, and `source`, where that was read."""

    long_prompts: tuple[LongPromptPrices, ...] = ()
    source: str = ""

    def at(self, prompt_tokens: float) -> TokenPrices:
        """The prices of a call whose prompt has so many tokens, read from a cache or not."""
        above = [tier for tier in self.long_prompts if prompt_tokens > tier.above_tokens]
        return max(above, key=lambda tier: tier.above_tokens, default=self)


class CacheConfig(Validated):
    """How many answers are kept, where, and for how long.

    In memory the cache holds at most `max_entries` answers and at most `max_bytes` accounted bytes, whichever is
    reached first; an answer of more than `max_entry_bytes` is not kept.  An entry is served for `ttl_s` seconds (None:
    until it is evicted).  What goes first when there is no room: with `policy="lru"` what was used longest ago, with
    "cost" what would save the least money for its bytes.  `path` is a file that keeps answers across runs and for
    every process that names it, up to `max_file_bytes`.  With `normalise_prompts`, requests whose texts differ only in
    formatting (`policy.prompt_format`) share an answer.
    """

    enabled: Switch = True
    max_entries: Whole = Field(default=10_000, ge=1)
    max_bytes: Whole = Field(default=128 * 2**20, ge=1)
    max_entry_bytes: Whole = Field(default=2**20, ge=1)
    ttl_s: Real | None = Field(default=3600.0, gt=0.0)
    policy: Literal["lru", "cost"] = "lru"
    path: str | os.PathLike[str] | None = None
    max_file_bytes: Whole = Field(default=2**30, ge=SMALLEST_FILE_BYTES)
    normalise_prompts: Switch = False

    def _check(self) -> str | None:
        if self.path is None:
            return (
                "max_file_bytes bounds the file at path: give path, too" if self._is_given("max_file_bytes") else None
            )
        if not self.enabled:
            return f"path={os.fspath(self.path)!r}: a cache with enabled=False keeps nothing; leave out one of the two"
        if not os.fspath(self.path):
            return "path='': name a file, such as answers.cache"
        return None

    def _is_given(self, name: str) -> bool:
        return name in self.model_fields_set and getattr(self, name) != type(self).model_fields[name].default


class Endpoint(Validated):
    """One model behind one address: provider, model, key, limits, price.

    `provider` is "local", "anthropic", "openai" (any OpenAI-compatible server) or a `Provider` object of your own.
    `name` is how snapshots, errors and `Request.endpoints` call it; by default the string form without the address.
    `weight` is its share of the calls under `routing="weighted"`.  At most `max_concurrency` calls run at once; in
    front of a server their number adapts below that.  The three limits per minute are token buckets: a minute's worth
    at most, continuously refilled; those that the server names in its headers hold beside them.
    `api_key` wins over `api_key_env`, which wins over the provider's usual variable.  `stream` says whether calls are
    streamed: "auto" does so when somebody subscribes or `max_tokens` > 1000.  Of the four timeouts, each bounding one
    attempt, `connect_timeout_s` bounds the connection, `first_token_timeout_s` the wait for the first text of a
    streamed call, `idle_timeout_s` the gap between two texts, `attempt_timeout_s` the whole.
    """

    provider: str | Provider
    model: str = ""
    name: str = ""
    base_url: str | None = None
    api_key: SecretStr | None = None
    api_key_env: str | None = None
    weight: Real = Field(default=1.0, gt=0.0)
    max_concurrency: Whole | None = Field(default=None, ge=1)
    requests_per_minute: Whole | None = Field(default=None, ge=1)
    input_tokens_per_minute: Whole | None = Field(default=None, ge=1)
    output_tokens_per_minute: Whole | None = Field(default=None, ge=1)
    price: Price | None = None
    stream: Literal["auto", "always", "never"] = "auto"
    extra_body: dict[str, Any] = Field(default_factory=dict)
    extra_headers: dict[str, str] = Field(default_factory=dict)
    verify: bool | str = True
    connect_timeout_s: Real = Field(default=10.0, gt=0.0)
    first_token_timeout_s: Real = Field(default=120.0, gt=0.0)
    idle_timeout_s: Real = Field(default=60.0, gt=0.0)
    attempt_timeout_s: Real = Field(default=600.0, gt=0.0)

    @field_validator("base_url")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not value.startswith(("http://", "https://")) or not _names_a_host(value):
            raise ValueError("give an absolute address such as http://127.0.0.1:8000/v1")
        return value.rstrip("/")

    def model_post_init(self, _context: Any, /) -> None:
        if not self.name:
            object.__setattr__(self, "name", self._default_name())

    def _default_name(self) -> str:
        if not isinstance(self.provider, str):
            return self.provider.name
        return f"{self.provider}:{self.model}" if self.model else self.provider

    def _check(self) -> str | None:
        if not isinstance(self.provider, str):
            return None
        if self.provider not in PROVIDERS:
            return _unknown_provider(self.provider)
        if self.provider != "local" and not self.model:
            return f"{self.provider!r} needs a model: {self.provider}:MODEL"
        if self.provider == "local" and (self.base_url or self.api_key or self.api_key_env):
            return "'local' runs inside this process: base_url, api_key and api_key_env do not apply"
        return None

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            if name == "extra_headers" and value:
                yield name, dict.fromkeys(value, "**********")
            elif name == "base_url" and isinstance(value, str):
                yield name, without_password(value)
            else:
                yield name, value

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """An endpoint from `PROVIDER[:MODEL][@BASE_URL]`; the last `@http` starts the address.

        Raises:
            ConfigError: the text has another form; the message shows the right one.
        """
        head, at, url = text.rpartition("@http")
        head, base_url = (head, "http" + url) if at else (text, None)
        provider, colon, model = head.partition(":")
        if not colon and "/" in provider and provider.split("/", 1)[0] in PROVIDERS:
            right = provider.replace("/", ":", 1)
            raise ConfigError(f"endpoint {text!r}: write {right!r}, with a colon after the provider")
        if provider not in PROVIDERS:
            raise ConfigError(f"endpoint {text!r}: {_unknown_provider(provider)}")
        if (address := _ADDRESS_WITHOUT_SCHEME.search(model)) is not None:
            raise ConfigError(f"endpoint {text!r}: write the address as {'@http://' + address['address']!r}")
        return cls(provider=provider, model=model, base_url=base_url)


def _names_a_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and not re.search(r"\s", url)
    except ValueError:  # a port beyond 65535, a bracket without its other half
        return False


def _unknown_provider(provider: str) -> str:
    return f"unknown provider {provider!r}; use local, anthropic:MODEL or openai:MODEL@BASE_URL"


class EngineConfig(Validated):
    """How the engine runs.

    `max_concurrency` generations run at once; `max_waiting` more requests wait inside, beyond that callers wait at the
    door (`on_full="wait"`) or get `OverloadedError` ("refuse").  `memory_limit_bytes` bounds the process's resident
    memory (default: the smaller of 0.8 x the container's limit, less what others hold in it, and what is resident at
    opening + 512 MiB).  `timeout_s` is the default of `Request.timeout_s`.  A request is tried at most `max_attempts`
    times; `outage_patience_s` bounds its wait while every endpoint is closed to it.  An answer of more than
    `max_response_bytes` fails.  On a normal exit running requests get `drain_timeout_s` to finish.  With
    `metrics=False` snapshots have counters and gauges only: no durations, no curves.  `transport` carries the calls:
    "lean" is `synth_actors.wire`, which leaves calls through a proxy of the environment to "httpx2", its own.
    """

    max_concurrency: Whole = Field(default=100, ge=1, le=100_000)
    routing: Routing = "preference"
    cache: CacheConfig = Field(default_factory=CacheConfig)
    memory_limit_bytes: Whole | None = Field(default=None, ge=1)
    budget_usd: Real | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    max_attempts: Whole = Field(default=6, ge=1)
    timeout_s: Real | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    outage_patience_s: Real = Field(default=60.0, ge=0.0)
    max_waiting: Whole = Field(default=20_000, ge=1)
    on_full: Literal["wait", "refuse"] = "wait"
    drain_timeout_s: Real = Field(default=10.0, ge=0.0)
    max_response_bytes: Whole = Field(default=MAX_RESPONSE_BYTES, ge=1)
    memory_check_interval_s: Real = Field(default=0.25, gt=0.0)
    metrics: Switch = True
    transport: Literal["lean", "httpx2"] = "lean"


def as_endpoint(value: str | Endpoint | Provider) -> Endpoint:
    """Whatever may stand for an endpoint, as an `Endpoint`.

    Raises:
        ConfigError: it is none of a string, an `Endpoint` and a `Provider`.
    """
    if isinstance(value, str):
        return Endpoint.parse(value)
    if isinstance(value, Endpoint):
        return value
    if isinstance(value, Provider) and not isinstance(value, type):
        return Endpoint(provider=value, model=value.model, name=value.name)
    raise ConfigError(f"endpoint {value!r}: give a string such as 'local', an Endpoint, or a Provider object")
