"""May this process open another file?

A process that has opened all the files that it may cannot even read how much memory it uses.  So a connection that
would take one of the last is refused, with a message that names the limit.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import ClassVar

RESERVED_FILES = 32
"""How many files are left to everything else in the process."""


class FilesExhaustedError(OSError):
    """No other file should be opened; the message names the limit and the remedy."""


class _Opening:
    """How many connections are being opened, by all transports: they share the files; some have no socket yet."""

    count: ClassVar[int] = 0


@contextmanager
def opening_file() -> Iterator[None]:
    """Open one connection during the block.

    Raises:
        FilesExhaustedError: this process may hardly open another file.
    """
    _Opening.count += 1
    try:
        check_open_files(_Opening.count)
        yield
    finally:
        _Opening.count -= 1


def check_open_files(more: int) -> None:
    """Refuse `more` files if the process may hardly open them.

    Raises:
        FilesExhaustedError: it may not; the message names the limit.
    """
    if (limit := open_files_limit()) is not None and _lowest_free() + more > limit - RESERVED_FILES:
        raise FilesExhaustedError(
            f"this process may open {limit} files at once, and {RESERVED_FILES} are kept for other things than "
            "connections: raise the limit (ulimit -n) or lower max_concurrency"
        )


def open_files_limit() -> int | None:
    """How many files the process may have open; None where the system has no such limit or does not say."""
    with suppress(ImportError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return None if limit == resource.RLIM_INFINITY else limit
    return None


def _lowest_free() -> float:
    """The number that the next file gets: all below it are open."""
    try:
        with socket.socket() as probe:
            return probe.fileno()
    except OSError as exc:
        if exc.errno == errno.EMFILE:
            return float("inf")
        raise
