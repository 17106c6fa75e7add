"""A durable tier in memory that takes its time, for engines under a mock clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from synth_actors.snapshot import DurableSnapshot
from synth_actors.tier import Found, Kept


class SlowTier:
    """Answers `fetch` after `delay_s`; what was posted is there at once.  `questions` are the keys of each fetch."""

    def __init__(self, delay_s: float = 1.0) -> None:
        self.delay_s = delay_s
        self.rows: dict[tuple[bytes, str], Kept] = {}
        self.remaining_s: float | None = None
        self.questions: list[list[bytes]] = []
        self.crash: Exception | None = None
        self.hits = 0

    async def fetch(self, keys: Sequence[bytes], identities: Sequence[str]) -> list[Found | None]:
        self.questions.append(list(keys))
        await trio.sleep(self.delay_s)
        if self.crash is not None:
            crash, self.crash = self.crash, None
            raise crash
        return [self._found(key, identities) for key in keys]

    def _found(self, key: bytes, identities: Sequence[str]) -> Found | None:
        for identity in identities:
            if (kept := self.rows.get((key, identity))) is not None:
                self.hits += 1
                return Found(kept, self.remaining_s)
        return None

    def post(self, kept: Kept) -> None:
        self.rows[kept.key, kept.identity] = kept

    def statistics(self) -> DurableSnapshot:
        return DurableSnapshot(hits=self.hits)


def in_place_of_the_file(patch: pytest.MonkeyPatch, tier: SlowTier) -> None:
    """Engines with a `CacheConfig.path` get `tier`."""

    @asynccontextmanager
    async def open_tier(path: Path, **_: Any) -> AsyncIterator[SlowTier]:
        yield tier

    patch.setattr("synth_actors.wiring.open_tier", open_tier)
