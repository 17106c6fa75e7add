"""What of the configuration does each part of the engine need?

Everything that can be wrong with it is said here, before anything is started.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from urllib.parse import urlsplit

from synth_actors import machine
from synth_actors.actors.generator import Line
from synth_actors.config import Endpoint, EngineConfig, Price, as_endpoint
from synth_actors.errors import ConfigError
from synth_actors.policy.endpoints import Terms
from synth_actors.policy.limits import PerMinute
from synth_actors.policy.memory_limit import check_limit, default_limit
from synth_actors.policy.routing import StreamMode
from synth_actors.providers.access import base_url_of
from synth_actors.providers.base import Provider, RemoteProvider
from synth_actors.providers.prices import price_of
from synth_actors.tracing import Destination


def stream_mode(endpoint: Endpoint) -> StreamMode:
    """Whether calls there are streamed."""
    return "subscribed" if (endpoint.provider, endpoint.stream) == ("local", "auto") else endpoint.stream


def shortest_timeout_s(endpoint: Endpoint) -> float:
    """The shortest of the timeouts that the engine keeps."""
    return min(endpoint.first_token_timeout_s, endpoint.idle_timeout_s, endpoint.attempt_timeout_s)


def terms_of(endpoint: Endpoint, provider: Provider, price: Price | None, rank: int, most_at_once: int) -> Terms:
    """What its limits, its health and its counters need.

    Raises:
        ConfigError: the provider names a kind of metering that there is not, or one of its names is no text.
    """
    for field, text in (("name", endpoint.name), ("model", provider.model)):
        if text.encode(errors="ignore").decode() != text:
            said = f"endpoint {endpoint.name!r}: {field}={text!r}"
            raise ConfigError(f"{said}: no exporter can write half of a surrogate pair; leave it out")
    metering = provider.output_metering if isinstance(provider, RemoteProvider) else None
    if metering not in (None, "meter", "reserve"):
        raise ConfigError(f"endpoint {endpoint.name!r}: output_metering={metering!r}: give 'meter' or 'reserve'")
    most: float = inf if endpoint.max_concurrency is None else endpoint.max_concurrency
    return Terms(
        name=endpoint.name,
        model=provider.model,
        rank=rank,
        max_concurrency=endpoint.max_concurrency,
        most_at_once=most if metering is None else min(most, most_at_once),
        price=price,
        weight=endpoint.weight,
        per_minute=PerMinute(
            requests=endpoint.requests_per_minute,
            input_tokens=endpoint.input_tokens_per_minute,
            output_tokens=endpoint.output_tokens_per_minute,
        ),
        metering=metering,
        provider=provider_of(endpoint),
        extra_body=endpoint.extra_body,
    )


def provider_of(endpoint: Endpoint) -> str:
    """What kind of provider it is: one of ours, or the class of the user's own."""
    return endpoint.provider if isinstance(endpoint.provider, str) else type(endpoint.provider).__name__


def destination_of(endpoint: Endpoint, provider: Provider) -> Destination:
    """Where its calls go; the address of a provider of the user's own is not known."""
    kind, address, port = provider_of(endpoint), None, None
    if isinstance(endpoint.provider, str) and kind != "local":
        parts = urlsplit(base_url_of(endpoint))
        address, port = parts.hostname, parts.port or (80 if parts.scheme == "http" else 443)
    return Destination(endpoint=endpoint.name, provider=kind, model=provider.model, address=address, port=port)


def line_of(endpoint: Endpoint, provider: Provider, price: Price | None) -> Line:
    """What a call to it needs."""
    return Line(
        name=endpoint.name,
        provider=provider,
        price=price,
        is_remote=isinstance(provider, RemoteProvider),
        destination=destination_of(endpoint, provider),
        first_token_timeout_s=endpoint.first_token_timeout_s,
        idle_timeout_s=endpoint.idle_timeout_s,
        attempt_timeout_s=endpoint.attempt_timeout_s,
    )


def checked(given: str | Endpoint | Provider | Sequence[str | Endpoint | Provider]) -> list[Endpoint]:
    """The endpoints, at least one, each with a name of its own.

    Raises:
        ConfigError: there is none, one is wrong, or two have the same name.
    """
    values = [given] if isinstance(given, (str, Endpoint, Provider)) else given
    if not isinstance(values, Iterable):
        raise ConfigError(f"endpoints: {given!r}: give a list of strings, Endpoints or Providers")
    endpoints = [as_endpoint(value) for value in values]
    if not endpoints:
        raise ConfigError("endpoints: give at least one, for example 'local'")
    names = [endpoint.name for endpoint in endpoints]
    for name in names:
        if (times := names.count(name)) > 1:
            raise ConfigError(f"endpoints: {name!r} stands there {times} times; give each Endpoint a name of its own")
    return endpoints


def price_or_refuse(endpoint: Endpoint, config: EngineConfig) -> Price | None:
    """What it costs, None when that is not known.

    Raises:
        ConfigError: it is not known, and there is a budget.
    """
    price = price_of(endpoint)
    if price is None and config.budget_usd is not None:
        raise ConfigError(
            f"budget_usd={config.budget_usd:g}: the price of endpoint {endpoint.name!r} is not known; "
            "give it: Endpoint(price=Price(...)), or leave out budget_usd"
        )
    return price


def memory_limit(config: EngineConfig, rss_at_open_bytes: int) -> int:
    """The limit that is in force.

    Raises:
        ConfigError: the process is above it already.
    """
    limit_bytes = config.memory_limit_bytes or default_limit(
        machine.usable_memory_bytes(), rss_at_open_bytes, machine.Container().beside_others_bytes(rss_at_open_bytes)
    )
    check_limit(limit_bytes, rss_at_open_bytes)
    return limit_bytes
