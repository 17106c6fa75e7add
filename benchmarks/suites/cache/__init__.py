"""What does the cache save?"""

from __future__ import annotations

from functools import partial

from benchmarks.case import Case, Claim
from benchmarks.suites.cache import runs


def cache(concurrency: int) -> tuple[Case, ...]:  # noqa: ARG001  (every load says its own)
    """Hits, calls, tokens and dollars that the cache saves on questions that come again, over real HTTP.

    Ten requests for each of so many questions, drawn by Zipf's law with exponent 0.9 from a fixed seed; the cache holds
    half of the questions (policy "lru").  So many callers as --concurrency says take the next one each when they were
    answered.  A request that joins the call of another is neither a hit nor a paid call.  What a call takes and what an
    answer from the cache takes is the engine's own p50 and p99 of the same run; the server takes 20 ms.
    """
    saved = Claim(text="calls saved by the cache: without it against with it", than="without a cache", better="less")
    sooner = Claim(text="an answer from the cache against a call", than="a call", better="less")
    return (
        Case(name="hits, Zipf 0.9", unit="% of the lookups", measure=runs.hits),
        Case(name="paid calls, Zipf 0.9", unit="% of the requests", measure=runs.paid, claim=saved),
        Case(name="tokens saved, Zipf 0.9", unit="% of the tokens", measure=runs.tokens),
        Case(name="dollars saved, Zipf 0.9", unit="% of the dollars", measure=runs.dollars),
        Case(name="an answer from the cache p50", unit="ms", measure=partial(runs.answer, "p50_s"), claim=sooner),
        Case(name="an answer from the cache p99", unit="ms", measure=partial(runs.answer, "p99_s")),
    )
