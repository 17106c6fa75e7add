"""Which providers cost nothing but the time they are told to take?"""

from __future__ import annotations

from collections.abc import Callable

import trio

from synth_actors.providers.base import Call, Completion, Emit
from synth_actors.types import Usage

_COMPLETION = Completion(text="ok", stop_reason="end", usage=Usage(input_tokens=10, output_tokens=5))


class Instant:
    """Answers after one checkpoint."""

    name = "instant"
    model = "none"
    identity = "benchmarks|instant"

    async def generate(self, call: Call, emit: Emit | None) -> Completion:  # noqa: ARG002
        """The same answer to everything."""
        await trio.lowlevel.checkpoint()
        return _COMPLETION

    async def aclose(self) -> None:
        """Nothing is open."""
        await trio.lowlevel.checkpoint()


class Sleeping(Instant):
    """Answers after as many seconds as `delay_s` says for the call."""

    name = "sleeping"
    identity = "benchmarks|sleeping"

    def __init__(self, delay_s: Callable[[Call], float]) -> None:
        self._delay_s = delay_s

    async def generate(self, call: Call, emit: Emit | None) -> Completion:  # noqa: ARG002
        """The same answer to everything, late."""
        await trio.sleep(self._delay_s(call))
        return _COMPLETION
