"""What do the tests of the wire share?  Certificates, and each transport with and without TLS."""

from __future__ import annotations

import pytest

from tests.wire.certificates import Certificates
from tests.wire.transports import NAMES, Wire


@pytest.fixture(scope="session")
def certificates() -> Certificates:
    return Certificates()


@pytest.fixture(
    params=[(name, tls) for name in NAMES for tls in (False, True)],
    ids=lambda it: f"{it[0]}-{'tls' if it[1] else 'plain'}",
)
def wire(request: pytest.FixtureRequest, certificates: Certificates) -> Wire:
    name, tls = request.param
    return Wire(name=name, tls=tls, certificates=certificates)
