"""Which HTTP client does an endpoint get?

The one place that makes an `httpx2.AsyncClient`, and decides what lies below it: `synth_actors.wire`, or httpx2's own
transport, if `EngineConfig.transport` says so or a proxy of the environment stands between.  It reads proxies and
`SSL_CERT_FILE` from the environment as httpx2 does, follows no redirects (a key is sent only where the user said),
and bounds only the connecting: every other deadline is the engine's, which cancels.
"""

from __future__ import annotations

import logging
import os
import ssl
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import httpx2

from synth_actors.errors import ConfigError
from synth_actors.providers.pool import Pool
from synth_actors.wire.reuse import Reuse
from synth_actors.wire.transport import KEEPALIVE_S, LeanTransport, context_of

if TYPE_CHECKING:
    from synth_actors.config import Endpoint

_LOG = logging.getLogger("synth_actors")

Transport = Literal["lean", "httpx2"]

_LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEEPALIVE_S)


def open_client(
    endpoint: Endpoint, base_url: str, user: tuple[str, str] | None = None, *, reuse: Reuse, transport: Transport
) -> httpx2.AsyncClient:
    """A client for the calls of one endpoint, which go to `base_url`; its pool never limits: the engine does.

    `user` are name and password, for basic authorization.  `reuse` hears of every connection that is opened, but for
    those through a proxy, which httpx2 opens itself.

    Raises:
        ConfigError: `verify` names no certificate file, or the environment names a proxy that cannot be used.
    """
    certificates = _certificates(endpoint)
    try:
        client = httpx2.AsyncClient(
            verify=certificates,
            auth=user,
            timeout=httpx2.Timeout(connect=endpoint.connect_timeout_s, read=None, write=None, pool=None),
            limits=_LIMITS,
            follow_redirects=False,
        )
    except (ImportError, ValueError, httpx2.InvalidURL) as exc:
        raise ConfigError(f"endpoint {endpoint.name!r}: the proxy in the environment cannot be used: {exc}") from exc
    if transport == "lean" and _is_direct(client, base_url):
        client._transport = LeanTransport(certificates, reuse=reuse)
        return client
    if transport == "lean":
        _LOG.warning(
            "%s: a proxy of the environment stands between: transport='httpx2' carries its calls", endpoint.name
        )
    _use_own_pool(client, certificates, reuse)
    return client


def _is_direct(client: httpx2.AsyncClient, base_url: str) -> bool:
    """Whether no proxy of the environment stands between.

    httpx2 reads them into its client, and only if that is given no transport: so it is asked, and then given one.
    """
    return client._transport_for_url(httpx2.URL(base_url)) is client._transport


def _use_own_pool(client: httpx2.AsyncClient, certificates: ssl.SSLContext, reuse: Reuse) -> None:
    """Have direct connections held by `Pool`; those through a proxy are held as httpx2 does.

    httpx2 takes no pool, only a whole transport, and with one it no longer reads proxies from the environment.
    """
    direct = client._transport
    assert isinstance(direct, httpx2.AsyncHTTPTransport)
    direct._pool = Pool(ssl_context=certificates, keepalive_s=KEEPALIVE_S, reuse=reuse)


def _certificates(endpoint: Endpoint) -> ssl.SSLContext:
    environment = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    try:
        return _context(endpoint.verify, environment)
    except OSError as exc:  # ssl.SSLError is one
        where = (
            f"verify={endpoint.verify!r}" if isinstance(endpoint.verify, str) else f"SSL_CERT_FILE={environment[0]!r}"
        )
        raise ConfigError(
            f"endpoint {endpoint.name!r}: {where}: no certificates there ({exc}); give a PEM file, a folder or True"
        ) from exc


@lru_cache(maxsize=16)
def _context(verify: bool | str, _environment: tuple[str | None, str | None]) -> ssl.SSLContext:
    """Reading all certificates takes 50 ms: endpoints with the same ones share a context."""
    return context_of(verify)  # which reads the environment itself
