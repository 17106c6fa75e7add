"""Which suites are there?"""

from __future__ import annotations

from typing import Final

from benchmarks.case import Suite
from benchmarks.suites.datasets import datasets
from benchmarks.suites.engine import engine
from benchmarks.suites.eviction import eviction
from benchmarks.suites.goodput import goodput
from benchmarks.suites.metrics import metrics
from benchmarks.suites.reclaim import reclaim
from benchmarks.suites.upstreams import upstreams

SUITES: Final[dict[str, Suite]] = {
    "datasets": datasets,
    "engine": engine,
    "eviction": eviction,
    "goodput": goodput,
    "metrics": metrics,
    "reclaim": reclaim,
    "upstreams": upstreams,
}
