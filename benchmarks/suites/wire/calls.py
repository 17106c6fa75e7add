"""How many calls per second, and at what cost, on our transport and on httpx2's?

The server answers at once, so that a second has as many calls as the client's CPU allows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import trio

from benchmarks.case import Load, Measured, NotMeasured
from benchmarks.suites.wire.clients import (
    ALONE_LEAN,
    ALONE_OWN,
    BARE_LEAN,
    BARE_MEMORY,
    BARE_OWN,
    CLIENTS,
    MEMORY,
    RAW,
    SDK_LEAN,
    SDK_MEMORY,
    SDK_OWN,
    Client,
    Make,
)
from benchmarks.suites.wire.serving import Scheme, Target, serving
from benchmarks.suites.wire.tally import Tally, tallied
from benchmarks.wire_server import Rules

ALONE_CALLS = 300
CALLS = {
    RAW: 5000,
    ALONE_LEAN: 5000,
    ALONE_OWN: 1000,
    BARE_LEAN: 5000,
    SDK_LEAN: 2000,
    BARE_OWN: 1000,
    SDK_OWN: 1000,
    BARE_MEMORY: 5000,
    SDK_MEMORY: 1000,
}
"""So many, but one by each of a larger crowd; those that are slow make fewer."""
MANY = 2000
"""In a larger crowd httpx2's transport takes half a minute for the first calls alone: they are made once, plain."""
OURS = (ALONE_LEAN, BARE_LEAN, SDK_LEAN)
THEIRS = (ALONE_OWN, BARE_OWN, SDK_OWN)
MOST_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """So many calls at once."""

    scheme: Scheme
    at_once: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """What makes the calls: on our transport, on httpx2's, and on one that answers from memory."""

    ours: str
    theirs: str
    memory: str | None = None


TRANSPORT = Library(ours=ALONE_LEAN, theirs=ALONE_OWN)
HTTPX2 = Library(ours=BARE_LEAN, theirs=BARE_OWN, memory=BARE_MEMORY)
SDK = Library(ours=SDK_LEAN, theirs=SDK_OWN, memory=SDK_MEMORY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What came of one client's calls: the first of each caller, which opens its connection, and those that follow.

    `asked` is how many calls it should have made; `requests` and `server_cpu_s` are what the server says.
    """

    asked: int
    first: Tally
    later: Tally | None
    requests: int
    server_cpu_s: float

    @property
    def done(self) -> int:
        """Calls that were answered."""
        return self.first.done + (self.later.done if self.later else 0)

    @property
    def failures(self) -> int:
        """Calls that were lost."""
        return self.first.failures + (self.later.failures if self.later else 0)

    @property
    def wall_s(self) -> float:
        """Of all of them."""
        return self.first.wall_s + (self.later.wall_s if self.later else 0.0)


def per_second(crowd: Crowd, library: Library, load: Load) -> Measured:
    """Calls per second over connections that are open; bare is httpx2's transport."""
    return _figure(crowd, library, load, lambda tally: tally.per_s)


def cpu(crowd: Crowd, library: Library, load: Load) -> Measured:
    """CPU microseconds of a call in this process, of the same run."""
    return _figure(crowd, library, load, lambda tally: tally.cpu_us)


def _figure(crowd: Crowd, library: Library, load: Load, figure: Callable[[Tally], float]) -> Measured:
    made = _made(crowd, load)
    theirs = figure(_later(made, library.theirs)) if library.theirs in made else None
    beside = {RAW: figure(_later(made, RAW))}
    if library.memory in made:
        beside[MEMORY] = figure(_later(made, library.memory))
    return Measured(value=figure(_later(made, library.ours)), bare=theirs, beside=beside)


def first_cpu(crowd: Crowd, library: Library, load: Load) -> Measured:
    """CPU microseconds of each caller's first call, with its connection, of the same run."""
    made = _made(crowd, load)
    theirs = made[library.theirs].first if library.theirs in made else None
    bare = theirs.cpu_us if theirs else None
    return Measured(value=made[library.ours].first.cpu_us, bare=bare, beside={RAW: made[RAW].first.cpu_us})


def first_cpu_of_many(crowd: Crowd, library: Library, load: Load) -> Measured:
    """The same where httpx2's transport is asked for nothing else, in a run of its own."""
    measured = first_cpu(crowd, library, load)
    with serving(crowd.scheme, Rules(), connections=crowd.at_once) as target:
        theirs = _make_calls(library.theirs, crowd.at_once, None, target).first
    if theirs.is_cut or not theirs.done:
        raise NotMeasured(f"{library.theirs}: {theirs.done} of {crowd.at_once:,} in {MOST_S:g} s: {theirs.failed}")
    return replace(measured, bare=theirs.cpu_us)


def failed(crowd: Crowd, load: Load) -> Measured:
    """Calls on our transport that were not answered; beside it those that the server got twice; of the same run."""
    made = _made(crowd, load)
    lost = sum(made[name].asked - made[name].done for name in OURS)
    repeated = sum(made[name].requests - made[name].asked for name in OURS)
    theirs = sum(made[name].failures for name in THEIRS) if THEIRS[0] in made else None
    return Measured(value=lost, bare=theirs, beside={"more than asked for": max(0, repeated)})


def server(crowd: Crowd, load: Load) -> Measured:
    """CPU microseconds of the server for a call of raw sockets; beside it how busy it was meanwhile, and under ours."""
    made = _made(crowd, load)
    busy = {f"% busy, {name}": 100 * made[name].server_cpu_s / made[name].wall_s for name in (RAW, BARE_LEAN)}
    return Measured(value=made[RAW].server_cpu_s * 1e6 / made[RAW].requests, beside=busy)


def growth(few: Crowd, many: Crowd, library: Library, load: Load) -> Measured:
    """The CPU of a call on our transport in a large crowd as a multiple of that in a small one, of the same runs."""
    in_few, in_many = (_later(_made(crowd, load), library.ours).cpu_us for crowd in (few, many))
    raw_in_few, raw_in_many = (_later(_made(crowd, load), RAW).cpu_us for crowd in (few, many))
    return Measured(value=in_many / in_few, beside={RAW: raw_in_many / raw_in_few})


def _later(made: dict[str, Made], name: str) -> Tally:
    later = made[name].later
    if later is None or not later.done:
        raise NotMeasured(f"{name}: no call was answered: {made[name].first.failed} {later and later.failed}")
    return later


@lru_cache(maxsize=16)  # those of a repeat: `growth` looks back
def _made(crowd: Crowd, load: Load) -> dict[str, Made]:
    if load.endpoint is not None:
        raise NotMeasured("needs a server that does as it is told; leave out --endpoint")
    names = [name for name in CLIENTS if crowd.at_once <= MANY or name in (RAW, *OURS)]
    turn = load.repeat % len(names)  # each is first in turn
    with serving(crowd.scheme, Rules(), connections=crowd.at_once) as target:
        return {
            name: _make_calls(name, crowd.at_once, _calls(name, crowd, load), target)
            for name in names[turn:] + names[:turn]
        }


def _make_calls(name: str, at_once: int, later: int | None, target: Target) -> Made:
    before = target.figures()
    first_ones, later_ones = trio.run(_tallies, CLIENTS[name], target, at_once, later)
    after = target.figures()
    return Made(
        asked=at_once + (later or 0),
        first=first_ones,
        later=later_ones,
        requests=after.requests - before.requests - 1,  # the one that imports
        server_cpu_s=after.cpu_s - before.cpu_s,
    )


async def _tallies(make: Make, target: Target, at_once: int, later: int | None) -> tuple[Tally, Tally | None]:
    client: Client = make(target)
    try:
        await client.call("The first call makes and imports what the others find.")
        first = await tallied(at_once, at_once, client.call, most_s=MOST_S, kind="first")
        if later is None:
            return first, None
        return first, await tallied(at_once, later, client.call, most_s=MOST_S, kind="later")
    finally:
        await client.aclose()


def _calls(name: str, crowd: Crowd, load: Load) -> int:
    if crowd.at_once == 1:
        return min(ALONE_CALLS, load.operations)
    return max(crowd.at_once, min(CALLS[name], load.operations))
