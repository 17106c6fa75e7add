"""Which figures of a run stand on the page first?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from synth_actors.snapshot import Snapshot
from synth_actors.telemetry.report.markup import Html, element, joined
from synth_actors.telemetry.report.units import count, dollars, duration, rate, share, size_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One figure, what it is of, and what belongs to it, in one or more lines."""

    name: str
    figure: str
    detail: str = ""


def tiles_html(tiles: Iterable[Tile]) -> Html:
    """Side by side, as many as there is room for; nothing for none."""
    made = [
        element(
            "div",
            {"class": "tile"},
            element("dt", {}, tile.name),
            element("dd", {"class": "figure"}, tile.figure),
            element("dd", {}, tile.detail),
        )
        for tile in tiles
    ]
    return element("dl", {"class": "tiles"}, joined(made)) if made else Html()


def tiles_of(last: Snapshot) -> Iterator[Tile]:
    """How much, how fast, at which price; what was not used has no tile."""
    counters, cache, memory = last.counters, last.cache, last.memory
    yield Tile(name="Succeeded", figure=count(counters.succeeded), detail=_others(last))
    yield Tile(name="Throughput", figure=rate(last.throughput_per_s), detail=f"over {duration(last.taken_at_s)}")
    response, hits = last.latency["response"], last.latency["cached_response"]
    if response.count:
        p50 = duration(response.p50_s)
        yield Tile(name="Answered by a call, p99", figure=duration(response.p99_s), detail=f"p50 {p50}")
    if hits.count:
        p50 = duration(hits.p50_s)
        yield Tile(name="From the cache, p99", figure=duration(hits.p99_s), detail=f"p50 {p50}")
        yield Tile(name="Hit rate", figure=share(cache.hit_rate), detail=f"{count(cache.hits)} hits")
    if counters.cost_usd != 0.0 or cache.saved_usd != 0.0:
        saved = f"{dollars(cache.saved_usd)} saved by the cache"
        yield Tile(name="Spent", figure=dollars(counters.cost_usd), detail=saved)
    limit = f"limit {size_of(memory.limit_bytes)}" if memory.limit_bytes else ""
    yield Tile(name="Peak memory", figure=size_of(memory.peak_rss_bytes), detail=limit)


def _others(last: Snapshot) -> str:
    counters = last.counters
    ends = (("failed", counters.failed), ("cancelled", counters.cancelled), ("waiting", counters.waiting))
    others = [f"{count(number)} {name}" for name, number in ends if number]
    return ", ".join(others) or f"all of {count(counters.submitted)}"
