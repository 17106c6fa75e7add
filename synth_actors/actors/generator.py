"""How is one attempt made?

A GeneratorActor takes an attempt, makes one call under the attempt's deadlines, validates the output and reports
exactly one `Finished`.  It never retries and never decides who is next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from math import inf
from sys import getsizeof

import trio

from synth_actors.actors.actor import Worker
from synth_actors.actors.checks import check_completion, check_error, check_text, check_usage
from synth_actors.actors.mailbox import Mailbox
from synth_actors.actors.supervisor import Supervisor
from synth_actors.attempt_log import AttemptLog, FailureLog
from synth_actors.config import Price
from synth_actors.errors import SynthActorsError, text_of
from synth_actors.feed import Texts
from synth_actors.messages import WRITING_S, Attempt, Ended, Failure, Finished, FirstToken, Generate, Success
from synth_actors.policy.cache_key import key_of
from synth_actors.policy.latency import tpot_of
from synth_actors.policy.pricing import is_free, priced
from synth_actors.policy.restart import RestartBudget
from synth_actors.providers.base import Call, Completion, Fault, Provider, ProviderError, RateLimits
from synth_actors.request_log import logger, of_call
from synth_actors.samples import SampleBuffer
from synth_actors.schema import Output
from synth_actors.tracing import AttemptStart, AttemptTrace, Destination
from synth_actors.types import NO_USAGE, Answer, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What is needed to call one endpoint: its provider, its price, and the timeouts of an attempt in seconds."""

    name: str
    provider: Provider
    price: Price | None
    is_remote: bool  # the router wants to know when an answer begins
    destination: Destination  # for those who are told of the call
    first_token_timeout_s: float
    idle_timeout_s: float
    attempt_timeout_s: float


class GeneratorActor(Worker[Generate]):
    """One of a pool that shares one mailbox: whichever is idle takes the next attempt."""

    def __init__(
        self,
        mailbox: Mailbox[Generate],
        *,
        router: Mailbox[FirstToken | Finished],
        lines: Mapping[str, Line],
        limiter: trio.CapacityLimiter,
        samples: SampleBuffer,
        attempt_log: AttemptLog | None,
        max_response_bytes: int,
        idle: Callable[[], None],
    ) -> None:
        super().__init__(mailbox)
        self._router = router
        self._lines = lines
        self._limiter = limiter
        self._samples = samples
        self._log = attempt_log
        self._ended = attempt_log.ended if isinstance(attempt_log, FailureLog) else None
        self._max_response_bytes = max_response_bytes
        self._idle = idle
        self._now = trio.lowlevel.current_clock().current_time

    async def run(self) -> None:
        """Make attempts until cancelled.

        Entering a cancel scope costs more than most of what an actor does, so one stays open over many attempts, until
        one of them is cancelled.
        """
        while True:
            with trio.CancelScope() as self._scope:
                await super().run()

    async def handle(self, message: Generate) -> None:
        """Make the attempt; whatever happens, give back the token and report."""
        attempt = message.attempt
        line = self._lines[attempt.endpoint]
        taping = _Taping(attempt, line, self._router, self._now)
        self._in_hand.clear()  # from here on the `finally` answers for it
        attempt.scope = self._scope
        result: Success | Failure | None = None
        try:
            result = await self._attempt(attempt, line, taping)
        except Exception as exc:  # noqa: BLE001  (a provider's bug fails this request and nothing else)
            result = taping.crashed(exc)
        except (trio.Cancelled, BaseExceptionGroup):
            if not attempt.cancelled:  # by somebody above
                raise
            result = taping.cut_off()  # nothing is lost: the next `receive` raises it again
        finally:
            attempt.scope = None
            if result is None:  # it ended from above
                result = taping.stopped()
            attempt.route.noted = result.usage
            taping.tell_end(result)  # before the answer, so that nothing of a request ends after it
            self._limiter.release_on_behalf_of(attempt)
            self._idle()
            self._router.send(Finished(attempt, result))
            taping.close(result)
            self._measure(taping, result)
            key = attempt.route.log_key
            if self._ended is not None and key and isinstance(result, Failure):
                self._ended(key, attempt.number, result.message, result.usage, free=_is_free(result))

    def _measure(self, taping: _Taping, result: Success | Failure) -> None:
        """How long it held its place, what it waited for the log included, unless nothing was sent."""
        took_s = self._now() - taping.dispatched_at
        if isinstance(result, Success):
            tpot_s = tpot_of(result.service_s, taping.first_text_s, result.usage.output_tokens)
            self._samples.add_attempt(result.answer.endpoint, "success", took_s, result.ttft_s, tpot_s)
        elif not result.unsent:
            self._samples.add_attempt(taping.endpoint, result.fault.value, took_s, taping.ttft_s, None)

    def on_stop(self, unread: list[Generate], cause: BaseException | None) -> None:
        """Give back the tokens of attempts that nobody took, and say that they are over."""
        for message in unread:
            attempt = message.attempt
            self._limiter.release_on_behalf_of(attempt)
            text = "the engine was stopped before this call"
            failure = Failure(Ended.CLOSED, text, attempt.endpoint, NO_USAGE, unsent=True)
            self._router.send(Finished(attempt, failure))
        super().on_stop(unread, cause)

    async def _attempt(self, attempt: Attempt, line: Line, taping: _Taping) -> Success | Failure:
        route = attempt.route
        if self._log is not None and not route.log_key:
            route.log_key = key_of(route.request)  # the cache's own may be of another kind
        await trio.lowlevel.checkpoint_if_cancelled()
        if attempt.cancelled:  # before it began: nothing is sent
            return taping.cut_off(unsent=True)
        if self._log is not None:
            await self._log.before_send(route.log_key, attempt.number, line.name)
        taping.begin()  # with a log, the time starts when the intent is written down
        schema = attempt.output.json_schema if attempt.output else None
        call = Call(
            request=route.request,
            json_schema=schema,
            note_usage=taping.note_usage,
            note_limits=taping.note_limits,
            max_response_bytes=self._max_response_bytes,
        )
        try:
            completion = await line.provider.generate(call, taping.emit if attempt.streamed else None)
        except ProviderError as exc:
            return taping.failed(exc)
        return await self._judge(attempt, line, taping, completion)

    async def _write_down(self, log: AttemptLog, attempt: Attempt, answer: Answer, usage: Usage) -> None:
        """The answer is paid: it is written down before anything else, whoever has left meanwhile."""
        limit = self._now() + WRITING_S if attempt.cancelled else inf
        with trio.CancelScope(shield=True, deadline=limit) as attempt.writing:
            await log.received(attempt.route.log_key, attempt.number, answer, usage)
        if attempt.writing.cancelled_caught:
            logger.error(
                "an answer of %s was not written down within %g s",
                attempt.endpoint,
                WRITING_S,
                extra=of_call(attempt.route.number, attempt.endpoint, attempt.number),
            )
        attempt.writing = None

    async def _judge(self, attempt: Attempt, line: Line, taping: _Taping, completion: Completion) -> Success | Failure:
        service_s = taping.answered(completion)
        model = completion.model or line.provider.model
        answer = Answer(text=completion.text, stop_reason=completion.stop_reason, endpoint=line.name, model=model)
        if self._log is not None:
            await self._write_down(self._log, attempt, answer, taping.usage)
        if len(completion.text) > self._max_response_bytes:
            return taping.too_large(completion, self._max_response_bytes)
        if (problem := _problem(attempt.output, completion)) is not None:
            return taping.invalid(completion, problem)
        return Success(
            answer=answer,
            identity=line.provider.identity,
            usage=taping.usage,
            dispatched_at=attempt.dispatched_at,
            service_s=service_s,
            ttft_s=taping.ttft_s,
        )


def _is_free(failure: Failure) -> bool:
    return failure.unsent or is_free(failure.fault, failure.usage, failure.status)


def _problem(output: Output | None, completion: Completion) -> str | None:
    """What is wrong with the answer under the request's schema; None when nothing is."""
    if output is None or output.lenient:
        return None
    if completion.stop_reason == "max_tokens":
        return "the answer was cut at max_tokens; raise max_tokens or ask for less"
    if completion.stop_reason == "refusal":
        return "the model refused to answer"
    try:
        output.parse(completion.text)
    except ValueError as exc:
        return str(exc)
    return None


class _Taping:
    """What one attempt has heard so far: its texts, its times, its usage; and the failures these make."""

    __slots__ = ("_attempt", "_begun", "_line", "_now", "_router", "_texts", "_trace", "begun_at", "ttft_s", "usage")

    def __init__(
        self, attempt: Attempt, line: Line, router: Mailbox[FirstToken | Finished], now: Callable[[], float]
    ) -> None:
        self._attempt = attempt
        self._line = line
        self._router = router
        self._now = now
        self._texts: Texts | None = None
        self._trace: AttemptTrace | None = None
        self._begun = False
        self.begun_at = attempt.dispatched_at
        self.ttft_s: float | None = None
        self.usage = NO_USAGE

    @property
    def endpoint(self) -> str:
        """Whose call it is."""
        return self._line.name

    @property
    def dispatched_at(self) -> float:
        """When the attempt took its place: earlier than `begun_at` by the wait for the log."""
        return self._attempt.dispatched_at

    @property
    def first_text_s(self) -> float | None:
        """Seconds from `begun_at` to the first text; `ttft_s` is from the dispatch."""
        return None if self.ttft_s is None else self.dispatched_at + self.ttft_s - self.begun_at

    @property
    def partial(self) -> str:
        """The text so far."""
        return "".join(self._texts.pieces) if self._texts is not None else ""

    def begin(self) -> None:
        """The call starts: so do its deadlines."""
        attempt, line = self._attempt, self._line
        self._begun = True
        self.begun_at = now = self._now()
        limit_s = line.attempt_timeout_s
        if attempt.streamed:
            self._texts = attempt.route.feed.begin(line.name)
            limit_s = min(limit_s, line.first_token_timeout_s)
        attempt.deadline = now + limit_s
        if (trace := attempt.route.trace) is not None:
            self._trace = trace.attempt_began(AttemptStart(line.destination, attempt.number, attempt.streamed, now))

    def tell_end(self, result: Success | Failure) -> None:
        """The call is over, for whoever traces it; nothing if it never began."""
        trace, self._trace = self._trace, None
        if trace is not None:
            trace.ended(result.as_end(self._now()))

    def emit(self, text: str) -> None:
        """A piece of text arrived: pass it on, and wait for the next one no longer than the idle timeout."""
        if not check_text(text) or self._texts is None:
            return
        now = self._now()
        if self.ttft_s is None:
            self._begins(now - self._attempt.dispatched_at)
        self._texts.pieces.append(text)
        size_bytes = getsizeof(text)
        self._texts.size_bytes += size_bytes
        self._attempt.held.texts_bytes += size_bytes
        whole = self.begun_at + self._line.attempt_timeout_s
        self._attempt.deadline = min(whole, now + self._line.idle_timeout_s)
        if self._trace is not None:
            self._trace.chunk(now)
        self._attempt.route.feed.wake()

    def _begins(self, ttft_s: float) -> None:
        self.ttft_s = ttft_s
        if self._line.is_remote:
            self._router.send(FirstToken(self._attempt, ttft_s))

    def note_usage(self, usage: Usage) -> None:
        """The provider knows what was used so far."""
        self.usage = self._attempt.route.noted = priced(check_usage(usage), self._line.price)

    def note_limits(self, limits: RateLimits) -> None:
        """The headers are there."""
        self._attempt.call.limits = limits

    def answered(self, completion: Completion) -> float:
        """The whole answer is there; returns the service time in seconds."""
        check_completion(completion)
        self.usage = priced(completion.usage, self._line.price)
        return self._now() - self.begun_at

    def close(self, result: Success | Failure) -> None:
        """Nothing more will come: readers may look at how it ended."""
        if (texts := self._texts) is not None:
            self._attempt.held.texts_bytes -= texts.size_bytes
            if isinstance(result, Failure) and isinstance(result.fault, Fault):
                texts.problem = result.message  # if we ended it, the end of the request says so
        self._texts = None  # what is emitted from now on comes too late
        self._attempt.route.feed.wake()

    def failed(self, exc: ProviderError) -> Failure:
        """The provider said what went wrong."""
        check_error(exc)
        usage = self.usage if exc.usage is NO_USAGE else priced(exc.usage, self._line.price)
        message = f"{self._line.name}: {exc}"
        return Failure(exc.fault, message, self._line.name, usage, self.partial, exc.retry_after_s, cause=exc)

    def invalid(self, completion: Completion, problem: str) -> Failure:
        """The answer is whole and paid, and not what was asked for."""
        message = f"{self._line.name}: output_schema: {problem}"
        truncated = completion.stop_reason == "max_tokens"
        fault = Fault.OUTPUT_INVALID
        return Failure(fault, message, self._line.name, self.usage, completion.text, truncated=truncated)

    def too_large(self, completion: Completion, most_bytes: int) -> Failure:
        """A provider of the user's own did not keep the bound: nothing of that size goes into the cache."""
        message = f"{self._line.name}: the answer is longer than max_response_bytes={most_bytes}"
        return Failure(Fault.TOO_LARGE, message, self._line.name, self.usage, completion.text[:most_bytes])

    def crashed(self, exc: Exception) -> Failure:
        """Something was raised that no provider should: fails this request and nothing else."""
        text = f"{type(exc).__name__}: {text_of(exc)}"
        if isinstance(exc, SynthActorsError):  # raised on purpose, so by the log: the endpoint has done nothing
            unsent = not self._begun
            return Failure(Ended.LOG, str(exc), self._line.name, self.usage, self.partial, unsent=unsent, cause=exc)
        call = of_call(self._attempt.route.number, self._line.name, self._attempt.number)
        extra = {**call, "fault": Fault.BUG.value}
        logger.warning("endpoint %s raised %s", self._line.name, text, exc_info=exc, extra=extra)
        message = f"{self._line.name}: unexpected {text}"
        return Failure(Fault.BUG, message, self._line.name, self.usage, self.partial, cause=exc)

    def stopped(self) -> Failure:
        """The engine is being stopped."""
        message = "the engine was stopped during this call"
        return Failure(Ended.CLOSED, message, self._line.name, self.usage, self.partial)

    def cut_off(self, *, unsent: bool = False) -> Failure:
        """The attempt was cancelled: because nobody wants it, or because one of its deadlines has come."""
        attempt, line = self._attempt, self._line
        if attempt.abandoned:
            message = "nobody waited for this attempt any more"
            return Failure(Ended.ABANDONED, message, line.name, self.usage, self.partial, unsent=unsent)
        if self.begun_at + line.attempt_timeout_s <= self._now():
            which = f"attempt_timeout_s={line.attempt_timeout_s:g}"
        elif self.ttft_s is None:
            which = f"first_token_timeout_s={line.first_token_timeout_s:g}"
        else:
            which = f"idle_timeout_s={line.idle_timeout_s:g}"
        message = f"{line.name}: no answer within {which}"
        return Failure(Fault.TIMED_OUT, message, line.name, self.usage, self.partial)


class GeneratorPool:
    """Generators on demand: an idle one is used before a new one is started, so 10,000 are possible and 4 are cheap."""

    def __init__(
        self,
        mailbox: Mailbox[Generate],
        supervisor: Supervisor,
        make: Callable[[Callable[[], None]], GeneratorActor],  # its argument is called when the new one is idle again
    ) -> None:
        self.started = 0
        self._mailbox = mailbox
        self._supervisor = supervisor
        self._make = make
        self._idle = 0
        self._context = copy_context()  # of who opened the engine, not of the request that happens to need one more

    def generate(self, attempt: Attempt) -> None:
        """Have `attempt` made."""
        if self._idle:
            self._idle -= 1
        else:
            self.started += 1
            self._context.run(self._supervisor.start, self._make(self._became_idle), RestartBudget())
        self._mailbox.tell(Generate(attempt))

    def _became_idle(self) -> None:
        self._idle += 1
