"""Where does a call go, and with which key?

The address is `Endpoint.base_url`, else the SDKs' own variable (`ANTHROPIC_BASE_URL`, `OPENAI_BASE_URL`), else the
provider's.  The key is `Endpoint.api_key`, else the variable that `Endpoint.api_key_env` names.  Only when neither
is set and the endpoint has no `base_url` of its own, the provider's usual variable (`ANTHROPIC_API_KEY`,
`OPENAI_API_KEY`) is read: a key for one service is never sent to the address of another because it happens to lie
in the environment.  An endpoint with a `base_url` and no key sends no key at all.  Nothing else of the SDKs'
environment decides (`ANTHROPIC_AUTH_TOKEN`, profiles on disk), but the Anthropic SDK adds the headers in
`ANTHROPIC_CUSTOM_HEADERS`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from synth_actors.errors import ConfigError, without_password
from synth_actors.providers.secrets import Secrets, secret_headers, secrets_of

if TYPE_CHECKING:
    from synth_actors.config import Endpoint

_HOME: Mapping[str, str] = {"anthropic": "https://api.anthropic.com", "openai": "https://api.openai.com/v1"}
_KEY_VARIABLE: Mapping[str, str] = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}
_URL_VARIABLE: Mapping[str, str] = {"anthropic": "ANTHROPIC_BASE_URL", "openai": "OPENAI_BASE_URL"}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?|")


class MissingKeyError(ConfigError):
    """No key was given; everything else may be right."""


@dataclass(frozen=True, slots=True)
class Access:
    """One address and the key for it, None when none is sent; `home` is False when it is not the provider's own.

    `user` are name and password, which are taken out of the address since client libraries log it.
    """

    base_url: str
    key: str | None = field(repr=False)
    home: bool
    user: tuple[str, str] | None = field(repr=False)
    secrets: Secrets


def access_of(endpoint: Endpoint) -> Access:
    """The address and the key of an "anthropic" or "openai" endpoint.

    Raises:
        ConfigError: the key is missing or no key at all; the message names the endpoint, the variable and the remedy.
    """
    base_url = base_url_of(endpoint)
    if endpoint.provider == "anthropic" and base_url.endswith("/v1"):
        shown = without_password(base_url)
        right = shown.removesuffix("/v1")
        raise ConfigError(f"endpoint {endpoint.name!r}: base_url={shown!r}: the client adds /v1 itself; give {right!r}")
    key = _key_of(endpoint)
    if key is not None and (not key.isascii() or not key.isprintable() or " " in key):
        where = "api_key" if endpoint.api_key is not None else "the variable with the key"
        raise ConfigError(
            f"endpoint {endpoint.name!r}: {where} holds a blank, a line break or a letter that no key has"
        )
    for name, value in endpoint.extra_headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ConfigError(
                f"endpoint {endpoint.name!r}: extra_headers: {name!r} cannot be sent: use printable ASCII"
            )
    parts = urlsplit(base_url)
    user = (unquote(parts.username or ""), unquote(parts.password or "")) if "@" in parts.netloc else None
    in_query = secret_headers(dict(parse_qsl(parts.query)))
    in_headers = secret_headers(endpoint.extra_headers)
    secrets = secrets_of([key, *_credentials(parts), *in_query, *in_headers, *_of_proxies()])
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return Access(address, key, is_home(endpoint), user, secrets)


def _credentials(parts: SplitResult) -> Iterator[str]:
    """What is secret before the `@` of an address: the password, or a name that stands there alone, as tokens do."""
    secret = parts.password or parts.username or ""
    yield from (secret, unquote(secret))


def _of_proxies() -> Iterator[str]:
    """What is secret in the proxies of the environment, which the client uses: one may give it back in a complaint."""
    from urllib.request import getproxies  # not before there is a client: its import takes long

    for url in getproxies().values():
        with suppress(ValueError):  # the client refuses it, and says so
            yield from _credentials(urlsplit(url))


def base_url_of(endpoint: Endpoint) -> str:
    """The address, without a slash at the end.

    Raises:
        ConfigError: the address comes from the environment and is none.
    """
    provider = str(endpoint.provider)
    if endpoint.base_url is not None:
        return endpoint.base_url
    url = os.environ.get(_URL_VARIABLE[provider], "").rstrip("/")  # empty is not set
    if url and not url.startswith(("http://", "https://")):
        raise ConfigError(
            f"endpoint {endpoint.name!r}: {_URL_VARIABLE[provider]}={without_password(url)!r}: give an absolute address"
        )
    return url or _HOME[provider]


def is_home(endpoint: Endpoint) -> bool:
    """Whether the calls go to the provider's own service, whose prices and rules are known."""
    return base_url_of(endpoint) == _HOME[str(endpoint.provider)]


def _key_of(endpoint: Endpoint) -> str | None:
    given = endpoint.api_key.get_secret_value() if endpoint.api_key is not None else ""
    variable = endpoint.api_key_env
    if given or (variable is None and endpoint.base_url is not None):
        return given or None
    name = variable or _KEY_VARIABLE[str(endpoint.provider)]
    if key := os.environ.get(name):
        return key
    raise MissingKeyError(
        f"endpoint {endpoint.name!r}: no API key: the environment variable {name} is not set;"
        f" set {name}, or give Endpoint(api_key=...) or Endpoint(api_key_env=...)"
    )
