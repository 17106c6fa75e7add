"""A server gives the key back in every way that one can think of: is it seen anywhere?  And would it be found?"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from synth_actors import CacheConfig, ConfigError, Endpoint, EngineConfig, GenerationError, open_engine
from synth_actors.providers.base import Fault
from synth_actors.providers.build import build_provider
from synth_actors.providers.secrets import _foreign_logs
from synth_actors.testing import ScriptedProvider, Step
from tests.faults.canary import HEADER, KEY, PASSWORD, Watch, forms_of
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
        endpoint = dialect.endpoint(url, name="echo", api_key=KEY, stream="always" if echo.streamed else "never")
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


# ------------------------------------------------------------------------------------------- would it be found?


def places(canary: Watch) -> set[str]:
    """Where the canaries were seen; what is found here is none of this test's own faults."""
    return {leak.place for leak in canary.leaks()}


@pytest.mark.parametrize("secret", [KEY, PASSWORD, HEADER])
@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "user:"])
def test_every_form_of_a_canary_is_found(secret: str, before: str, canary: Watch) -> None:
    encoded = base64.b64encode(f"{before}{secret}, and more".encode()).decode()
    for shown in (secret, secret[:12], quote(secret, safe=""), encoded, f"{secret!r}", json.dumps({"k": secret})):
        canary.look("here", f"before it {shown} behind it")
        assert places(canary) == {"here"}, shown
    canary.look("here", "sk-canary is a kind of bird; c2stY2FuYXJ5 is it in base64")
    assert places(canary) == set()
    assert all(len(form) >= 12 for form in forms_of(secret))


@pytest.mark.parametrize("name", ["synth_actors", "httpx2", "httpcore2.http11", "anthropic._base_client", "else"])
def test_a_key_in_any_log_is_found(name: str, canary: Watch) -> None:
    _foreign_logs._known.clear()  # engines of other tests that nobody has collected keep it out
    logger = logging.getLogger(name)
    tell: tuple[Callable[[], None], ...] = (
        lambda: logger.debug("sent %s", KEY),
        lambda: logger.warning("sent", extra={"sent": KEY}),
        lambda: logger.error("failed", exc_info=ValueError(KEY)),
    )
    for each in tell:
        each()
        assert places(canary) == {f"log {name}"}


def test_a_key_in_an_exception_is_found_wherever_it_stands(canary: Watch) -> None:
    plain, caused, during = ValueError("no"), ValueError("no"), ValueError("no")
    caused.__cause__, during.__context__ = ValueError(KEY), ValueError(KEY)
    for exc in (
        ValueError(KEY),
        ValueError("no", {"key": KEY}),
        GenerationError("no", partial=KEY),
        ExceptionGroup("no", [ValueError(KEY)]),
        caused,
        during,
    ):
        canary.look_at_exception(exc)
        assert places(canary) == {"exception"}, repr(exc)
    canary.look_at_exception(plain)
    assert places(canary) == set()


async def test_a_key_that_a_provider_tells_is_found_in_logs_spans_reports_snapshots_and_errors(canary: Watch) -> None:
    step = Step(fault=Fault.FATAL, message=f"the key {KEY} is wrong")
    async with open_engine(ScriptedProvider(lambda _call: step)) as engine:
        with pytest.raises(GenerationError):
            await engine.generate("p")
    assert places(canary) == {"log synth_actors", "exception", "span", "repr", "snapshot", "report"}


async def test_a_key_in_a_name_is_found_in_all_exports_and_metrics(canary: Watch) -> None:
    async with open_engine(Endpoint(provider=ScriptedProvider(), name=f"with {KEY}")) as engine:
        await engine.generate("p")
    assert places(canary) >= {"repr", "snapshot", "prometheus", "hlog", "span", "metric"}


def remove_all(folder: Path) -> None:
    """Else the same key would be found again."""
    for path in folder.iterdir():
        path.unlink()


async def test_a_key_in_a_file_is_found(canary: Watch, tmp_path: Path) -> None:
    config = EngineConfig(cache=CacheConfig(path=tmp_path / "answers.cache"))
    async with open_engine(ScriptedProvider([Step(text=f"it is {KEY}")]), config) as engine:
        await engine.generate("p")
    found = places(canary)
    assert any(place.startswith("file answers.cache") for place in found), found
    remove_all(tmp_path)


def test_a_wrong_key_is_told_without_it(canary: Watch) -> None:
    with pytest.raises(ConfigError, match="holds a blank"):
        build_provider(Endpoint(provider="openai", model="m", api_key=f"{KEY} "))  # type: ignore[arg-type]
    assert places(canary) == set()
