"""What do the tests of both HTTP providers share?  Each wire format, whole and streamed, before a scripted server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from synth_actors.providers.http_provider import HttpProvider
from tests.providers.dialects import DIALECTS, Dialect
from tests.providers.server import Server, serving


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.name)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    made: Dialect = request.param
    return made


@pytest.fixture(params=[False, True], ids=["plain", "streamed"])
def streamed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as made:
        yield made


@pytest.fixture
async def provider(dialect: Dialect, server: Server) -> AsyncIterator[HttpProvider]:
    made = dialect.provider(server.url)
    yield made
    await made.aclose()
