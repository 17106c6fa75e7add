"""How does what the cache asks reach the file, and come back?

The worker between the CacheActor and the durable tier: one hop to a thread for each question, however many keys it
has, and what is to be kept is queued for the tier's writer, which nobody waits for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never

from synth_actors.actors.actor import Worker
from synth_actors.actors.mailbox import Mailbox
from synth_actors.messages import ABSENT, Absent, Fetch, Fetched, Keep, Loaded, Route
from synth_actors.policy.answers import Made
from synth_actors.snapshot import DurableSnapshot
from synth_actors.tier import Found, Kept, Tier
from synth_actors.types import Answer

StoreMessage = Fetch | Keep


class StoreActor(Worker[StoreMessage]):
    """Who takes a `Fetch` owes exactly one `Fetched`; the tier itself answers whatever the disk does."""

    def __init__(
        self,
        mailbox: Mailbox[StoreMessage],
        *,
        cache: Mailbox[Any],
        tier: Tier,
        endpoints: Sequence[tuple[str, str]],
        wall: Callable[[], float] = lambda: time.time(),  # looked up each time: it is what tests and jumps change
    ) -> None:
        """`endpoints` are the identities and names of this engine's, in the order of preference."""
        super().__init__(mailbox)
        self._cache = cache
        self._tier = tier
        self._endpoints = endpoints
        self._wall = wall

    async def handle(self, message: StoreMessage) -> None:
        """Look up, or queue for writing."""
        match message:
            case Fetch():
                self._cache.send(Fetched(message, await self._found(message.routes)))
            case Keep():
                self._keep(message)
            case _:
                assert_never(message)

    async def _found(self, routes: list[Route]) -> list[Loaded | Absent]:
        """For each route what may be served: only what an endpoint has made that the request may go to."""
        found: dict[Route, Loaded | Absent] = {}
        for names, group in _by_endpoints(routes).items():
            allowed = self._allowed(names)
            rows = await self._tier.fetch([route.key for route in group], tuple(allowed))
            found.update({route: _verdict(row, allowed) for route, row in zip(group, rows, strict=True)})
        return [found[route] for route in routes]

    def _allowed(self, names: tuple[str, ...] | None) -> dict[str, str]:
        """Names by identity, in the order of preference; of two endpoints with one identity the first."""
        allowed: dict[str, str] = {}
        for identity, name in self._endpoints:
            if names is None or name in names:
                allowed.setdefault(identity, name)
        return allowed

    def give_up_in_hand(self, cause: BaseException) -> None:  # noqa: ARG002
        """What was being asked is asked of the endpoints instead."""
        for message in self._in_hand:
            if isinstance(message, Fetch):
                self._cache.tell(Fetched(message, [ABSENT] * len(message.routes)))
        self._in_hand.clear()

    def on_stop(self, unread: list[StoreMessage], cause: BaseException | None) -> None:  # noqa: ARG002
        """What was paid is written down; who asked has been told by the cache that the engine is closed."""
        for message in unread:
            if isinstance(message, Keep):
                self._keep(message)

    def _keep(self, message: Keep) -> None:
        answer, identity, tokens, cost_usd = message.made
        self._tier.post(
            Kept(
                key=message.key,
                identity=identity,
                text=answer.text,
                stop_reason=answer.stop_reason,
                endpoint=answer.endpoint,
                model=answer.model,
                tokens=tokens,
                cost_usd=cost_usd,
                stored_at=self._wall(),
            )
        )

    def snapshot(self) -> DurableSnapshot:
        """The tier's counters and state."""
        return self._tier.statistics()

    def __repr__(self) -> str:
        return f"<Store {self._tier!r}>"


def _by_endpoints(routes: list[Route]) -> dict[tuple[str, ...] | None, list[Route]]:
    """The routes by the endpoints that their requests name; for most of them that is None, any."""
    groups: dict[tuple[str, ...] | None, list[Route]] = {}
    for route in routes:
        groups.setdefault(route.request.endpoints, []).append(route)
    return groups


def _verdict(found: Found | None, names: Mapping[str, str]) -> Loaded | Absent:
    if found is None:
        return ABSENT
    kept = found.kept
    name = names[kept.identity]  # another run may have called it otherwise
    reason: Any = kept.stop_reason  # a `StopReason`: the row's checksum says that it is what was written
    answer = Answer(text=kept.text, stop_reason=reason, endpoint=name, model=kept.model)
    return Loaded(Made(answer, kept.identity, kept.tokens, kept.cost_usd), found.remaining_s)
