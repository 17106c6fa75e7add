"""Would a larger cache, a longer life, or prompts without their formatting hit as often as was predicted?

Requests with a Zipf distribution, as those of web caches have it (Breslau et al., INFOCOM'99), in front of an engine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import accumulate
from typing import Literal

import pytest
import trio

from synth_actors import CacheConfig, Request, Snapshot, open_engine
from synth_actors.findings import Finding
from synth_actors.testing import simulate
from tests.analysis.planted import config, found, rules, server

WITHIN = 0.02
"""Of all lookups: a tenth of what the engine promises for a hit rate of a fifth."""
LOOKUPS = 2000


def zipf(keys: int, skew: float, seed: int, lookups: int = LOOKUPS) -> Iterator[int]:
    """Which of `keys` prompts is asked for next; the n-th is asked for in proportion to 1 / n ** skew."""
    weights = list(accumulate(1.0 / (rank + 1) ** skew for rank in range(keys)))
    yield from random.Random(seed).choices(range(keys), cum_weights=weights, k=lookups)


def asked_one_by_one(prompts: Iterator[str], cache: CacheConfig, *, every_s: float = 0.0) -> Snapshot:
    """One request after the other, each `every_s` after the one before."""

    async def run() -> Snapshot:
        async with open_engine([server(call_s=0.001)], config(cache=cache)) as engine:
            for prompt in prompts:
                await engine.generate(Request(prompt=prompt, max_tokens=10))
                await trio.sleep(every_s)
            return await engine.metrics()

    return simulate(run)


def sized(max_entries: int, keys: int, skew: float, seed: int, policy: Literal["lru", "cost"] = "lru") -> Snapshot:
    prompts = (f"prompt {key}" for key in zipf(keys, skew, seed))
    return asked_one_by_one(prompts, CacheConfig(max_entries=max_entries, ttl_s=None, policy=policy))


def lived(ttl_s: float | None, keys: int, skew: float, seed: int) -> Snapshot:
    prompts = (f"prompt {key}" for key in zipf(keys, skew, seed, lookups=1000))
    return asked_one_by_one(prompts, CacheConfig(ttl_s=ttl_s), every_s=1.0)


def formatted(normalise: bool, keys: int, spellings: int, seed: int) -> Snapshot:
    source = random.Random(seed)
    prompts = (f"write about\n{' ' * source.randrange(spellings)}topic {key}" for key in zipf(keys, 0.8, seed, 600))
    return asked_one_by_one(prompts, CacheConfig(normalise_prompts=normalise))


def then(finding: Finding) -> float:
    assert finding.prediction is not None
    assert finding.prediction.metric == "hit_rate"
    return finding.prediction.then


def size_of(finding: Finding) -> int:
    (setting,) = finding.settings
    assert isinstance(setting.then, int)
    return setting.then


def ttl_of(finding: Finding) -> float | None:
    (setting,) = finding.settings
    assert setting.then is None or isinstance(setting.then, float)
    return setting.then


@pytest.mark.parametrize(
    ("max_entries", "keys", "skew", "seed"), [(60, 500, 0.8, 1), (150, 2000, 1.0, 2), (25, 300, 0.6, 3)]
)
def test_a_larger_cache_hits_as_often_as_was_predicted(max_entries: int, keys: int, skew: float, seed: int) -> None:
    before = sized(max_entries, keys, skew, seed)
    finding = found("cache_is_too_small", before)
    after = sized(size_of(finding), keys, skew, seed)
    assert after.cache.hit_rate == pytest.approx(then(finding), abs=WITHIN)
    assert after.cache.hit_rate > before.cache.hit_rate + 0.05


@pytest.mark.parametrize(("max_entries", "keys", "seed"), [(40, 400, 13), (100, 1500, 14), (70, 300, 15)])
def test_a_larger_cache_of_another_policy_hits_at_least_as_often(max_entries: int, keys: int, seed: int) -> None:
    finding = found("cache_is_too_small", sized(max_entries, keys, 0.9, seed, policy="cost"))
    after = sized(size_of(finding), keys, 0.9, seed, policy="cost")
    assert after.cache.hit_rate >= then(finding) - WITHIN


@pytest.mark.parametrize(
    ("kibibytes", "keys", "skew", "seed"), [(40, 400, 0.9, 4), (90, 600, 0.7, 5), (150, 1500, 1.0, 6)]
)
def test_a_cache_that_is_full_by_bytes_hits_as_often_as_was_predicted(
    kibibytes: int, keys: int, skew: float, seed: int
) -> None:
    def run(max_bytes: int) -> Snapshot:
        prompts = (f"prompt {key}" for key in zipf(keys, skew, seed))
        return asked_one_by_one(prompts, CacheConfig(max_entries=2000, max_bytes=max_bytes, ttl_s=None))

    before = run(kibibytes * 1024)
    finding = found("cache_is_too_small", before)
    after = run(size_of(finding))
    assert after.cache.hit_rate == pytest.approx(then(finding), abs=WITHIN)


@pytest.mark.parametrize(("ttl_s", "keys", "skew", "seed"), [(20, 40, 0.0, 7), (90, 500, 0.9, 8), (250, 1000, 0.8, 9)])
def test_a_longer_life_brings_the_hits_that_were_predicted(ttl_s: float, keys: int, skew: float, seed: int) -> None:
    before = lived(ttl_s, keys, skew, seed)
    finding = found("entries_expire_too_soon", before)
    after = lived(ttl_of(finding), keys, skew, seed)
    assert after.cache.hit_rate == pytest.approx(then(finding), abs=WITHIN)


@pytest.mark.parametrize(("keys", "spellings", "seed"), [(60, 3, 10), (120, 4, 11), (40, 8, 12)])
def test_prompts_without_their_formatting_hit_as_often_as_was_predicted(keys: int, spellings: int, seed: int) -> None:
    before = formatted(normalise=False, keys=keys, spellings=spellings, seed=seed)
    finding = found("prompts_differ_in_formatting", before)
    after = formatted(normalise=True, keys=keys, spellings=spellings, seed=seed)
    assert after.cache.hit_rate == pytest.approx(then(finding), abs=WITHIN)


NEARLY = {
    "cache_is_too_small": (lambda: sized(450, 500, 0.8, 1)),
    "cache_is_too_small, for prompts that never repeat": (
        lambda: asked_one_by_one((f"prompt {n}" for n in range(600)), CacheConfig(max_entries=100))
    ),
    "entries_expire_too_soon": (lambda: lived(800, 50, 0.7, 7)),
    "prompts_differ_in_formatting": (lambda: formatted(normalise=False, keys=60, spellings=1, seed=10)),
}


@pytest.mark.parametrize("case", NEARLY)
def test_a_cache_that_is_nearly_wrong_is_left_alone(case: str) -> None:
    assert case.partition(",")[0] not in rules(NEARLY[case]())
