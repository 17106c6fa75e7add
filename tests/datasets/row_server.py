"""What does a model answer that reads the numbers of the rows in the prompt?  A script decides."""

from __future__ import annotations

import re
from collections.abc import Callable

import orjson
import trio

from synth_actors.providers.base import Call, Completion, Emit
from synth_actors.types import Usage

Script = Callable[[list[int], int], object]
"""From the numbers of the rows asked for (from 1) and the sample index to rows, a text, or an exception to raise."""

USED = Usage(input_tokens=10, output_tokens=7)


def row(number: int) -> dict[str, object]:
    return {"id": number, "plan": "pro"}


def all_right(rows: list[int], sample: int) -> object:
    return [row(number) for number in rows]


class RowServer:
    """A provider that answers by a script, after `delay_s` on trio's clock; it keeps what it was asked."""

    def __init__(self, script: Script = all_right, *, name: str = "rows", delay_s: float = 0.0) -> None:
        self.name = self.model = self.identity = name
        self.asked: list[tuple[list[int], int]] = []
        self.prompts: list[str] = []
        self.in_flight = self.most_in_flight = 0
        self._script = script
        self._delay_s = delay_s

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        request = call.request
        rows = [int(number) for number in re.findall(r"^Row (\d+)", request.prompt or "", re.MULTILINE)]
        self.asked.append((rows, request.sample_index))
        self.prompts.append(request.prompt or "")
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await trio.sleep(self._delay_s)
        finally:
            self.in_flight -= 1
        answer = self._script(rows, request.sample_index)
        if isinstance(answer, Exception):
            raise answer
        text = answer if isinstance(answer, str) else orjson.dumps({"rows": answer}).decode()
        if emit is not None:
            emit(text)
        return Completion(text=text, stop_reason="end", usage=USED)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
