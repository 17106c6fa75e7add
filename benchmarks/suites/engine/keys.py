"""What does it cost to know that two requests are the same?

The prompt is a template of 4 KB with indented lines, blank lines and letters beyond ASCII, as people write them.  The
requests are made before the clock starts.  The bare loop is what one writes by hand: SHA-256 of some fields as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256

import trio

from benchmarks.case import Load, Measured
from benchmarks.timing import Spent, side_by_side, timed, us_each
from synth_actors import Request
from synth_actors.policy.cache_key import key_of, normalised_key_of

PROMPT_BYTES = 4096
REQUESTS = 500
"""Made anew for each round, so that nothing is remembered with them, and few, so that they fit into the caches."""
_LINES = (
    "    Describe one customer of a café, with the words that they use themselves:",
    '      - "name": first and family name  ',
    "",
    "      - what they ordered, at what time, and whether they came back",
)


def new_request(load: Load) -> Measured:
    """Requests whose key nobody has asked for."""
    return _beside_by_hand(load, key_of)


def normalised(load: Load) -> Measured:
    """The same, where the formatting of the prompt does not count."""
    return _beside_by_hand(load, normalised_key_of)


def same_request(load: Load) -> Measured:
    """One request again and again, whose key is remembered."""
    request = Request(prompt=_prompt(0))

    async def loop() -> None:
        for _ in range(load.operations):
            key_of(request)

    return Measured(value=us_each(trio.run(timed, loop).cpu_s, 1, load.operations))


def _beside_by_hand(load: Load, key: Callable[[Request], bytes]) -> Measured:
    rounds = max(1, load.operations // REQUESTS)
    pair = side_by_side(load.repeat, lambda: _rounds(rounds, key), lambda: _rounds(rounds, _by_hand))
    return Measured(
        value=us_each(pair.engine.cpu_s, 1, rounds * REQUESTS), bare=us_each(pair.bare.cpu_s, 1, rounds * REQUESTS)
    )


async def _rounds(rounds: int, key: Callable[[Request], bytes]) -> Spent:
    spent = Spent(0.0, 0.0)
    for number in range(rounds):
        requests = [Request(prompt=_prompt(number * REQUESTS + index)) for index in range(REQUESTS)]

        async def loop(requests: list[Request] = requests) -> None:
            for request in requests:
                key(request)

        once = await timed(loop)
        spent = Spent(spent.cpu_s + once.cpu_s, spent.wall_s + once.wall_s)
    return spent


def _prompt(number: int) -> str:
    """A new string each time, of `PROMPT_BYTES` bytes."""
    lines = "\n".join(_LINES)
    text = f"Customer {number}\n" + "\n".join([lines] * (PROMPT_BYTES // len(lines) + 1))
    return text.encode()[:PROMPT_BYTES].decode(errors="ignore")


def _by_hand(request: Request) -> bytes:
    document = {"prompt": request.prompt, "max_tokens": request.max_tokens, "temperature": request.temperature}
    return sha256(json.dumps(document).encode()).digest()
