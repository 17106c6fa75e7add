"""Do we have it, is someone already making it, and who is told when it is there?

The CacheActor owns the index and the flights.  A lookup is a hit, leads a new flight, or follows one; when the router
reports what became of a flight, the answer is stored and every waiter is told, each exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from math import ceil, inf
from sys import getsizeof
from typing import assert_never

from synth_actors.actors.actor import Decider
from synth_actors.actors.mailbox import Mailbox
from synth_actors.failures import error_of
from synth_actors.feed import Feed
from synth_actors.messages import (
    NO_HIT,
    Abandoned,
    Drop,
    DropExpired,
    Failure,
    Generated,
    Landed,
    Lookup,
    Route,
    Shrink,
    Success,
)
from synth_actors.policy.cache_index import CacheIndex, Entry
from synth_actors.policy.single_flight import Departure, Flight, Follow, Lead, SingleFlight
from synth_actors.reply import closed_error
from synth_actors.samples import SampleBuffer
from synth_actors.snapshot import CacheSnapshot
from synth_actors.types import Answer
from synth_actors.usage import NO_USAGE, Usage

CacheMessage = Lookup | Abandoned | Generated | Shrink | DropExpired

ENTRIES_PER_TURN = 200
"""Entries dropped in one turn, so that a large shrink never holds up a lookup for more than about 1 ms."""


class CacheActor(Decider[CacheMessage]):
    """Owns what is known and who waits for what is not."""

    def __init__(
        self,
        mailbox: Mailbox[CacheMessage],
        *,
        router: Mailbox[Route | Drop],
        index: CacheIndex[Answer],
        enabled: bool,
        identities: Set[str],
        samples: SampleBuffer,
        place_back: Callable[[], None],
    ) -> None:
        super().__init__(mailbox)
        self._router = router
        self._index = index
        self._enabled = enabled
        self._identities = identities
        self._samples = samples
        self._place_back = place_back
        self._flights: SingleFlight[bytes, Lookup] = SingleFlight()
        self._under_way: dict[Route, Flight[bytes, Lookup]] = {}
        self._to_shrink_bytes = 0
        self._due = inf
        self._misses = self._follows = self._not_stored = 0

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
            case Shrink(wanted_bytes):
                self._to_shrink_bytes = wanted_bytes
                self._shrink()
                self._set_due()
            case DropExpired(reply):
                reply.send(self._index.expire(self._now(), len(self._index)))
                self._set_due()
            case _:
                assert_never(message)

    def next_wakeup(self) -> float:
        """Now while there is more to shrink; else the full second after the next expiry, so that one turn does many."""
        return self._due

    def wake(self) -> None:
        """Go on shrinking; drop what has expired."""
        if self._to_shrink_bytes > 0:
            self._shrink()
        self._index.expire(self._now(), ENTRIES_PER_TURN)
        self._set_due()

    def _set_due(self) -> None:
        """Not after a lookup: it can only put the next expiry off, and the way of a hit is short."""
        expiry = self._index.next_expiry()
        if self._to_shrink_bytes > 0:
            self._due = -inf
        elif expiry is None:
            self._due = inf
        else:
            self._due = ceil(expiry)

    def on_stop(self, unread: list[CacheMessage], cause: BaseException | None) -> None:
        """Everybody who still waits is told that the engine has closed."""
        for flight in self._flights.flights():
            payer = _payer(flight)
            for lookup in flight.waiters:
                if not lookup.reply.answered:
                    bill = _bill(lookup.route) if lookup is payer else None
                    lookup.reply.fail(lambda bill=bill: closed_error("the engine", cause, bill))  # type: ignore[misc]
            self._flights.land(flight)
        self._under_way.clear()
        super().on_stop(unread, cause)

    # ------------------------------------------------------------------------------------------------ lookups

    def _lookup(self, lookup: Lookup) -> None:
        mode = lookup.request.cache
        if self._enabled and mode == "use":
            found = self._index.lookup(lookup.key, now=self._now(), identities=self._identities)
            if isinstance(found, Entry):
                lookup.reply.send(found.value)
                return
        if lookup.hit_only:
            lookup.reply.send(NO_HIT)
            return
        alone = mode == "bypass"
        match self._flights.lead_alone(lookup) if alone else self._flights.join(lookup.key, lookup):
            case Lead(flight):
                self._misses += 1
                self._lead(flight, lookup)
            case Follow(flight):
                self._follow(flight, lookup)

    def _lead(self, flight: Flight[bytes, Lookup], lookup: Lookup) -> None:
        flight.payload = route = Route(lookup.key, lookup.request, lookup.output, lookup.stream, Feed())
        self._under_way[route] = flight
        self._board(flight, lookup)
        self._router.send(route)

    def _follow(self, flight: Flight[bytes, Lookup], lookup: Lookup) -> None:
        self._follows += 1
        route: Route = flight.payload
        route.stream |= lookup.stream  # an attempt that starts from now on is streamed
        self._board(flight, lookup)

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
            self._tell_failure(flight, message, message.result)

    def _keep(self, route: Route, result: Success, now: float) -> None:
        if not self._enabled or route.request.cache == "bypass":
            return
        if result.answer.stop_reason not in ("end", "stop"):
            self._not_stored += 1
            return
        size_bytes = getsizeof(result.answer) + getsizeof(result.answer.text)
        self._index.store(route.key, result.answer, size_bytes, now=now, identity=result.identity)

    def _tell_success(self, flight: Flight[bytes, Lookup], message: Generated, result: Success, now: float) -> None:
        payer = _payer(flight)
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
                self._samples.add_call(now - lookup.submitted_at, queue_s, result.service_s, result.ttft_s)
            else:
                self._samples.add_shared(now - lookup.submitted_at)
            lookup.reply.send(landed)
        self._flights.land(flight)  # not earlier: should one of these crash, `on_stop` answers the others

    def _tell_failure(self, flight: Flight[bytes, Lookup], message: Generated, failure: Failure) -> None:
        payer, calls = _payer(flight), message.route.calls
        for lookup in flight.waiters:
            usage = message.route.usage if lookup is payer else NO_USAGE
            lookup.reply.fail(lambda usage=usage: error_of(failure, attempts=calls, usage=usage))  # type: ignore[misc]
        self._flights.land(flight)

    # ------------------------------------------------------------------------------------------------ memory

    def _shrink(self) -> None:
        freed = self._index.shrink(self._to_shrink_bytes, ENTRIES_PER_TURN)
        self._to_shrink_bytes = self._to_shrink_bytes - freed if freed else 0

    @property
    def accounted_bytes(self) -> int:
        """Bytes accounted to the entries."""
        return self._index.accounted_bytes

    @property
    def footprint_bytes(self) -> int:
        """Bytes that entries and their segments really occupy."""
        return self._index.accounted_bytes

    @property
    def flights(self) -> int:
        """Generations under way or queued."""
        return len(self._under_way)

    def snapshot(self) -> CacheSnapshot:
        """The cache's counters and bounds."""
        index = self._index
        return CacheSnapshot(
            enabled=self._enabled,
            hits=index.hits,
            misses=self._misses,
            stale=index.stale,
            follows=self._follows,
            stored=index.stored,
            not_stored=self._not_stored + index.refused,
            evicted_for_space=index.evicted_for_space,
            evicted_for_memory=index.evicted_for_memory,
            expired=index.expired,
            entries=len(index),
            max_entries=index.max_entries,
            accounted_bytes=index.accounted_bytes,
            max_bytes=index.max_bytes,
            ttl_s=index.ttl_s,
            flights=len(self._under_way),
        )

    def __repr__(self) -> str:
        return f"<Cache entries={len(self._index)} bytes={self._index.accounted_bytes} flights={len(self._under_way)}>"


def _payer(flight: Flight[bytes, Lookup]) -> Lookup | None:
    """The first who waits and has not ended yet: the answer to this one carries the bill.

    One whose wait was aborted in this very moment has not said so yet; it is the payer only if there is no other.
    """
    left = None
    for lookup in flight.waiters:
        if not lookup.settled:
            if not lookup.reply.is_leaving:
                return lookup
            left = left or lookup
    return left


def _bill(route: Route | None) -> Usage | None:
    """What the calls for `route` are known to have used, None when there was none."""
    return route.usage if route is not None and route.calls else None
