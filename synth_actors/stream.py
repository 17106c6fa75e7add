"""How does one subscriber read a stream?"""

from __future__ import annotations

import trio
from trio.lowlevel import enable_ki_protection

from synth_actors.errors import GenerationError, OutputInvalidError
from synth_actors.feed import Texts
from synth_actors.front import Front, Landing
from synth_actors.messages import Landed, Lookup
from synth_actors.reply import Failed
from synth_actors.types import Answer, Chunk, Request, Response
from synth_actors.usage import NO_USAGE, Usage


class ResponseStream(trio.abc.ReceiveChannel[Chunk]):
    """The chunks of one answer, from the first one on, and the whole response.

    Any number of subscribers may read the same answer, each at its own pace, for one paid call.  If an attempt fails
    before this subscriber has read a chunk, it goes on with the next attempt; after that, the failure is raised.
    """

    def __init__(self, front: Front, lookup: Lookup, hit: Answer | None) -> None:
        self._front = front
        self._lookup = lookup
        self._landing: Landing | None = hit
        self._waits = hit is None
        self._texts: Texts | None = None
        self._read = 0
        self._response: Response | None = None
        self._error: Exception | None = None
        self._closed = False
        self._parked = False

    @classmethod
    async def open(cls, front: Front, request: Request) -> ResponseStream:
        """Ask for `request` and join its flight as a reader."""
        lookup = front.lookup(request, stream=True)
        front.submitted += 1
        try:
            hit = await front.enter(lookup)
        except Exception as exc:
            front.note_failure(lookup, exc)
            raise
        except BaseException:
            front.note_cancelled(lookup)
            raise
        if hit is None:
            front.hand_over(lookup)
        return cls(front, lookup, hit)

    @enable_ki_protection
    async def receive(self) -> Chunk:
        """The next chunk.

        Raises:
            trio.EndOfChannel: the answer is whole.
            trio.ClosedResourceError: the stream was closed.
            trio.BusyResourceError: another task waits for this stream; each reader opens its own.
            GenerationError: the attempt being read failed (`partial` is what it had said), or the request did.
            DeadlineExceededError: `timeout_s` is over.
        """
        if self._has_news():  # else waiting is a checkpoint
            await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError
        self._check_time()
        while (chunk := self._next()) is None:
            await self._wait()
        return chunk

    @enable_ki_protection
    async def response(self) -> Response:
        """The final response: usage, cost, validated data.  Does not need the chunks to be read.

        Raises:
            GenerationError: the request failed.
            DeadlineExceededError: `timeout_s` is over.
        """
        await trio.lowlevel.checkpoint()
        self._check_time()
        while self._response is None:
            if self._error is not None:
                raise self._error
            self._look()
            if self._landing is None:
                if self._closed:
                    raise trio.ClosedResourceError
                await self._wait()
            else:
                self._respond(self._landing)
        return self._response

    async def aclose(self) -> None:
        """Leave the stream.  If nobody else wants the answer, the call is cancelled."""
        self.close()
        await trio.lowlevel.checkpoint()

    @enable_ki_protection
    def close(self) -> None:
        """Leave the stream, without a checkpoint."""
        if self._closed:
            return
        self._closed = True
        self._look()
        self._leave()
        self._count()
        self._lookup.reply.nudge()  # whoever waits in another task is told

    # ------------------------------------------------------------------------------------------------ reading

    def _has_news(self) -> bool:
        """Whether `receive` has something to say at once."""
        if self._closed or self._error is not None:
            return True
        self._look()
        if self._landing is not None:
            return True
        texts = self._current()
        return texts is not None and (self._read < len(texts.pieces) or texts.problem is not None)

    def _next(self) -> Chunk | None:
        """The next chunk, None to wait; raises at the end."""
        if self._error is not None:
            raise self._error
        self._look()
        texts = self._current()
        if texts is not None and self._read < len(texts.pieces):
            return self._chunk(texts.pieces[self._read])
        if texts is not None and texts.problem is not None:
            raise self._broken(texts)
        if self._landing is None:
            return None
        if self._response is None:
            self._respond(self._landing)
        text = "" if self._response is None else self._response.text
        if self._read or not text:
            raise trio.EndOfChannel
        return self._chunk(text)  # it was not streamed, or it came from the cache

    def _current(self) -> Texts | None:
        """The list being read; whoever has read nothing of a failed one moves to the next."""
        if self._texts is None or (self._texts.problem is not None and not self._read):
            route = self._lookup.route
            current = None if route is None else route.feed.current
            self._texts = None if current is None or current.problem is not None else current
        return self._texts

    def _chunk(self, text: str) -> Chunk:
        chunk = Chunk(text, self._read)
        self._read += 1
        return chunk

    def _broken(self, texts: Texts) -> Exception:
        partial = "".join(texts.pieces)
        if self._response is None and isinstance(self._landing, Failed):  # the request itself is over
            error = self._landing.make()
            if isinstance(error, GenerationError):
                error.partial = error.partial or partial
            self._error = error
            return error
        broken = GenerationError(
            texts.problem or "",
            attempts=self._lookup.route.calls if self._lookup.route else 0,
            partial=partial,
            usage=NO_USAGE if self._response is not None else self._share(),
            retryable=True,
            endpoint=texts.endpoint,
        )
        if self._response is None:  # else the request has ended well, and only this text of it has not
            self._error = broken
            self._leave()
        return broken

    def _share(self) -> Usage:
        """What a reader who stops at the end of a text carries away of the bill, of later attempts, too."""
        if isinstance(self._landing, Landed):  # one of them was answered meanwhile
            return self._landing.usage
        pays = self._front.settle(self._lookup)
        return self._lookup.route.used if self._lookup.route is not None and pays else NO_USAGE

    # ------------------------------------------------------------------------------------------------ waiting

    async def _wait(self) -> None:
        if self._parked:  # the other one would never be woken
            raise trio.BusyResourceError("another task waits for this stream; open one for each reader")
        self._parked = True
        try:
            await self._front.park(self._lookup)
        except GenerationError as exc:
            self._error = exc
            self._leave()  # also if the block goes on: nobody may be paying for it
            raise
        finally:
            self._parked = False
        if self._closed:
            raise trio.ClosedResourceError

    def _check_time(self) -> None:
        """A reader that was busy elsewhere when its time ended is told now, unless the answer was there in time."""
        self._look()
        if self._landing is None and self._error is None and not self._closed and self._front.is_late(self._lookup):
            self._error = self._front.too_late(self._lookup)
            self._leave()

    def _leave(self) -> None:
        """Wait no longer: a call that nobody else wants is cancelled."""
        if self._waits:
            self._waits = False
            self._front.leave(self._lookup)

    def _look(self) -> None:
        if self._landing is None:
            self._landing = self._lookup.reply.take()
            self._waits = self._waits and self._landing is None

    def _respond(self, landing: Landing) -> Response:
        try:
            self._response = response = self._front.response(self._lookup, landing)
        except Exception as exc:
            self._error = exc
            raise
        return response

    def _count(self) -> None:
        """How this request ended, for the counters: as an answer that arrived, an error, or somebody who left."""
        if self._error is not None:
            self._front.note_failure(self._lookup, self._error)
        elif self._landing is None:
            self._front.note_cancelled(self._lookup)
        elif isinstance(self._landing, Failed):
            self._front.note_failure(self._lookup, self._landing.make())
        else:
            self._count_answer(self._landing)

    def _count_answer(self, landing: Landing) -> None:
        response = self._response
        if response is None:  # nobody asked for it, and it is paid
            try:
                response = self._respond(landing)
            except OutputInvalidError as exc:
                self._front.note_failure(self._lookup, exc)
                return
        self._front.note_success(self._lookup, response)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "landed" if self._landing is not None else "open"
        return f"<ResponseStream {state} read={self._read}>"
