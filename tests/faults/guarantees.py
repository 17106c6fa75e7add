"""Do the six guarantees hold, whatever an upstream does?

    async with guaranteed(priced(provider), EngineConfig(...)) as run:
        await run.ask_all(requests)
    assert run.lost == []

Everybody who asks is written down with how it ended.  When the block ends the engine must be idle, and I1 to I6 of
`docs/explanation/semantics.md` must hold for all of them.  Beside those of a test, `ask_all` sends some who make every
guarantee mean something: twins, who must not cost a second call, and bystanders, who leave soon.
"""

from __future__ import annotations

import logging
import traceback
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import trio
from trio.lowlevel import Task

from synth_actors import (
    Endpoint,
    Engine,
    EngineConfig,
    GenerationError,
    Price,
    Request,
    Response,
    SynthActorsError,
    Usage,
    open_engine,
)
from synth_actors.policy.cache_key import key_of
from synth_actors.providers.base import Metering, Provider
from synth_actors.snapshot import Snapshot
from synth_actors.testing import ScriptedProvider
from tests.engine.support import assert_idle

CANARY = "sk-canary-0123456789-do-not-show"
PRICE = Price(input_usd_per_mtok=1_000_000 / 1024, output_usd_per_mtok=1_000_000 / 1024)
"""A token costs a power of two, so that sums of dollars are exact."""
TWIN_EVERY = 10
LEAVES_AFTER_S = 0.05
A_DAY_S = 86_400.0
SHOWN_ERRORS = 20
"""So many errors are printed with their causes, as a user would see them: each takes a millisecond."""


def priced(provider: Provider, **fields: Any) -> Endpoint:
    """An endpoint whose dollars add up exactly, and with a key that must never be seen."""
    made: dict[str, Any] = {"model": provider.model, "name": provider.name, "api_key": CANARY, "price": PRICE}
    return Endpoint(provider=provider, **{**made, **fields})


class Remote(ScriptedProvider):
    """Scripted, and in front of a server for all the engine knows: it adapts the number of calls at once."""

    output_metering: Metering = "meter"


def requests(count: int, **fields: Any) -> list[Request]:
    """So many different ones."""
    return [Request(**{"prompt": f"p{number}", "max_tokens": 50, **fields}) for number in range(count)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one who asked ended: with a response, with an error, or, with neither, because they left."""

    request: Request
    asked_at: float
    ended_at: float
    response: Response | None = None
    error: SynthActorsError | None = None
    is_bystander: bool = False
    is_read: bool = False

    @property
    def took_s(self) -> float:
        return self.ended_at - self.asked_at

    @property
    def attempts(self) -> int:
        if self.response is not None:
            return self.response.attempts
        return self.error.attempts if isinstance(self.error, GenerationError) else 0

    @property
    def usage(self) -> Usage | None:
        return self.response.usage if self.response is not None else getattr(self.error, "usage", None)


@dataclass(slots=True, eq=False)
class TokenWatch(trio.abc.Instrument):
    """Whether more tokens were ever borrowed than there are; a total that is lowered may stay passed for a while."""

    limiter: trio.CapacityLimiter
    peak: float = 0.0
    violations: int = 0
    _last: float = 0.0

    def after_task_step(self, task: Task) -> None:
        """Called by trio after every step of every task."""
        borrowed = self.limiter.borrowed_tokens
        if borrowed != self._last:
            self.violations += borrowed > self._last and borrowed > self.limiter.total_tokens
            self.peak, self._last = max(self.peak, borrowed), borrowed


@dataclass(slots=True, eq=False)
class Run:
    """One engine, everybody who asked it, and how they ended."""

    engine: Engine
    slack_s: float
    tokens: TokenWatch
    started: int = 0
    endings: list[Ending] = field(default_factory=list)
    snapshot: Snapshot | None = None  # when it was over

    # ------------------------------------------------------------------------------------------------ asking

    async def ask(
        self, request: Request, *, read: bool = False, leaves_after_s: float = A_DAY_S, is_bystander: bool = False
    ) -> None:
        """Ask, or `read` along, for at most `leaves_after_s`, and write down how it ended."""
        self.started += 1
        asked_at = trio.current_time()
        response: Response | None = None
        error: SynthActorsError | None = None
        try:
            with trio.move_on_after(leaves_after_s):
                response = await (self._read(request) if read else self.engine.generate(request))
        except SynthActorsError as exc:
            error = exc
        finally:
            self.endings.append(
                Ending(
                    request=request,
                    asked_at=asked_at,
                    ended_at=trio.current_time(),
                    response=response,
                    error=error,
                    is_bystander=is_bystander,
                    is_read=read,
                )
            )

    async def _read(self, request: Request) -> Response:
        async with self.engine.stream(request) as stream:
            async for chunk in stream:
                assert chunk.text
            return await stream.response()

    async def ask_all(
        self, wanted: Sequence[Request], *, read: bool = False, every_s: float = 0.0, hangs_after_s: float = A_DAY_S
    ) -> None:
        """Ask for all of them, one `every_s`, beside twins and bystanders; nobody may hang."""
        with trio.fail_after(hangs_after_s):
            async with trio.open_nursery() as nursery:
                for number, request in enumerate(wanted):
                    nursery.start_soon(self._ask, request, read)
                    if number % TWIN_EVERY == 0:
                        nursery.start_soon(self._ask, request, read)
                    if number in (0, len(wanted) - 1):
                        self._send_bystanders(nursery, request)
                    if every_s:
                        await trio.sleep(every_s)

    async def _ask(self, request: Request, read: bool) -> None:
        await self.ask(request, read=read)

    def _send_bystanders(self, nursery: trio.Nursery, request: Request) -> None:
        late = request.model_copy(update={"timeout_s": LEAVES_AFTER_S})
        nursery.start_soon(self._stand_by, late, A_DAY_S)
        nursery.start_soon(self._stand_by, request, LEAVES_AFTER_S)

    async def _stand_by(self, request: Request, leaves_after_s: float) -> None:
        await self.ask(request, leaves_after_s=leaves_after_s, is_bystander=True)

    # ------------------------------------------------------------------------------------------------ figures

    @property
    def wanted(self) -> int:
        """Different requests that somebody asked for who meant to stay."""
        return len({key_of(ending.request) for ending in self.endings if not ending.is_bystander})

    @property
    def lost(self) -> list[SynthActorsError]:
        """The errors of those who meant to stay, one for each request."""
        errors = {key_of(e.request): e.error for e in self.endings if e.error is not None and not e.is_bystander}
        return [error for error in errors.values() if error is not None]

    @property
    def responses(self) -> list[Response]:
        """One for each request that was answered."""
        found = {key_of(e.request): e.response for e in self.endings if e.response is not None}
        return [response for response in found.values() if response is not None]

    @property
    def attempts(self) -> int:
        """All calls that were made."""
        assert self.snapshot is not None
        return self.snapshot.counters.paid_calls

    @property
    def failures(self) -> Counter[str]:
        """Calls that came to no good end, by fault, at all endpoints."""
        assert self.snapshot is not None
        return sum((Counter(e.failures) for e in self.snapshot.router.endpoints.values()), Counter())

    def attempts_now(self, name: str) -> int:
        """Calls sent to one endpoint so far."""
        return next(e.attempts for e in self.engine._wiring._router.endpoints if e.name == name)

    def attempts_at(self, name: str) -> int:
        """Calls made at one endpoint."""
        assert self.snapshot is not None
        return self.snapshot.router.endpoints[name].attempts

    # ------------------------------------------------------------------------------------------------ checking

    async def check(self, texts: Sequence[str]) -> None:
        """Assert I1 to I6; `texts` are what was logged."""
        await assert_idle(self.engine)  # I2, and what I1 and I5 say of an engine for which nobody waits
        self.snapshot = snapshot = await self.engine.metrics()
        self._check_endings(snapshot)
        assert self.tokens.violations == 0, "I2: more tokens were borrowed than there are"
        self._check_deadlines()
        self._check_calls(snapshot)
        self._check_dollars(snapshot)
        assert snapshot.cache.accounted_bytes <= snapshot.cache.max_bytes, "I5"
        self._check_secrets(snapshot, texts)

    def _check_endings(self, snapshot: Snapshot) -> None:
        counters = snapshot.counters
        answered = sum(ending.response is not None for ending in self.endings)
        failed = sum(ending.error is not None for ending in self.endings)
        assert len(self.endings) == self.started == counters.submitted, "I1: somebody has no ending, or two"
        assert counters.failed == failed, "I1"
        assert counters.submitted == counters.succeeded + counters.failed + counters.cancelled, "I1"
        assert counters.waiting == 0, "I1"
        # A reader may be cancelled when the whole answer is there already: then it has succeeded.
        readers = sum(e.is_read and e.response is None and e.error is None for e in self.endings)
        assert answered <= counters.succeeded <= answered + readers, "I1"

    def _check_deadlines(self) -> None:
        for ending in self.endings:
            if (timeout_s := ending.request.timeout_s or self.engine.config.timeout_s) is not None:
                assert ending.took_s <= timeout_s + self.slack_s, f"I3: waited {ending.took_s} s for {ending.request}"

    def _check_calls(self, snapshot: Snapshot) -> None:
        endpoints = snapshot.router.endpoints.values()
        for endpoint in endpoints:
            failures: Mapping[str, int] = endpoint.failures or {}
            assert endpoint.in_flight == 0
            assert endpoint.attempts == endpoint.successes + sum(failures.values()), "I4: a call without an ending"
        paid_once = Counter(key_of(e.request) for e in self.endings if e.response and e.response.source == "call")
        assert max(paid_once.values(), default=0) <= 1, "I4: the same answer was paid twice"
        tried: defaultdict[bytes, int] = defaultdict(int)
        for ending in self.endings:
            tried[key_of(ending.request)] = max(tried[key_of(ending.request)], ending.attempts)
        made = sum(endpoint.attempts for endpoint in endpoints)
        assert made == snapshot.counters.paid_calls
        if self._everybody_is_known():
            assert sum(tried.values()) == made, "I4: a call that no request knows of"
        else:
            assert sum(tried.values()) <= made

    def _everybody_is_known(self) -> bool:
        """Whether every call was made for somebody who was told: not one for whom nobody stayed to the end."""
        told: dict[bytes, float] = {}
        for ending in self.endings:
            if ending.response is not None or ending.error is not None:
                told[key_of(ending.request)] = max(told.get(key_of(ending.request), 0.0), ending.ended_at)
        left = (e for e in self.endings if e.response is None and e.error is None)
        return all(told.get(key_of(ending.request), -1.0) > ending.ended_at for ending in left)

    def _check_dollars(self, snapshot: Snapshot) -> None:
        costs = [ending.usage.cost_usd for ending in self.endings if ending.usage is not None]
        if None in costs:
            assert snapshot.counters.cost_usd is None
            return
        told, spent = sum(cost or 0.0 for cost in costs), snapshot.counters.cost_usd
        assert spent is not None
        assert told == spent or (told < spent and not self._everybody_is_known()), "I4: dollars on nobody's bill"

    def _check_secrets(self, snapshot: Snapshot, texts: Sequence[str]) -> None:
        for text in (*texts, *self._seen_texts(snapshot)):
            assert CANARY not in text, f"I6: the key was shown in {text[:200]}"

    def _seen_texts(self, snapshot: Snapshot) -> Iterator[str]:
        yield from (repr(self.engine), repr(self.engine.config), repr(snapshot))
        yield from (repr(endpoint) + repr(endpoint.provider) for endpoint in self.engine._wiring._endpoints)
        errors = [ending.error for ending in self.endings if ending.error is not None]
        yield from (f"{error} {error!r} {vars(error)}" for error in errors)
        yield from ("".join(traceback.format_exception(error)) for error in errors[:SHOWN_ERRORS])
        yield from (repr(response) for response in self.responses[:SHOWN_ERRORS])


class _Listening(logging.Handler):
    """Keeps what is logged, with its traceback, as it would be written."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging."""
        self.texts.append(self.format(record))


@contextmanager
def listening() -> Iterator[list[str]]:
    """What anybody logs, at whichever level, during the block."""
    handler, root, ours = _Listening(), logging.getLogger(), logging.getLogger("synth_actors")
    before = root.level, ours.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    ours.setLevel(logging.DEBUG)
    try:
        yield handler.texts
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        ours.setLevel(before[1])


@asynccontextmanager
async def guaranteed(
    endpoints: Endpoint | Sequence[Endpoint], config: EngineConfig | None = None, *, slack_s: float = 1e-6
) -> AsyncIterator[Run]:
    """An engine whose run is checked when the block ends well.  `slack_s` is how late a deadline may be noticed."""
    with listening() as texts:
        async with open_engine(endpoints, config) as engine:
            watch = TokenWatch(engine._wiring._limiter)
            trio.lowlevel.add_instrument(watch)
            run = Run(engine, slack_s, watch)
            try:
                yield run
            finally:
                trio.lowlevel.remove_instrument(watch)
            await run.check(texts)
