"""Does the tier hold what a dictionary would hold, whatever the clock does and however often it is opened anew?"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_actors.tier import Found, Kept, Tier, open_tier
from tests.tier.support import ENOUGH_BYTES, Clock, kept, key

IDENTITIES = ("anthropic", "openai", "local")
KEYS = 2


@dataclass(frozen=True)
class Post:
    """An answer of an endpoint to a key, stored so many seconds from now."""

    n: int
    identity: str
    offset_s: int
    version: int


@dataclass(frozen=True)
class Fetch:
    """All keys, for these endpoints in this order."""

    identities: tuple[str, ...]


@dataclass(frozen=True)
class Jump:
    """The wall clock jumps."""

    by_s: int


@dataclass(frozen=True)
class Flush:
    """What was posted is in the file before anything else is asked; without one it may be anywhere."""


@dataclass(frozen=True)
class Reopen:
    """The run ends, and another begins."""


Step: TypeAlias = Post | Fetch | Jump | Flush | Reopen

posts = st.builds(
    Post,
    st.integers(0, KEYS - 1),
    st.sampled_from(IDENTITIES),
    st.sampled_from([-60, -1, 0, 0, 0, 30]),
    st.integers(0, 9),
)
fetches = st.builds(
    Fetch, st.permutations(IDENTITIES).flatmap(lambda all_of: st.integers(0, 3).map(lambda n: tuple(all_of[:n])))
)
jumps = st.builds(Jump, st.sampled_from([-1000, -50, -1, 1, 20, 49, 50, 1000]))
steps = st.lists(posts | posts | fetches | jumps | st.just(Flush()) | st.just(Reopen()), min_size=8, max_size=40)


@dataclass
class Model:
    ttl_s: int | None
    clock: Clock
    rows: dict[tuple[int, str], Kept] = field(default_factory=dict)

    def post(self, step: Post) -> Kept:
        answer = kept(step.n, identity=step.identity, stored_at=self.clock.now + step.offset_s, size=step.version * 10)
        self.rows[step.n, step.identity] = answer
        return answer

    def check(self, n: int, identities: Sequence[str], found: Found | None) -> None:
        """The first fresh one; nothing that is not fresh."""
        for identity in identities:
            row = self.rows.get((n, identity))
            if row is None or not self.is_fresh(row):
                continue
            age_s = self.clock.now - row.stored_at
            assert found == Found(row, None if self.ttl_s is None else self.ttl_s - age_s)
            return
        assert found is None

    def is_fresh(self, row: Kept) -> bool:
        age_s = self.clock.now - row.stored_at
        return age_s >= 0 and (self.ttl_s is None or age_s < self.ttl_s)


@settings(max_examples=80)
@given(steps=steps, ttl_s=st.sampled_from([None, 50]))
def test_it_holds_what_a_dictionary_holds(steps: list[Step], ttl_s: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trio.run(play, Path(folder) / "c", steps, ttl_s)


async def play(path: Path, steps: list[Step], ttl_s: int | None) -> None:
    model = Model(ttl_s, Clock())
    while True:
        async with open_tier(path, ttl_s=ttl_s, max_file_bytes=ENOUGH_BYTES, wall=model.clock) as tier:
            steps = await play_run(tier, model, steps)
        if not steps:
            return


async def play_run(tier: Tier, model: Model, steps: list[Step]) -> list[Step]:
    """Play until the run ends; what is left to play."""
    for at, step in enumerate(steps):
        match step:
            case Post():
                tier.post(model.post(step))
            case Flush():
                await tier.flush()
            case Fetch(identities):
                answers = await tier.fetch([key(n) for n in range(KEYS)], identities)
                for n, found in enumerate(answers):
                    model.check(n, identities, found)
            case Jump(by_s):
                model.clock.now += by_s
            case Reopen():
                return steps[at + 1 :]
    return []
