"""Is identical work paid for once, across runs and engines that share a file?"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from synth_actors import CacheConfig, ConfigError, Endpoint, Engine, EngineConfig, Request, open_engine
from synth_actors.testing import ScriptedProvider, Step
from tests.engine.support import assert_idle, dollar_endpoint

PROMPTS = [f"prompt {number}" for number in range(200)]


def kept_at(path: Path, **fields: Any) -> EngineConfig:
    return EngineConfig(cache=CacheConfig(path=path, **fields))


def echo(prefix: str = "answer to") -> Any:
    return lambda call: Step(text=f"{prefix} {call.request.prompt}")


async def texts(engine: Engine, prompts: list[str], **fields: Any) -> list[str]:
    outcomes = await engine.generate_batch(prompts, **fields)
    return [outcome.response.text for outcome in outcomes if outcome.response is not None]


async def test_a_finished_workload_run_again_makes_no_paid_call(tmp_path: Path) -> None:
    config = kept_at(tmp_path / "answers.cache", max_entries=20)  # memory holds a tenth of it
    async with open_engine(dollar_endpoint(ScriptedProvider(echo())), config) as engine:
        first = await texts(engine, PROMPTS)
        assert (await engine.metrics()).counters.cost_usd == 200.0
    provider = ScriptedProvider(echo("something else"))
    async with open_engine(dollar_endpoint(provider), config) as engine:
        assert await texts(engine, PROMPTS) == first
        snapshot = await engine.metrics()
        assert (snapshot.counters.paid_calls, snapshot.counters.cost_usd) == (0, 0.0)
        assert snapshot.cache.saved_usd == 200.0
        assert snapshot.cache.durable is not None
        assert (snapshot.cache.durable.state, snapshot.cache.durable.hits) == ("open", 200)
        await assert_idle(engine)
    assert provider.calls == []


async def test_what_was_evicted_from_memory_is_read_from_the_file_in_the_same_run(tmp_path: Path) -> None:
    provider = ScriptedProvider(echo())
    async with open_engine(provider, kept_at(tmp_path / "answers.cache", max_entries=5)) as engine:
        for _ in range(3):
            await texts(engine, PROMPTS)
    assert len(provider.calls) == len(PROMPTS)


async def test_what_local_made_never_answers_for_another_endpoint(tmp_path: Path) -> None:
    config = kept_at(tmp_path / "answers.cache")
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    async with open_engine("local", config) as engine:
        await texts(engine, PROMPTS, output_schema=schema)
    provider = ScriptedProvider(lambda call: Step(text='{"name": "paid"}'))
    async with open_engine(provider, config) as engine:
        assert set(await texts(engine, PROMPTS, output_schema=schema)) == {'{"name": "paid"}'}
    assert len(provider.calls) == len(PROMPTS)
    async with open_engine("local", config) as engine:
        assert '{"name": "paid"}' not in await texts(engine, PROMPTS, output_schema=schema)
        assert (await engine.metrics()).counters.paid_calls == 0


async def test_a_fallback_that_is_added_voids_nothing(tmp_path: Path) -> None:
    config = kept_at(tmp_path / "answers.cache")
    async with open_engine(ScriptedProvider(echo(), name="main"), config) as engine:
        first = await texts(engine, PROMPTS)
    main, fallback = ScriptedProvider(name="main"), ScriptedProvider(name="fallback")
    async with open_engine([fallback, main], config) as engine:
        assert await texts(engine, PROMPTS) == first
    assert main.calls == fallback.calls == []


async def test_the_answer_of_the_preferred_endpoint_is_served_first(tmp_path: Path) -> None:
    config = kept_at(tmp_path / "answers.cache")
    for name in ("one", "two"):
        async with open_engine(ScriptedProvider(echo(name), name=name), config) as engine:
            await engine.generate("p")
    one, two = ScriptedProvider(name="one"), ScriptedProvider(name="two")
    async with open_engine([one, two], config) as engine:
        assert (await engine.generate("p")).text == "one p"
    async with open_engine([two, one], config) as engine:
        assert (await engine.generate("p")).text == "two p"


async def test_two_extra_bodies_do_not_share_answers(tmp_path: Path) -> None:
    from synth_actors.providers.build import build_provider

    def made(extra_body: dict[str, Any]) -> str:
        url = "http://127.0.0.1:1/v1"
        return build_provider(Endpoint(provider="openai", model="m", base_url=url, extra_body=extra_body)).identity

    assert made({}) != made({"top_p": 0.5}) != made({"top_p": 0.6})


async def test_two_engines_share_a_file_while_both_are_open(tmp_path: Path) -> None:
    config = kept_at(tmp_path / "answers.cache")
    one, two = ScriptedProvider(echo()), ScriptedProvider(echo("never"))
    async with open_engine(one, config) as writer, open_engine(two, config) as reader:
        await texts(writer, PROMPTS)
        while (await writer.metrics()).cache.durable.written < len(PROMPTS):  # type: ignore[union-attr]
            await trio.lowlevel.checkpoint()
        assert await texts(reader, PROMPTS) == [f"answer to {prompt}" for prompt in PROMPTS]
    assert two.calls == []


async def test_a_stream_that_was_paid_is_replayed_by_the_next_run(tmp_path: Path) -> None:
    config = kept_at(tmp_path / "answers.cache")
    provider = ScriptedProvider([Step(text="abcd", chunks=4)])
    async with open_engine(provider, config) as engine, engine.stream("p") as stream:
        assert [chunk.text async for chunk in stream] == ["a", "b", "c", "d"]
    async with open_engine(ScriptedProvider(), config) as engine, engine.stream("p") as stream:
        assert [chunk.text async for chunk in stream] == ["abcd"]
        assert (await stream.response()).cached


async def test_an_answer_of_strange_characters_comes_back_as_it_was(tmp_path: Path) -> None:
    config = kept_at(tmp_path / "answers.cache")
    strange = "a\x00b\r\n\u2028\U0001f9a6 \ufffe é e\u0301"
    async with open_engine(ScriptedProvider([Step(text=strange)]), config) as engine:
        assert (await engine.generate("p")).text == strange
    async with open_engine(ScriptedProvider(), config) as engine:
        response = await engine.generate("p")
        assert (response.text, response.cached) == (strange, True)


async def test_requests_that_differ_in_format_alone_share_an_answer_if_that_is_wanted(tmp_path: Path) -> None:
    spelled = Request(prompt="Name  an otter. \n")
    provider = ScriptedProvider(echo())
    async with open_engine(provider, kept_at(tmp_path / "one.cache", normalise_prompts=True)) as engine:
        await engine.generate("Name an otter.")
        assert (await engine.generate(spelled)).cached
    async with open_engine(provider, kept_at(tmp_path / "two.cache")) as engine:
        await engine.generate("Name an otter.")
        assert not (await engine.generate(spelled)).cached
        assert provider.calls[-1].request.prompt == "Name  an otter. \n"  # what is sent is never changed


async def test_an_interrupted_run_has_kept_what_it_paid_for(tmp_path: Path) -> None:
    config = kept_at(tmp_path / "answers.cache")
    provider = ScriptedProvider(echo())
    with suppress(KeyboardInterrupt):
        async with open_engine(provider, config) as engine:
            await texts(engine, PROMPTS[:50])
            raise KeyboardInterrupt
    again = ScriptedProvider()
    async with open_engine(again, config) as engine:
        assert await texts(engine, PROMPTS[:50]) == [f"answer to {prompt}" for prompt in PROMPTS[:50]]
    assert again.calls == []


@pytest.mark.parametrize("kind", ["a folder", "no folder", "another program's", "another's, damaged"])
async def test_a_path_that_can_be_no_cache_is_refused_at_the_opening(tmp_path: Path, kind: str) -> None:
    path = {"a folder": tmp_path, "no folder": tmp_path / "missing" / "answers.cache"}.get(kind, tmp_path / "their.db")
    if kind.startswith("another"):
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE theirs (id INTEGER)")
        connection.close()
    if kind.endswith("damaged"):
        path.write_bytes(path.read_bytes()[:4096] + b"x" * 5000)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(ConfigError, match=path.name):
        async with open_engine(ScriptedProvider(), kept_at(path)):
            pass
    assert (path.read_bytes() if path.is_file() else b"") == before


async def test_a_damaged_file_is_set_aside_with_a_word_and_requests_are_answered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "answers.cache"
    path.write_bytes(b"this is no database" * 1000)
    provider = ScriptedProvider(echo())
    with caplog.at_level(logging.WARNING, "synth_actors"):
        async with open_engine(provider, kept_at(path)) as engine:
            assert (await engine.generate("p")).text == "answer to p"
    assert (tmp_path / "answers.cache.damaged-1").read_bytes() == b"this is no database" * 1000
    assert [record for record in caplog.records if "damaged-1" in record.getMessage()]
    async with open_engine(ScriptedProvider(), kept_at(path)) as engine:
        assert (await engine.generate("p")).cached


async def test_a_read_only_file_is_read_and_requests_are_answered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "answers.cache"
    async with open_engine(ScriptedProvider(echo()), kept_at(path)) as engine:
        await engine.generate("old")
    monkeypatch.setattr("os.access", lambda file, mode, **_: not (Path(file) == path and mode & 2))  # root may write
    provider = ScriptedProvider(echo())
    with caplog.at_level(logging.WARNING, "synth_actors"):
        async with open_engine(provider, kept_at(path)) as engine:
            assert (await engine.generate("old")).cached
            assert (await engine.generate("new")).source == "call"
            await trio.testing.wait_all_tasks_blocked()
            cache = (await engine.metrics()).cache
            assert cache.durable is not None
            assert cache.durable.state == "read_only"
            assert cache.durable.dropped == 1
    assert len([record for record in caplog.records if str(path) in record.getMessage()]) == 1
