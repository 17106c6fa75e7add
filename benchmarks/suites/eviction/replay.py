"""What does a cache save on a workload?"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.suites.eviction.workloads import Question, Scenario, Workload
from synth_actors import CacheConfig
from synth_actors.policy.cache_index import ENTRY_OVERHEAD_BYTES, CacheIndex, Entry

ROOMY = 2**60


@dataclass(frozen=True, slots=True)
class Saved:
    """Shares of what was asked for: how often it was in memory, and how much of the money it took was not spent."""

    hits: float
    dollars: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of the memory, and of the durable tier below it, 0 if there is none."""

    max_entries: int
    max_bytes: int
    durable_bytes: int = 0


def accounted_bytes(question: Question) -> int:
    """What the cache says that its answer takes."""
    return question.value_bytes + ENTRY_OVERHEAD_BYTES


def bounds_of(scenario: Scenario, workload: Workload, questions: int) -> Bounds:
    """The capacity that the scenario gives, of the first `questions`: the others never come again."""
    if scenario.bound == "entries":
        return Bounds(round(scenario.capacity * questions), ROOMY)
    again = sum(accounted_bytes(question) for question in workload.questions[:questions])
    return Bounds(len(workload.asked), round(scenario.capacity * again))


def with_durable_tier(bounds: Bounds) -> Bounds:
    """The same, and a file as large as it may be by default."""
    return replace(bounds, durable_bytes=CacheConfig().max_file_bytes)


def replay(workload: Workload, bounds: Bounds, policy: Literal["lru", "cost"]) -> Saved:
    """The real index, asked one after another; a miss is answered and kept."""
    index = CacheIndex(
        max_entries=bounds.max_entries, max_bytes=bounds.max_bytes, ttl_s=None, policy=policy, worth="usd"
    )
    durable = _Durable(bounds.durable_bytes)
    hits, saved_usd = 0, 0.0
    for number in workload.asked:
        key, question = number.to_bytes(16, "big"), workload.questions[number]
        if isinstance(index.lookup(key, now=0.0), Entry):
            hits += 1
            saved_usd += question.cost_usd
        else:
            saved_usd += question.cost_usd if durable.fetch(number, question) else 0.0
            _keep(index, key, question)
        if index.is_busy:
            index.tend(0.0, limit=200)
    return Saved(hits / len(workload.asked), saved_usd / spent_usd(workload))


def spent_usd(workload: Workload) -> float:
    """What it costs without a cache."""
    return sum(workload.questions[number].cost_usd for number in workload.asked)


def _keep(index: CacheIndex, key: bytes, question: Question) -> None:
    value = bytes(question.value_bytes)
    index.store(key, value, now=0.0, identity="maker", tokens=question.tokens, cost_usd=question.cost_usd)


class _Durable:
    """The durable tier: what was used longest ago goes first, by bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._held: OrderedDict[int, int] = OrderedDict()

    def fetch(self, number: int, question: Question) -> bool:
        """Whether the answer is there; from now on it is, if it fits."""
        if number in self._held:
            self._held.move_to_end(number)
            return True
        size_bytes = accounted_bytes(question)
        if size_bytes <= self._max_bytes:
            self._held[number] = size_bytes
            self._bytes += size_bytes
        while self._bytes > self._max_bytes:
            self._bytes -= self._held.popitem(last=False)[1]
        return False
