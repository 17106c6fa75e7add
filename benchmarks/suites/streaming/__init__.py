"""How soon does something come?"""

from __future__ import annotations

from functools import partial

from benchmarks.case import Case, Claim
from benchmarks.suites.streaming import batches, streams

MARKS = {"p50": 0.5, "p99": 0.99}


def streaming(concurrency: int) -> tuple[Case, ...]:  # noqa: ARG001  (every load says its own)
    """What a reader gets before the whole is there, over real HTTP (server-sent events).

    The server begins after 10 ms and sends 50 pieces of text, 4 ms apart.  A tenth as many readers as --concurrency
    says read at the same time.  "first chunk" counts from asking; beside it stands what the same answer takes that is
    not streamed: the server needs as long to write it, and sends it when it is whole, after 210 ms.  "between chunks"
    is what a reader waits for the next one; the ideal is the server's pause.  "a batch's first outcome": of a batch
    with half as many at once as --concurrency says, read as they complete, beside the moment when the list of all would
    be there.
    """
    sooner = Claim(text="time to the first piece with streaming against without", than="not streamed", better="less")
    batch = Claim(text="time to a batch's first outcome against the whole list", than="the whole list", better="less")
    return (
        *(
            Case(
                name=f"first chunk {name}",
                unit="ms",
                measure=partial(streams.first_chunk, mark),
                claim=sooner if name == "p50" else None,
            )
            for name, mark in MARKS.items()
        ),
        *(
            Case(name=f"between chunks {name}", unit="ms", measure=partial(streams.between_chunks, mark))
            for name, mark in MARKS.items()
        ),
        Case(name="a batch's first outcome", unit="ms", measure=batches.first_outcome, claim=batch),
    )
