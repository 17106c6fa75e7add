"""How does an engine do in front of a server with limits that nobody told it?

Time is `trio.current_time()`, so under `MockClock` an hour takes as long as its events cost.  It counts from the first
call on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import trio

from synth_actors.providers.base import Call, Completion, Emit, Fault, Metering, ProviderError, RateLimits
from synth_actors.testing.hidden_limits import Admitted, Gate, HiddenLimits, Refused
from synth_actors.testing.prompts import holds_keyword, prompt_of, said, tokens_of
from synth_actors.testing.upstream_traits import Counts, Dice, Fate, Pace, Trouble
from synth_actors.types import Usage

if TYPE_CHECKING:
    from synth_actors.providers.local import LocalProvider

_STATUS = {Fault.RATE_LIMITED: 429, Fault.OVERLOADED: 529, Fault.REJECTED: 400, Fault.SCHEMA_REFUSED: 400}


class SimulatedProvider:
    """A provider in front of a simulated server with `hidden` limits, a `pace` and its `trouble`.

    The same `seed` and the same requests make the same answers of the same length in the same time, whoever sends
    them.  A request with a schema is answered with a valid document, of whatever length it is.  One object serves one
    trio run.  `counts` is what the server has seen so far.
    """

    def __init__(
        self,
        hidden: HiddenLimits | None = None,
        pace: Pace | None = None,
        trouble: Trouble | None = None,
        *,
        seed: int = 0,
        name: str = "simulated",
    ) -> None:
        self.name = name
        self.model = "simulation"
        self.identity = f"simulated|{name}|{seed}"
        self.schema_in_prompt = False
        self.counts = Counts()
        self._hidden = hidden or HiddenLimits()
        self._pace = pace or Pace()
        self._trouble = trouble or Trouble()
        self._gate = Gate(self._hidden)
        self._dice = Dice(self._pace, seed)
        self._slots = None if self._pace.slots is None else trio.Semaphore(self._pace.slots)
        self._started_at: float | None = None
        self._documents: LocalProvider | None = None

    @property
    def output_metering(self) -> Metering:
        """How the server counts output tokens."""
        return self._hidden.output_metering

    @property
    def in_flight(self) -> int:
        """Calls that were accepted and are not over, those that wait for a slot included."""
        return self._gate.in_flight

    def elapsed_s(self) -> float:
        """Seconds since the first call; 0 before it."""
        return 0.0 if self._started_at is None else trio.current_time() - self._started_at

    def allowed_requests(self, from_s: float, to_s: float) -> float:
        """The most requests that the limits allow between two times since the start; `inf` without a limit.

        A bucket is full at the start, and that belongs to the first moment.
        """
        return self._gate.allowed("requests", from_s, to_s)

    def allowed_tokens(self, from_s: float, to_s: float) -> float:
        """The most tokens, likewise: of metered output, else of both together, else of input."""
        return self._gate.allowed(self._token_bucket(), from_s, to_s)

    def used_requests(self) -> float:
        """What has been taken of the allowed requests so far."""
        return float(self.counts.accepted)

    def used_tokens(self) -> float:
        """What has been taken of the tokens that `allowed_tokens` counts so far; 0 without such a limit.

        Output that was made beyond what was there is not counted until the bucket has caught up with it.
        """
        bucket, now_s = self._gate.buckets.get(self._token_bucket()), self.elapsed_s()
        return 0.0 if bucket is None else bucket.taken(now_s) + min(0.0, bucket.level(now_s))

    def _token_bucket(self) -> str:
        return next((name for name in ("output_tokens", "tokens") if name in self._gate.buckets), "input_tokens")

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        """Make one call; see `Provider.generate`."""
        if self._started_at is None:
            self._started_at = trio.current_time()
        self.counts.attempts += 1
        try:
            await trio.sleep(self._dice.network_s())
            prompt = prompt_of(call.request)
            match self._verdict(call, tokens_of(prompt)):
                case Refused() as refused:
                    raise await self._refusal(call, refused)
                case Admitted(limits):
                    return await self._serve(call, emit, self._fate(call, prompt), limits)
                case verdict:
                    assert_never(verdict)
        except trio.Cancelled:
            self.counts.cancelled += 1
            raise

    async def aclose(self) -> None:
        """Nothing is open."""
        await trio.lowlevel.checkpoint()

    # ------------------------------------------------------------------------------------------------ at the gate

    def _verdict(self, call: Call, input_tokens: int) -> Admitted | Refused:
        """Whether the call is let in; trouble and the request itself are looked at before any limit."""
        trouble, now_s = self._trouble, self.elapsed_s()
        outage = trouble.outage(now_s)
        if outage in (Fault.OVERLOADED, Fault.UNREACHABLE):
            return Refused(outage, "the server is out of order", trouble.retry_after_s)
        if self._dice.hits(trouble.overloaded_share):
            return Refused(Fault.OVERLOADED, "overloaded", trouble.retry_after_s)
        if not self.schema_in_prompt and holds_keyword(call.json_schema, trouble.refused_keywords):
            self.schema_in_prompt = True
            return Refused(Fault.SCHEMA_REFUSED, "output_schema: a keyword is not supported")
        return self._gate.enter(input_tokens, call.request.max_tokens, now_s)

    def _fate(self, call: Call, prompt: str) -> Fate:
        """What becomes of a call that was let in just now."""
        fate = self._dice.fate(call.request, prompt)
        trouble = self._trouble
        fate.breaks = trouble.outage(self.elapsed_s()) is Fault.FAILED or self._dice.hits(trouble.failed_share)
        return fate

    async def _refusal(self, call: Call, refused: Refused) -> ProviderError:
        fault = refused.fault
        self.counts.rejected[fault] = self.counts.rejected.get(fault, 0) + 1
        if self._pace.refusal_s > 0:
            try:
                await trio.sleep(self._pace.refusal_s)
            except trio.Cancelled:
                self.counts.cancelled -= 1  # it is counted already
                raise
        if refused.limits is not None:
            call.note_limits(refused.limits)
        message = f"simulated: {refused.reason}"
        return ProviderError(fault, message, status=_STATUS.get(fault), retry_after_s=refused.retry_after_s)

    # ------------------------------------------------------------------------------------------------ at work

    async def _serve(self, call: Call, emit: Emit | None, fate: Fate, limits: RateLimits | None) -> Completion:
        self.counts.accept(fate.input_tokens, self.in_flight, self.elapsed_s())
        try:
            if emit is not None and limits is not None:
                call.note_limits(limits)
            text = await self._answer(call, emit, fate)
            if emit is None and limits is not None:
                call.note_limits(limits)
        finally:
            self._gate.leave(max(0, call.request.max_tokens - fate.made_tokens), self.elapsed_s())
        usage = Usage(input_tokens=fate.input_tokens, output_tokens=fate.output_tokens)
        self._check_end(call, fate, text, usage)
        self.counts.completed += 1
        self.counts.busy_s += fate.work_s
        return Completion(text=text, stop_reason="max_tokens" if fate.is_cut else "end", usage=usage)

    def _check_end(self, call: Call, fate: Fate, text: str, usage: Usage) -> None:
        """Raises what went wrong with an answer that was made and is paid."""
        if fate.breaks:
            self.counts.failed += 1
            raise ProviderError(Fault.FAILED, "simulated: internal error", status=500, usage=usage)
        if len(text.encode()) > call.max_response_bytes:
            self.counts.failed += 1
            raise ProviderError(Fault.TOO_LARGE, f"simulated: more than {call.max_response_bytes} bytes", usage=usage)

    async def _answer(self, call: Call, emit: Emit | None, fate: Fate) -> str:
        accepted_at = trio.current_time()
        text = said(fate.output_tokens) if call.json_schema is None else await self._document(call, fate)
        call.note_usage(Usage(input_tokens=fate.input_tokens))
        if self._slots is None:
            await self._work(call, emit, fate, text, accepted_at)
        else:
            async with self._slots:
                await self._work(call, emit, fate, text, accepted_at)
        return text

    async def _document(self, call: Call, fate: Fate) -> str:
        """A document that meets the schema; the fate of the call is as long as that."""
        if self._documents is None:
            from synth_actors.config import Endpoint
            from synth_actors.providers.local import LocalProvider  # late: heavy

            self._documents = LocalProvider(Endpoint(provider="local"))
        made = await self._documents.generate(call, None)
        fate.output_tokens, fate.is_cut = max(1, made.usage.output_tokens), False
        return made.text

    async def _work(self, call: Call, emit: Emit | None, fate: Fate, text: str, accepted_at: float) -> None:
        await trio.sleep(fate.ttft_s)
        began = trio.current_time()
        self.counts.ttft_s.append(began - accepted_at)
        self._gate.begin_output(fate.output_tokens, fate.token_s, self.elapsed_s())
        whole = False
        try:
            if emit is None:
                await trio.sleep_until(began + fate.output_s)
            else:
                await self._speak(emit, text, began, fate.output_s)
            whole = True
        finally:
            # Who is cut off pays for what was made until then.
            fate.made_tokens = fate.output_tokens if whole else fate.made_after(trio.current_time() - began)
            call.note_usage(Usage(input_tokens=fate.input_tokens, output_tokens=fate.made_tokens))
            self._gate.end_output(fate.token_s, self.elapsed_s())
            self.counts.output_tokens += fate.made_tokens

    async def _speak(self, emit: Emit, text: str, began: float, output_s: float) -> None:
        pieces = min(self._pace.pieces, len(text))
        for number in range(pieces):
            emit(text[len(text) * number // pieces : len(text) * (number + 1) // pieces])
            await trio.sleep_until(began + output_s * (number + 1) / pieces)

    def __repr__(self) -> str:
        counts = self.counts
        return f"<SimulatedProvider {self.name} attempts={counts.attempts} in_flight={self.in_flight}>"
