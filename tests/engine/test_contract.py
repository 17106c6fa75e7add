"""The public surface: every name is there with its default, and works or is refused with a word when it comes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pydantic
import pytest

import synth_actors
from synth_actors import (
    CacheConfig,
    ConfigError,
    Endpoint,
    EngineConfig,
    GenerationError,
    Request,
    SynthActorsError,
    errors,
    open_engine,
)
from synth_actors.providers.base import Call
from synth_actors.snapshot import SERIES
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import assert_idle

DEFAULTS: dict[type[pydantic.BaseModel], dict[str, Any]] = {
    EngineConfig: {
        "max_concurrency": 100,
        "routing": "preference",
        "cache": CacheConfig(),
        "memory_limit_bytes": None,
        "budget_usd": None,
        "max_attempts": 6,
        "timeout_s": None,
        "outage_patience_s": 60,
        "max_waiting": 20_000,
        "on_full": "wait",
        "drain_timeout_s": 10,
    },
    CacheConfig: {"enabled": True, "policy": "lru", "path": None, "normalise_prompts": False},
    Endpoint: {
        "model": "",
        "base_url": None,
        "api_key": None,
        "api_key_env": None,
        "weight": 1.0,
        "max_concurrency": None,
        "requests_per_minute": None,
        "input_tokens_per_minute": None,
        "output_tokens_per_minute": None,
        "price": None,
        "stream": "auto",
        "extra_body": {},
        "extra_headers": {},
        "verify": True,
        "connect_timeout_s": 10,
        "first_token_timeout_s": 120,
        "idle_timeout_s": 60,
        "attempt_timeout_s": 600,
    },
    Request: {
        "prompt": None,
        "messages": None,
        "system": None,
        "output_schema": None,
        "max_tokens": 1024,
        "temperature": None,
        "stop": (),
        "seed": None,
        "sample_index": 0,
        "namespace": "",
        "endpoints": None,
        "timeout_s": None,
        "cache": "use",
        "extra": {},
    },
}


@pytest.mark.parametrize("model", DEFAULTS, ids=lambda model: model.__name__)
def test_every_documented_field_is_there_with_its_default(model: type[pydantic.BaseModel]) -> None:
    for name, default in DEFAULTS[model].items():
        assert model.model_fields[name].get_default(call_default_factory=True) == default, name


@pytest.mark.parametrize("model", DEFAULTS, ids=lambda model: model.__name__)
def test_an_unknown_field_is_refused_with_the_known_ones(model: type[pydantic.BaseModel]) -> None:
    with pytest.raises(ConfigError) as caught:
        model(**{"provider": "local", "max_concurency": 3} if model is Endpoint else {"max_concurency": 3})
    assert "unknown field" in str(caught.value)
    for name in model.model_fields:
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_concurrency": 0}, ["max_concurrency", "0"]),
        ({"max_concurrency": -4}, ["max_concurrency", "-4"]),
        ({"memory_limit_bytes": -1}, ["memory_limit_bytes", "-1"]),
        ({"budget_usd": float("nan")}, ["budget_usd", "nan"]),
        ({"budget_usd": 0}, ["budget_usd", "0"]),
        ({"timeout_s": float("inf")}, ["timeout_s", "inf"]),
        ({"outage_patience_s": float("nan")}, ["outage_patience_s", "nan"]),
        ({"drain_timeout_s": float("nan")}, ["drain_timeout_s", "nan"]),
        ({"max_attempts": 0}, ["max_attempts", "0"]),
        ({"on_full": "explode"}, ["on_full", "explode", "refuse"]),
        ({"routing": "random"}, ["routing", "random", "least_loaded"]),
    ],
)
def test_a_wrong_value_is_named_with_its_field(fields: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        EngineConfig(**fields)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"policy": "random"}, ["policy", "random", "cost"]),
        ({"max_entries": 0}, ["max_entries", "0"]),
        ({"max_entry_bytes": 0}, ["max_entry_bytes", "0"]),
        ({"ttl_s": 0}, ["ttl_s", "0"]),
        ({"ttl_s": float("nan")}, ["ttl_s", "nan"]),
        ({"path": ""}, ["path", "name a file"]),
        ({"path": 5}, ["path", "5"]),
        ({"path": "answers.cache", "enabled": False}, ["answers.cache", "enabled=False", "leave out"]),
        ({"path": "answers.cache", "max_file_bytes": 1000}, ["max_file_bytes", "1000", "1048576"]),
        ({"max_file_bytes": 2**21}, ["max_file_bytes", "give path"]),
        ({"normalise_prompts": "yes"}, ["normalise_prompts", "yes"]),
    ],
)
def test_a_wrong_cache_is_named_with_its_field(fields: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        CacheConfig(**fields)
    for word in words:
        assert word in str(caught.value)


def test_what_the_cache_may_be_is_accepted(tmp_path: Path) -> None:
    assert CacheConfig(policy="cost", path=tmp_path / "answers.cache", max_file_bytes=2**21).policy == "cost"
    assert CacheConfig(max_file_bytes=2**30).path is None  # the default, as `synth-actors config` prints it


@pytest.mark.parametrize("field", ["connect_timeout_s", "first_token_timeout_s", "idle_timeout_s", "attempt_timeout_s"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_timeout_is_a_number_above_zero(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=field):
        Endpoint(provider="local", **{field: value})  # type: ignore[arg-type]


def test_no_part_of_a_password_in_an_address_is_shown() -> None:
    from synth_actors.providers.access import access_of

    endpoint = Endpoint(provider="anthropic", model="m", base_url="http://user:p@ss@host:1/v1", name="mine")
    assert "p@" not in repr(endpoint)
    assert "ss@" not in repr(endpoint)
    with pytest.raises(ConfigError, match=r"mine.*host:1") as caught:
        access_of(endpoint)
    assert "ss@" not in str(caught.value)


def test_the_errors_stand_in_the_promised_order() -> None:
    for name in ("DeadlineExceededError", "RateLimitedError", "OutputInvalidError"):
        assert issubclass(getattr(errors, name), GenerationError)
    for name in ("OverloadedError", "BudgetExceededError", "ConfigError", "EngineClosedError", "GenerationError"):
        assert issubclass(getattr(errors, name), SynthActorsError)
    for name in ("OverloadedError", "BudgetExceededError", "ConfigError", "EngineClosedError"):
        assert not issubclass(getattr(errors, name), GenerationError)


def test_there_are_at_most_25_public_names_beside_the_errors() -> None:
    public = [name for name in synth_actors.__all__ if not name.endswith("Error")]
    assert len(public) <= 25
    assert {"open_engine", "EngineConfig", "CacheConfig", "Endpoint", "Request"} <= set(public)
    for name in synth_actors.__all__:
        assert getattr(synth_actors, name).__doc__


async def test_a_response_has_everything_that_is_promised(autojump_clock: Any) -> None:
    class Animal(pydantic.BaseModel):
        legs: int

    provider = ScriptedProvider(lambda call: Step(text='{"legs": 4}', delay_s=2.0), name="zoo", model="m")
    async with open_engine(provider) as engine:
        response = await engine.generate("p", output_schema=Animal, max_tokens=2000)
        assert response.data == Animal(legs=4)
        assert (response.text, response.stop_reason, response.source, response.cached) == (
            '{"legs": 4}',
            "end",
            "call",
            False,
        )
        assert (response.endpoint, response.model, response.attempts) == ("zoo", "m", 1)
        assert (response.usage.input_tokens, response.usage.output_tokens) == (10, 5)
        assert (response.usage.cache_read_tokens, response.usage.cache_write_tokens) == (0, 0)
        timings = response.timings
        assert (timings.queue_s, timings.ttft_s, timings.service_s, timings.total_s) == (0.0, 2.0, 2.0, 2.0)
        again = await engine.generate("p", output_schema=Animal, max_tokens=2000)
        assert again.cached
        assert again.usage.cost_usd == 0.0
        assert again.data == response.data
        assert again.data is not response.data, "each caller's data is its own"
        with pytest.raises(dataclasses.FrozenInstanceError):
            response.usage.cost_usd = 1.0  # type: ignore[misc]


async def test_a_json_schema_given_as_a_dict_gives_plain_data() -> None:
    async with open_engine(ScriptedProvider(lambda call: Step(text='{"legs": 4}'))) as engine:
        response = await engine.generate("p", output_schema={"type": "object", "required": ["legs"]})
        assert response.data == {"legs": 4}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "no such type"},
        {"type": object()},
        {"properties": {"a": {"$ref": "#/nowhere"}}},
    ],
    ids=["invalid", "no JSON", "dangling"],
)
async def test_a_wrong_schema_is_a_config_error(schema: Any) -> None:
    async with open_engine(ScriptedProvider(lambda call: Step(text='{"run": 1}'))) as engine:
        with pytest.raises(ConfigError, match="output_schema"):
            await engine.generate("p", output_schema=schema)
        await assert_idle(engine)


async def test_a_model_that_has_no_json_schema_is_a_config_error() -> None:
    from collections.abc import Callable

    class Odd(pydantic.BaseModel):
        call: Callable[[], int]

    async with open_engine(ScriptedProvider()) as engine:
        with pytest.raises(ConfigError, match=r"output_schema.*Odd"):
            await engine.generate("p", output_schema=Odd)
        outcomes = await engine.generate_batch([Request(prompt="p", output_schema=Odd), "good"])
        assert [type(outcome.error) for outcome in outcomes] == [ConfigError, type(None)]


async def test_keywords_go_with_a_prompt_and_not_with_a_request() -> None:
    wrong: Any = open_engine
    async with open_engine(ScriptedProvider()) as engine:
        ask: Any = engine.generate
        with pytest.raises(ConfigError, match="max_tokens"):
            await ask(Request(prompt="p"), max_tokens=5)
        with pytest.raises(ConfigError, match="neither a str nor a Request"):
            await ask(wrong)
        with pytest.raises(ConfigError, match="did you mean 'temperature'"):
            await ask("p", temprature=1.0)
        with pytest.raises(ConfigError, match="exactly one of prompt and messages"):
            Request()


async def test_extra_and_every_set_field_reach_the_provider_as_they_are() -> None:
    provider = ScriptedProvider()
    async with open_engine(provider) as engine:
        fields: dict[str, Any] = {
            "system": "s",
            "max_tokens": 3,
            "temperature": 0.5,
            "stop": ("x",),
            "seed": 7,
            "sample_index": 2,
            "namespace": "n",
            "extra": {"top_p": 0.1},
        }
        await engine.generate("p", **fields)
        call: Call = provider.calls[0]
        assert call.request == Request(prompt="p", **fields)


@pytest.mark.parametrize(
    ("endpoints", "words"),
    [
        ([], ["at least one"]),
        ("nowhere:model", ["unknown provider 'nowhere'", "anthropic:MODEL"]),
        ("anthropic/claude", ["'anthropic:claude'"]),
        (["local", "local"], ["'local'", "2 times"]),
        ([3], ["3", "Provider"]),
        ([ScriptedProvider], ["Provider"]),
    ],
)
async def test_a_wrong_endpoint_is_refused_before_anything_is_opened(endpoints: Any, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        async with open_engine(endpoints):
            pass
    for word in words:
        assert word in str(caught.value)


async def test_metrics_have_every_promised_figure(autojump_clock: Any) -> None:
    provider = ScriptedProvider(lambda call: Step(delay_s=2.0))
    async with open_engine(provider) as engine:
        await engine.generate("p")
        await engine.generate("p")
        snapshot = await engine.metrics()
        assert tuple(snapshot.latency) == SERIES
        response = snapshot.latency["response"]
        assert response.count == 1
        for figure in (response.p50_s, response.p95_s, response.p99_s, response.p999_s, response.max_s):
            assert figure == pytest.approx(2.0, rel=0.002)
        assert snapshot.cache.hit_rate == 0.5
        assert snapshot.memory.rss_bytes > 0
        assert snapshot.router.endpoints["scripted"].attempts == 1
        assert snapshot.counters.submitted == snapshot.counters.succeeded == 2
        assert set(snapshot.mailboxes) >= {"cache", "router", "generators", "metrics", "watchdog"}
        with pytest.raises(dataclasses.FrozenInstanceError):
            snapshot.taken_at_s = 0.0  # type: ignore[misc]
        assert "Engine" in repr(engine)


async def test_watching_needs_a_positive_interval() -> None:
    async with open_engine(ScriptedProvider()) as engine:
        for interval_s in (0.0, -1.0, float("nan"), float("inf"), True, "1", None):
            with pytest.raises(ConfigError, match=r"interval_s=.*give seconds above 0"):
                async with engine.watch_metrics(interval_s):  # type: ignore[arg-type]
                    pass
