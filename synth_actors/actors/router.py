"""Which request goes to which endpoint now, and what happens when that fails?

One plain function, `_dispatch`, runs after everything that may change the answer.  The router never dispatches more
than the limiter has free, so nothing queues behind the limiter, and a slow endpoint cannot hold a fast one's places.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol, assert_never

import trio

from synth_actors.actors.actor import Decider
from synth_actors.actors.mailbox import Mailbox
from synth_actors.messages import (
    Attempt,
    CloseRouter,
    Drop,
    Ended,
    Failure,
    Finished,
    Generated,
    Route,
    SetConcurrencyCap,
    Success,
)
from synth_actors.policy.backlog import Backlog, Lane
from synth_actors.policy.budget import Budget, Reservation
from synth_actors.policy.delayed import Delayed
from synth_actors.policy.endpoints import EndpointState
from synth_actors.policy.outage import Closed, Dead, Open, outlook
from synth_actors.policy.overdue import Overdue
from synth_actors.policy.pricing import known_cost_usd, upper_estimate_usd
from synth_actors.policy.progress import Limits, Progress
from synth_actors.policy.retry import FIRST_DELAY_S, REFUSED_BEFORE_WORK, Again, Elsewhere, GiveUp
from synth_actors.policy.routing import Strategy, StreamMode, is_streamed
from synth_actors.providers.base import Fault
from synth_actors.reply import Reply
from synth_actors.snapshot import RouterSnapshot
from synth_actors.types import NO_USAGE

logger = logging.getLogger("synth_actors")

RouterMessage = Route | Drop | Finished | SetConcurrencyCap | CloseRouter


class Pool(Protocol):
    """Where attempts are made."""

    started: int

    def generate(self, attempt: Attempt) -> None:
        """Have `attempt` made by an idle generator, or by a new one."""


@dataclass(slots=True, eq=False)
class _Job:
    """A `Route` on its way: in the backlog, delayed, or under way as `attempt`."""

    route: Route
    number: int
    progress: Progress
    queued_at: float
    dropped: bool = False
    waiting: bool = False  # in the backlog
    attempt: Attempt | None = None


class RouterActor(Decider[RouterMessage]):
    """Owns the backlog, the endpoints' state and the budget."""

    def __init__(
        self,
        mailbox: Mailbox[RouterMessage],
        *,
        cache: Mailbox[Generated],
        pool: Pool,
        limiter: trio.CapacityLimiter,
        endpoints: Sequence[EndpointState],
        stream: Mapping[str, StreamMode],  # by endpoint
        strategy: Strategy,
        budget: Budget,
        limits: Limits,
    ) -> None:
        super().__init__(mailbox)
        self._cache = cache
        self._pool = pool
        self._limiter = limiter
        self._max_concurrency = self._cap = int(limiter.total_tokens)  # the cap is what the limiter has now
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._everywhere = frozenset(self._endpoints)
        self._stream = stream
        self._choose = strategy
        self._budget = budget
        self._limits = limits
        self._overdue = Overdue(limits.shortest_timeout_s)
        self._backlog: Backlog[_Job] = Backlog()
        self._narrowed: dict[
            _Job, frozenset[str]
        ] = {}  # queued for fewer endpoints than may serve them, since some failed
        self._delayed: Delayed[_Job] = Delayed()
        self._jobs: dict[Route, _Job] = {}
        self._in_flight = 0
        self._due = inf
        self._leaving: Reply[bool] | None = None  # who wants to know when nothing is left
        self._closing = False
        self._numbers = self._retries = self._failovers = self._abandoned = 0

    def handle(self, message: RouterMessage) -> None:
        """Take a request or a fact, then dispatch what may go."""
        now = self._now()
        match message:
            case Route():
                self._accept(message, now)
            case Finished():
                self._finished(message, now)
            case Drop():
                self._drop(message.route)
            case SetConcurrencyCap(cap):
                self._limiter.total_tokens = self._cap = max(1, min(cap, self._max_concurrency))
            case CloseRouter(drain, reply):
                self._close(drain, reply)
            case _:
                assert_never(message)
        self._dispatch(now)

    def next_wakeup(self) -> float:
        """When a deadline, a delayed request, a paused endpoint or somebody's patience is due."""
        return self._due

    def wake(self) -> None:
        """Something is due: an attempt's deadline, or what `_dispatch` finds."""
        now = self._now()
        for attempt in self._overdue.look(self._running(), now):
            attempt.cancel()
        self._dispatch(now)

    def on_stop(self, unread: list[RouterMessage], cause: BaseException | None) -> None:
        """Cancel what runs.  Who waits is answered by the cache, which stops after this actor."""
        for attempt in self._running():
            attempt.abandon()
        if self._leaving is not None and not self._leaving.answered:
            self._leaving.send(False)
        super().on_stop(unread, cause)

    def _accept(self, route: Route, now: float) -> None:
        self._numbers += 1
        names = route.request.endpoints
        progress = Progress(self._everywhere if names is None else frozenset(names))
        job = _Job(route=route, number=self._numbers, progress=progress, queued_at=now)
        self._jobs[route] = job
        if self._closing:
            self._end(job, Failure(Ended.CLOSED, "the engine is closing", None, NO_USAGE))
        else:
            self._enqueue(job)

    def _enqueue(self, job: _Job) -> None:
        places = job.progress.places()
        job.waiting = True
        self._backlog.push(job, places)
        if job.progress.failed_at and places != job.progress.willing():
            self._narrowed[job] = places

    def _unqueue(self, job: _Job) -> None:
        if job.waiting:
            self._backlog.drop(job)
            self._narrowed.pop(job, None)
        else:
            self._delayed.drop(job)

    def _take(self, lane: Lane[_Job]) -> _Job:
        job = self._backlog.pop(lane)
        job.waiting = False
        if self._narrowed:
            self._narrowed.pop(job, None)
        return job

    def _drop(self, route: Route) -> None:
        job = self._jobs.get(route)
        if job is None:
            return
        if job.attempt is not None:  # its `Finished` will come
            job.attempt.abandon()
            return
        del self._jobs[route]
        self._abandoned += 1
        self._unqueue(job)

    def _end(self, job: _Job, result: Success | Failure) -> None:
        del self._jobs[job.route]
        self._cache.send(Generated(job.route, result))

    def _close(self, drain: bool, reply: Reply[bool]) -> None:
        if self._leaving is not None and not self._leaving.answered:
            self._leaving.send(False)  # a drain that took too long
        self._leaving = reply
        self._closing = not drain
        if self._closing:
            self._stop_all()

    def _stop_all(self) -> None:
        for job in list(self._jobs.values()):
            if job.attempt is not None:  # ends when its `Finished` comes
                job.attempt.abandon()
                continue
            self._unqueue(job)
            self._end(job, Failure(Ended.CLOSED, "the engine was closed before this was sent", None, NO_USAGE))

    def _report_left(self) -> None:
        if self._leaving is not None and not self._jobs and not self._leaving.answered:
            self._leaving.send(True)

    def _dispatch(self, now: float) -> None:
        while self._delayed.next_at <= now:
            self._enqueue(self._delayed.pop())
        while self._backlog.wanted and self._in_flight < self._cap and self._dispatch_one(now):
            pass
        waits = self._backlog.wanted or self._delayed.next_at < inf
        self._due = min(self._overdue.look_at, self._next_due(now)) if waits else self._overdue.look_at
        if self._leaving is not None:
            self._report_left()

    def _dispatch_one(self, now: float) -> bool:
        for lane, job in self._backlog.lanes():
            open_ones = [e for name in lane.allowed if (e := self._endpoints[name]).admits(now)]
            if open_ones:
                endpoint = open_ones[0] if len(open_ones) == 1 else self._choose(open_ones)
                if self._send(lane, job, endpoint, now):
                    return True
        return False

    def _send(self, lane: Lane[_Job], job: _Job, endpoint: EndpointState, now: float) -> bool:
        """Send the head of `lane` to `endpoint`; False when the budget says to wait for what is under way."""
        estimate_usd = 0.0
        if self._budget.limit_usd is not None and endpoint.price is not None:
            estimate_usd = upper_estimate_usd(job.route.request, job.route.output, endpoint.price, endpoint.extra_body)
        match self._budget.reserve(estimate_usd):
            case Reservation.GRANTED:
                self._start(self._take(lane), endpoint, estimate_usd, now)
                return True
            case Reservation.WAIT:
                return False
            case Reservation.EXCEEDED:
                message = self._budget.refusal(estimate_usd)
                self._end(self._take(lane), Failure(Ended.BUDGET, message, None, NO_USAGE))
                return True

    def _start(self, job: _Job, endpoint: EndpointState, reserved_usd: float, now: float) -> None:
        self._failovers += job.progress.last_endpoint not in (None, endpoint.name)
        route = job.route
        route.calls += 1
        endpoint.in_flight += 1
        endpoint.attempts += 1
        job.attempt = attempt = Attempt(
            route=route,
            number=route.calls,
            endpoint=endpoint.name,
            output=route.output,
            streamed=is_streamed(self._stream[endpoint.name], wanted=route.stream, max_tokens=route.request.max_tokens),
            dispatched_at=now,
            is_probe=endpoint.breaker.begin(),
            reserved_usd=reserved_usd,
        )
        self._limiter.acquire_on_behalf_of_nowait(attempt)
        self._in_flight += 1
        self._overdue.begins(now)
        self._pool.generate(attempt)

    def _finished(self, message: Finished, now: float) -> None:
        attempt, result = message.attempt, message.result
        job = self._jobs[attempt.route]
        endpoint = self._endpoints[attempt.endpoint]
        job.attempt = None
        self._in_flight -= 1
        endpoint.in_flight -= 1
        job.route.usage, job.route.noted = job.route.usage + result.usage, NO_USAGE
        fault = None if isinstance(result, Success) else result.fault
        self._budget.settle(attempt.reserved_usd, known_cost_usd(result.usage, fault))
        if isinstance(result, Success):
            endpoint.succeeded(result.usage)
            self._end(job, result)
        elif isinstance(result.fault, Ended):
            endpoint.abandoned(result.usage, was_probe=attempt.is_probe)
            self._abandoned += 1
            if self._closing:  # cancelled by us, and not because nobody waits
                result.fault, result.message = Ended.CLOSED, "the engine was closed during this call"
            self._end(job, result)
        else:
            self._failed(job, attempt, result, result.fault, now)

    def _failed(self, job: _Job, attempt: Attempt, failure: Failure, fault: Fault, now: float) -> None:
        endpoint = self._endpoints[attempt.endpoint]
        job.progress.note(fault, endpoint.name, now)
        if fault is Fault.FATAL and endpoint.breaker.fatal_reason is None:
            logger.error("%s; it gets no more calls", failure.message)
        elif fault in REFUSED_BEFORE_WORK:
            logger.info("%s; it takes no call for a while", failure.message)
        begun_at = attempt.dispatched_at
        endpoint.failed(fault, failure, begun_at=begun_at, was_probe=attempt.is_probe, now=now)
        if self._closing or attempt.abandoned:  # it failed before the cancellation reached it: nobody wants another
            self._end(job, failure)
        else:
            self._judge(job, failure, fault, now)

    def _judge(self, job: _Job, failure: Failure, fault: Fault, now: float) -> None:
        verdict = job.progress.verdict(fault, failure, self._endpoints, self._limits, now)
        match verdict:
            case GiveUp():
                self._end(job, failure)
                return
            case Elsewhere():
                self._enqueue(job)
            case Again(delay_s):
                job.progress.start_over()
                self._delayed.push(job, now + delay_s)
            case _:
                assert_never(verdict)
        self._retries += 1

    def _next_due(self, now: float) -> float:
        """When to look again; fails on the way whoever has waited too long for closed endpoints."""
        if self._narrowed:
            self._widen(now)
        due = self._delayed.next_at
        for lane, _head in self._backlog.lanes():
            due = min(due, self._lane_due(lane, now))
        return due

    def _widen(self, now: float) -> None:
        """Who went elsewhere after a failure, and finds that closed, may go back to where it failed, after a breath."""
        for job, places in list(self._narrowed.items()):
            if not isinstance(outlook([self._endpoints[name] for name in places], now), Open):
                del self._narrowed[job]
                self._backlog.remove(job, places)
                job.waiting = False
                job.progress.start_over()
                self._delayed.push(job, now + FIRST_DELAY_S)

    def _lane_due(self, lane: Lane[_Job], now: float) -> float:
        view = outlook([self._endpoints[name] for name in lane.allowed], now)
        match view:
            case Open(look_again_at):
                return look_again_at
            case Dead(reason):
                self._end_waiting(lane, Failure(Fault.FATAL, reason, min(lane.allowed), NO_USAGE), -inf, now)
                return inf
            case Closed(since, reopens_at, opens_in_s, fault, reason):
                patience_s = self._limits.patience_s
                message = f"every endpoint was closed for longer than outage_patience_s={patience_s:g}; last, {reason}"
                failure = Failure(fault, message, None, NO_USAGE, retry_after_s=opens_in_s)
                return min(reopens_at, self._end_waiting(lane, failure, since + patience_s, now))
            case _:
                assert_never(view)

    def _end_waiting(self, lane: Lane[_Job], failure: Failure, patient_until: float, now: float) -> float:
        """Fail those whose patience is over; when the next one's is.  Nobody's is before their own wait was as long."""
        while (job := lane.head()) is not None:
            impatient_at = max(patient_until, job.queued_at + self._limits.patience_s)
            if patient_until != -inf and impatient_at > now:
                return impatient_at
            self._end(self._take(lane), failure)
        return inf

    def _running(self) -> Iterator[Attempt]:
        return (job.attempt for job in self._jobs.values() if job.attempt is not None)

    @property
    def in_flight(self) -> int:
        """Attempts under way."""
        return self._in_flight

    @property
    def endpoints(self) -> list[EndpointState]:
        """The endpoints in the order of preference; to be read only."""
        return list(self._endpoints.values())

    def snapshot(self) -> RouterSnapshot:
        """The router's counters and its endpoints."""
        now = self._now()
        return RouterSnapshot(
            backlog=len(self._backlog),
            delayed=len(self._delayed),
            in_flight=self._in_flight,
            max_concurrency=self._max_concurrency,
            concurrency_cap=int(self._limiter.total_tokens),
            generators=self._pool.started,
            retries=self._retries,
            failovers=self._failovers,
            abandoned=self._abandoned,
            endpoints={name: endpoint.snapshot(now) for name, endpoint in self._endpoints.items()},
        )

    def __repr__(self) -> str:
        return f"<Router backlog={len(self._backlog)} in_flight={self._in_flight}/{self._limiter.total_tokens:g}>"
