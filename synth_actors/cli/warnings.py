"""Where does a person at the command line see what the library warns of?

The library itself shows nothing: its records are for the handlers of whoever embeds it.  The command line is one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger("synth_actors")


class _Said(logging.Handler):
    """Says each warning in one line."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Say it; the traceback of a cause is for those who look into the log."""
        self._say(" ".join(record.getMessage().split()))


@contextmanager
def warnings_said(say: Callable[[str], None]) -> Iterator[None]:
    """Warnings and errors are said by `say`, and by no outer one of these, until the block ends."""
    outer = [handler for handler in logger.handlers if isinstance(handler, _Said)]
    inner = _Said(say)
    for handler in outer:
        logger.removeHandler(handler)
    logger.addHandler(inner)
    try:
        yield
    finally:
        logger.removeHandler(inner)
        for handler in outer:
            logger.addHandler(handler)
