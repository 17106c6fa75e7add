"""How does a background task live exactly as long as a body, whose exceptions leave as themselves?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def nursery_for_body() -> AsyncIterator[trio.Nursery]:
    """A nursery that is cancelled when the body ends; what the body raises leaves as itself, not in a group.

    What a task raises leaves in trio's group when the body raised nothing, since there may be several.
    """
    raised: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except trio.Cancelled:
                raise  # perhaps the nursery's own, after a task crashed: only the nursery can tell
            except BaseException as exc:  # noqa: BLE001  (kept, not judged: it is raised again below)
                raised = exc
            nursery.cancel_scope.cancel()
    except BaseException:
        if raised is None:
            raise
    if raised is not None:
        raise raised
