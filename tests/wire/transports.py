"""Which transports must pass the tests of the wire, and with which certificates?

A test takes the fixture `wire` and runs four times: on httpx2's own transport and on ours, plain and over TLS.  The
expectations are the same but where a test says, by the transport's name and with the reason, what httpx2's does
instead.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Literal

import httpx2

from synth_actors.wire.transport import LeanTransport
from tests.wire.certificates import Certificates
from tests.wire.scripted import Script, Scripted

Name = Literal["httpx2", "lean"]
Verify = ssl.SSLContext | bool

NAMES: tuple[Name, ...] = ("httpx2", "lean")
PATIENCE_S = 20.0
"""Far above what anything here takes: a test that waits for this long has failed."""


def open_transport(name: Name, verify: Verify, most_connections: int | None = None) -> httpx2.AsyncBaseTransport:
    """A transport that takes so many connections (None: any number) and holds an idle one for 4 s."""
    limits = httpx2.Limits(max_connections=most_connections, max_keepalive_connections=None, keepalive_expiry=4.0)
    if name == "httpx2":
        return httpx2.AsyncHTTPTransport(verify=verify, limits=limits)
    return LeanTransport(verify=verify, limits=limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One transport, plain or over TLS, between clients and the servers that scripts are."""

    name: Name
    tls: bool
    certificates: Certificates

    def serve(self, script: Script) -> Scripted:
        """A server whose every connection runs `script` in a thread of its own; use it in a `with`."""
        return Scripted(script, self.certificates.server() if self.tls else None)

    def client(
        self, timeout: httpx2.Timeout | float | None = PATIENCE_S, *, most_connections: int | None = None
    ) -> httpx2.AsyncClient:
        """A client that trusts the certificates of this test; use it in an `async with`."""
        transport = open_transport(self.name, self.certificates.client(), most_connections)
        return httpx2.AsyncClient(transport=transport, timeout=timeout)
