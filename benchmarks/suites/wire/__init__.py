"""What does a call over HTTP cost on our transport, and what on httpx2's?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.case import Aim, Case
from benchmarks.suites.wire import calls, engine, streams
from benchmarks.suites.wire.calls import Crowd, Library
from benchmarks.suites.wire.serving import SCHEMES, Scheme

AIMED_AT = 100
"""The concurrency that the aims were set for."""
LIBRARIES = {"transport": calls.TRANSPORT, "httpx2": calls.HTTPX2, "SDK": calls.SDK}
FASTER = {"transport": 5.0, "httpx2": 5.0, "SDK": 2.2}
"""How many times as many calls per second our transport makes of each."""
FASTER_CHUNKS = 2.5
WALL_S = {"openai": 2.5, "anthropic": 2.9}
FASTER_THAN_SDK = {"openai": 4.0, "anthropic": 2.0}


def wire(concurrency: int) -> tuple[Case, ...]:
    """Calls to 127.0.0.1 on our transport and on httpx2's: alone, below httpx2's client, below the Anthropic SDK.

    The value is ours, "bare loop" is the same on httpx2's transport; "raw sockets" make the same calls with no client
    library, "from memory" is the same client on a transport that answers without a server: what no transport can beat.
    CPU is that of the client's process.  The server is one of a process of its own that does next to nothing
    (`benchmarks/wire_server.py`): the rows "server" say what a call costs it, and how busy it was; where that is near
    100 % it is the limit, and the CPU of a call says more than calls per second.

    Each caller makes a first call, which opens a connection and has rows of its own where there are many, then the
    calls that count.  Above 2,000 at once httpx2's transport makes nothing but the first calls, of httpx2's client,
    plain, in one repeat: what a call costs there grows with the connections, and half a minute is enough.  "failed"
    counts calls that were not answered, "more than asked for" requests at the server beyond those that were made.

    Streams: the value is httpx2's client on our transport with our parser of events, "bare loop" the SDK on
    httpx2's.  The engine: "bare loop" are raw sockets where the server takes 200 ms, else the API's SDK as it comes.
    """
    aimed = concurrency == AIMED_AT
    return (
        *(case for scheme in SCHEMES for case in _calls(scheme, concurrency, aimed)),
        *(case for scheme in SCHEMES for case in _streams(scheme, concurrency, aimed)),
        *(case for kind in WALL_S for case in _through_engine(kind, concurrency, aimed)),
    )


def _calls(scheme: Scheme, c: int, aimed: bool) -> Iterator[Case]:
    crowds = [Crowd(scheme=scheme, at_once=at_once) for at_once in dict.fromkeys((1, c, 10 * c, 50 * c))]
    for crowd in crowds:
        yield from _crowd(crowd, has_first=crowd.at_once > c, aimed=aimed and crowd.at_once == c)
    few, many = Crowd(scheme=scheme, at_once=c), crowds[-1]
    for name, library in LIBRARIES.items():
        yield Case(
            name=f"{scheme}, {name}, CPU of a call, {many.at_once:,} at once over {few.at_once:,}",
            unit="x",
            measure=partial(calls.growth, few, many, library),
            aim=Aim(limit=2) if aimed else None,
            is_warmed_up=False,
        )


def _crowd(crowd: Crowd, *, has_first: bool, aimed: bool) -> Iterator[Case]:
    before = f"{crowd.scheme}, {crowd.at_once:,} at once"
    case = partial(Case, is_warmed_up=False)  # it warms itself up, and takes long
    for name, library in LIBRARIES.items():
        faster = Aim(limit=FASTER[name], of="ratio", at="least") if aimed else None
        title = f"{before}, {name}"
        yield case(name=title, unit="calls/s", measure=partial(calls.per_second, crowd, library), aim=faster)
        yield case(name=f"{title}, each", unit="us CPU", measure=partial(calls.cpu, crowd, library))
        if has_first and library is not calls.TRANSPORT:
            yield _first(crowd, name, library)
    yield case(name=f"{before}, failed", unit="calls", measure=partial(calls.failed, crowd), aim=Aim(limit=0))
    yield case(name=f"{before}, server", unit="us CPU", measure=partial(calls.server, crowd))


def _first(crowd: Crowd, name: str, library: Library) -> Case:
    once = crowd.at_once > calls.MANY and crowd.scheme == "plain" and library is calls.HTTPX2
    measure = partial(calls.first_cpu_of_many if once else calls.first_cpu, crowd, library)
    title = f"{crowd.scheme}, {crowd.at_once:,} at once, {name}, first calls"
    return Case(name=title, unit="us CPU", measure=measure, is_warmed_up=False, once=once)


def _streams(scheme: Scheme, c: int, aimed: bool) -> Iterator[Case]:
    for flow in (streams.FAST, streams.SLOW):
        before, case = f"{scheme}, {c:,} streams, chunks {flow.name}", partial(Case, is_warmed_up=False)
        each = partial(streams.cpu, scheme, flow)
        if flow.gap_s:  # the server says how many a second there are
            cheaper = Aim(limit=1 / FASTER_CHUNKS, of="ratio") if aimed else None
            yield case(name=f"{before}, each", unit="us CPU", measure=each, aim=cheaper)
            continue
        faster = Aim(limit=FASTER_CHUNKS, of="ratio", at="least") if aimed else None
        rate = partial(streams.per_second, scheme, flow)
        yield case(name=before, unit="chunks/s", measure=rate, aim=faster)
        yield case(name=f"{before}, each", unit="us CPU", measure=each)


def _through_engine(kind: str, c: int, aimed: bool) -> Iterator[Case]:
    case = partial(Case, is_warmed_up=False)
    work, name = engine.waiting(kind), f"{kind}, {engine.ROUNDS * c:,} prompts of 200 ms, {c:,} at once"
    in_time = Aim(limit=WALL_S[kind]) if aimed else None
    yield case(name=f"{name}, engine", unit="s", measure=partial(engine.wall, work), aim=in_time)
    work, name = engine.saturated(kind), f"{kind}, {c:,} at once"
    faster = Aim(limit=FASTER_THAN_SDK[kind], of="ratio", at="least") if aimed else None
    yield case(name=f"{name}, engine", unit="calls/s", measure=partial(engine.per_second, work), aim=faster)
    yield case(name=f"{name}, engine, each", unit="us CPU", measure=partial(engine.cpu, work))
