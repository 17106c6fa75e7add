"""A provider of one's own: anything that answers may stand where an endpoint does."""

import trio

from synth_actors import Endpoint, open_engine
from synth_actors.providers.base import Call, Completion, Emit, Fault, ProviderError
from synth_actors.types import Usage


class Shouting:
    """Answers with the prompt in capitals; every third call fails, to show the fallback."""

    model = "loud-1"
    identity = "shouting|loud-1"

    def __init__(self, name: str, *, fails_every: int = 0) -> None:
        self.name = name
        self._fails_every = fails_every
        self._calls = 0

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        """One call; `emit` is given when the engine wants the text as it comes."""
        self._calls += 1
        fails = self._fails_every > 0 and self._calls % self._fails_every == 0
        await trio.sleep(0.01)  # here a real provider talks to its server
        if fails:
            raise ProviderError(Fault.FAILED, "the server fell over", status=500)
        text = (call.request.prompt or "").upper()
        if emit is not None:
            emit(text)
        return Completion(text=text, stop_reason="end", usage=Usage(input_tokens=3, output_tokens=3))

    async def aclose(self) -> None:
        """Nothing to close."""


async def main() -> None:
    shaky = Endpoint(provider=Shouting("shaky", fails_every=3), max_concurrency=4)
    steady = Endpoint(provider=Shouting("steady"))
    async with open_engine([shaky, steady]) as engine:
        for outcome in await engine.generate_batch([f"hello {number}" for number in range(6)]):
            assert outcome.response is not None
            response = outcome.response
            print(f"{response.text}: from {response.endpoint} after {response.attempts} attempt(s)")


trio.run(main)
