"""How far are the percentiles from the exact ones?

Exact is the sample of the nearest rank among all, sorted.  The engine rounds a sample to whole microseconds and counts
it in a bucket at most a thousandth wide, so what lasts milliseconds or more is right to a thousandth, and a hit of some
microseconds to half of one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from math import ceil

from benchmarks.case import Load, Measured
from synth_actors.policy.latency import LatencySeries

SAMPLES_PER_OPERATION = 10
SEEDS = 5
SHARES = (*(0.5 + 0.4999 * step / 200 for step in range(201)), 0.9, 0.95, 0.99, 0.999)
"""From p50 to p99.99."""
HALF_US = 0.501
"""Half a microsecond, and the rounding of the product with a million."""


def mixed(load: Load) -> Measured:
    """A third hits of some microseconds, the rest calls of all lengths: the largest error in percent."""
    return _worst(load, _mixed, lambda found, exact: 100.0 * abs(found - exact) / exact)


def hits(load: Load) -> Measured:
    """Only hits: the largest error in microseconds."""
    return _worst(load, _hit, lambda found, exact: 1e6 * abs(found - exact))


def _mixed(rng: random.Random) -> float:
    kind = rng.random()
    if kind < 0.33:
        return _hit(rng)
    if kind < 0.9:
        return 0.05 + rng.lognormvariate(-0.5, 0.9)
    return min(3600.0, rng.expovariate(1 / 60.0) + 0.001)


def _hit(rng: random.Random) -> float:
    return rng.uniform(5e-6, 60e-6)


def _worst(load: Load, draw: Callable[[random.Random], float], error: Callable[[float, float], float]) -> Measured:
    errors = (_largest(SEEDS * load.repeat + seed, load, draw, error) for seed in range(SEEDS))
    return Measured(value=max(errors))


def _largest(
    seed: int, load: Load, draw: Callable[[random.Random], float], error: Callable[[float, float], float]
) -> float:
    rng, count = random.Random(seed), SAMPLES_PER_OPERATION * load.operations
    samples = [draw(rng) for _ in range(count)]
    series = LatencySeries()
    series.record_many(samples)
    found = series.histogram().percentiles_s(SHARES)
    samples.sort()
    exact = (samples[ceil(share * count - 1e-6) - 1] for share in SHARES)
    return max(map(error, found, exact))
