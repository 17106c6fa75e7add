"""A server gives the key back in every way that one can think of: is it seen anywhere?  And would it be found?"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from synth_actors import EngineConfig, GenerationError, open_engine
from tests.faults.canary import HEADER, KEY, PASSWORD, Watch
from tests.providers.dialects import DIALECTS, Dialect
from tests.providers.server import Reply, Server, json_reply, serving

BASIC = base64.b64encode(f"user:{KEY}".encode()).decode()
ENCODED = (
    f"https://example.test/?key={quote(KEY, safe='')}",
    f"Authorization: Basic {BASIC}",
    base64.b64encode(f"x{KEY}".encode()).decode(),
    base64.b64encode(f"xy{KEY}".encode()).decode(),
    f"x-canary-token: {HEADER}",
)
SAID = {
    "as it is": f"Incorrect API key provided: {KEY}.",
    "encoded, and another header": " ".join(ENCODED),
    "behind so much that it is cut": "x" * 385 + KEY,
    "behind so much that it is cut in a quotation": "x" * 68 + KEY,
    "with the password of the address": f"no such user: me:{PASSWORD}",
}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as made:
        yield made


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.name)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    made: Dialect = request.param
    return made


@dataclass(frozen=True, slots=True)
class Echo:
    """One way to give a text back."""

    name: str
    reply: Callable[[Dialect, str], Reply]
    streamed: bool = False


def _status(dialect: Dialect, said: str) -> Reply:
    return json_reply({"error": {"message": said, "type": "invalid_request_error"}}, 401)


ECHOES = (
    Echo("JSON body", _status),
    Echo("JSON body of a 400", lambda _d, said: json_reply({"error": {"message": said}}, 400)),
    Echo(
        "names in the body", lambda _d, said: json_reply({"error": {"message": "no", "type": said, "code": said}}, 401)
    ),
    Echo("text body", lambda _d, said: Reply(body=said.encode(), status=403)),
    Echo("half a body", lambda _d, said: Reply(body=json.dumps({"error": said}).encode(), status=500, cut=60)),
    Echo("headers", lambda _d, said: json_reply({}, 401, {"www-authenticate": said, "x-request-id": said})),
    Echo("redirect", lambda _d, said: Reply(body=b"", status=307, headers={"location": f"/{said}".replace(" ", "_")})),
    Echo("no JSON", lambda _d, said: Reply(body=said.encode(), headers={"content-type": "application/json"})),
    Echo("error in a 200", lambda _d, said: json_reply({"error": {"message": said, "code": 429}})),
    Echo(
        "page for a stream",
        lambda _d, said: Reply(body=said.encode(), headers={"content-type": "text/html"}),
        streamed=True,
    ),
    Echo(
        "event of a stream", lambda d, said: d.stream(*d.events()[:3], d.error_event("api_error", said)), streamed=True
    ),
    Echo(
        "event in pieces",
        lambda d, said: d.stream(*d.events()[:3], d.error_event("api_error", said), piece=7),
        streamed=True,
    ),
    Echo(
        "event of no JSON",
        lambda d, said: d.stream(*d.events()[:3], b"data: {" + said.encode() + b"\n\n"),
        streamed=True,
    ),
    Echo("stop reason", lambda d, said: json_reply(d.whole(stop=said))),
)


@pytest.mark.parametrize("echo", ECHOES, ids=lambda echo: echo.name)
async def test_a_key_that_a_server_gives_back_is_seen_nowhere(
    dialect: Dialect, server: Server, echo: Echo, canary: Watch
) -> None:
    told: list[str] = []
    for name, said in SAID.items():
        url = server.url.replace("//", f"//me:{PASSWORD}@") if "password" in name else server.url
        server.answer = lambda _, said=said: echo.reply(dialect, said)  # type: ignore[misc]
        endpoint = dialect.endpoint(url, name="echo", stream="always" if echo.streamed else "never")
        async with open_engine(endpoint, EngineConfig(max_attempts=1, outage_patience_s=0.01)) as engine:
            with pytest.raises(GenerationError) as caught:
                await engine.generate("p", output_schema=None)
            told.append(str(caught.value))
        leaks = canary.leaks()
        assert leaks == [], f"{name}: {leaks[0]}"
    assert canary.engines == len(told) == len(SAID)
    sent = {header for request in server.received for header in request.headers.values()}
    assert any(KEY in value for value in sent)
    assert f"Basic {base64.b64encode(f'me:{PASSWORD}'.encode()).decode()}" in sent
    assert all(request.headers["x-canary-token"] == HEADER for request in server.received)
