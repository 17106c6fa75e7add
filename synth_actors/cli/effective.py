"""What is in force?  The settings as TOML that `--config` reads again, without its secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import inf, isinf
from typing import Any

import orjson
from pydantic import BaseModel, SecretStr

from synth_actors.cli.settings import Settings
from synth_actors.config import Endpoint
from synth_actors.errors import ConfigError
from synth_actors.providers.access import access_of
from synth_actors.providers.prices import price_of

MASK = "**********"
_SECRET_NAME = re.compile(r"key|auth|secret|password|cookie|token", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(?<=://)[^/?#]*@|(?<=[?&])([^=&]+)=[^&]*")


def settings_text(settings: Settings) -> str:
    """The settings as TOML."""
    parts = [_table("[engine]", settings.engine, leave_out={"cache"}), _table("[engine.cache]", settings.engine.cache)]
    parts += [_endpoint(endpoint) for endpoint in settings.endpoints]
    return "\n\n".join(parts)


def _endpoint(endpoint: Endpoint) -> str:
    text = _table("[[endpoints]]", endpoint)
    if endpoint.provider == "local":
        return text
    try:
        access = access_of(endpoint)
    except ConfigError as exc:
        return f"{text}\n# not usable as it is: {exc}"
    key = "with an API key" if access.key is not None else "without an API key"
    return f"{text}\n# calls go to {_address(access.base_url)}, {key}{_price(endpoint)}"


def _price(endpoint: Endpoint) -> str:
    price = price_of(endpoint)
    if endpoint.price is not None:
        return ""
    if price is None:
        return "\n# its price is not known: give price = {input_usd_per_mtok = ..., output_usd_per_mtok = ...}"
    per_mtok = f"${price.input_usd_per_mtok:g} in and ${price.output_usd_per_mtok:g} out per million tokens"
    return f"\n# costs {per_mtok}, by {price.source}"


def _table(head: str, model: BaseModel, leave_out: frozenset[str] | set[str] = frozenset()) -> str:
    fields = ((name, getattr(model, name)) for name in type(model).model_fields if name not in leave_out)
    return "\n".join([head, *(_line(name, value) for name, value in fields)])


def _line(name: str, value: Any) -> str:
    if name == "ttl_s" and value is None:
        value = inf  # what is not set is an hour; TOML has no None
    if value is None:
        return f"# {name} is not set"
    if name == "base_url":
        value = _address(str(value))
    if name == "extra_headers":
        value = dict.fromkeys(value, MASK)  # any of them may be a key
    return f"{_name(name)} = {_value(name, value)}"


def _value(name: str, value: Any) -> str:
    if isinstance(value, SecretStr) or (isinstance(value, str) and name != "api_key_env" and _SECRET_NAME.search(name)):
        return f'"{MASK}"'
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, Mapping):
        return "{" + ", ".join(_pairs(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(name, each) for each in value) + "]"
    if isinstance(value, float) and isinf(value):
        return "inf"  # JSON has no word for it
    return orjson.dumps(value, default=str).decode()


def _pairs(table: Mapping[str, Any]) -> Iterator[str]:
    for name, value in table.items():
        if value is not None:
            yield f"{_name(name)} = {_value(name, value)}"


def _name(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else orjson.dumps(name).decode()


def _address(url: str) -> str:
    return _IN_ADDRESS.sub(lambda found: f"{found[1]}={MASK}" if found[1] else f"{MASK}@", url)
