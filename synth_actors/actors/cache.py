"""Do we have it, is someone already making it, and who is told when it is there?

The CacheActor owns the index and the flights.  A lookup is a hit, leads a new flight, or follows one; a new flight asks
the durable tier first, where there is one, and then the router.  When it is known what became of a flight, the answer
is stored and every waiter is told, each exactly once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import ceil, inf
from typing import assert_never

from synth_actors.actors.actor import Decider
from synth_actors.actors.mailbox import Mailbox
from synth_actors.bills import bill_of, payer_of
from synth_actors.failures import error_of
from synth_actors.feed import Feed
from synth_actors.messages import (
    NO_HIT,
    Abandoned,
    Absent,
    AwaitFetches,
    BoundCache,
    Drop,
    DropExpired,
    Failure,
    Fetch,
    Fetched,
    Generated,
    Keep,
    Landed,
    Loaded,
    Lookup,
    Route,
    Shrink,
    Success,
)
from synth_actors.policy.answers import Answers, Made, is_worth_keeping
from synth_actors.policy.cache_index import REFUSED
from synth_actors.policy.fetches import Fetches
from synth_actors.policy.segments import touches_to_copy
from synth_actors.policy.single_flight import Departure, Flight, Follow, Lead, SingleFlight
from synth_actors.reply import closed_error
from synth_actors.samples import SampleBuffer
from synth_actors.snapshot import CacheSnapshot
from synth_actors.usage import NO_USAGE, tokens_of

CacheMessage = Lookup | Abandoned | Generated | Fetched | Shrink | BoundCache | DropExpired | AwaitFetches

ENTRIES_PER_TURN = 200
"""Entries dropped or moved in one turn, so that a large shrink never holds up a lookup for more than about 1 ms."""
FETCHES_AT_ONCE = 64
"""Keys in one question to the durable tier: its answer is handled in one turn, of about 1 ms, if none is large."""


class CacheActor(Decider[CacheMessage]):
    """Owns what is known and who waits for what is not.  Without a `store` there is no durable tier."""

    def __init__(
        self,
        mailbox: Mailbox[CacheMessage],
        *,
        router: Mailbox[Route | Drop],
        store: Mailbox[Fetch | Keep] | None,
        answers: Answers,
        enabled: bool,
        samples: SampleBuffer,
        place_back: Callable[[], None],
    ) -> None:
        super().__init__(mailbox)
        self._router = router
        self._store = store
        self._answers = answers
        self._index = answers.index
        self._enabled = enabled
        self._samples = samples
        self._place_back = place_back
        self._flights: SingleFlight[bytes, Lookup] = SingleFlight()
        self._under_way: dict[Route, Flight[bytes, Lookup]] = {}
        self._fetches: Fetches[Route] = Fetches(FETCHES_AT_ONCE)
        self._landing: deque[tuple[Route, Loaded | Absent]] = deque()  # fetched, and not dealt with
        self._drops: list[tuple[DropExpired, int]] = []  # with how many had expired before
        self._draining: list[AwaitFetches] = []
        self._due = inf
        self._misses = self._follows = self._durable_hits = self._not_whole = 0

    # ------------------------------------------------------------------------------------------------ messages

    def handle(self, message: CacheMessage) -> None:
        """Look up, land, let go, shrink."""
        match message:
            case Lookup():
                self._lookup(message)
            case Generated():
                self._land(message, self._now())
                self._set_due()
            case Abandoned(lookup):
                self._place_back()
                self._let_go(lookup)
            case Fetched():
                self._landing.extend(zip(message.fetch.routes, message.found, strict=True))
                self._land_fetched(self._now())
                self._set_due()
            case Shrink(wanted_bytes):
                self._index.begin_shrink(wanted_bytes)
                self._tend()
            case BoundCache(footprint_bytes):
                self._index.bound_footprint(footprint_bytes)
            case DropExpired():
                self._drops.append((message, self._index.expired))
                self._tend()
            case AwaitFetches():
                self._draining.append(message)
                self._tell_drained()
            case _:
                assert_never(message)

    def next_wakeup(self) -> float:
        """Now while there is more to tend; else the full second after the next expiry, so that one turn does many."""
        return self._due

    def wake(self) -> None:
        """Go on landing, shrinking and cleaning; drop what has expired."""
        if self._landing:
            self._land_fetched(self._now())
        self._tend()

    def _tend(self) -> None:
        if not self._index.tend(self._now(), ENTRIES_PER_TURN):
            drops, self._drops = self._drops, []
            for message, before in drops:
                message.reply.send(self._index.expired - before)
        self._set_due()

    def _set_due(self) -> None:
        """Not after a lookup: it can only put the next expiry off, and the way of a hit is short."""
        expiry = self._index.next_expiry()
        if self._index.is_busy or self._drops or self._landing:
            self._due = -inf
        elif expiry is None:
            self._due = inf
        else:
            self._due = ceil(expiry)

    def on_stop(self, unread: list[CacheMessage], cause: BaseException | None) -> None:
        """Everybody who still waits is told that the engine has closed; what was kept goes back to the system."""
        for route in self._under_way:
            if route.trace is not None:
                route.trace.fetch_ended(found=False)
        for flight in self._flights.flights():
            payer = payer_of(flight)
            for lookup in flight.waiters:
                if not lookup.reply.answered:
                    bill = bill_of(lookup.route) if lookup is payer else None
                    lookup.reply.fail(lambda bill=bill: closed_error("the engine", cause, bill))  # type: ignore[misc]
            self._flights.land(flight)
        self._under_way.clear()
        self._landing.clear()
        waiting: list[CacheMessage] = [*(message for message, _ in self._drops), *self._draining]
        self._drops, self._draining = [], []
        super().on_stop(waiting + unread, cause)
        self._index.clear()  # a closed engine may be held for long, by a variable or a cycle

    # ------------------------------------------------------------------------------------------------ lookups

    def _lookup(self, lookup: Lookup) -> None:
        mode = lookup.request.cache
        if self._enabled and mode == "use":
            answer = self._answers.find(lookup.key, self._now())
            if answer is not None:
                if self._index.is_busy:  # many hits leave something to sort
                    self._due = -inf
                lookup.reply.send(answer)
                return
        if lookup.hit_only:
            lookup.reply.send(NO_HIT)
            return
        alone = mode == "bypass"
        match self._flights.lead_alone(lookup) if alone else self._flights.join(lookup.key, lookup):
            case Lead(flight):
                self._answers.missed(lookup.key, lookup.request, self._now(), joined=False)
                self._lead(flight, lookup)
            case Follow(flight):
                self._answers.missed(lookup.key, lookup.request, self._now(), joined=True)
                self._follow(flight, lookup)

    def _lead(self, flight: Flight[bytes, Lookup], lookup: Lookup) -> None:
        request, output, stream = lookup.request, lookup.output, lookup.stream
        flight.payload = route = Route(lookup.key, request, output, stream, Feed(), lookup.number, lookup.trace)
        self._under_way[route] = flight
        self._board(flight, lookup)
        if self._store is not None and request.cache == "use":
            if route.trace is not None:
                route.trace.fetch_began()
            self._fetches.add(route)
            self._ask_store()
        else:
            self._route(flight)

    def _follow(self, flight: Flight[bytes, Lookup], lookup: Lookup) -> None:
        route: Route = flight.payload
        route.stream |= lookup.stream  # an attempt that starts from now on is streamed
        if lookup.trace is not None and route.trace is not None and not lookup.settled:  # its trace may have ended
            lookup.trace.joined(route.trace)
        self._board(flight, lookup)
        if route not in self._fetches:
            self._follows += 1
        elif lookup.request.cache == "refresh":  # it wants a new answer, so the others get that one, too
            self._withdraw(route)
            self._route(flight)

    def _route(self, flight: Flight[bytes, Lookup]) -> None:
        """Nobody has it: the first who waits has led to a call, the others follow."""
        self._misses += 1
        self._follows += len(flight) - 1
        self._router.send(flight.payload)

    def _board(self, flight: Flight[bytes, Lookup], lookup: Lookup) -> None:
        lookup.flight = flight
        flight.settled += lookup.settled  # it may have left before it was taken
        if lookup.stream:
            flight.payload.feed.join(lookup.reply)

    def _let_go(self, lookup: Lookup) -> None:
        if (flight := lookup.flight) is None:
            return
        route: Route = flight.payload
        route.feed.quit(lookup.reply)
        if len(flight):  # it has not landed
            flight.settled -= 1
        if self._flights.leave(flight, lookup) is Departure.DESERTED:
            del self._under_way[route]
            self._answers.not_kept(route.key, route.request)
            if not self._withdraw(route):
                self._router.send(Drop(route))

    # ------------------------------------------------------------------------------------------------ landing

    def _land(self, message: Generated, now: float) -> None:
        flight = self._under_way.pop(message.route, None)
        if flight is None:  # deserted meanwhile: nobody waits, and a paid answer is kept all the same
            if isinstance(message.result, Success):
                self._keep(message.route, message.result, now)
            return
        if isinstance(message.result, Success):
            self._keep(message.route, message.result, now)
            self._tell_success(flight, message, message.result, now)
        else:
            self._answers.not_kept(message.route.key, message.route.request)
            self._tell_failure(flight, message, message.result)

    def _keep(self, route: Route, result: Success, now: float) -> None:
        if not self._enabled or route.request.cache == "bypass":
            return
        answer, usage = result.answer, result.usage
        if not is_worth_keeping(answer):
            self._not_whole += 1
            self._answers.not_kept(route.key, route.request)
            return
        made = Made(answer, result.identity, tokens_of(usage), usage.cost_usd)
        admission = self._answers.keep(route.key, made, now=now)
        if self._store is not None and admission is not REFUSED:  # the file may have room where memory has none
            self._store.send(Keep(route.key, made))

    def _tell_success(self, flight: Flight[bytes, Lookup], message: Generated, result: Success, now: float) -> None:
        payer = payer_of(flight)
        for lookup in flight.waiters:
            pays = lookup is payer
            queue_s = max(0.0, result.dispatched_at - lookup.submitted_at)
            landed = Landed(
                answer=result.answer,
                usage=message.route.usage if pays else NO_USAGE,
                source="call" if pays else "shared",
                attempts=message.route.calls,
                queue_s=queue_s,
                service_s=result.service_s,
                ttft_s=result.ttft_s,
            )
            if pays:
                self._samples.add_call(result.answer.endpoint, now - lookup.submitted_at, queue_s)
            else:
                self._samples.add_shared(result.answer.endpoint, now - lookup.submitted_at)
                self._answers.savings.add(1, tokens_of(result.usage), result.usage.cost_usd)
            lookup.reply.send(landed)
        self._flights.land(flight)  # not earlier: should one of these crash, `on_stop` answers the others

    def _tell_failure(self, flight: Flight[bytes, Lookup], message: Generated, failure: Failure) -> None:
        payer, calls = payer_of(flight), message.route.calls
        for lookup in flight.waiters:
            usage = message.route.usage if lookup is payer else NO_USAGE
            lookup.reply.fail(lambda usage=usage: error_of(failure, attempts=calls, usage=usage))  # type: ignore[misc]
        self._flights.land(flight)

    # ------------------------------------------------------------------------------------------ the durable tier

    def _ask_store(self) -> None:
        if self._store is not None and (routes := self._fetches.question()):
            self._store.send(Fetch(routes))

    def _withdraw(self, route: Route) -> bool:
        """What the durable tier has of `route` is of no interest any more; False when it is the router's already."""
        withdrawn = self._fetches.withdraw(route)
        if withdrawn and route.trace is not None:
            route.trace.fetch_ended(found=False)
        self._tell_drained()
        return withdrawn

    def _land_fetched(self, now: float) -> None:
        """Deal with what was fetched, as much of it as a turn has time for: of large answers it is a part."""
        left = ENTRIES_PER_TURN
        while self._landing and left > 0:
            route, found = self._landing.popleft()
            if not self._fetches.answered(route):
                continue
            if route.trace is not None:
                route.trace.fetch_ended(found=isinstance(found, Loaded))
            if isinstance(found, Loaded):
                self._land_loaded(self._under_way.pop(route), found, now)
                left -= touches_to_copy(len(found.made.answer.text))
            else:
                self._route(self._under_way[route])
                left -= 1
        self._ask_store()
        self._tell_drained()

    def _land_loaded(self, flight: Flight[bytes, Lookup], found: Loaded, now: float) -> None:
        made = found.made
        self._answers.keep(flight.payload.key, made, now=now, ttl_s=found.remaining_s)
        waiters = flight.waiters
        self._durable_hits += len(waiters)
        self._answers.savings.add(len(waiters), made.tokens, made.cost_usd)
        for lookup in waiters:
            lookup.reply.send(made.answer)
        self._flights.land(flight)

    def _tell_drained(self) -> None:
        if self._draining and not len(self._fetches):
            draining, self._draining = self._draining, []
            for message in draining:
                message.reply.send(True)

    # ------------------------------------------------------------------------------------------------ figures

    @property
    def footprint_bytes(self) -> int:
        """Bytes that entries and their segments really occupy."""
        return self._index.footprint_bytes

    @property
    def pages_bytes(self) -> int:
        """Of these, what lies in segments, which go back to the system as soon as they are given up."""
        return self._index.segments.resident_bytes

    @property
    def flights(self) -> int:
        """Generations under way or queued."""
        return len(self._under_way)

    def snapshot(self) -> CacheSnapshot:
        """The cache's counters and bounds."""
        index = self._index
        return CacheSnapshot(
            enabled=self._enabled,
            hits=index.hits + self._durable_hits,
            durable_hits=self._durable_hits,
            misses=self._misses,
            stale=index.stale,
            follows=self._follows,
            stored=index.stored,
            not_stored=self._not_whole + index.refused + index.no_room,
            too_large=index.refused,
            no_room=index.no_room,
            evicted_for_space=index.evicted_for_space,
            evicted_for_memory=index.evicted_for_memory,
            evicted_out_of_order=index.evicted_out_of_order,
            expired=index.expired,
            entries=len(index),
            max_entries=index.max_entries,
            accounted_bytes=index.accounted_bytes,
            footprint_bytes=index.footprint_bytes,
            max_bytes=index.max_bytes,
            ttl_s=index.ttl_s,
            flights=len(self._under_way),
            saved_tokens=self._answers.savings.tokens,
            saved_usd=self._answers.savings.usd,
            curves=self._answers.curves_snapshot(),
        )

    def __repr__(self) -> str:
        return f"<Cache entries={len(self._index)} bytes={self._index.accounted_bytes} flights={len(self._under_way)}>"
