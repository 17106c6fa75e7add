"""What did an engine do over time, so that it can be drawn, analysed and read again later?

A `Recorder` looks at an engine from time to time; its `Recording` is a timeline and the last snapshot with all
histograms.  It is JSON-able (`to_json`, `from_json`), and the HTML report is made of it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import trio
from pydantic import TypeAdapter, ValidationError

from synth_actors.engine import Engine
from synth_actors.errors import ConfigError, EngineClosedError
from synth_actors.histogram import Histogram
from synth_actors.intervals import checked_interval
from synth_actors.scopes import nursery_for_body, whole_context
from synth_actors.snapshot import SUCCEEDED, Snapshot

MOST_MARKS = 600
"""With more, every second one is forgotten and the looks become half as frequent: a run of days is still a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What was done in the `elapsed_s` seconds before `at_s`, which counts from the opening of the engine.

    `p50_s` and `p99_s` are of the requests answered in it, from the cache or not; 0.0 where none was.  `in_flight`,
    `backlog` and `rss_bytes` are what they were at `at_s`; `cost_usd` is what was spent until then, None once an
    unpriced call was made.
    """

    at_s: float
    elapsed_s: float
    succeeded: int
    failed: int
    paid_calls: int
    hits: int
    lookups: int
    output_tokens: int
    p50_s: float
    p99_s: float
    in_flight: int
    backlog: int
    rss_bytes: int
    cost_usd: float | None

    @property
    def throughput_per_s(self) -> float:
        """Requests that succeeded per second."""
        return self.succeeded / self.elapsed_s if self.elapsed_s > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One engine from `began_at` (Unix time) to its last snapshot, which has histograms.

    `about` says what was done with it, in words for people.
    """

    title: str
    about: str = ""
    began_at: float
    points: tuple[Point, ...]
    last: Snapshot


@dataclass(frozen=True, slots=True)
class _Mark:
    """The counters at one moment, and all requests answered until then: what lies between two marks is a `Point`."""

    snapshot: Snapshot  # without series, which would be most of it
    answered: Histogram


class Recorder:
    """Looks at `engine` whenever `look` is called; `recorded` does so every `interval_s`."""

    def __init__(self, engine: Engine, *, title: str = "", about: str = "", interval_s: float = 1.0) -> None:
        self._engine = engine
        self._title = title
        self._about = about
        self.interval_s = checked_interval("Recorder", interval_s)
        self._began_at = time.time()
        self._marks: list[_Mark] = []
        self._last = self.look()

    def look(self, *, whole: bool = False) -> Snapshot:
        """Remember this moment; `whole`: with every duration up to now.

        Raises:
            EngineClosedError: the engine was closed.
            ConfigError: this is not the engine's trio run.
        """
        self._last = snapshot = self._engine.metrics_now(histograms=True, whole=whole)
        if len(self._marks) == MOST_MARKS:
            del self._marks[1::2]
            self.interval_s *= 2.0
        self._marks.append(_Mark(replace(snapshot, series=()), _answered(snapshot)))
        return snapshot

    async def keep_looking(self) -> None:
        """Look every `interval_s` until the engine is closed or this is cancelled."""
        with suppress(EngineClosedError):
            while True:
                await trio.sleep(self.interval_s)
                self.look()

    def recording(self) -> Recording:
        """What was seen so far."""
        return Recording(
            title=self._title,
            about=self._about,
            began_at=self._began_at,
            points=tuple(_point(before, after) for before, after in pairwise(self._marks)),
            last=self._last,
        )

    def __repr__(self) -> str:
        return f"<Recorder {self._title!r} marks={len(self._marks)} interval_s={self.interval_s:g}>"


@whole_context
async def recorded(
    engine: Engine, *, title: str = "", about: str = "", interval_s: float = 1.0
) -> AsyncIterator[Recorder]:
    """Record `engine` while the block runs, looking every `interval_s` seconds; the last look is at its end.

    Raises:
        ConfigError: `interval_s` is no number above 0.
        EngineClosedError: the engine was closed before.
    """
    recorder = Recorder(engine, title=title, about=about, interval_s=interval_s)
    async with nursery_for_body() as nursery:
        nursery.start_soon(recorder.keep_looking)
        try:
            yield recorder
        finally:
            with suppress(EngineClosedError):  # what is known of it was seen before
                recorder.look(whole=True)


@lru_cache(maxsize=1)
def _as_json() -> TypeAdapter[Recording]:
    return TypeAdapter(Recording)


def to_json(recording: Recording) -> str:
    """The whole recording; `from_json` gives it back."""
    return _as_json().dump_json(recording).decode()


def from_json(text: str | bytes) -> Recording:
    """The recording that `to_json` wrote.

    Raises:
        ConfigError: it is none.
    """
    try:
        return _as_json().validate_json(text)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the text"
        raise ConfigError(f"recording: {where}: {first['msg']}; give what to_json wrote") from exc


def _answered(snapshot: Snapshot) -> Histogram:
    """Of all requests that were answered so far."""
    return Histogram.sum_of(
        series.histogram
        for series in snapshot.series
        if series.name.endswith("response") and series.outcome in SUCCEEDED and series.histogram is not None
    )


def _point(before: _Mark, after: _Mark) -> Point:
    old, new = before.snapshot, after.snapshot
    p50_s, p99_s = after.answered.minus(before.answered).percentiles_s((0.5, 0.99))
    return Point(
        at_s=new.taken_at_s,
        elapsed_s=new.taken_at_s - old.taken_at_s,
        succeeded=new.counters.succeeded - old.counters.succeeded,
        failed=new.counters.failed - old.counters.failed,
        paid_calls=new.counters.paid_calls - old.counters.paid_calls,
        hits=new.cache.hits - old.cache.hits,
        lookups=_lookups(new) - _lookups(old),
        output_tokens=new.counters.output_tokens - old.counters.output_tokens,
        p50_s=p50_s,
        p99_s=p99_s,
        in_flight=new.router.in_flight,
        backlog=new.router.backlog,
        rss_bytes=new.memory.rss_bytes,
        cost_usd=new.counters.cost_usd,
    )


def _lookups(snapshot: Snapshot) -> int:
    cache = snapshot.cache
    return cache.hits + cache.misses + cache.follows
