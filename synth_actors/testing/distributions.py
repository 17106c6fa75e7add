"""How long does something take in a simulation, and how much is said?"""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import exp, log
from typing import Protocol


class Distribution(Protocol):
    """Something to draw values from; the unit is that of whatever they are for."""

    def draw(self, source: random.Random) -> float:
        """One value, with randomness from `source` only."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """The same value every time."""

    value: float

    def __post_init__(self) -> None:
        _check(self.value >= 0, f"Constant: value={self.value!r}: give 0 or more")

    def draw(self, source: random.Random) -> float:  # noqa: ARG002
        """The value."""
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class LogNormal:
    """Half of the values are below `median`; `sigma` is the standard deviation of their logarithms.

    At a sigma of 0.5 the largest in a hundred is 3.2 times the median; service times of models are about that uneven.
    """

    median: float
    sigma: float

    def __post_init__(self) -> None:
        _check(self.median > 0, f"LogNormal: median={self.median!r}: give more than 0")
        _check(self.sigma >= 0, f"LogNormal: sigma={self.sigma!r}: give 0 or more")

    def draw(self, source: random.Random) -> float:
        """One value above 0."""
        return exp(log(self.median) + self.sigma * source.gauss(0.0, 1.0))


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)
