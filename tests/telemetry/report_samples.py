"""Which recordings do the tests of the HTML report show?"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import trio
import trio.testing

from synth_actors import CacheConfig, EngineConfig, open_engine
from synth_actors.config import Endpoint, Price
from synth_actors.providers.base import Call, Fault
from synth_actors.telemetry.recording import Point, Recording, from_json, recorded, to_json
from synth_actors.testing import ScriptedProvider, Step
from synth_actors.types import Usage

NASTY = "</script><img src=x onerror=\"document.title='hurt'\"><!--&amp;'\x00\u202e{{7*7}}"
"""What somebody may have written into a prompt, and what is to be seen of it as it stands."""
PRICE = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=10.0)
SAID = "what the server said"


def _script(call: Call) -> Step:
    """A prompt is how many seconds its answer takes, or "bad"."""
    if call.request.prompt == "bad":
        return Step(delay_s=1.0, fault=Fault.REJECTED, message=SAID)
    return Step(delay_s=float(call.request.prompt or 0), usage=Usage(input_tokens=10, output_tokens=100))


async def _record() -> Recording:
    providers = [ScriptedProvider(_script, name=f"otter-{letter}") for letter in "ab"]
    endpoints = [Endpoint(provider=one, model=one.model, name=one.name, price=PRICE) for one in providers]
    config = EngineConfig(max_concurrency=4, routing="least_loaded", cache=CacheConfig(max_entries=100))
    async with open_engine(endpoints, config) as engine:
        async with recorded(engine, title="The night run", about="in simulated time", interval_s=1.0) as recorder:
            prompts = [f"{0.1 + number / 40:.3f}" for number in range(60)]
            await engine.generate_batch([*prompts, "bad"])
            await engine.generate_batch(prompts[-50:])
        return recorder.recording()


@cache
def sample() -> Recording:
    """Two endpoints, sixty calls of 0.1 s to 1.6 s and fifty hits; one request was refused; four at once were few."""
    return trio.run(_record, clock=trio.testing.MockClock(autojump_threshold=0))


def nasty() -> Recording:
    """The same, with `NASTY` wherever a user or a server has a say."""
    text = to_json(replace(sample(), title="TITLE", about="ABOUT"))
    for theirs in ("TITLE", "ABOUT", SAID, "otter-a"):
        text = text.replace(theirs, json.dumps(NASTY)[1:-1])
    return from_json(text)


def long_one(points: int = 600) -> Recording:
    """As many points as a recording has at the most."""
    last = sample().points[-1]
    made = [_at(last, number) for number in range(points)]
    return replace(sample(), points=tuple(made))


def _at(like: Point, number: int) -> Point:
    return replace(like, at_s=1.0 + number, elapsed_s=1.0, succeeded=number % 7, p50_s=0.1 + number / 1e4, p99_s=0.5)
