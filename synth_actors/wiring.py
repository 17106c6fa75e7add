"""How is the engine put together, and in which order does it start and end?

**Capacities.**  Backpressure waits at the front door, so inside every message must find room.  With W = `max_waiting`
places and C = `max_concurrency` tokens:

- Cache.  A place is behind at most one `Lookup` and one `Abandoned` at a time, since it goes back only when the latter
  is taken: 2 W.  `Generated` comes once a flight; at most W flights have somebody waiting, and of the deserted ones
  only those whose attempt still runs report: W + C.  A `hit_only` lookup is inline or not made.
- Router.  Trio runs every task once a round, and an actor takes all that is there when its turn begins, so at most two
  rounds' messages meet; in one, W callers lead (`Route`) and W flights are deserted (`Drop`): 4 W.  `FirstToken` and
  `Finished` come at most once each for an attempt under way: 2 C.
- Generators.  One `Generate` for each token: C.
- Store.  One `Fetch` is under way at a time.  A `Keep` is a paid answer on its way to the file and is never refused;
  the tier bounds what it queues, and the store takes them faster than calls land.
- Metrics and watchdog.  One small message for each caller of `metrics` and `optimize`, whose number is theirs.

`_SPARE` more take the rest: caps, shrinks, bounds (one a look), closing.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from synth_actors import machine
from synth_actors.actors.cache import CacheActor
from synth_actors.actors.generator import GeneratorActor, GeneratorPool
from synth_actors.actors.mailbox import Mailbox
from synth_actors.actors.metrics import MetricsActor, Sources
from synth_actors.actors.router import RouterActor
from synth_actors.actors.store import StoreActor
from synth_actors.actors.supervisor import Supervisor
from synth_actors.actors.watchdog import MemoryWatchdog, WatchdogSources
from synth_actors.attempt_log import AttemptLog
from synth_actors.config import Endpoint, EngineConfig
from synth_actors.door import FrontDoor
from synth_actors.errors import ConfigError
from synth_actors.front import Front
from synth_actors.messages import AwaitFetches, CloseRouter, Generate
from synth_actors.per_endpoint import (
    checked,
    line_of,
    memory_limit,
    price_or_refuse,
    shortest_timeout_s,
    stream_mode,
    terms_of,
)
from synth_actors.policy.answers import Answers, worth_in
from synth_actors.policy.budget import Budget
from synth_actors.policy.cache_index import CacheIndex
from synth_actors.policy.cache_key import key_of, normalised_key_of
from synth_actors.policy.curves import Curves
from synth_actors.policy.endpoints import EndpointState
from synth_actors.policy.memory import MemoryPolicy
from synth_actors.policy.progress import Limits
from synth_actors.policy.restart import RestartBudget
from synth_actors.policy.routing import STRATEGIES
from synth_actors.providers.base import ConnectingProvider, Provider
from synth_actors.providers.build import build_provider
from synth_actors.samples import SampleBuffer
from synth_actors.snapshot import CacheSnapshot, Counters, RouterSnapshot, Snapshot
from synth_actors.tier import Tier, open_tier
from synth_actors.tracing import GuardedTracing, Tracing
from synth_actors.types import NO_USAGE

logger = logging.getLogger("synth_actors")

_SPARE = 64
CLOSING_S = 2.0
"""How long attempts and connections may take to close once they were cancelled."""


class Wiring:
    """The parts of one engine.  Made without I/O, started in a nursery, stopped in order."""

    def __init__(
        self,
        endpoints: str | Endpoint | Provider | Sequence[str | Endpoint | Provider],
        config: EngineConfig,
        attempt_log: AttemptLog | None,
        tracing: Tracing | None,
        spent_usd: float = 0.0,
    ) -> None:
        if not isinstance(config, EngineConfig):
            raise ConfigError(f"config: {config!r} is no EngineConfig; write EngineConfig(max_concurrency=...)")
        self.config = config
        self._endpoints = checked(endpoints)
        self._providers = [build_provider(endpoint, config.transport) for endpoint in self._endpoints]
        self._prices = [price_or_refuse(endpoint, config) for endpoint in self._endpoints]
        self._log = attempt_log
        self._tracing = _guarded(tracing)
        self._close_tracing: Callable[[], None] | None = None
        self._spent_usd = spent_usd
        self._rss_at_open_bytes = machine.rss_bytes()
        self._limit_bytes = memory_limit(config, self._rss_at_open_bytes)
        self._limiter = trio.CapacityLimiter(config.max_concurrency)
        self._samples = SampleBuffer(enabled=config.metrics)
        self._door = FrontDoor(config.max_waiting, config.on_full)
        self._make_mailboxes(config.max_waiting, config.max_concurrency)
        names = frozenset(endpoint.name for endpoint in self._endpoints)
        read_key = normalised_key_of if config.cache.normalise_prompts else key_of
        self.front = Front(
            self._cache_box,
            self._door,
            self._samples,
            endpoints=names,
            timeout_s=config.timeout_s,
            key_of=read_key,
            tracing=self._tracing,
        )
        self._supervisor: Supervisor | None = None

    def __repr__(self) -> str:
        names = ", ".join(endpoint.name for endpoint in self._endpoints)
        state = "not started" if self._supervisor is None else f"{self._router!r} {self._cache!r}"
        return f"[{names}] {self._door!r} {state}"

    def _make_mailboxes(self, waiting: int, tokens: int) -> None:
        self._cache_box: Mailbox[Any] = Mailbox("cache", 3 * waiting + tokens + _SPARE)
        self._router_box: Mailbox[Any] = Mailbox("router", 4 * waiting + 2 * tokens + _SPARE)
        self._generator_box: Mailbox[Generate] = Mailbox("generators", tokens + _SPARE)
        self._store_box: Mailbox[Any] = Mailbox("store", inf)
        self.metrics: Mailbox[Any] = Mailbox("metrics", inf)
        self.watchdog: Mailbox[Any] = Mailbox("watchdog", inf)

    @property
    def cause(self) -> BaseException | None:
        """The bug that ended the engine, None while there was none."""
        return None if self._supervisor is None else self._supervisor.cause

    # ------------------------------------------------------------------------------------------------ starting

    def open_tier(self) -> AbstractAsyncContextManager[Tier | None]:
        """The durable tier of the cache, opened; None where the configuration has none."""
        config = self.config.cache
        if config.path is None:
            return nullcontext()
        return open_tier(config.path, ttl_s=config.ttl_s, max_file_bytes=config.max_file_bytes)

    def start(self, nursery: trio.Nursery, tier: Tier | None) -> None:
        """Start the actors: those that are told before those that tell."""
        self._supervisor = supervisor = Supervisor(nursery, on_end=self._door.close)
        self._store = None if tier is None else self._make_store(tier)
        self._cache = self._make_cache()
        self._router = self._make_router(supervisor)
        self._watchdog = self._make_watchdog()
        if self._store is not None:
            supervisor.start(self._store, RestartBudget())
        supervisor.start(self._cache)
        supervisor.start(self._router)
        self._metrics = self._make_metrics(supervisor)
        supervisor.start(self._metrics, RestartBudget())
        supervisor.start(self._watchdog, RestartBudget())
        if self._tracing is not None:
            self._close_tracing = self._tracing.opened(partial(self._metrics.snapshot_now, histograms=False))

    def _make_store(self, tier: Tier) -> StoreActor:
        rows = zip(self._providers, self._endpoints, strict=True)
        endpoints = [(provider.identity, endpoint.name) for provider, endpoint in rows]
        return StoreActor(self._store_box, cache=self._cache_box, tier=tier, endpoints=endpoints)

    def _make_cache(self) -> CacheActor:
        config = self.config.cache
        index = CacheIndex(
            max_entries=config.max_entries,
            max_bytes=config.max_bytes,
            ttl_s=config.ttl_s,
            policy=config.policy,
            worth=worth_in(self._prices),
            max_entry_bytes=config.max_entry_bytes,
            allocate=machine.map_pages,
        )
        return CacheActor(
            self._cache_box,
            router=self._router_box,
            store=None if self._store is None else self._store_box,
            answers=Answers(
                index,
                frozenset(provider.identity for provider in self._providers),
                Curves(config) if config.enabled and self.config.metrics else None,
            ),
            enabled=config.enabled,
            samples=self._samples,
            place_back=self._door.place_back,
        )

    def _make_router(self, supervisor: Supervisor) -> RouterActor:
        config = self.config
        limits = Limits(
            max_attempts=config.max_attempts,
            patience_s=config.outage_patience_s,
            shortest_timeout_s=min(shortest_timeout_s(endpoint) for endpoint in self._endpoints),
            jitter=random.Random().random,  # spreads the retries of many processes; nothing that is kept depends on it
        )
        return RouterActor(
            self._router_box,
            cache=self._cache_box,
            pool=GeneratorPool(self._generator_box, supervisor, self._make_generator()),
            limiter=self._limiter,
            endpoints=self._endpoint_states(),
            stream={endpoint.name: stream_mode(endpoint) for endpoint in self._endpoints},
            strategy=STRATEGIES[config.routing],
            budget=Budget(config.budget_usd, self._spent_usd),
            limits=limits,
        )

    def _make_watchdog(self) -> MemoryWatchdog:
        return MemoryWatchdog(
            self.watchdog,
            cache=self._cache_box,
            router=self._router_box,
            policy=MemoryPolicy(self._limit_bytes, self._rss_at_open_bytes, self.config.max_concurrency),
            sources=WatchdogSources(
                cache_bytes=lambda: self._cache.footprint_bytes,
                pages_bytes=lambda: self._cache.pages_bytes,
                in_flight=lambda: self._router.in_flight,
                held=self._router.held,
                container=machine.Container(),
            ),
            interval_s=self.config.memory_check_interval_s,
        )

    def _make_metrics(self, supervisor: Supervisor) -> MetricsActor:
        sources = Sources(
            cache=self._cache_snapshot,
            router=self._router_snapshot,
            memory=self._watchdog.snapshot,
            counters=self._counters,
            mailboxes=supervisor.statistics,
            mailbox_waits=supervisor.take_waits if self.config.metrics else dict,
        )
        return MetricsActor(self.metrics, samples=self._samples, sources=sources)

    def _endpoint_states(self) -> list[EndpointState]:
        rows = zip(self._endpoints, self._providers, self._prices, strict=True)
        now = trio.current_time()
        states = [
            EndpointState(terms_of(endpoint, provider, price, rank, self.config.max_concurrency), now)
            for rank, (endpoint, provider, price) in enumerate(rows)
        ]
        for state, provider in zip(states, self._providers, strict=True):
            if isinstance(provider, ConnectingProvider):
                provider.watch_connections(self._counting(state))
        return states

    def _counting(self, endpoint: EndpointState) -> Callable[[float], None]:
        def opened(connect_s: float) -> None:
            endpoint.connections += 1
            self._samples.add_connection(endpoint.name, connect_s)

        return opened

    def _make_generator(self) -> Callable[[Callable[[], None]], GeneratorActor]:
        rows = zip(self._endpoints, self._providers, self._prices, strict=True)
        lines = {endpoint.name: line_of(endpoint, provider, price) for endpoint, provider, price in rows}

        def make(idle: Callable[[], None]) -> GeneratorActor:
            return GeneratorActor(
                self._generator_box,
                router=self._router_box,
                lines=lines,
                limiter=self._limiter,
                samples=self._samples,
                attempt_log=self._log,
                max_response_bytes=self.config.max_response_bytes,
                idle=idle,
            )

        return make

    # ------------------------------------------------------------------------------------------------ ending

    async def drain(self) -> None:
        """Close the door and let what is inside finish, for at most `drain_timeout_s`."""
        self._door.close(None)
        with trio.move_on_after(self.config.drain_timeout_s):
            fetches = AwaitFetches()
            self._cache_box.tell(fetches)
            await fetches.reply.wait()
            await self._close_router(drain=True)

    @enable_ki_protection
    async def stop(self) -> None:
        """End everything, in order: door, backlog, attempts, router, cache, store, metrics, watchdog, connections."""
        assert self._supervisor is not None
        self._door.close(self.cause)
        try:
            with trio.move_on_after(CLOSING_S, shield=True):
                await self._close_router(drain=False)
            for name in ("generators", "router", "cache", "store", "metrics", "watchdog"):
                await self._supervisor.stop(name)
        finally:
            self._supervisor.kill()  # has nothing to do unless a Ctrl-C came in between
            try:
                await self._close_providers()
            finally:
                if self._close_tracing is not None:  # last: whoever was answered by the end has been counted
                    self._close_tracing()

    async def _close_providers(self) -> None:
        with trio.move_on_after(CLOSING_S, shield=True):
            async with trio.open_nursery() as nursery:
                for provider in self._providers:
                    nursery.start_soon(_close, provider)

    async def _close_router(self, *, drain: bool) -> None:
        message = CloseRouter(drain)
        self._router_box.tell(message)
        await message.reply.wait()

    # ------------------------------------------------------------------------------------------------ figures

    def snapshot_now(self, *, histograms: bool, whole: bool = False) -> Snapshot:
        """A snapshot; unless it is to be `whole`, without what is too much to be folded at once."""
        self.metrics.check_open()
        return self._metrics.snapshot_now(histograms=histograms, whole=whole)

    def _router_snapshot(self) -> RouterSnapshot:
        snapshot = self._router.snapshot()
        endpoints = dict(snapshot.endpoints)
        for provider, endpoint in zip(self._providers, self._endpoints, strict=True):
            if getattr(provider, "schema_in_prompt", False):  # also when no call was refused: it saw a useless answer
                endpoints[endpoint.name] = replace(endpoints[endpoint.name], schema_in_prompt=True)
        return replace(snapshot, routing=self.config.routing, endpoints=endpoints)

    def _cache_snapshot(self) -> CacheSnapshot:
        durable = None if self._store is None else self._store.snapshot()
        config = self.config.cache
        snapshot = self._cache.snapshot()
        return replace(snapshot, policy=config.policy, normalise_prompts=config.normalise_prompts, durable=durable)

    def _counters(self) -> Counters:
        front = self.front
        assert self._supervisor is not None
        usage = sum((e.usage for e in self._router.endpoints), NO_USAGE)
        ended = front.succeeded + front.failed + front.cancelled
        return Counters(
            submitted=front.submitted,
            succeeded=front.succeeded,
            failed=front.failed,
            cancelled=front.cancelled,
            waiting=front.submitted - ended,
            paid_calls=sum(e.attempts for e in self._router.endpoints),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            cost_usd=usage.cost_usd,
            samples_dropped=self._samples.dropped + self._supervisor.waits_dropped,
        )


def _guarded(tracing: Tracing | None) -> GuardedTracing | None:
    if tracing is None:
        return None
    if not isinstance(tracing, Tracing) or isinstance(tracing, type):
        raise ConfigError(f"tracing: {tracing!r} is no Tracing; give an OpenTelemetryTracing(), for example")
    return GuardedTracing(tracing)


async def _close(provider: Provider) -> None:
    try:
        await provider.aclose()
    except Exception as exc:  # closing comes last: what led to it must not be hidden by this
        logger.warning("endpoint %s could not be closed: %r", provider.name, exc, exc_info=exc)
