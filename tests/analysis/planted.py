"""How is a workload run that has a bottleneck on purpose?  Under a clock that waits for nobody, always the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count

import trio

from synth_actors import Endpoint, Engine, EngineConfig, Provider, Request, Snapshot, analyze, open_engine
from synth_actors.config import CacheConfig
from synth_actors.findings import Finding
from synth_actors.policy.bottlenecks import RULES
from synth_actors.policy.rules.thresholds import DEFAULT_THRESHOLDS
from synth_actors.providers.base import Call, Completion, Emit
from synth_actors.testing import Constant, HiddenLimits, LogNormal, Pace, SimulatedProvider, Trouble, simulate

GIB = 2**30
SAVED_UP_S = 120.0
SUSTAINED_S = 240.0
NO_CACHE = CacheConfig(enabled=False)
Endpoints = Callable[[], Sequence[Provider | Endpoint]]
"""Makes them anew for each run: one provider serves one trio run."""


def config(**fields: object) -> EngineConfig:
    """No cache unless one is given, and more memory than any workload here needs."""
    usual = {"cache": NO_CACHE, "memory_limit_bytes": 16 * GIB, "memory_check_interval_s": 60.0}
    return EngineConfig(**{**usual, **fields})  # type: ignore[arg-type]


def server(
    *,
    name: str = "server",
    call_s: float = 1.0,
    spread: float = 0.0,
    tokens: int = 10,
    hidden: HiddenLimits | None = None,
    trouble: Trouble | None = None,
    seed: int = 0,
) -> SimulatedProvider:
    """A server whose calls take `call_s` in the median, with that `spread` (sigma of a log-normal)."""
    took = LogNormal(median=call_s, sigma=spread) if spread else Constant(value=call_s)
    pace = Pace(ttft_s=took, token_s=Constant(value=0.0), output_tokens=Constant(value=tokens))
    return SimulatedProvider(hidden, pace, trouble, seed=seed, name=name)


def batch(endpoints: Endpoints, settings: EngineConfig, requests: int, *, max_tokens: int = 100) -> Snapshot:
    """So many different requests, as many inside as the engine takes of a batch; the snapshot of their end."""
    return asked(endpoints, settings, (Request(prompt=f"number {n}", max_tokens=max_tokens) for n in range(requests)))


def asked(endpoints: Endpoints, settings: EngineConfig, requests: Iterable[Request]) -> Snapshot:
    """These requests as one batch; the snapshot of their end."""

    async def run() -> Snapshot:
        async with open_engine(endpoints(), settings) as engine:
            async with engine.batch(requests) as outcomes:
                async for _outcome in outcomes:
                    pass
            return await engine.metrics()

    return simulate(run)


def sustained_per_s(endpoints: Endpoints, settings: EngineConfig, *, max_tokens: int = 100) -> float:
    """Answers a second from the third to the sixth minute of endless requests: what was saved up is used by then."""

    async def ask(engine: Engine) -> None:
        async with engine.batch(Request(prompt=f"number {n}", max_tokens=max_tokens) for n in count()) as outcomes:
            async for _outcome in outcomes:
                pass

    async def run() -> float:
        async with open_engine(endpoints(), settings) as engine, trio.open_nursery() as nursery:
            nursery.start_soon(ask, engine)
            await trio.sleep(SAVED_UP_S)
            first = await engine.metrics()
            await trio.sleep(SUSTAINED_S)
            last = await engine.metrics()
            nursery.cancel_scope.cancel()
        return (last.counters.succeeded - first.counters.succeeded) / SUSTAINED_S

    return simulate(run)


def by_users(endpoints: Endpoints, settings: EngineConfig, users: int, each: int, pause_s: float = 0.0) -> Snapshot:
    """So many users who ask one request after the other, `pause_s` apart; the snapshot of their end."""

    async def use(engine: Engine, user: int) -> None:
        for number in range(each):
            await engine.generate(f"user {user}, number {number}", max_tokens=100)
            await trio.sleep(pause_s)

    async def run() -> Snapshot:
        async with open_engine(endpoints(), settings) as engine:
            async with trio.open_nursery() as nursery:
                for user in range(users):
                    nursery.start_soon(use, engine, user)
            return await engine.metrics()

    return simulate(run)


def while_users_ask(
    endpoints: Endpoints, settings: EngineConfig, users: int, *, max_tokens: int, until_s: Sequence[float]
) -> list[Snapshot]:
    """Snapshots at these moments, while so many users ask without a pause."""

    async def use(engine: Engine, user: int) -> None:
        for number in count():
            await engine.generate(f"user {user}, number {number}", max_tokens=max_tokens)

    async def run() -> list[Snapshot]:
        snapshots = []
        async with open_engine(endpoints(), settings) as engine, trio.open_nursery() as nursery:
            for user in range(users):
                nursery.start_soon(use, engine, user)
            for moment_s in until_s:
                await trio.sleep_until(moment_s)
                snapshots.append(await engine.metrics())
            nursery.cancel_scope.cancel()
        return snapshots

    return simulate(run)


def rules(snapshot: Snapshot) -> set[str]:
    """The rules that find something in it."""
    return {finding.rule for finding in analyze(snapshot).bottlenecks}


def found(rule: str, snapshot: Snapshot) -> Finding:
    """What that rule finds in it, be it by itself or as a part of another finding with the same remedy."""
    report = analyze(snapshot)
    by_itself = next(each for each in RULES if each.__name__ == rule)(snapshot, DEFAULT_THRESHOLDS)
    if by_itself is None or by_itself.remedy not in report.recommendations:
        return _missing(rule, str(report))
    return by_itself


def _missing(rule: str, report: str) -> Finding:
    raise AssertionError(f"{rule} found nothing; the report was: {report}")


class OpensConnections:
    """A server before which connections last for `calls_each` calls; opening one takes `opening_s`."""

    def __init__(self, opening_s: float, calls_each: int, call_s: float = 0.4) -> None:
        self._inner = server(call_s=call_s)
        self.name = self.model = "far"
        self.identity = "far"
        self._opening_s, self._calls_each, self._calls = opening_s, calls_each, 0
        self._opened: Callable[[float], None] = lambda _seconds: None

    def watch_connections(self, opened: Callable[[float], None]) -> None:
        """Tell `opened` of each connection."""
        self._opened = opened

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        """Open a connection if this call needs one, then answer."""
        self._calls += 1
        if self._calls % self._calls_each == 0:
            await trio.sleep(self._opening_s)
            self._opened(self._opening_s)
        return await self._inner.generate(call, emit)

    async def aclose(self) -> None:
        """Nothing is open."""
        await trio.lowlevel.checkpoint()
