"""Who has paid for what?  A provider writes down what each call has used, and callers write down their bills."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from synth_actors import (
    BudgetExceededError,
    Endpoint,
    Engine,
    EngineClosedError,
    GenerationError,
    OverloadedError,
    Price,
    Request,
    Usage,
)
from synth_actors.providers.base import Call, Completion, Emit, Fault, ProviderError

CHEAP = Price(input_usd_per_mtok=1_000_000 / 1024, output_usd_per_mtok=1_000_000 / 256)
DEAR = Price(input_usd_per_mtok=3_000_000 / 1024, output_usd_per_mtok=3_000_000 / 128)
"""A token costs a whole number of 1024ths of a dollar, so that every sum is exact."""
INPUT_TOKENS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What becomes of one call: `pieces` of a token each, `gap_s` apart, then `fault`, or the whole answer."""

    delay_s: float = 1.0  # after it the prompt is read, and paid
    pieces: int = 4
    gap_s: float = 0.5
    fault: Fault | None = None
    raises: Exception | None = None
    text: str = "abcd"


@dataclass(slots=True)
class Ledger:
    """Dollars by prompt: what the calls for it have cost, and what was carried away of that."""

    spent: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    carried: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    left: set[str] = field(default_factory=set)  # somebody went before they were told how it ended

    @property
    def spent_usd(self) -> float:
        """By all calls."""
        return sum(self.spent.values())

    @property
    def carried_usd(self) -> float:
        """By all responses and errors."""
        return sum(self.carried.values())

    def carry(self, prompt: str, usage: Usage | None) -> None:
        """Somebody was told, and got `usage` with it."""
        if usage is not None:
            assert usage.cost_usd is not None
            self.carried[prompt] += usage.cost_usd


class Metered:
    """Does what `plan` says for the call, says at each step what was used so far, and writes down what it was."""

    def __init__(self, name: str, price: Price, ledger: Ledger, plan: Callable[[Call], Plan]) -> None:
        self.name = name
        self.model = "metered"
        self.identity = f"metered|{name}"
        self.price = price
        self.calls = 0
        self._ledger = ledger
        self._plan = plan

    @property
    def endpoint(self) -> Endpoint:
        """In front of this provider, at its price."""
        return Endpoint(provider=self, model=self.model, name=self.name, price=self.price)

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        """Make the call."""
        self.calls += 1
        plan, used = self._plan(call), Usage()
        try:
            await trio.sleep(plan.delay_s)
            for made in range(plan.pieces + 1):
                used = Usage(input_tokens=INPUT_TOKENS, output_tokens=made)
                call.note_usage(used)
                if made and emit is not None:
                    emit(plan.text[made - 1 : made] or "x")
                await trio.sleep(plan.gap_s)
            if plan.raises is not None:
                raise plan.raises
            if plan.fault is not None:
                raise ProviderError(plan.fault, "as planned", usage=used)
            return Completion(text=plan.text, stop_reason="end", usage=used)
        finally:
            self._ledger.spent[call.request.prompt or ""] += self.cost_usd(used)

    def cost_usd(self, used: Usage) -> float:
        """What that costs here."""
        dollars = (
            used.input_tokens * self.price.input_usd_per_mtok + used.output_tokens * self.price.output_usd_per_mtok
        )
        return dollars / 1_000_000

    async def aclose(self) -> None:
        """Nothing is open."""
        await trio.lowlevel.checkpoint()


@dataclass(slots=True)
class Callers:
    """Ask an engine, and write down what they were told."""

    engine: Engine
    ledger: Ledger

    async def ask(self, request: Request, leaves_after_s: float = 1e6) -> None:
        """Wait for the answer, or go."""
        prompt = request.prompt or ""
        with trio.move_on_after(leaves_after_s):
            try:
                response = await self.engine.generate(request)
            except (GenerationError, EngineClosedError) as exc:
                self.ledger.carry(prompt, exc.usage)
            except (BudgetExceededError, OverloadedError):
                pass  # nothing was sent
            else:
                self.ledger.carry(prompt, response.usage)
            return
        self.ledger.left.add(prompt)

    async def read(
        self, request: Request, chunks: int = 1_000, leaves_after_s: float = 1e6, pause_s: float = 0.0
    ) -> None:
        """Read along, `pause_s` at each chunk, until the end, so many chunks or so long; then leave."""
        prompt = request.prompt or ""
        with trio.move_on_after(leaves_after_s):
            try:
                async with self.engine.stream(request) as stream:
                    async for chunk in stream:
                        chunks -= 1
                        assert chunk.text
                        if not chunks:
                            break
                        await trio.sleep(pause_s)
                    else:
                        self.ledger.carry(prompt, (await stream.response()).usage)
                        return
            except (GenerationError, EngineClosedError) as exc:
                self.ledger.carry(prompt, exc.usage)
                return
            except (BudgetExceededError, OverloadedError):
                return
        self.ledger.left.add(prompt)
