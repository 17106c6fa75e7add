"""How does a log become lines that a machine reads?

The engine logs under "synth_actors" and installs no handler.  A `JsonFormatter` on the program's own handler writes one
JSON object a line, with what the records carry beside their text: `request_id`, and the other fields of
`synth_actors.request_log.FIELDS` where they apply.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""What every record has; the rest was given with it, by `extra`."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (UTC, ISO 8601), `level`, `logger`, `event`, then the fields of the record.

    `event` is the text.  A field that is None is left out, one that JSON has no form for becomes its `str`.  With an
    exception, `error` is its class (unless the record has a field of that name) and `traceback` its text.
    """

    def __init__(self) -> None:
        super().__init__()

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
        }
        fields = {name: value for name, value in vars(record).items() if name not in _PLAIN and value is not None}
        line |= {name: value for name, value in fields.items() if name not in line}
        if record.exc_info and record.exc_info[0] is not None:
            line.setdefault("error", record.exc_info[0].__name__)
        if (traceback := self._traceback(record)) is not None:
            line["traceback"] = traceback
        if record.stack_info:
            line["stack"] = record.stack_info
        return "{" + ", ".join(f"{json.dumps(name)}: {_json(value)}" for name, value in line.items()) + "}"

    def _traceback(self, record: logging.LogRecord) -> str | None:
        """As `logging.Formatter` has it: a filter may have written the text already, without secrets."""
        if not record.exc_text and record.exc_info and record.exc_info[0] is not None:
            record.exc_text = self.formatException(record.exc_info)
        return record.exc_text or None

    def __repr__(self) -> str:
        return "<JsonFormatter>"


def _json(value: object) -> str:
    """`value` in ASCII; what has no form in JSON, infinity and circles too, as its `str`."""
    try:
        return json.dumps(value, default=_text, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return json.dumps(_text(value))


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as exc:  # noqa: BLE001  (a value of the program's own: a log must not fail at it)
        return f"(cannot be shown: {type(exc).__name__})"
