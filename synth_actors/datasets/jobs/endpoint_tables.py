"""Which endpoint does a string or a table of a TOML file name?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synth_actors.config import Endpoint, Price
from synth_actors.errors import ConfigError


def endpoint_of(value: Any) -> Endpoint:
    """The endpoint of `PROVIDER[:MODEL][@BASE_URL]`, or of a table with the fields of `Endpoint`.

    Raises:
        ConfigError: it is neither, or a field is wrong.
    """
    if isinstance(value, str):
        return Endpoint.parse(value)
    fields = table_of("endpoints", value)
    if not isinstance(fields.get("provider"), str):
        raise ConfigError('endpoints: provider is missing; give provider = "local", "anthropic" or "openai"')
    if "price" in fields:
        fields["price"] = Price(**table_of("endpoints.price", fields["price"]))
    return Endpoint(**fields)


def table_of(name: str, value: Any) -> dict[str, Any]:
    """A copy of `value`.

    Raises:
        ConfigError: it is no table.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name}: {value!r} is not valid: give a table")
    return dict(value)
