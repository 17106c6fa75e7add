"""How does what the cache asks reach the file, and come back?

The worker between the CacheActor and the durable tier: one hop to a thread for each question, however many keys it
has, and what is to be kept is queued for the tier's writer, which nobody waits for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from synth_actors.actors.actor import Worker
from synth_actors.actors.mailbox import Mailbox
from synth_actors.messages import ABSENT, Absent, Fetch, Fetched, Keep, Loaded
from synth_actors.policy.answers import Made
from synth_actors.snapshot import DurableSnapshot
from synth_actors.tier.kept import Found, Kept
from synth_actors.tier.tier import Tier
from synth_actors.types import Answer

StoreMessage = Fetch | Keep


class StoreActor(Worker[StoreMessage]):
    """Who takes a `Fetch` owes exactly one `Fetched`; the tier itself answers whatever the disk does."""

    def __init__(
        self, mailbox: Mailbox[StoreMessage], *, cache: Mailbox[Any], tier: Tier, endpoints: Mapping[str, str]
    ) -> None:
        super().__init__(mailbox)
        self._cache = cache
        self._tier = tier
        self._endpoints = endpoints  # names by identity, in the order of preference
        self._identities = tuple(endpoints)

    async def handle(self, message: StoreMessage) -> None:
        """Look up, or queue for writing."""
        match message:
            case Fetch(routes):
                found = await self._tier.fetch([route.key for route in routes], self._identities)
                self._cache.send(Fetched(message, [self._verdict(each) for each in found]))
            case Keep():
                self._keep(message)
            case _:
                assert_never(message)

    def give_up_in_hand(self, cause: BaseException) -> None:
        """What was being asked is asked of the endpoints instead."""
        for message in self._in_hand:
            if isinstance(message, Fetch):
                self._cache.tell(Fetched(message, [ABSENT] * len(message.routes)))
        self._in_hand.clear()

    def on_stop(self, unread: list[StoreMessage], cause: BaseException | None) -> None:
        """What was paid is written down; who asked has been told by the cache that the engine is closed."""
        for message in unread:
            if isinstance(message, Keep):
                self._keep(message)

    def _verdict(self, found: Found | None) -> Loaded | Absent:
        if found is None:
            return ABSENT
        kept = found.kept
        name = self._endpoints[kept.identity]  # another run may have called it otherwise
        answer = Answer(text=kept.text, stop_reason=kept.stop_reason, endpoint=name, model=kept.model)
        return Loaded(Made(answer, kept.identity, kept.tokens, kept.cost_usd), found.remaining_s)

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
            )
        )

    def snapshot(self) -> DurableSnapshot:
        """The tier's counters and state."""
        return self._tier.statistics()

    def __repr__(self) -> str:
        return f"<Store {self._tier!r}>"

