"""Which durations do the tests of the exporters write, and what stands in a histogram of them?"""

from __future__ import annotations

import random
from collections.abc import Sequence

from synth_actors.histogram import Histogram
from synth_actors.policy.latency import LatencySeries


def histogram_of(samples_s: Sequence[float]) -> Histogram:
    series = LatencySeries()
    series.record_many(samples_s)
    return series.histogram()


def mixed_samples(count: int, seed: int) -> list[float]:
    """Seconds over eight powers of ten, as hits, calls and stalls beside each other give them."""
    draw = random.Random(seed)
    return [min(3600.0, draw.lognormvariate(mu, 1.0)) for mu in draw.choices((-10.0, -5.0, 0.0, 4.0), k=count)]
