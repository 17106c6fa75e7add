"""Does a call go where the user said, with the key that the user meant for that address?"""

from __future__ import annotations

import base64
import logging
import re
import subprocess
import sys
from typing import Any

import pytest
from pydantic import SecretStr

from synth_actors.config import Endpoint, Price
from synth_actors.engine import open_engine
from synth_actors.errors import ConfigError, GenerationError
from synth_actors.providers.base import Call, Completion, Emit, Provider
from synth_actors.providers.build import build_provider
from synth_actors.providers.http_provider import HttpProvider
from synth_actors.providers.prices import price_of
from synth_actors.types import Usage
from tests.providers.dialects import DIALECTS, OPENAI, Dialect, call
from tests.providers.server import json_reply, serving

TOKEN = "tok-0123456789-abcdef"
VARIABLES = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}
URLS = {"anthropic": "ANTHROPIC_BASE_URL", "openai": "OPENAI_BASE_URL"}
pytestmark = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES.values(), *URLS.values()):
        monkeypatch.delenv(name, raising=False)


async def built(**fields: Any) -> HttpProvider:
    provider = build_provider(Endpoint(**{"model": "x", **fields}))
    assert isinstance(provider, HttpProvider)
    await provider.aclose()
    return provider


async def test_a_missing_key_is_told_at_once_with_the_variable_and_the_remedy(dialect: Dialect) -> None:
    with pytest.raises(ConfigError) as caught:
        await built(provider=dialect.name)
    assert f"'{dialect.name}:x'" in str(caught.value)
    assert f"set {VARIABLES[dialect.name]}" in str(caught.value)
    with pytest.raises(ConfigError, match="MY_KEY is not set"):
        await built(provider=dialect.name, api_key_env="MY_KEY", base_url="http://127.0.0.1:1")


async def test_keys_are_taken_in_their_order(dialect: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as server:
        server.answer = lambda _: json_reply(dialect.whole())
        url = server.url + dialect.base_path
        monkeypatch.setenv(VARIABLES[dialect.name], "usual")
        monkeypatch.setenv("MY_KEY", "mine")
        cases: list[tuple[dict[str, Any], str | None]] = [
            ({"api_key": "given", "api_key_env": "MY_KEY", "base_url": url}, "Bearer given"),
            ({"api_key_env": "MY_KEY", "base_url": url}, "Bearer mine"),
            ({"base_url": url}, None),  # the usual key is not for this address
        ]
        for fields, expected in cases:
            provider = build_provider(Endpoint(provider=dialect.name, model="x", **fields))
            await provider.generate(call(), None)
            assert server.last.headers.get("authorization") == expected
            assert server.last.headers.get("x-api-key") is None
            await provider.aclose()
        # An address in the environment stands beside the key in the environment.
        monkeypatch.setenv(URLS[dialect.name], url)
        provider = build_provider(Endpoint(provider=dialect.name, model="x"))
        await provider.generate(call(), None)
        assert server.last.headers["authorization"] == "Bearer usual"
        assert provider.identity == f"{dialect.name}|x|{url}"
        await provider.aclose()


@pytest.mark.parametrize("key", ["with blank", "line\nbreak", "schlüssel", "\ttab"])
async def test_a_key_that_is_none_is_refused_without_showing_it(dialect: Dialect, key: str) -> None:
    with pytest.raises(ConfigError, match="api_key holds a blank") as caught:
        await built(provider=dialect.name, api_key=key)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"extra_headers": {"x-a": "b\r\nx-c: d"}}, "extra_headers: 'x-a' cannot be sent"),
        ({"extra_headers": {"a b": "c"}}, "extra_headers: 'a b' cannot be sent"),
        ({"extra_body": {"model": "y"}}, "'model' is set by the engine"),
        ({"verify": "/nowhere/ca.pem"}, "verify='/nowhere/ca.pem'"),
    ],
)
async def test_what_cannot_be_used_is_refused_before_anything_is_sent(
    dialect: Dialect, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        await built(provider=dialect.name, api_key="k", **fields)


async def test_a_proxy_that_cannot_be_used_is_told(dialect: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "otter://127.0.0.1:1")
    with pytest.raises(ConfigError, match="proxy in the environment"):
        await built(provider=dialect.name, api_key="k")


async def test_a_base_url_with_one_v1_too_many_is_told(dialect: Dialect) -> None:
    if dialect is OPENAI:
        assert (await built(provider="openai", base_url="http://127.0.0.1:1/v1")).identity.endswith("/v1")
        return
    with pytest.raises(ConfigError, match=r"give 'http://127\.0\.0\.1:1'"):
        await built(provider="anthropic", base_url="http://127.0.0.1:1/v1")


# What made an answer, as caches keep it.


async def identity(**fields: Any) -> str:
    return (await built(**{"api_key": "k", "base_url": "http://127.0.0.1:1"} | fields)).identity


async def test_what_changes_answers_changes_the_identity(dialect: Dialect) -> None:
    plain = await identity(provider=dialect.name)
    assert plain == f"{dialect.name}|x|http://127.0.0.1:1"
    changes: list[dict[str, Any]] = [
        {"model": "y"},
        {"model": "x|http://127.0.0.1:1/a", "base_url": "http://127.0.0.1:2"},
        {"model": "x", "base_url": "http://127.0.0.1:1/a|http://127.0.0.1:2"},
        {"model": "x%7Chttp://127.0.0.1:1/a", "base_url": "http://127.0.0.1:2"},
        {"base_url": "http://127.0.0.1:2"},
        {"base_url": "http://127.0.0.1:1/a"},
        {"base_url": "http://127.0.0.1:1?deployment=a"},
        {"base_url": "http://127.0.0.1:1?deployment=b"},
        {"extra_body": {"top_k": 1}},
        {"extra_body": {"top_k": 2}},
        {"extra_body": {"top_k": True}},
        {"extra_body": {"top_k": None}},
        {"extra_body": {"deep": {"top_k": 1}}},
    ]
    identities = {await identity(**{"provider": dialect.name} | change) for change in changes}
    assert len(identities | {plain}) == len(changes) + 1


async def test_what_only_says_who_asks_and_how_changes_no_identity(dialect: Dialect) -> None:
    plain = await identity(provider=dialect.name)
    changes: list[dict[str, Any]] = [
        {"name": "other"},
        {"api_key": "another"},
        {"base_url": "http://otter:s3cret@127.0.0.1:1"},
        {"base_url": "http://s3cret@127.0.0.1:1/"},
        {"base_url": "http://otter:s3@cret@127.0.0.1:1"},
        {"extra_body": {}},
        {"extra_headers": {"X-Team": "otters"}},
        {"weight": 2.0, "max_concurrency": 3, "requests_per_minute": 4, "input_tokens_per_minute": 5},
        {"price": Price(input_usd_per_mtok=1.0, output_usd_per_mtok=1.0), "stream": "always", "verify": False},
        {"connect_timeout_s": 1.0, "first_token_timeout_s": 2.0, "idle_timeout_s": 3.0, "attempt_timeout_s": 4.0},
    ]
    for change in changes:
        assert await identity(**{"provider": dialect.name} | change) == plain, change


async def test_two_spellings_of_one_extra_body_are_one_identity(dialect: Dialect) -> None:
    spellings: list[dict[str, Any]] = [
        {"a": 1, "b": {"c": [1, 2], "d": 10**30}},
        {"b": {"d": 10**30, "c": (1.0, 2)}, "a": 1.0},
    ]
    assert len({await identity(provider=dialect.name, extra_body=body) for body in spellings}) == 1


async def test_no_credential_of_an_address_is_shown(dialect: Dialect) -> None:
    provider = await built(provider=dialect.name, base_url="http://otter:s3cret@127.0.0.1:1/a?key=t0ken")
    for shown in (provider.identity, repr(provider)):
        assert "s3cret" not in shown
        assert "t0ken" not in shown
        assert "otter" not in shown
        assert "127.0.0.1:1/a" in shown


@pytest.mark.parametrize("before", [f"{TOKEN}@", f"{TOKEN}:@", f"otter:{TOKEN}@", f"{TOKEN.replace('-', '%2D')}@"])
async def test_a_token_in_an_address_is_sent_and_neither_told_nor_logged(
    dialect: Dialect, before: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving() as server:
        server.answer = lambda seen: json_reply({"error": {"message": f"no: {TOKEN} {seen.headers}"}}, status=401)
        url = server.url.replace("//", f"//{before}")
        endpoint = Endpoint(provider=dialect.name, model="x", api_key=SecretStr("sk-other-key"), base_url=url)
        async with open_engine(endpoint) as engine:
            with pytest.raises(GenerationError, match="no: ") as caught:
                await engine.generate("p")
    name, _, password = before.replace("%2D", "-").removesuffix("@").partition(":")
    encoded = base64.b64encode(f"{name}:{password}".encode()).decode()
    assert server.received[0].headers["authorization"] == f"Basic {encoded}"
    for shown in (str(caught.value), caplog.text):
        assert TOKEN not in shown
        assert encoded[8:24] not in shown


async def test_a_key_in_the_query_of_an_address_is_not_logged(
    dialect: Dialect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = f"tok-of-this-test-for-{dialect.name}"
    async with serving() as server:
        server.answer = lambda _: json_reply({"error": {"message": "no"}}, status=401)
        url = f"{server.url}/a?key={token}"
        endpoint = Endpoint(provider=dialect.name, model="x", api_key=SecretStr("sk-other-key"), base_url=url)
        async with open_engine(endpoint) as engine:
            with pytest.raises(GenerationError):
                await engine.generate("p")
    assert "HTTP Request: POST" in caplog.text
    assert token not in caplog.text


async def test_the_password_of_a_proxy_that_gives_it_back_is_neither_told_nor_logged(
    dialect: Dialect, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    password = f"password-for-{dialect.name}"
    async with serving() as server:
        server.answer = lambda seen: json_reply({"error": {"message": f"not for you: {seen.headers}"}}, status=407)
        monkeypatch.setenv("http_proxy", server.url.replace("//", f"//otter:{password}@"))
        url = "http://nowhere.invalid"
        endpoint = Endpoint(provider=dialect.name, model="x", api_key=SecretStr("sk-other-key"), base_url=url)
        async with open_engine(endpoint) as engine:
            with pytest.raises(GenerationError, match="not for you") as caught:
                await engine.generate("p")
    encoded = base64.b64encode(f"otter:{password}".encode()).decode()
    assert server.received[0].headers["proxy-authorization"] == f"Basic {encoded}"
    for shown in (str(caught.value), caplog.text):
        assert password not in shown
        assert encoded[8:24] not in shown


async def test_an_extra_body_changed_after_opening_is_not_sent(dialect: Dialect) -> None:
    async with serving() as server:
        server.answer = lambda _: json_reply(dialect.whole())
        deep = {"a": 1}
        provider = dialect.provider(server.url, extra_body={"deep": deep})
        deep["a"] = 2
        await provider.generate(call(), None)
        assert server.last.body["deep"] == {"a": 1}
        await provider.aclose()


async def test_an_extra_body_that_json_cannot_write_is_told_at_once(dialect: Dialect) -> None:
    with pytest.raises(ConfigError, match=rf"endpoint '{dialect.name}:x': extra_body\.a\.b: float nan cannot be"):
        await identity(provider=dialect.name, extra_body={"a": {"b": float("nan")}})


async def test_a_provider_object_serves_itself(dialect: Dialect) -> None:
    class Own:
        name = "own"
        model = "m"
        identity = "own|m"

        async def generate(self, call: Call, emit: Emit | None) -> Completion:
            return Completion(text="", stop_reason="end", usage=Usage())

        async def aclose(self) -> None: ...

    own: Provider = Own()
    assert build_provider(Endpoint(provider=own, model="m")) is own


# What differs by address.


async def test_openais_own_service_gets_its_own_names_and_the_strict_subset(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "minLength": 2}}}
    for home in (True, False):
        provider = await built(provider="openai", api_key="k", base_url=None if home else "http://127.0.0.1:1/v1")
        sent = provider._body(call(schema), provider._subset(schema))
        assert ("max_completion_tokens" in sent, "max_tokens" in sent) == (home, not home)
        made = sent["response_format"]["json_schema"]
        assert made.get("strict") == (True if home else None)
        assert ("minLength" in made["schema"]["properties"]["a"]) is not home
        sent = provider._body(call(extra={"max_completion_tokens": 9}, seed=3, stop=("END",)), None)
        assert "max_tokens" not in sent
        assert (sent["seed"], sent["stop"]) == (3, ["END"])


async def test_a_seed_is_sent_or_refused_never_dropped(dialect: Dialect) -> None:
    async with serving() as server:
        server.answer = lambda _: json_reply(dialect.whole())
        provider = dialect.provider(server.url)
        if dialect is OPENAI:
            await provider.generate(call(seed=5), None)
            assert server.last.body["seed"] == 5
        else:
            with pytest.raises(Exception, match="seed: Anthropic's API has none") as caught:
                await provider.generate(call(seed=5), None)
            assert caught.value.fault.value == "rejected"  # type: ignore[attr-defined]
            assert not server.received
        await provider.aclose()


async def test_a_deprecated_model_is_logged_and_ends_nothing(
    dialect: Dialect, caplog: pytest.LogCaptureFixture
) -> None:
    from anthropic.resources.messages import DEPRECATED_MODELS

    old = next(iter(DEPRECATED_MODELS))
    async with serving() as server:
        server.answer = lambda _: json_reply(dialect.whole())
        url = server.url + dialect.base_path
        provider = build_provider(Endpoint(provider=dialect.name, model=old, base_url=url))
        await provider.generate(call(), None)
        await provider.aclose()
    assert [record.levelname for record in caplog.records if "deprecated" in record.message] == (
        ["WARNING"] if dialect.name == "anthropic" else []
    )


# Prices.


async def test_a_price_is_known_only_where_the_service_is(dialect: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    model = {"anthropic": "claude-sonnet-5-5", "openai": "gpt-5-mini"}[dialect.name]
    known = price_of(Endpoint(provider=dialect.name, model=model))
    assert known is not None
    assert 0 < known.cache_read_usd_per_mtok < known.input_usd_per_mtok < known.output_usd_per_mtok
    assert re.fullmatch(r"genai-prices [\d.]+, as valid on \d{4}-\d\d-\d\d", known.source)
    assert price_of(Endpoint(provider=dialect.name, model=model, base_url="http://127.0.0.1:1")) is None
    assert price_of(Endpoint(provider=dialect.name, model="never-heard-of-it")) is None
    own = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)
    assert price_of(Endpoint(provider=dialect.name, model="never-heard-of-it", price=own)) == own
    assert price_of(Endpoint.parse("local")) == Price(input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)
    monkeypatch.setenv(URLS[dialect.name], "http://127.0.0.1:1")
    assert price_of(Endpoint(provider=dialect.name, model=model)) is None


def test_no_client_library_is_imported_before_it_is_used(dialect: Dialect) -> None:
    program = (
        "import sys, synth_actors.providers.build, synth_actors.providers.prices as p;"
        "from synth_actors.config import Endpoint; p.price_of(Endpoint.parse('local'));"
        "print([m for m in ('anthropic', 'httpx2', 'genai_prices', 'openai') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
