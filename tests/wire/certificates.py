"""Who vouches for the servers of these tests?

An authority of the test's own (trustme), whom only the contexts made here trust.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from functools import cached_property

import trustme

HOSTS = ("127.0.0.1", "localhost")


class Certificates:
    """Contexts for both ends; each call makes a new one, so that a test may change what it got."""

    def __init__(self) -> None:
        self.authority = trustme.CA()

    def server(self, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """What a server needs that shows `certificate`, else a right one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (certificate or self.right).configure_cert(context)
        return context

    def client(self) -> ssl.SSLContext:
        """What a client needs that trusts this authority and no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        return context

    @cached_property
    def right(self) -> trustme.LeafCert:
        return self.authority.issue_cert(*HOSTS)

    @cached_property
    def expired(self) -> trustme.LeafCert:
        return self.authority.issue_cert(*HOSTS, not_after=datetime.now(UTC) - timedelta(days=1))

    @cached_property
    def for_another_host(self) -> trustme.LeafCert:
        return self.authority.issue_cert("elsewhere.example")

    @cached_property
    def of_an_unknown_authority(self) -> trustme.LeafCert:
        return trustme.CA().issue_cert(*HOSTS)
