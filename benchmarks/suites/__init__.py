"""Which suites are there?

A suite is imported when it is asked for: some need packages that an installation without the dependency group `test`
has not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Final

from benchmarks.case import Suite

SIX: Final = ("throughput", "latency", "memory", "cache", "concurrency", "streaming")
"""What a user wants to know of the engine; run when no suite is named."""

INNER: Final = ("datasets", "engine", "eviction", "goodput", "metrics", "reclaim", "upstreams", "wire")
"""What those who change the engine want to know of its parts."""


class _Suites(Mapping[str, Suite]):
    """By name: the function of that name in the package of that name."""

    def __getitem__(self, name: str) -> Suite:
        if name not in SIX + INNER:
            raise KeyError(name)
        suite: Suite = getattr(import_module(f"benchmarks.suites.{name}"), name)
        return suite

    def __contains__(self, name: object) -> bool:  # or the package would be imported to find out
        return name in SIX + INNER

    def __iter__(self) -> Iterator[str]:
        return iter(SIX + INNER)

    def __len__(self) -> int:
        return len(SIX + INNER)


SUITES: Final = _Suites()
