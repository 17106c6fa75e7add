"""What does a provider do that is told what to do, call by call?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import trio

from synth_actors.providers.base import Call, Completion, Emit, Fault, ProviderError
from synth_actors.types import NO_USAGE, StopReason, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one call comes to.

    After `delay_s` seconds either `fault` is raised, or `text` is answered in `chunks` pieces that are `gap_s` seconds
    apart.  With a fault, the first `chunks_before_fault` pieces are emitted before it, and `fault_usage` is what the
    failed call has used, `status` its HTTP status.  `raises` is raised as it is, like a bug of a provider.
    """

    text: str = "ok"
    delay_s: float = 0.0
    chunks: int = 1
    gap_s: float = 0.0
    stop_reason: StopReason = "end"
    usage: Usage = field(default_factory=lambda: Usage(input_tokens=10, output_tokens=5))
    fault: Fault | None = None
    message: str = "scripted"
    status: int | None = None
    retry_after_s: float | None = None
    fault_usage: Usage = NO_USAGE
    chunks_before_fault: int = 0
    raises: BaseException | None = None


Script = Callable[[Call], Step] | Iterable[Step]
"""What a `ScriptedProvider` does: the step for a call, or the steps of one call after another."""


class ScriptedProvider:
    """A provider that does what it is told.

    `script` is either a function from the call to its `Step`, or an iterable of steps, taken call by call; after the
    last one every call is answered with "ok".  `calls` are the calls in order, `active` how many run now, `peak` how
    many ran at once at most, `cancelled` how many were cancelled.  Every call is kept: in a run of many thousands,
    clear `calls` now and then.
    """

    def __init__(
        self, script: Script = (), *, name: str = "scripted", model: str = "script", identity: str = ""
    ) -> None:
        self.name = name
        self.model = model
        self.identity = identity or f"scripted|{name}|{model}"
        self.calls: list[Call] = []
        self.active = self.peak = self.cancelled = 0
        self.closed = False
        self._decide = script if callable(script) else _in_order(iter(script))

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        """Make the next step of the script."""
        self.calls.append(call)
        step = self._decide(call)
        self.active += 1
        self.peak = max(self.peak, self.active)
        try:
            return await self._perform(step, emit)
        except trio.Cancelled:
            self.cancelled += 1
            raise
        finally:
            self.active -= 1

    async def _perform(self, step: Step, emit: Emit | None) -> Completion:
        await trio.sleep(step.delay_s)
        if step.raises is not None:
            raise step.raises
        pieces = list(_pieces(step.text, step.chunks))
        wanted = pieces if step.fault is None else pieces[: step.chunks_before_fault]
        for piece in wanted if emit is not None else []:
            emit(piece)  # type: ignore[misc]
            await trio.sleep(step.gap_s)
        if step.fault is not None:
            raise ProviderError(
                step.fault,
                step.message,
                status=step.status,
                retry_after_s=step.retry_after_s,
                usage=step.fault_usage,
            )
        return Completion(text=step.text, stop_reason=step.stop_reason, usage=step.usage)

    async def aclose(self) -> None:
        """Note that the engine has closed it."""
        self.closed = True
        await trio.lowlevel.checkpoint()

    def __repr__(self) -> str:
        return f"<ScriptedProvider {self.name} calls={len(self.calls)} active={self.active}>"


def _in_order(steps: Iterator[Step]) -> Callable[[Call], Step]:
    return lambda _call: next(steps, Step())


def _pieces(text: str, count: int) -> Iterator[str]:
    size = max(1, -(-len(text) // max(1, count)))
    for start in range(0, len(text), size):
        yield text[start : start + size]
