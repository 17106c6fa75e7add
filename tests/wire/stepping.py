"""What does a request leave behind, wherever it is cut off?

    async with serving(context) as server:
        for step in every_cancellation("any"):
            async with session(server, verify, Reuse()) as at:
                with generators_end(), step:
                    await at.client.get("/whole/1")
                await at.check()

Whether the step's cancellation ended it or not: no socket of the client's is open but those that its pool says
are idle, its only place is free, every asynchronous generator has come to its end, and the server has seen whole
requests and closed connections, nothing between.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from types import AsyncGeneratorType
from typing import Any, Literal

import httpx2
import psutil
import trio

from synth_actors.wire.reuse import Reuse
from synth_actors.wire.transport import LeanTransport
from tests.stepping import MOST_STEPS, Step
from tests.wire.counted_server import PATIENCE_S, CountedServer

ONE_PLACE = httpx2.Limits(max_connections=1, max_keepalive_connections=None, keepalive_expiry=None)


class Moment(Step):
    """A `Step` at whose moment nothing is cancelled: `came` is set, and somebody else may act."""

    def __init__(self, number: int, watch: Literal["own", "any"]) -> None:
        super().__init__(number, watch)
        self.came = trio.Event()

    def _fire(self) -> None:
        self.fired = True
        self.came.set()


def every_moment(watch: Literal["own", "any"]) -> Iterator[Moment]:
    """One `Moment` for each at which the work can be met; the last one never comes."""
    for number in count():
        moment = Moment(number, watch)
        yield moment
        assert moment.entered, "the body of the loop did not enter the moment: it would run for ever"
        assert number < MOST_STEPS, "the work takes more steps every time, or never completes"
        if not moment.fired:
            return


class Body:
    """A request's body that somebody makes piece by piece; it notes whether it was begun, and ended."""

    def __init__(self, pieces: int, *, fails: BaseException | None = None) -> None:
        self.is_open = False
        self._pieces = pieces
        self._fails = fails

    async def made(self) -> AsyncGenerator[bytes, None]:
        self.is_open = True
        try:
            for number in range(self._pieces):
                await trio.lowlevel.checkpoint()
                yield b"%d" % number
            if self._fails is not None:
                raise self._fails
        finally:
            self.is_open = False
            await trio.lowlevel.checkpoint()  # its clean-up takes a turn, and may be cancelled


class ClosesWhenTried(Reuse):
    """The server closes its connections at the one moment when nobody can notice: behind the last look at one."""

    def __init__(self, server: CountedServer) -> None:
        super().__init__()
        self._server = server

    def tried(self, *, was_closed: bool, in_chunks: bool = False) -> None:
        super().tried(was_closed=was_closed, in_chunks=in_chunks)
        if not was_closed:
            self._server.end_all()


@dataclass(slots=True)
class Session:
    """A server, and a client with place for one connection to it."""

    server: CountedServer
    transport: LeanTransport
    client: httpx2.AsyncClient
    reuse: Reuse
    files_before: int
    bodies: list[Body] = field(default_factory=list)

    def body(self, pieces: int = 3, *, fails: BaseException | None = None) -> AsyncGenerator[bytes, None]:
        """A body that must have come to its end when all is over."""
        body = Body(pieces, fails=fails)
        self.bodies.append(body)
        return body.made()

    @property
    def idle(self) -> int:
        """Connections that are kept; there are no others."""
        said = re.search(r"(\d+) active, (\d+) idle", repr(self.transport))
        assert said is not None, repr(self.transport)
        active, idle = map(int, said.groups())
        assert active == 0, f"{active} connections of nobody"
        return idle

    async def check(self) -> None:
        """Nothing is left of what was cut off."""
        idle = self.idle
        sockets = open_files() - self.files_before - len(self.server.open)
        assert sockets == idle, f"{sockets} sockets are open, {idle} of them for the next request"
        assert not any(body.is_open for body in self.bodies), "a body of a request was not closed"
        await self.server.until_idle(idle)
        assert max(self.server.whole.values(), default=0) <= 1, "a request was made twice"
        self.server.whole.clear()

    async def check_next(self) -> None:
        """The place is free, and what is kept is usable."""
        with trio.fail_after(PATIENCE_S):
            assert (await self.client.get("/whole/next")).text == "whole"


@asynccontextmanager
async def session(server: CountedServer, verify: ssl.SSLContext, reuse: Reuse) -> AsyncIterator[Session]:
    """A client on a new transport; all its sockets must be closed when it is."""
    files_before = open_files()
    assert not server.open
    transport = LeanTransport(verify, limits=ONE_PLACE, reuse=reuse)
    async with httpx2.AsyncClient(
        transport=transport, base_url=server.url, trust_env=False, timeout=PATIENCE_S
    ) as client:
        yield Session(server, transport, client, reuse, files_before)
    assert repr(transport) == "<LeanTransport <Connections 0 active, 0 idle>>"
    assert open_files() - len(server.open) == files_before, "sockets are open after the transport was closed"
    await server.until_idle(0)


def open_files() -> int:
    """How many files this process has open; sockets are files."""
    if os.path.isdir("/proc/self/fd"):
        return len(os.listdir("/proc/self/fd"))
    return int(psutil.Process().num_fds())


@contextmanager
def generators_end() -> Iterator[None]:
    """Every asynchronous generator that is begun in the block, by whomever, has come to its end when the block ends."""
    hooks = sys.get_asyncgen_hooks()
    begun: list[AsyncGeneratorType[Any, Any]] = []

    def note(generator: AsyncGenerator[Any, Any]) -> None:
        assert isinstance(generator, AsyncGeneratorType)
        begun.append(generator)
        if hooks.firstiter is not None:
            hooks.firstiter(generator)

    sys.set_asyncgen_hooks(firstiter=note)
    try:
        yield
    finally:
        sys.set_asyncgen_hooks(firstiter=hooks.firstiter)
    left = [generator for generator in begun if generator.ag_frame is not None]
    assert not left, f"left to the garbage collector: {left}"
