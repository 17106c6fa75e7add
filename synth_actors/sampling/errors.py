"""Which keyword of a schema cannot be honoured, and where does it stand?"""

from __future__ import annotations


class SchemaError(ValueError):
    """A schema that no value can be made for; `keyword` and `path` (a JSON pointer into the schema) say why."""

    def __init__(self, keyword: str, path: str, reason: str) -> None:
        super().__init__(f"schema at #{path}: {keyword}: {reason}")
        self.keyword = keyword
        self.path = path
        self.reason = reason


class UnsupportedError(SchemaError):
    """The keyword asks for something that this generator cannot do."""


class UnsatisfiableError(SchemaError):
    """No value, or none that was found within the bounded number of tries, fulfils the keyword."""
