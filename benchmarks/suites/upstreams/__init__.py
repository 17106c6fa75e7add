"""Does the engine get as much out of a real server as the servers' own SDKs do?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.case import Aim, Case
from benchmarks.suites.upstreams import calls, limited, streams
from benchmarks.suites.upstreams.calls import Crowd

AIMED_AT = 100
"""The concurrency that the aims were set for."""
KINDS = ("anthropic", "openai")


def upstreams(concurrency: int) -> tuple[Case, ...]:
    """The suite; at a concurrency of 100 these are the sizes of its aims."""
    aimed = concurrency == AIMED_AT
    return (
        *(case for kind in KINDS for case in _calls(kind, concurrency, aimed)),
        *(case for kind in KINDS for case in _streams(kind, aimed)),
        *_limited(concurrency, aimed),
    )


def _calls(kind: str, c: int, aimed: bool) -> Iterator[Case]:
    small = Crowd(kind=kind, at_once=max(1, 32 * c // 100), rounds=20)
    middle = Crowd(kind=kind, at_once=max(2, 256 * c // 100), rounds=10)
    large = Crowd(kind=kind, at_once=10 * c, rounds=5)
    as_fast = Aim(limit=0.9, of="ratio", at="least") if aimed else None
    for crowd in (small, middle, large):
        name = f"{kind}, {crowd.at_once:,} at once"
        yield Case(name=name, unit="calls/s", measure=partial(calls.per_second, crowd), aim=as_fast)
        yield Case(name=f"{name}, each", unit="us CPU", measure=partial(calls.cpu, crowd))
    yield Case(
        name=f"{kind}, {large.at_once:,} at once, failed",
        unit="calls",
        measure=partial(calls.failed, large),
        aim=Aim(limit=0),
    )


def _streams(kind: str, aimed: bool) -> Iterator[Case]:
    added = Aim(limit=15, of="share") if aimed else None
    for flow in streams.FLOWS:
        name = f"{kind}, a chunk {flow.name}"
        yield Case(
            name=f"{name}, beside the provider",
            unit="us CPU",
            measure=partial(streams.beside_provider, kind, flow),
            aim=added,
        )
        yield Case(name=f"{name}, beside the SDK", unit="us CPU", measure=partial(streams.beside_sdk, kind, flow))


def _limited(c: int, aimed: bool) -> Iterator[Case]:
    def at_most(limit: float) -> Aim | None:
        return Aim(limit=limit) if aimed else None

    few = max(1, 3 * c // 10)
    for servers, allow in ((1, f"{few} allowed"), (2, f"{few} allowed by each of two")):
        name = f"{6 * c:,} calls of 100 ms, {c:,} at once, {allow}"
        yield Case(name=name, unit="s", measure=partial(limited.wall, servers), aim=at_most(3))
        yield Case(name=f"{name}, rejected", unit="%", measure=partial(limited.rejected, servers), aim=at_most(10))
    name = f"{6 * c:,} calls, {max(1, c // 5)} at once, to 50 ms or 500 ms by routing=fastest"
    yield Case(name=name, unit="s", measure=limited.fastest_wall, aim=at_most(2.2))
    yield Case(name=f"{name}, to the slow one", unit="%", measure=limited.to_the_slow_one, aim=at_most(5))
