"""Who waits, for which endpoints, and until when?

A request waits in line for the endpoints that may serve it, or apart, until a time has come.  One that failed somewhere
stands in line for the others only, and goes back when its time has come or the others are closed.  When all that it may
use are closed it waits as long as its patience, and when all are dead not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from operator import attrgetter
from typing import Generic, Protocol, TypeVar, assert_never

from synth_actors.policy.backlog import Backlog, Lane, Queued
from synth_actors.policy.delayed import Delayed
from synth_actors.policy.endpoints import EndpointState
from synth_actors.policy.limits import Need
from synth_actors.policy.outage import Closed, Dead, Open, Outlook, outlook
from synth_actors.policy.progress import Progress
from synth_actors.policy.retry import FIRST_DELAY_S
from synth_actors.providers.base import Fault


class Waiter(Queued, Protocol):
    """What can wait: its history, what its next call needs, and since when it is here.

    `back_at` is when it may go again to where it failed, though others are open to it; `in_line` is for this module.
    """

    progress: Progress
    need: Need
    queued_at: float
    back_at: float
    in_line: bool


W = TypeVar("W", bound=Waiter)


@dataclass(frozen=True, slots=True)
class Hopeless:
    """Why somebody waits no longer.  `endpoint` is the one that is named first when all are dead."""

    fault: Fault
    message: str
    endpoint: str | None = None
    retry_after_s: float | None = None


class Waiting(Generic[W]):
    """All who wait.  `len()` counts those in line, `delayed` those apart."""

    def __init__(self, endpoints: Mapping[str, EndpointState], patience_s: float) -> None:
        self._endpoints = endpoints
        self._patience_s = patience_s
        self._line: Backlog[W] = Backlog()
        self._apart: Delayed[W] = Delayed()
        self._narrowed: dict[frozenset[str], set[W]] = {}  # in line for fewer endpoints than may serve them, by those
        self._backs: list[tuple[float, int, W]] = []  # when they may go back; some have left meanwhile

    def __len__(self) -> int:
        return len(self._line)

    @property
    def delayed(self) -> int:
        """How many wait until a time has come."""
        return len(self._apart)

    # ------------------------------------------------------------------------------------------------ coming, going

    def join(self, one: W) -> None:
        """Stand in line, by age."""
        places = one.progress.places()
        one.in_line = True
        self._line.push(one, places)
        if one.progress.failed_at and places != one.progress.willing():
            self._narrowed.setdefault(places, set()).add(one)
            if one.back_at < inf:
                heappush(self._backs, (one.back_at, one.number, one))

    def join_elsewhere(self, one: W, back_at: float) -> None:
        """Stand in line for those that have not failed it, and from `back_at` on for the others, too."""
        one.back_at = back_at
        self.join(one)

    def wait_until(self, one: W, ready_at: float) -> None:
        """Wait apart until `ready_at`, then in line for all that may serve it."""
        one.progress.start_over()
        self._apart.push(one, ready_at)

    def leave(self, one: W) -> None:
        """`one`, who waits, is not wanted any more."""
        if one.in_line:
            self._line.drop(one)
            self._forget(one)
        else:
            self._apart.drop(one)

    def take(self, lane: Lane[W]) -> W:
        """The head of `lane` is served."""
        one = self._line.pop(lane)
        one.in_line = False
        if self._narrowed:
            self._forget(one)
        return one

    def _forget(self, one: W) -> None:
        places = one.progress.places()
        if (narrowed := self._narrowed.get(places)) is not None:
            narrowed.discard(one)
            if not narrowed:
                del self._narrowed[places]

    def call_in(self, now: float) -> None:
        """Whose time has come stands in line."""
        while self._apart.next_at <= now:
            self.join(self._apart.pop())

    def call_in_the_hopeless(self) -> None:
        """An endpoint is dead: those apart for whom none is left stand in line, where they are told."""
        for one in self._apart.take_if(self._is_without_hope):
            self.join(one)

    def _is_without_hope(self, one: W) -> bool:
        return all(self._endpoints[name].breaker.fatal_reason is not None for name in one.progress.willing())

    def lanes(self) -> Sequence[tuple[Lane[W], W]]:
        """The lines with their heads, the oldest head first."""
        return self._line.lanes() if self._line.wanted else ()

    # ------------------------------------------------------------------------------------------------ how long

    def look(self, now: float) -> tuple[float, list[tuple[W, Hopeless]]]:
        """When somebody must look again, and who waits in vain; these are taken out."""
        if not self._line.wanted:
            return self._apart.next_at, []
        due = self._widen(now) if self._narrowed else inf
        hopeless: list[tuple[W, Hopeless]] = []
        for lane, head in self._line.lanes():
            due = min(due, self._look_at(lane, head.need, hopeless, now))
        return min(due, self._apart.next_at), hopeless

    def _outlook(self, places: frozenset[str], need: Need, now: float) -> Outlook:
        endpoints = [self._endpoints[name] for name in places]
        return outlook(sorted(endpoints, key=attrgetter("rank")) if len(endpoints) > 1 else endpoints, need, now)

    def _widen(self, now: float) -> float:
        """Who stands in line for a few goes back to all: in time, or after a breath when the few are closed."""
        for places, narrowed in list(self._narrowed.items()):
            some = next(iter(narrowed))
            if not isinstance(self._outlook(places, some.need, now), Open):
                self._step_out(places, narrowed, now)
        backs = self._backs
        while backs and (backs[0][0] <= now or not self._is_narrowed(backs[0][2])):
            one = heappop(backs)[2]
            if self._is_narrowed(one):
                self._step_out(one.progress.places(), {one}, now)
        return backs[0][0] if backs else inf

    def _is_narrowed(self, one: W) -> bool:
        return one in self._narrowed.get(one.progress.places(), ())

    def _step_out(self, places: frozenset[str], ones: set[W], now: float) -> None:
        leaving = list(ones)
        self._line.remove(set(leaving), places)
        for one in leaving:
            self._forget(one)
            one.in_line = False
            self.wait_until(one, one.back_at if one.back_at < inf else now + FIRST_DELAY_S)

    def _look_at(self, lane: Lane[W], need: Need, hopeless: list[tuple[W, Hopeless]], now: float) -> float:
        view = self._outlook(lane.allowed, need, now)
        match view:
            case Open(look_again_at):
                return look_again_at
            case Dead(reason):
                why = Hopeless(Fault.FATAL, reason, min(lane.allowed))
                while lane.head() is not None:
                    hopeless.append((self.take(lane), why))
                return inf
            case Closed():
                return min(view.reopens_at, self._end_impatient(lane, view, hopeless, now))
            case _:
                assert_never(view)

    def _end_impatient(self, lane: Lane[W], view: Closed, hopeless: list[tuple[W, Hopeless]], now: float) -> float:
        """When the patience of the next one is over.  Nobody's is before their own wait was as long."""
        patience_s = self._patience_s
        patient_until = view.patient_until(patience_s)
        text = f"every endpoint was closed for longer than outage_patience_s={patience_s:g}; last, {view.reason}"
        while (one := lane.head()) is not None:
            if (until := max(patient_until, one.queued_at + patience_s)) > now:
                return until
            if view.probing_since <= until:  # what is being tried may end well, and its end will be looked at
                return inf
            hopeless.append((self.take(lane), Hopeless(view.fault, text, None, view.opens_in_s)))
        return inf
