"""Which answers are asked for, in which order, and what do they cost?

Every workload is a sequence of questions; a question has an answer of a size and a price that never change.  All is
drawn from the seed.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from math import log
from random import Random
from typing import Final, Literal

OUTPUT_TOKENS: Final = (400, 0.8)
"""Median and sigma of the tokens of an answer; log-normal."""

INPUT_TOKENS: Final = (600, 0.8)

BYTES_PER_TOKEN: Final = 4

MODELS: Final = ((0.6, 1.0, 5.0), (0.3, 3.0, 15.0), (0.1, 5.0, 25.0))
"""Share of the questions, dollars per million input tokens, per million output tokens: three classes of models."""

ONE_MODEL: Final = ((1.0, 1.0, 5.0),)
"""Then what is dear is also large, and its price per byte says little."""

Models = tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Question:
    """What the answer takes to keep, and what it costs to ask for."""

    value_bytes: int
    tokens: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Workload:
    """`asked` are places in `questions`."""

    questions: tuple[Question, ...]
    asked: tuple[int, ...]


def draw_question(models: Models, random: Random) -> Question:
    """A question to one of the models, with log-normal lengths."""
    _share, input_price, output_price = random.choices(models, [share for share, *_prices in models])[0]
    given, made = _draw_tokens(INPUT_TOKENS, random), _draw_tokens(OUTPUT_TOKENS, random)
    return Question(made * BYTES_PER_TOKEN, given + made, (given * input_price + made * output_price) / 1e6)


def _draw_tokens(how_many: tuple[int, float], random: Random) -> int:
    median, sigma = how_many
    return max(1, round(random.lognormvariate(log(median), sigma)))


Order = Callable[[int, Random], list[int]]
"""Takes the number of questions that come again, and where the choices come from; what is asked, one after another.

Numbers from that number on are questions that come once.
"""

ASKED_EACH: Final = 10
"""Under Zipf a question is asked so many times on average."""


def zipf(exponent: float, questions: int, random: Random) -> list[int]:
    """The question of rank r is asked in proportion to 1 / r**exponent; its rank says nothing about its price."""
    bounds = list(accumulate(1 / rank**exponent for rank in range(1, questions + 1)))
    return [bisect(bounds, random.random() * bounds[-1]) for _ in range(ASKED_EACH * questions)]


def zipf_with_one_shots(exponent: float, questions: int, random: Random) -> list[int]:
    """Every other question is one that never comes again."""
    popular = zipf(exponent, questions, random)
    return [question for number, again in enumerate(popular) for question in (again, questions + number)]


def loop(times: int, questions: int, _random: Random) -> list[int]:
    """All of them in the same order, over and over."""
    return list(range(questions)) * times


def shuffled(times: int, questions: int, random: Random) -> list[int]:
    """All of them, each time in another order."""
    return [question for _ in range(times) for question in random.sample(range(questions), questions)]


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is asked, and a cache that holds the share `capacity` of what comes again: of its bytes, or its number."""

    name: str
    order: Order
    capacity: float
    bound: Literal["bytes", "entries"] = "bytes"
    models: Models = MODELS

    def make(self, questions: int, seed: int) -> Workload:
        """The workload with so many questions that come again."""
        random = Random(seed)
        asked = self.order(questions, random)
        return Workload(tuple(draw_question(self.models, random) for _ in range(max(asked) + 1)), tuple(asked))


SCENARIOS: Final = (
    *(Scenario(f"Zipf {a}, 10 %", partial(zipf, a), 0.1) for a in (0.7, 0.9, 1.1)),
    *(Scenario(f"Zipf {a} and one-shots, 10 %", partial(zipf_with_one_shots, a), 0.1) for a in (0.7, 0.9, 1.1)),
    *(Scenario(f"loop x4, {share * 100:.0f} %", partial(loop, 4), share) for share in (0.5, 0.9)),
    *(Scenario(f"shuffled re-run x4, {share * 100:.0f} %", partial(shuffled, 4), share) for share in (0.5, 0.9)),
    Scenario("Zipf 0.9, 10 % of the entries", partial(zipf, 0.9), 0.1, bound="entries"),
    Scenario("Zipf 0.9, 10 %, one model", partial(zipf, 0.9), 0.1, models=ONE_MODEL),
    Scenario("shuffled re-run x4, 50 %, one model", partial(shuffled, 4), 0.5, models=ONE_MODEL),
)
