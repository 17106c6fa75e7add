"""What is asked of an engine, and what of it can be asked again without a call?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from benchmarks.closed_loop import Call, Loop
from synth_actors import Engine

MAX_TOKENS = 100
_WHOLE = ("end", "stop")


def prompts(count: int, kind: str) -> Iterator[str]:
    """So many different prompts, other ones for each `kind`."""
    return (f"Sentence {number} about otters ({kind})." for number in range(count))


async def first_call(engine: Engine) -> None:
    """The first call makes and imports what the others find: it is in no figure."""
    await engine.generate("One sentence about otters, and what it takes to open a connection.", max_tokens=MAX_TOKENS)


def asking(engine: Engine, asked: Iterable[str]) -> Iterator[Call]:
    """A call for each prompt."""
    return (partial(engine.generate, prompt, max_tokens=MAX_TOKENS) for prompt in asked)


class Hits:
    """Prompts that the cache can answer, and whether it did.

    An answer that is cut or refused is in no cache.  Of a model that likes long answers every one may be cut, and each
    of thousands of "hits" would be a call, paid at that: only prompts with a whole answer are asked again, and the
    engine is asked how many of them were hits.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._answered: list[str] = []
        self._before = 0

    def remembering(self, asked: Iterable[str]) -> Iterator[Call]:
        """A call for each prompt; what has a whole answer can be asked `again`."""
        return (partial(self._ask, prompt) for prompt in asked)

    async def _ask(self, prompt: str) -> None:
        response = await self._engine.generate(prompt, max_tokens=MAX_TOKENS)
        if response.stop_reason in _WHOLE:
            self._answered.append(prompt)

    def again(self, calls: int) -> Iterator[Call]:
        """So many calls for what was answered, in turns; none when nothing was."""
        self._before = self._engine.metrics_now().cache.hits
        answered = self._answered
        return asking(self._engine, (answered[number % len(answered)] for number in range(calls if answered else 0)))

    def problem(self, again: Loop) -> str | None:
        """Why the calls of `again` are no figure of the cache; None when all of them were hits."""
        if not self._answered:
            return f"no answer was whole within {MAX_TOKENS} tokens, and what is cut or refused is not cached"
        hits, calls = self._engine.metrics_now().cache.hits - self._before, len(again.durations_s) + again.failures
        return f"of {calls} requests for cached answers {calls - hits} were no hits" if hits < calls else None
