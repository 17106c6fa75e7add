"""When do requests come that nobody's answers hold back?"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random

import benchmarks
from benchmarks.case import NotMeasured

TRACES_VARIABLE = "SYNTH_ACTORS_TRACES"
TRACES = Path(benchmarks.__file__).parents[2] / "shared" / "traces"
"""Beside the checkout; `TRACES_VARIABLE` names another folder."""
_FIELDS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request at `at_s` seconds after the first, of so many tokens."""

    at_s: float
    input_tokens: int
    output_tokens: int


def poisson(per_s: float, count: int, random: Random) -> Iterator[float]:
    """The times of `count` arrivals, in seconds, that know nothing of each other: gaps are exponential."""
    at_s = 0.0
    for _ in range(count):
        at_s += random.expovariate(per_s)
        yield at_s


def trace(name: str) -> list[Arrival]:
    """All arrivals of a trace of the folder of traces, as Azure/AzurePublicDataset publishes them, in order.

    Raises:
        NotMeasured: it is not there, or no such trace.
    """
    path = Path(os.environ.get(TRACES_VARIABLE) or TRACES) / f"{name}.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return arrivals_in(file)
    except OSError:
        raise NotMeasured(
            f"{name}.csv is not there: put it into ../shared/traces beside the checkout, or set {TRACES_VARIABLE}"
        ) from None
    except (ValueError, KeyError) as exc:
        raise NotMeasured(f"{name}.csv is no trace of {', '.join(_FIELDS)}: {exc}") from exc


def arrivals_in(lines: Iterator[str]) -> list[Arrival]:
    """The arrivals of a trace's lines, in order of time.

    Raises:
        KeyError, ValueError: a column is missing, or its value is none.
    """
    rows = [(_at(row[_FIELDS[0]]), int(row[_FIELDS[1]]), int(row[_FIELDS[2]])) for row in csv.DictReader(lines)]
    rows.sort(key=lambda row: row[0])
    if not rows:
        raise ValueError("it has no rows")
    first = rows[0][0]
    return [Arrival((at - first).total_seconds(), given, made) for at, given, made in rows]


def _at(text: str) -> datetime:
    whole, _, fraction = text.partition(".")  # seven digits, where Python 3.11 takes six
    return datetime.fromisoformat(f"{whole}.{fraction[:6].ljust(6, '0')}")


def excerpt(arrivals: list[Arrival], *, count: int, lasting_s: float, random: Random) -> list[Arrival]:
    """`count` neighbours from a place that `random` draws, with their gaps shrunk so that all come in `lasting_s`."""
    count = min(count, len(arrivals))
    start = random.randrange(len(arrivals) - count + 1)
    chosen = arrivals[start : start + count]
    first_s, span_s = chosen[0].at_s, chosen[-1].at_s - chosen[0].at_s
    speed = lasting_s / span_s if span_s > 0 else 0.0
    return [Arrival((each.at_s - first_s) * speed, each.input_tokens, each.output_tokens) for each in chosen]
