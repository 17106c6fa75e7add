"""Which request goes to which endpoint now, and what happens when that fails?

One plain function, `_dispatch`, runs after everything that may change the answer.  The router never dispatches more
than the limiter has free, so nothing queues behind the limiter, and a slow endpoint cannot hold a fast one's places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import inf
from typing import assert_never

import trio

from synth_actors.actors.actor import Decider
from synth_actors.actors.jobs import Job, Pool, log_again, log_failure
from synth_actors.actors.mailbox import Mailbox
from synth_actors.feed import Held, texts_bytes
from synth_actors.messages import (
    Attempt,
    CloseRouter,
    Drop,
    Ended,
    Failure,
    Finished,
    FirstToken,
    Generated,
    Route,
    SetConcurrencyCap,
    Success,
)
from synth_actors.policy.affordable import affordable, estimate_usd
from synth_actors.policy.backlog import Lane
from synth_actors.policy.budget import Budget, Reservation
from synth_actors.policy.endpoints import EndpointState
from synth_actors.policy.limits import need_of
from synth_actors.policy.load import Load
from synth_actors.policy.overdue import Overdue
from synth_actors.policy.pricing import known_cost_usd
from synth_actors.policy.progress import Limits, Progress
from synth_actors.policy.retry import (
    FAILED_AFTER_ACCEPTANCE,
    Again,
    Elsewhere,
    GiveUp,
    Verdict,
)
from synth_actors.policy.retry_budget import NO_ROOM, RetryBudget
from synth_actors.policy.routing import Strategy, StreamMode, is_streamed
from synth_actors.policy.waiting import Waiting
from synth_actors.providers.base import Fault
from synth_actors.reply import Reply
from synth_actors.snapshot import RouterSnapshot
from synth_actors.types import NO_USAGE

RouterMessage = Route | Drop | FirstToken | Finished | SetConcurrencyCap | CloseRouter


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
        self._retry_budget = RetryBudget()
        self._limits = limits
        self._overdue = Overdue(limits.shortest_timeout_s)
        self._waiting: Waiting[Job] = Waiting(self._endpoints, limits.patience_s)
        self._jobs: dict[Route, Job] = {}
        self.held, self._in_flight = Held(), 0
        self._due = inf
        self._leaving: Reply[bool] | None = None  # who wants to know when nothing is left
        self._closing = False
        self._numbers = self._failovers = self._abandoned = 0
        self._retries: Counter[str] = Counter()  # by the fault that led to them
        self._load = Load(self._now())
        self._lacking: set[EndpointState] = set()  # as the last look for a request that can go has found
        self._limited: set[EndpointState] = set()

    def handle(self, message: RouterMessage) -> None:
        """Take a request or a fact, then dispatch what may go."""
        now = self._now()
        match message:
            case Route():
                self._accept(message, now)
            case FirstToken(attempt, ttft_s):
                self._endpoints[attempt.endpoint].let_in(attempt.call, ttft_s, now)
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
        for route in self._jobs:
            if route.trace is not None:
                route.trace.queue_ended(None)
        if self._leaving is not None and not self._leaving.answered:
            self._leaving.send(False)
        super().on_stop(unread, cause)

    def _accept(self, route: Route, now: float) -> None:
        self._numbers += 1
        names = route.request.endpoints
        progress = Progress(self._everywhere if names is None else frozenset(names))
        need, size = need_of(route.request, route.output), texts_bytes(route.request)
        job = Job(route=route, number=self._numbers, progress=progress, need=need, queued_at=now, size_bytes=size)
        self._jobs[route] = job
        self.held.requests_bytes += size
        if self._closing:
            self._end(job, Failure(Ended.CLOSED, "the engine is closing", None, NO_USAGE))
        else:
            self._waiting.join(job)
            if route.trace is not None:
                route.trace.queue_began()

    def _drop(self, route: Route) -> None:
        job = self._jobs.get(route)
        if job is None:
            return
        if job.attempt is not None:  # its `Finished` will come
            job.attempt.abandon()
            return
        self._forget(job)
        self._abandoned += 1
        self._waiting.leave(job)

    def _forget(self, job: Job) -> None:
        del self._jobs[job.route]
        self.held.requests_bytes -= job.size_bytes
        if job.route.trace is not None:
            job.route.trace.queue_ended(None)

    def _end(self, job: Job, result: Success | Failure) -> None:
        self._forget(job)
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
            self._waiting.leave(job)
            self._end(job, Failure(Ended.CLOSED, "the engine was closed before this was sent", None, NO_USAGE))

    def _report_left(self) -> None:
        if self._leaving is not None and not self._jobs and not self._leaving.answered:
            self._leaving.send(True)

    def _dispatch(self, now: float) -> None:
        waiting = self._waiting
        waiting.call_in(now)
        while self._in_flight < self._cap and self._dispatch_one(now):
            pass
        due, hopeless = waiting.look(now)
        for job, why in hopeless:
            self._end(job, Failure(why.fault, why.message, why.endpoint, NO_USAGE, retry_after_s=why.retry_after_s))
        self._due = min(self._overdue.look_at, due)
        self._note_load(now)
        self._note_limited(now)
        if self._leaving is not None:
            self._report_left()

    def _dispatch_one(self, now: float) -> bool:
        """Send one request, the oldest that can go; what an older one waits for is kept for it."""
        kept: set[EndpointState] = set()
        for lane, job in self._waiting.lanes():
            places = [self._endpoints[name] for name in lane.allowed]
            open_ones = [e for e in places if e.admits(now, job.need) and e not in kept]
            if open_ones and self._budget.limit_usd is not None:
                open_ones = affordable(self._budget, partial(self._estimate_usd, job), open_ones, places)
            if open_ones:
                endpoint = open_ones[0] if len(open_ones) == 1 else self._choose(open_ones, job.need, now)
                if self._send(lane, job, endpoint, now):
                    return True
            kept.update(e for e in places if e.lacks_only_tokens(now, job.need))
        self._lacking = kept
        return False

    def _note_load(self, now: float) -> None:
        waiting = self._waiting
        shut = len(waiting) > 0 and all(endpoint.breaker.is_closed(now) for endpoint in self._endpoints.values())
        self._load.change(
            now, in_flight=self._in_flight, waiting=len(waiting), delayed=waiting.delayed, places=self._cap, closed=shut
        )

    def _note_limited(self, now: float) -> None:
        """Which endpoints requests wait for only since a limit per minute is used up."""
        limited = self._lacking if self._in_flight < self._cap else set()
        if limited or self._limited:
            for endpoint in self._endpoints.values():
                endpoint.note_limited(now, is_limited=endpoint in limited)
            self._limited = limited

    def _estimate_usd(self, job: Job, endpoint: EndpointState) -> float:
        return estimate_usd(self._budget, job.route.request, job.route.output, endpoint)

    def _send(self, lane: Lane[Job], job: Job, endpoint: EndpointState, now: float) -> bool:
        """Send the head of `lane` to `endpoint`; False when the budget says to wait for what is under way."""
        estimate_usd = self._estimate_usd(job, endpoint)
        match self._budget.reserve(estimate_usd):
            case Reservation.GRANTED:
                self._start(self._waiting.take(lane), endpoint, estimate_usd, now)
                return True
            case Reservation.WAIT:
                return False
            case Reservation.EXCEEDED:
                message = self._budget.refusal(estimate_usd)
                self._end(self._waiting.take(lane), Failure(Ended.BUDGET, message, None, NO_USAGE))
                return True

    def _start(self, job: Job, endpoint: EndpointState, reserved_usd: float, now: float) -> None:
        self._failovers += job.progress.last_endpoint not in (None, endpoint.name)
        route = job.route
        if route.trace is not None:
            route.trace.queue_ended(endpoint.name)
        if not route.calls:
            self._retry_budget.request(now)
        route.calls += 1
        mode = self._stream[endpoint.name]
        streamed = is_streamed(mode, wanted=route.stream, max_tokens=route.request.max_tokens)
        job.attempt = attempt = Attempt(
            route=route,
            number=route.calls,
            endpoint=endpoint.name,
            output=route.output,
            streamed=streamed,
            dispatched_at=now,
            reserved_usd=reserved_usd,
            call=endpoint.begin(job.need, now, streamed=streamed),
            held=self.held,
        )
        self.held.sent_bytes += job.size_bytes
        self._limiter.acquire_on_behalf_of_nowait(attempt)
        self._in_flight += 1
        self._overdue.begins(now)
        self._pool.generate(attempt)

    def _finished(self, message: Finished, now: float) -> None:
        attempt, result = message.attempt, message.result
        job = self._jobs[attempt.route]
        endpoint = self._endpoints[attempt.endpoint]
        job.attempt = None
        self.held.sent_bytes -= job.size_bytes
        self._in_flight -= 1
        job.route.usage, job.route.noted = job.route.usage + result.usage, NO_USAGE
        fault = None if isinstance(result, Success) else result.fault
        unsent = isinstance(result, Failure) and result.unsent
        self._budget.settle(attempt.reserved_usd, 0.0 if unsent else known_cost_usd(result.usage, fault))
        if isinstance(result, Success):
            self._retry_budget.answered(now)
            endpoint.succeeded(attempt.call, result.usage, result.service_s, result.ttft_s, now)
            self._end(job, result)
        elif isinstance(result.fault, Ended):
            if result.unsent:
                job.route.calls -= 1
                endpoint.withdrawn(attempt.call, now)
            else:
                endpoint.abandoned(attempt.call, result.usage, now)
            self._abandoned += 1
            if self._closing:  # cancelled by us, and not because nobody waits
                result.fault, result.message = Ended.CLOSED, "the engine was closed during this call"
            self._end(job, result)
        else:
            self._failed(job, attempt, result, result.fault, now)

    def _failed(self, job: Job, attempt: Attempt, failure: Failure, fault: Fault, now: float) -> None:
        endpoint = self._endpoints[attempt.endpoint]
        job.progress.note(fault, endpoint.name, now, failure.retry_after_s)
        log_failure(attempt, failure, fault, ends=fault is Fault.FATAL and endpoint.breaker.fatal_reason is None)
        endpoint.failed(attempt.call, fault, failure, now)
        if fault is Fault.FATAL:
            self._waiting.call_in_the_hopeless()
        if self._closing or attempt.abandoned:  # it failed before the cancellation reached it: nobody wants another
            self._end(job, failure)
        else:
            self._judge(job, attempt, failure, fault, now)

    def _judge(self, job: Job, attempt: Attempt, failure: Failure, fault: Fault, now: float) -> None:
        verdict = job.progress.verdict(fault, failure, self._endpoints, self._limits, now)
        if fault in FAILED_AFTER_ACCEPTANCE:
            verdict = self._within_budget(job, verdict, now)
        match verdict:
            case GiveUp(why):
                if why:
                    failure.message = f"{failure.message}; {why}"
                self._end(job, failure)
                return
            case Elsewhere(back_after_s):
                self._waiting.join_elsewhere(job, now + back_after_s)
            case Again(delay_s):
                self._waiting.wait_until(job, now + delay_s)
            case _:
                assert_never(verdict)
        self._retries[fault.value] += 1
        log_again(attempt, verdict)
        if job.route.trace is not None:
            job.route.trace.queue_began()

    def _within_budget(self, job: Job, verdict: Verdict, now: float) -> Verdict:
        """The verdict, if the retry budget has room for it; one that is well burdens nobody by taking it over."""
        if isinstance(verdict, GiveUp):
            return verdict
        if isinstance(verdict, Elsewhere):
            others = (self._endpoints[name] for name in job.progress.untried())
            if any(e.breaker.is_trusted for e in others):
                return verdict
        at = self._retry_budget.book(now, within_s=self._limits.patience_s)
        if at is None:
            return GiveUp(NO_ROOM)
        return verdict if at <= now else Again(max(at - now, verdict.delay_s if isinstance(verdict, Again) else 0.0))

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
        now, load = self._now(), self._load
        self._note_load(now)
        return RouterSnapshot(
            backlog=len(self._waiting),
            delayed=self._waiting.delayed,
            in_flight=self._in_flight,
            max_concurrency=self._max_concurrency,
            concurrency_cap=int(self._limiter.total_tokens),
            generators=self._pool.started,
            retries=self._retries.total(),
            retries_by_reason=dict(self._retries),
            failovers=self._failovers,
            abandoned=self._abandoned,
            budget_usd=self._budget.limit_usd,
            budget_spent_usd=None if self._budget.limit_usd is None else self._budget.spent_usd,
            **load.sums(),
            endpoints={name: endpoint.snapshot(now) for name, endpoint in self._endpoints.items()},
        )

    def __repr__(self) -> str:
        return f"<Router backlog={len(self._waiting)} in_flight={self._in_flight}/{self._limiter.total_tokens:g}>"
