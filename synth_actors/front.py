"""How does a caller ask, wait, and leave?

The caller's side of a request: one inline question to the cache, a place at the door, one deadline, and a word to the
cache from whoever leaves early.  Everything here runs in the caller's own task.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from logging import DEBUG
from math import inf
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from synth_actors.actors.mailbox import Mailbox
from synth_actors.door import FrontDoor
from synth_actors.errors import (
    ConfigError,
    DeadlineExceededError,
    EngineClosedError,
    GenerationError,
    OutputInvalidError,
    SynthActorsError,
    text_of,
)
from synth_actors.messages import Abandoned, Landed, Lookup, NoHit
from synth_actors.reply import Failed, ReplyThen
from synth_actors.request_log import log_cancelled, log_error, log_response, logger
from synth_actors.samples import SampleBuffer
from synth_actors.schema import Output, output_of
from synth_actors.tracing import Tracing
from synth_actors.types import NO_USAGE, Answer, Request, Response, Timings, Usage

Landing = Answer | Landed | Failed
"""What a waiter gets: an entry, its share of a flight, or a failure."""


class Front:
    """Where requests come in.  The counters are I1 of the guarantees: what is submitted ends in one of three ways."""

    def __init__(
        self,
        cache: Mailbox[Any],
        door: FrontDoor,
        samples: SampleBuffer,
        *,
        endpoints: Set[str],
        timeout_s: float | None,
        key_of: Callable[[Request], bytes],
        tracing: Tracing | None,
    ) -> None:
        self.submitted = self.succeeded = self.failed = self.cancelled = 0
        self.claimed: Usage = NO_USAGE  # what responses and errors carried away
        self._cache = cache
        self._door = door
        self._samples = samples
        self._endpoints = endpoints
        self._timeout_s = timeout_s
        self._key_of = key_of
        self._tracing = tracing
        self._now = trio.lowlevel.current_clock().current_time

    @enable_ki_protection
    async def generate(self, request: Request) -> Response:
        """The response to `request`; raises what `Engine.generate` documents."""
        lookup = self.lookup(request, stream=False)
        self.submitted += 1
        try:
            value = await self._ask(lookup)
            response = self.response(lookup, value)
        except Exception as exc:
            self.note_failure(lookup, exc)
            raise
        except BaseException:
            self.note_cancelled(lookup)
            raise
        self.note_success(lookup, response)
        return response

    # ------------------------------------------------------------------------------------------------ asking

    def lookup(self, request: Request, *, stream: bool) -> Lookup:
        """The question to the cache.  Raises `ConfigError` when the request names an endpoint that is not there."""
        names = request.endpoints
        if names is not None and not self._endpoints >= set(names):
            unknown = sorted(set(names) - self._endpoints)[0]
            known = ", ".join(sorted(self._endpoints))
            raise ConfigError(f"Request.endpoints: {unknown!r} is not an endpoint of this engine; it has {known}")
        lookup = Lookup(self._key_of(request), request, stream, self._now(), self.submitted + 1)
        if stream:  # nobody may be reading when the answer comes
            lookup.reply = ReplyThen(self._door.place_back)
        if request.output_schema is not None:  # its owner may change it later
            lookup.output = output_of(request.output_schema)
        if self._tracing is not None:  # last: from here on whoever has the lookup says how it ended
            lookup.trace = self._tracing.request(request, number=lookup.number, streamed=stream)
        return lookup

    async def _ask(self, lookup: Lookup) -> Landing:
        cache, door = self._cache, self._door
        await cache.breathe()
        door.check_open()
        if door.has_room:
            door.waiting += 1
        elif (hit := await self._queue(lookup)) is not None:
            return hit
        cache.send(lookup)
        value: Landing | None = lookup.reply.take()
        if value is None:
            try:
                value = await self._wait(lookup)
            except BaseException:  # cancelled, interrupted or too late: whoever leaves says so
                self.leave(lookup)
                raise
        door.place_back()
        return value

    async def enter(self, lookup: Lookup) -> Answer | None:
        """Take a place at the door; a hit needs none and is returned at once.

        There is no checkpoint between taking the place and `hand_over`, so that it cannot be lost.
        """
        await self._cache.breathe()
        self._door.check_open()
        if self._door.has_room:
            self._door.waiting += 1
            return None
        return await self._queue(lookup)

    async def _queue(self, lookup: Lookup) -> Answer | None:
        """Wait for a place, unless the answer is there."""
        if (hit := self._try_hit(lookup)) is not None:
            return hit
        with trio.CancelScope(deadline=self._deadline(lookup)) as scope:
            await self._door.enter()
        if scope.cancelled_caught:
            raise self.too_late(lookup)
        return None

    def _try_hit(self, lookup: Lookup) -> Answer | None:
        question = Lookup(lookup.key, lookup.request, False, lookup.submitted_at, 0, hit_only=True)
        if not self._cache.offer(question):
            return None
        found = question.reply.take()
        return None if found is None or isinstance(found, (NoHit, Failed)) else found

    def hand_over(self, lookup: Lookup) -> None:
        """Ask the cache: inline if it may be, else through its mailbox."""
        self._cache.send(lookup)

    def _deadline(self, lookup: Lookup) -> float:
        timeout_s = lookup.request.timeout_s
        if timeout_s is None:
            timeout_s = self._timeout_s
        return inf if timeout_s is None else lookup.submitted_at + timeout_s

    async def _wait(self, lookup: Lookup) -> Landing:
        deadline = self._deadline(lookup)
        if deadline == inf:
            return await lookup.reply.wait()
        with trio.CancelScope(deadline=deadline):
            return await lookup.reply.wait()
        if (value := lookup.reply.take()) is not None:  # it came at the same moment, and may be paid
            return value
        raise self.too_late(lookup)

    async def park(self, lookup: Lookup) -> None:
        """Wait for the next thing that happens to a stream.  Raises `DeadlineExceededError`."""
        deadline = self._deadline(lookup)
        if deadline == inf:
            await lookup.reply.park()
            return
        with trio.CancelScope(deadline=deadline) as scope:
            await lookup.reply.park()
        if scope.cancelled_caught and not lookup.reply.answered:
            raise self.too_late(lookup)

    # ------------------------------------------------------------------------------------------------ leaving

    def leave(self, lookup: Lookup) -> None:
        """Nobody waits for this lookup any more; its place goes back when the cache has taken the message."""
        if isinstance(lookup.reply, ReplyThen):
            lookup.reply.then = None  # an answer that comes before that gives nothing back
        self.settle(lookup)
        self._cache.tell(Abandoned(lookup))

    def note_success(self, lookup: Lookup, response: Response) -> None:
        """A request has its answer."""
        self.succeeded += 1
        if lookup.trace is not None:
            lookup.trace.ended(response)
        if logger.isEnabledFor(DEBUG):
            log_response(response)

    def note_failure(self, lookup: Lookup, exc: Exception) -> None:
        """A request ended with `exc`."""
        self.failed += 1
        outcome = exc.outcome if isinstance(exc, SynthActorsError) else SynthActorsError.outcome
        endpoint = exc.endpoint if isinstance(exc, GenerationError) else None
        self._samples.add_failed(endpoint or "", outcome, self._now() - lookup.submitted_at)
        if isinstance(exc, (GenerationError, EngineClosedError)) and exc.usage is not None:
            self.claimed = self.claimed + exc.usage
        if lookup.trace is not None:
            lookup.trace.ended(exc)
        if logger.isEnabledFor(DEBUG):
            log_error(lookup.number, exc, self._now() - lookup.submitted_at)

    def note_cancelled(self, lookup: Lookup) -> None:
        """Whoever waited for it has left."""
        self.cancelled += 1
        self._samples.add_failed("", "cancelled", self._now() - lookup.submitted_at)
        if lookup.trace is not None:
            lookup.trace.ended(None)
        if logger.isEnabledFor(DEBUG):
            log_cancelled(lookup.number, self._now() - lookup.submitted_at)

    def is_late(self, lookup: Lookup) -> bool:
        """Whether the caller's own time is over."""
        return self._now() >= self._deadline(lookup)

    def too_late(self, lookup: Lookup) -> DeadlineExceededError:
        """The error of a caller whose own time is over; it carries the bill if nobody else is left to carry it."""
        route = lookup.route
        texts = None if route is None else route.feed.current
        pays = self.settle(lookup)
        return DeadlineExceededError(
            f"no answer within timeout_s={self._deadline(lookup) - lookup.submitted_at:g}",
            attempts=0 if route is None else route.calls,
            partial="" if texts is None else "".join(texts.pieces),
            usage=route.used if route is not None and pays else NO_USAGE,
            retryable=True,
        )

    @staticmethod
    def settle(lookup: Lookup) -> bool:
        """This waiter ends before its flight does; True when nobody else is left to carry the bill so far."""
        flight = lookup.flight
        if not lookup.settled:
            lookup.settled = True
            if flight is not None:
                flight.settled += 1
        return flight is not None and flight.settled >= len(flight)

    # ------------------------------------------------------------------------------------------------ answering

    def response(self, lookup: Lookup, value: Landing) -> Response:
        """The caller's own `Response`, its `data` parsed afresh; raises the caller's own error."""
        if isinstance(value, Failed):
            raise value.make()
        answer = value if isinstance(value, Answer) else value.answer
        data = None if lookup.output is None else self._parsed(lookup.output, value, answer)
        total_s = self._now() - lookup.submitted_at
        if isinstance(value, Answer):
            self._samples.add_cached(value.endpoint, total_s)
            timings = Timings(queue_s=0.0, ttft_s=None, service_s=0.0, total_s=total_s)
            return Response(answer, data, NO_USAGE, "cache", 0, lookup.number, timings)
        if value.source == "call":
            self.claimed = self.claimed + value.usage
        timings = Timings(queue_s=value.queue_s, ttft_s=value.ttft_s, service_s=value.service_s, total_s=total_s)
        return Response(answer, data, value.usage, value.source, value.attempts, lookup.number, timings)

    @staticmethod
    def _parsed(output: Output, value: Answer | Landed, answer: Answer) -> Any:
        """The data in `answer`.  It was valid where it was made; for this caller's own `parse` it need not be."""
        try:
            return output.parse(answer.text)
        except Exception as exc:  # the user's code: whatever it raises, the bill must not be lost
            landed = value if isinstance(value, Landed) else None
            raise OutputInvalidError(
                f"{answer.endpoint}: output_schema: {text_of(exc)}",
                attempts=landed.attempts if landed else 0,
                partial=answer.text,
                usage=landed.usage if landed else NO_USAGE,
                endpoint=answer.endpoint,
            ) from exc
