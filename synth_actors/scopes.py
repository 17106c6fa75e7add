"""How does a background task live exactly as long as a body, whose exceptions leave as themselves?

And how is it ended, and everybody told, when Ctrl-C comes while the body is entered or left?
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from types import TracebackType
from typing import ParamSpec, TypeVar

import trio
from trio.lowlevel import enable_ki_protection

P = ParamSpec("P")
T = TypeVar("T")


class _Whole(AbstractAsyncContextManager[T]):
    """A context manager whose two ends Ctrl-C reaches at their checkpoints only, not between two lines."""

    __slots__ = ("_inner",)

    def __init__(self, inner: AbstractAsyncContextManager[T]) -> None:
        self._inner = inner

    @enable_ki_protection
    async def __aenter__(self) -> T:
        return await self._inner.__aenter__()

    @enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._inner.__aexit__(kind, exc, trace)


def whole_context(function: Callable[P, AsyncIterator[T]]) -> Callable[P, AbstractAsyncContextManager[T]]:
    """`asynccontextmanager`, but Ctrl-C cannot tear the clean-up, also not in `contextlib`; the body feels it."""
    manager = asynccontextmanager(function)

    @wraps(function)
    def make(*args: P.args, **fields: P.kwargs) -> AbstractAsyncContextManager[T]:
        return _Whole(manager(*args, **fields))

    return make


@whole_context
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
            except BaseException as exc:  # kept, not judged: it is raised again below
                raised = exc
                if _holds_cancelled(exc):  # perhaps beside others, and then only the nursery can take its own out
                    raise
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if raised is None or (_holds_cancelled(raised) and len(group.exceptions) > 1):  # a task has raised too
            raise
        if _holds_cancelled(raised):
            raised = group.exceptions[0]  # without what the nursery has taken out
    except BaseException:
        if raised is None:
            raise
    if raised is not None:
        raise raised


def _holds_cancelled(exc: BaseException) -> bool:
    return isinstance(exc, BaseExceptionGroup) and exc.subgroup(trio.Cancelled) is not None
