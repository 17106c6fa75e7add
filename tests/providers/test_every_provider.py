"""Does every provider keep its promises, also one of a user's own, and does the suite notice who does not?"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

from synth_actors.config import Endpoint
from synth_actors.providers.base import (
    Allowance,
    Call,
    Completion,
    Emit,
    Fault,
    Metering,
    Provider,
    ProviderError,
    RateLimits,
)
from synth_actors.providers.build import build_provider
from synth_actors.testing import ScriptedProvider, Step, check_provider
from synth_actors.testing.conformance import ENGINES_OWN, check_faults
from synth_actors.types import Request, Usage
from tests.providers.dialects import Dialect
from tests.providers.server import Received, Reply, Server, json_reply

SMALL = Request(prompt="Otters?", max_tokens=16)
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "05_custom_provider.py"


def example_provider() -> Provider:
    """The provider of the example, whose file runs its engine when it is imported: only its class is wanted."""
    source = EXAMPLE.read_text().removesuffix("trio.run(main)\n")
    assert source != EXAMPLE.read_text()
    module: dict[str, Any] = {"__name__": "example"}
    exec(compile(source, str(EXAMPLE), "exec"), module)
    made: Provider = module["Shouting"]("loud")
    return made


# Those that keep them.


async def test_the_local_provider_keeps_its_promises() -> None:
    await check_provider(build_provider(Endpoint(provider="local")))


async def test_the_example_keeps_its_promises(autojump_clock: trio.testing.MockClock) -> None:
    await check_provider(example_provider())


async def test_the_scripted_provider_keeps_its_promises_with_every_fault(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ahead: list[Step] = []

    def script(call: Call) -> Step:
        return ahead.pop() if ahead else Step(text="Otters hold hands.", chunks=4, delay_s=1.0, gap_s=0.1)

    def arranged(fault: Fault) -> Callable[[], None]:
        return lambda: ahead.append(Step(fault=fault, retry_after_s=1.0))

    faults = {fault: arranged(fault) for fault in Fault if fault not in ENGINES_OWN}
    await check_provider(ScriptedProvider(script), faults=faults)


FAILURES: Mapping[Fault, Reply] = {
    Fault.RATE_LIMITED: json_reply({"error": {"message": "slow down"}}, 429, {"retry-after": "2"}),
    Fault.OVERLOADED: json_reply({"error": {"message": "busy"}}, 529),
    Fault.SCHEMA_REFUSED: json_reply({"error": {"message": "json_schema is not supported"}}, 400),
    Fault.FAILED: Reply(body=b"{", headers={"content-type": "application/json"}),
    Fault.TOO_LARGE: Reply(body=b" " * (64 * 2**20 + 1), headers={"content-type": "application/json"}),
    Fault.REJECTED: json_reply({"error": {"message": "no"}}, 400),
    Fault.FATAL: json_reply({"error": {"message": "who?"}}, 401),
}


async def test_the_http_providers_keep_their_promises_with_every_fault(dialect: Dialect, server: Server) -> None:
    provider = dialect.provider(server.url)
    ahead: list[Reply] = []

    def answer(request: Received) -> Reply:
        if ahead:
            return ahead.pop()
        return dialect.stream() if request.body.get("stream") else json_reply(dialect.whole())

    def arranged(fault: Fault) -> Callable[[], None]:
        def arrange() -> None:
            provider.schema_in_prompt = False
            ahead.append(FAILURES[fault])

        return arrange

    server.answer = answer
    await check_provider(provider, faults={fault: arranged(fault) for fault in FAILURES})


STATUSES = {Fault.RATE_LIMITED: 429, Fault.OVERLOADED: 529, Fault.FAILED: 500, Fault.REJECTED: 400, Fault.FATAL: 401}


@pytest.mark.parametrize(("kind", "path"), [("anthropic", "/anthropic"), ("openai", "/v1")])
async def test_they_keep_them_before_llmock(kind: str, path: str, llmock_url: str) -> None:
    async with httpx2.AsyncClient(base_url=llmock_url) as control:

        def arranged(status: int) -> Callable[[], Any]:
            async def arrange() -> None:
                await control.post(
                    "/_llmock/scenario", json={"behaviors": [{"type": "fail", "status": status, "retry_after": 0.5}]}
                )

            return arrange

        await control.post("/_llmock/reset")
        provider = build_provider(Endpoint(provider=kind, model="mock", base_url=llmock_url + path))
        await check_provider(
            provider, request=SMALL, faults={fault: arranged(status) for fault, status in STATUSES.items()}
        )


@pytest.mark.parametrize(("kind", "path"), [("anthropic", ""), ("openai", "/v1")])
async def test_they_keep_them_before_llama_cpp(kind: str, path: str, llama_server_url: str) -> None:
    provider = build_provider(Endpoint(provider=kind, model="noise", base_url=llama_server_url + path))
    await check_provider(provider, request=SMALL)


# Those that do not.

PIECES = ("Otters ", "hold ", "hands ") * 7
GOOD = Completion(text="".join(PIECES), stop_reason="end", usage=Usage(input_tokens=1, output_tokens=3))


class Good:
    """Keeps every promise; each of the others breaks one."""

    name = "mine"
    model = "m"
    identity = "mine|m"

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        await trio.sleep(0.01)
        for piece in PIECES:
            if emit is not None:
                emit(piece)
            await trio.sleep(0.01)
        return GOOD

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Nameless(Good):
    name = ""


class ChangesItsIdentity(Good):
    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        self.identity += "!"
        return await super().generate(call, emit)


class AddsDollars(Good):
    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        await super().generate(call, emit)
        return Completion(text=GOOD.text, stop_reason="end", usage=Usage(cost_usd=0.1))


class StopsForReasonsOfItsOwn(Good):
    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        await super().generate(call, emit)
        return Completion(text=GOOD.text, stop_reason="length", usage=Usage())  # type: ignore[arg-type]


class LeavesAPieceOut(Good):
    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        heard: list[str] = []
        await super().generate(call, heard.append)
        for piece in heard[1:] if emit is not None else []:
            emit(piece)  # type: ignore[misc]
        return GOOD


class MixesItsCalls(Good):
    emit: Emit | None = None

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        self.emit = emit
        return await super().generate(call, None if emit is None else self._pass_on)

    def _pass_on(self, piece: str) -> None:
        if self.emit is not None:
            self.emit(piece)


class EmitsFromAThread(Good):
    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        def elsewhere(piece: str) -> None:
            thread = threading.Thread(target=emit, args=(piece,))
            thread.start()
            thread.join()

        return await super().generate(call, None if emit is None else elsewhere)


class NotesMoreThanItUsed(Good):
    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        call.note_usage(Usage(output_tokens=4))
        return await super().generate(call, emit)


class NotesNonsense(Good):
    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        call.note_limits(RateLimits(requests=Allowance(remaining=float("nan"))))
        return await super().generate(call, emit)


class SwallowsCancelled(Good):
    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        try:
            return await super().generate(call, emit)
        except trio.Cancelled:
            return GOOD


class TranslatesCancelled(Good):
    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        try:
            return await super().generate(call, emit)
        except trio.Cancelled as exc:
            raise ProviderError(Fault.FAILED, "cancelled") from exc


class GoesOnWhenCancelled(Good):
    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        await trio.lowlevel.checkpoint()
        made: list[Completion] = []
        with trio.CancelScope(shield=True):
            made.append(await super().generate(call, emit))
        return made[0]


class TakesItsTimeToLeave(Good):
    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        try:
            return await super().generate(call, emit)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(6)


class BreaksWhenCancelled(Good):
    broken = False

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        if self.broken:
            raise ProviderError(Fault.FAILED, "the connection is gone")
        self.broken = True
        completion = await super().generate(call, emit)
        self.broken = False
        return completion


class ReadsEverything(Good):
    output_metering: Metering = "meter"


class Hangs(Good):
    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        await trio.sleep(math.inf)
        return GOOD


class NeverCloses(Good):
    async def aclose(self) -> None:
        await trio.sleep_forever()


async def test_who_keeps_every_promise_passes(autojump_clock: trio.testing.MockClock) -> None:
    await check_provider(Good())


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Nameless, "name, model and identity are texts"),
        (ChangesItsIdentity, "never change"),
        (AddsDollars, "tokens, not dollars"),
        (StopsForReasonsOfItsOwn, "stop_reason is one of"),
        (LeavesAPieceOut, "what was emitted is the text"),
        (MixesItsCalls, "what was emitted is the text"),
        (EmitsFromAThread, "in the thread of the call"),
        (NotesMoreThanItUsed, "no more than the whole"),
        (NotesNonsense, "limits are None or not below 0"),
        (SwallowsCancelled, "never swallowed"),
        (TranslatesCancelled, "leaves as itself"),
        (GoesOnWhenCancelled, "emits nothing more"),
        (TakesItsTimeToLeave, "ends within 5 s"),
        (BreaksWhenCancelled, "no call could be made.*the connection is gone"),
        (ReadsEverything, "a call that fails raises ProviderError"),
        (Hangs, "did not answer within 60 s"),
        (NeverCloses, "aclose ends within 60 s"),
    ],
)
async def test_a_broken_promise_is_named(
    autojump_clock: trio.testing.MockClock, broken: type[Good], promise: str
) -> None:
    with pytest.raises(AssertionError, match=promise):
        await check_provider(broken())


async def test_a_fault_that_is_told_as_another_is_named(autojump_clock: trio.testing.MockClock) -> None:
    provider = ScriptedProvider([Step(fault=Fault.FAILED)])
    with pytest.raises(AssertionError, match="this failure is RATE_LIMITED; this one: 'FAILED: scripted'"):
        await check_faults(provider, SMALL, {Fault.RATE_LIMITED: lambda: None})


async def test_a_fault_that_no_provider_raises_cannot_be_arranged() -> None:
    with pytest.raises(ValueError, match=r"\['TIMED_OUT'\] are raised by the engine; leave them out"):
        await check_faults(Good(), SMALL, {Fault.TIMED_OUT: lambda: None})
