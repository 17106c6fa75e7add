"""How is the engine put together, and what can one ask of it?

**Capacities.**  Backpressure waits at the front door, so inside every message must find room.  With W = `max_waiting`
places and C = `max_concurrency` tokens:

- Cache.  A place is behind at most one `Lookup` and one `Abandoned` at a time, since it goes back only when the latter is
  taken: 2 W.  `Generated` comes once a flight; there are at most W flights with somebody waiting, and of the deserted
  ones only those whose attempt still runs can report: W + C.  `hit_only` lookups are inline only.
- Router.  Trio runs every task once a round and an actor takes all that is there, so at most two rounds' messages meet:
  in one, W callers lead (`Route`) and W flights are deserted (`Drop`): 4 W.  `Finished` comes once a live attempt: C.
- Generators.  One `Generate` for each token: C.
- Watchdog, metrics: one message of each asker; askers are callers of `metrics` and `optimize`: unbounded, and tiny.

`_SPARE` more take the rest: caps, shrinks, closing.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import Any, Unpack, overload

import trio

from synth_actors.actors.cache import CacheActor
from synth_actors.actors.generator import GeneratorActor, GeneratorPool, Line
from synth_actors.actors.mailbox import Mailbox
from synth_actors.actors.router import RouterActor
from synth_actors.actors.supervisor import Supervisor
from synth_actors.attempt_log import AttemptLog
from synth_actors.batch import Outcomes, Requests, open_batch
from synth_actors.config import Endpoint, EngineConfig, as_endpoint
from synth_actors.door import FrontDoor
from synth_actors.errors import ConfigError
from synth_actors.front import Front
from synth_actors.messages import CloseRouter
from synth_actors.policy.budget import Budget
from synth_actors.policy.cache_index import CacheIndex
from synth_actors.policy.endpoints import EndpointState
from synth_actors.policy.progress import Limits
from synth_actors.policy.routing import STRATEGIES
from synth_actors.providers.base import Provider
from synth_actors.providers.build import build_provider
from synth_actors.providers.prices import price_of
from synth_actors.samples import SampleBuffer
from synth_actors.scopes import nursery_for_body
from synth_actors.stream import ResponseStream
from synth_actors.types import Outcome, Request, RequestFields, Response

_SPARE = 64
CLOSING_S = 2.0
"""How long attempts and connections may take to close after they were cancelled."""


class Engine:
    """What `open_engine` gives.  Every method may be called from any task of the same trio run."""

    def __init__(self, config: EngineConfig, front: Front) -> None:
        self.config = config
        self._front = front

    @overload
    async def generate(self, request: Request, /) -> Response: ...
    @overload
    async def generate(self, request: str, /, **fields: Unpack[RequestFields]) -> Response: ...
    async def generate(self, request: Request | str, /, **fields: Any) -> Response:
        """Send one request and wait for its response.  `request` is a `Request`, or a prompt with its fields as keywords.

        Raises:
            ConfigError: the request is wrong, or names an endpoint that this engine does not have.
            OverloadedError: the engine is full and `on_full="refuse"`.
            BudgetExceededError: the call might pass `budget_usd`.
            DeadlineExceededError: `timeout_s` is over.
            RateLimitedError: every endpoint was closed for longer than `outage_patience_s`.
            OutputInvalidError: the model did not give what `output_schema` asks for.
            GenerationError: anything else that went wrong with the call; it says what it cost.
            EngineClosedError: the engine was closed meanwhile.
        """
        return await self._front.generate(as_request(request, fields) if fields or type(request) is str else request)

    @overload
    def stream(self, request: Request, /) -> Any: ...
    @overload
    def stream(self, request: str, /, **fields: Unpack[RequestFields]) -> Any: ...
    @asynccontextmanager
    async def stream(self, request: Request | str, /, **fields: Any) -> AsyncIterator[ResponseStream]:
        """Read an answer while it is made: an async context manager that gives a `ReceiveChannel` of `Chunk`.

        Leaving the block leaves the stream; a call that nobody waits for any more is cancelled.

        Raises:
            ConfigError, OverloadedError, EngineClosedError: on entering, as `generate`.  The errors of a call are raised
                by the stream's `receive` and `response`.
        """
        stream = await ResponseStream.open(self._front, as_request(request, fields))
        try:
            yield stream
        finally:
            stream.close()

    @asynccontextmanager
    async def batch(
        self, requests: Requests[Request | str], **fields: Unpack[RequestFields]
    ) -> AsyncIterator[Outcomes]:
        """Make many requests: an async context manager that gives a `ReceiveChannel` of `Outcome`, as they complete.

        `requests` is an iterable or async iterable of `Request` or prompts (which take `fields`); it is read as outcomes
        are, never more than 2 x `max_concurrency` ahead.  An exception that it raises reaches the reader after the
        outcomes of what was read before.  Leaving the block stops what only this batch awaits.
        """

        async def generate(item: Request | str) -> Response:
            return await self._front.generate(as_request(item, fields if isinstance(item, str) else {}))

        async with open_batch(requests, generate, room=2 * self.config.max_concurrency) as outcomes:
            yield outcomes

    async def generate_batch(
        self, requests: Requests[Request | str], **fields: Unpack[RequestFields]
    ) -> list[Outcome]:
        """The outcomes of many requests in the order of the input.  A failed one never loses the others."""
        found: list[Outcome] = []
        async with self.batch(requests, **fields) as outcomes:
            async for outcome in outcomes:
                found.append(outcome)  # noqa: PERF401  (an async comprehension would hide the loop that may raise)
        return sorted(found, key=lambda outcome: outcome.index)

    def __repr__(self) -> str:
        return f"<Engine {self._front!r}>"


def as_request(value: Request | str, fields: Any) -> Request:
    """A `Request` as it is, or one made of a prompt and its fields.

    Raises:
        ConfigError: fields are wrong, or were given beside a `Request`.
    """
    if isinstance(value, str):
        return Request(prompt=value, **fields)
    if not isinstance(value, Request):
        raise ConfigError(f"request: {value!r} is neither a str nor a Request")
    if fields:
        raise ConfigError(f"request: put {', '.join(sorted(fields))} into the Request; keywords go with a str prompt")
    return value
