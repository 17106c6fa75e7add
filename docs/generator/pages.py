"""Which pages are written from the sources, and which of them are not what the sources say now?"""

from __future__ import annotations

import logging

from docs.generator import api, metrics
from docs.generator.source import ROOT


class _Troubles(logging.Handler):
    """Keeps what griffe could not make sense of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def generated() -> dict[str, str]:
    """Every generated page by its path from the root.

    Raises:
        ValueError: a docstring cannot be read by its headings, such as `Raises:`.
    """
    troubles, logger = _Troubles(), logging.getLogger("griffe")
    logger.addHandler(troubles)
    try:
        found = dict([metrics.page(), *api.pages()])
    finally:
        logger.removeHandler(troubles)
    if troubles.said:
        raise ValueError("docstrings that cannot be rendered:\n" + "\n".join(troubles.said))
    return found


def write_all() -> list[str]:
    """Write the pages that are not up to date; their paths."""
    found = generated()
    stale = [path for path, text in found.items() if there(path) != text]
    for path in stale:
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(found[path], encoding="utf-8")
    return stale


def there(path: str) -> str | None:
    """The page as it stands in the folder."""
    page = ROOT / path
    return page.read_text(encoding="utf-8") if page.exists() else None
