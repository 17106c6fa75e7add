"""Do flags win over the file, and is every mistake named?"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import SecretStr

from synth_actors.cli.effective import MASK, settings_text
from synth_actors.cli.settings import Settings, load_settings
from synth_actors.config import CacheConfig, Endpoint, EngineConfig, Price
from synth_actors.errors import ConfigError

FILE = """
[engine]
max_concurrency = 7
budget_usd = 2.5

[engine.cache]
max_entries = 10

[[endpoints]]
provider = "openai"
model = "m"
base_url = "http://127.0.0.1:9/v1"
max_concurrency = 3
price = {input_usd_per_mtok = 1.0, output_usd_per_mtok = 2.0}

[[endpoints]]
provider = "local"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def test_without_anything_the_endpoint_is_local() -> None:
    assert load_settings(None, []) == Settings(engine=EngineConfig(), endpoints=(Endpoint(provider="local"),))


def test_a_file_says_all_of_engine_and_endpoints(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, FILE), [])
    assert (settings.engine.max_concurrency, settings.engine.cache.max_entries) == (7, 10)
    assert [endpoint.name for endpoint in settings.endpoints] == ["openai:m", "local"]
    assert settings.endpoints[0].price == Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)


def test_endpoints_may_be_strings(tmp_path: Path) -> None:
    path = write(tmp_path, 'endpoints = ["openai:m@http://127.0.0.1:9/v1", "local"]')
    assert [endpoint.name for endpoint in load_settings(path, []).endpoints] == ["openai:m", "local"]


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, FILE), ["local"], concurrency=5, budget_usd=1.0)
    assert (settings.engine.max_concurrency, settings.engine.budget_usd) == (5, 1.0)
    assert [endpoint.name for endpoint in settings.endpoints] == ["local"]
    assert settings.engine.cache.max_entries == 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[engin]", "engin: unknown"),
        ("[engine]\nmax_concurency = 3", "max_concurency: unknown field; did you mean 'max_concurrency'"),
        ("[engine]\nmax_concurrency = -1", "max_concurrency: -1 is not valid"),
        ("[engine.cache]\nmax_entries = 0", "max_entries: 0 is not valid"),
        ("[engine]\ncache = 3", "engine.cache: 3 is not valid"),
        ("engine = 3", "engine: 3 is not valid"),
        ("endpoints = 3", "endpoints: 3 is not valid"),
        ("endpoints = [3]", "endpoints: 3 is not valid"),
        ('endpoints = ["nobody"]', "unknown provider 'nobody'"),
        ('[[endpoints]]\nmodel = "m"', "provider is missing"),
        ('[[endpoints]]\nprovider = "local"\nweigth = 1', "weigth: unknown field; did you mean 'weight'"),
        ('[[endpoints]]\nprovider = "local"\nprice = {input = 1}', "input"),
        ("[engine", "is no TOML"),
    ],
)
def test_a_mistake_is_named_with_the_file(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path, [])
    message = str(caught.value)
    assert message.startswith(f"--config {path}: ")
    assert words in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[engine]\nmax_concurrency = true", "max_concurrency: True is not valid"),
        ('[engine]\nmax_concurrency = "5"', "max_concurrency: '5' is not valid"),
        ("[engine]\nmax_concurrency = 5.0", "max_concurrency: 5.0 is not valid"),
        ('[engine]\ntimeout_s = "5"', "timeout_s: '5' is not valid"),
        ("[engine]\nbudget_usd = true", "budget_usd: True is not valid"),
        ('[engine.cache]\nenabled = "no"', "enabled: 'no' is not valid"),
        ("endpoints = []", "endpoints: [] is not valid"),
    ],
)
def test_a_value_of_another_kind_is_refused_not_converted(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_settings(path, ())


def test_a_whole_number_may_stand_for_a_decimal_one(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[engine]\ntimeout_s = 5\n")
    assert load_settings(path, ()).engine.timeout_s == 5.0


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "none.toml", [])
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is no TOML"):
        load_settings(tmp_path / "bytes.toml", [])


def test_what_is_shown_is_a_file_that_is_read_again(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, FILE), [], concurrency=9)
    assert load_settings(write(tmp_path, settings_text(settings)), []) == settings


def test_no_secret_is_shown() -> None:
    endpoint = Endpoint(
        provider="openai",
        model="m",
        base_url="http://me:secret1@127.0.0.1:9/v1?api=secret2&x=secret3",
        api_key=SecretStr("secret4"),
        extra_headers={"X-Whatever": "secret5"},
        extra_body={"nested": {"token": "secret6"}, "max_tokens": 5, "list": [{"password": "secret7"}]},
    )
    text = settings_text(Settings(engine=EngineConfig(cache=CacheConfig(ttl_s=None)), endpoints=(endpoint,)))
    assert "secret" not in text
    assert text.count(MASK) >= 7
    shown = tomllib.loads(text)["endpoints"][0]
    assert shown["extra_body"]["max_tokens"] == 5
    assert "with an API key" in text


@pytest.mark.parametrize("written", ["inf", "60.0"])
def test_how_long_answers_live_is_printed_as_the_file_takes_it(tmp_path: Path, written: str) -> None:
    (tmp_path / "c.toml").write_text(f"[engine.cache]\npath = 'a.cache'\nttl_s = {written}\n")
    settings = load_settings(tmp_path / "c.toml", ())
    (tmp_path / "again.toml").write_text(settings_text(settings))
    assert load_settings(tmp_path / "again.toml", ()) == settings
    for_ever = EngineConfig(cache=CacheConfig(ttl_s=None))
    assert "ttl_s = inf" in settings_text(Settings(engine=for_ever, endpoints=()))


def test_a_missing_key_is_shown_and_does_not_stop_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    text = settings_text(load_settings(None, ["anthropic:m"]))
    assert "# not usable as it is" in text
    assert "ANTHROPIC_API_KEY is not set" in text
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    text = settings_text(load_settings(None, ["anthropic:m"]))
    assert "with an API key" in text
    assert "secret" not in text
