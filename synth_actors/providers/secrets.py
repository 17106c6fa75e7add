"""What must never be shown, and how is it kept out of texts and of other people's logs?

Servers give a key back: in a complaint, in a header, encoded, broken off in the middle.  httpx2, httpcore2 and the
Anthropic SDK log what was sent and what came when a program listens at DEBUG, partly at INFO.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus
from weakref import WeakSet, WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORTEST_SECRET = 6
"""What is shorter ("none", "x") is no key but stands for one, and may stand in any text."""
SHOWN_AS = "[key]"
_SECRET_NAME = re.compile(r"auth|key|token|secret|cookie|pass|credential|signature", re.IGNORECASE)
_FOREIGN_LOGGERS = (
    "anthropic",
    "anthropic._base_client",
    "anthropic._response",
    "httpcore2.connection",
    "httpcore2.http11",
    "httpcore2.http2",
    "httpcore2.proxy",
    "httpcore2.socks",
    "httpx2",
)


class Secrets:
    """The secrets of one endpoint, as they are and as a text may hold them: URL-encoded, in JSON, in base64.

    What is shorter than `SHORTEST_SECRET` is not looked for.
    """

    __slots__ = ("__weakref__", "_forms", "_pattern")

    def __init__(self, values: Iterable[str | None] = ()) -> None:
        secrets = [value for value in values if value is not None and len(value) >= SHORTEST_SECRET]
        forms = {form for secret in secrets for form in _forms_of(secret)}
        self._forms = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, self._forms)), re.IGNORECASE) if forms else None

    def scrub(self, text: str) -> str:
        """`text` without them; at its end, where it may be broken off, without the beginning of one, too."""
        if self._pattern is None:
            return text
        clean = self._pattern.sub(SHOWN_AS, text)
        for form in self._forms:
            at = clean.rfind(form[:SHORTEST_SECRET], max(0, len(clean) - len(form)))
            if at >= 0 and form.startswith(clean[at:]):
                return clean[:at] + SHOWN_AS
        return clean

    def are_in(self, text: str) -> bool:
        """Whether one of them could be read in `text`."""
        return self.scrub(text) != text

    def __repr__(self) -> str:
        return f"<Secrets forms={len(self._forms)}>"


NO_SECRETS = Secrets()
_shared: WeakValueDictionary[frozenset[str], Secrets] = WeakValueDictionary()


def secrets_of(values: Iterable[str | None]) -> Secrets:
    """The `Secrets` of these, the same ones for everybody who has the same.

    A program that opens an engine for each job would else have every record of a client library looked through once for
    every engine that somebody still holds.
    """
    known = frozenset(value for value in values if value is not None)
    secrets = _shared.get(known)
    if secrets is None:
        secrets = _shared[known] = Secrets(known)
    return secrets


def _forms_of(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret)
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield json.dumps(secret)[1:-1]
    for before in ("", "a", "ab"):  # in base64 every third letter begins at a full character
        encoded = base64.b64encode((before + secret).encode())
        # Without the characters that also hold a part of what stands before or behind.
        core = encoded[-(-8 * len(before) // 6) : 8 * (len(before) + len(secret.encode())) // 6].decode()
        if len(core) >= SHORTEST_SECRET:
            yield core
            yield core.translate({ord("+"): "-", ord("/"): "_"})


def secret_headers(headers: Mapping[str, str]) -> list[str]:
    """The values of headers, or of a query, whose names say that they are secret, also without a scheme before them."""
    values = [value for name, value in headers.items() if _SECRET_NAME.search(name)]
    return [part for value in values for part in {value, value.rpartition(" ")[2]}]


class _ForeignLogs(logging.Filter):
    """Takes secrets out of the records of the client libraries, whoever listens to them."""

    def __init__(self) -> None:
        super().__init__()
        self._known: WeakSet[Secrets] = WeakSet()

    def keep_out(self, secrets: Secrets) -> None:
        """From now on, for as long as anybody holds it."""
        for name in _FOREIGN_LOGGERS if not self._known else ():
            logging.getLogger(name).addFilter(self)
        self._known.add(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through."""
        text = record.getMessage()
        clean = self._scrub(text)
        if clean != text:
            record.msg, record.args = clean, None
        if record.exc_info:
            text = record.exc_text or logging.Formatter().formatException(record.exc_info)
            record.exc_text = clean = self._scrub(text)
            if clean != text:  # a handler may write the exception itself, and look at no text
                record.exc_info = None
        return True

    def _scrub(self, text: str) -> str:
        for secrets in list(self._known):
            text = secrets.scrub(text)
        return text


_foreign_logs = _ForeignLogs()


def keep_out_of_foreign_logs(secrets: Secrets) -> None:
    """Take `secrets` out of what httpx2, httpcore2 and the Anthropic SDK log, for as long as anybody holds them."""
    _foreign_logs.keep_out(secrets)
