"""How are many requests made at once, and their outcomes read as they come?"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sized
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext, suppress
from typing import TypeVar

import trio

from synth_actors.errors import EngineClosedError
from synth_actors.scopes import nursery_for_body, whole_context
from synth_actors.types import Outcome, Response

T = TypeVar("T")
Requests = Iterable[T] | AsyncIterable[T]
Generate = Callable[[T], Awaitable[Response]]


class Outcomes(trio.abc.ReceiveChannel[Outcome]):
    """The outcomes of a batch as they complete.

    At most `room` requests are between the input and the reader: a reader that stops stops the puller.  If the input
    raised, the outcomes of what was taken from it come first, then its exception.
    """

    def __init__(self, room: int) -> None:
        self._send, self._receive = trio.open_memory_channel[Outcome](room)
        self._room = trio.Semaphore(room)
        self._taken = 0
        self._engine_closed = False
        self._input_error: Exception | None = None

    async def receive(self) -> Outcome:
        """The next outcome.

        Raises:
            trio.EndOfChannel: all outcomes were read.
            Exception: whatever the input raised, once all other outcomes were read.
        """
        try:
            outcome = await self._receive.receive()
        except trio.EndOfChannel:
            if self._input_error is None:
                raise
            raise self._input_error from None
        self._room.release()
        return outcome

    async def aclose(self) -> None:
        """Stop reading.  What only this batch awaits is cancelled when the `async with` block ends."""
        await self._receive.aclose()

    async def _pull(self, requests: Requests[T], generate: Generate[T]) -> None:
        async with trio.open_nursery() as nursery, self._send:
            items = requests if isinstance(requests, AsyncIterable) else _each(requests)
            try:
                async with _closing(items):
                    await self._submit_all(nursery, aiter(items), generate, endless=not isinstance(requests, Sized))
            except Exception as exc:  # noqa: BLE001  (the input's own: the reader gets it, after the outcomes)
                self._input_error = exc

    async def _submit_all(
        self, nursery: trio.Nursery, items: AsyncIterator[T], generate: Generate[T], *, endless: bool
    ) -> None:
        while True:
            await self._room.acquire()  # first: what is taken from the input is on its way to the reader
            if endless and self._engine_closed:  # else it would be read for ever, for nothing
                raise EngineClosedError(f"the engine was closed after {self._taken} requests were taken from the input")
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
            nursery.start_soon(self._one, self._taken, item, generate, self._send.clone())
            self._taken += 1

    async def _one(
        self,
        index: int,
        item: T,
        generate: Generate[T],
        send: trio.MemorySendChannel[Outcome],
    ) -> None:
        with send:
            try:
                outcome = Outcome(index=index, response=await generate(item))
            except Exception as exc:  # noqa: BLE001  (one that fails, however, never loses the others)
                outcome = Outcome(index=index, error=exc)
                self._engine_closed |= isinstance(exc, EngineClosedError)
            with suppress(trio.BrokenResourceError):  # the reader has left; the batch is about to be cancelled
                send.send_nowait(outcome)


@whole_context
async def open_batch(requests: Requests[T], generate: Generate[T], room: int) -> AsyncIterator[Outcomes]:
    """Make `requests` with `generate`, at most `room` between the input and the reader."""
    outcomes = Outcomes(room)
    async with nursery_for_body() as nursery:
        nursery.start_soon(outcomes._pull, requests, generate)
        yield outcomes


def _closing(requests: AsyncIterable[T]) -> AbstractAsyncContextManager[object]:
    """An async generator is closed when it is left half-way; other iterables belong to their owner."""
    return aclosing(requests) if isinstance(requests, AsyncGenerator) else nullcontext()


async def _each(requests: Iterable[T]) -> AsyncGenerator[T, None]:
    for item in requests:
        yield item
