"""Whose fault was it, when a server answered with an error or the connection failed?

One table for every HTTP provider; pure: no I/O, and the wall clock comes in as an argument.  What the server names
(a type or a code in the error body) decides before the status, and a few texts decide where servers share one
status for different things: a 429 for a used-up budget is not a rate limit, a 400 for an unknown model concerns
every request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import inf
from typing import TYPE_CHECKING

from synth_actors.providers.base import Fault, ProviderError
from synth_actors.providers.secrets import NO_SECRETS, Secrets
from synth_actors.types import NO_USAGE, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

FAULT_OF_STATUS: Mapping[int, Fault] = {
    400: Fault.REJECTED,
    401: Fault.FATAL,
    402: Fault.FATAL,
    403: Fault.FATAL,
    404: Fault.FATAL,
    405: Fault.FATAL,
    408: Fault.FAILED,
    409: Fault.FAILED,
    413: Fault.REJECTED,
    422: Fault.REJECTED,
    429: Fault.RATE_LIMITED,
    500: Fault.FAILED,
    502: Fault.FAILED,
    503: Fault.OVERLOADED,
    504: Fault.FAILED,
    529: Fault.OVERLOADED,
}

FAULT_OF_NAME: Mapping[str, Fault] = {
    # Anthropic's types; in a stream they are all there is, the status was 200.
    "overloaded_error": Fault.OVERLOADED,
    "rate_limit_error": Fault.RATE_LIMITED,
    "api_error": Fault.FAILED,
    "timeout_error": Fault.FAILED,
    "conflict_error": Fault.FAILED,
    "invalid_request_error": Fault.REJECTED,
    "request_too_large": Fault.REJECTED,
    "authentication_error": Fault.FATAL,
    "permission_error": Fault.FATAL,
    "billing_error": Fault.FATAL,
    "not_found_error": Fault.FATAL,
    # OpenAI's types and codes, and what compatible servers made of them.
    "rate_limit_exceeded": Fault.RATE_LIMITED,
    "server_error": Fault.FAILED,
    "internal_error": Fault.FAILED,
    "unavailable_error": Fault.OVERLOADED,
    "service_unavailable": Fault.OVERLOADED,
    "server_overloaded": Fault.OVERLOADED,
    "overloaded": Fault.OVERLOADED,
    "context_length_exceeded": Fault.REJECTED,
    "exceed_context_size_error": Fault.REJECTED,
    "insufficient_quota": Fault.FATAL,
    "billing_hard_limit_reached": Fault.FATAL,
    "billing_not_active": Fault.FATAL,
    "invalid_api_key": Fault.FATAL,
    "model_not_found": Fault.FATAL,
    "contract_spend_limit_reached": Fault.FATAL,
    "enforced_spend_limit_reached": Fault.FATAL,
}

_SPENT = re.compile(
    r"insufficient[_ ]quota|exceeded your current quota|credit balance|insufficient (credit|fund|balance)"
    r"|out of credits|(plans?|usage) (and|&) billing|billing[ _](hard[ _])?limit|billing (is )?not active"
    r"|spend(ing)?[ _]limit|payment required|usage limits? (reached|exceeded)",
    re.IGNORECASE,
)
_BY_THE_MINUTE = re.compile(r"per[ -_]?(minute|second|hour)|\b[rt]pm\b|retry in \d", re.IGNORECASE)
_NO_SUCH_MODEL = re.compile(
    r"not a valid model|invalid model|unknown model|model\b.{0,80}?\b(does not exist|not found)"
    r"|(invalid|incorrect) api key|api key not valid",
    re.IGNORECASE | re.DOTALL,
)
_FLAGGED = re.compile(r"\bflagged\b|moderation|content[ _-](policy|filter|management)|safety", re.IGNORECASE)
_ABOUT_SCHEMA = re.compile(
    r"output_config|output_format|structured[ _]outputs?|response_format|json[_ ]schema|\bschema\b|grammar|guided",
    re.IGNORECASE,
)
_TELLING_CHARS = 16
"""So many say more than an errno or a name."""
_SHOWN_CHARS = 400
_QUOTED_CHARS = 80
ERROR_CHARS = 4 * _SHOWN_CHARS
"""So much of what a server said is looked at for what is shown of it."""


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What a server said about its error, whatever the shape of the body was; empty strings where it said nothing."""

    message: str
    names: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.message or self.names)


def read_error(body: object) -> ErrorBody:
    """The message and the names (type, code) in an error body: parsed JSON of any dialect, or text."""
    if isinstance(body, (str, bytes)):
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
        return ErrorBody(" ".join(text.split())[:ERROR_CHARS])
    if isinstance(body, list) and body:  # Google's compatible server wraps the object in a list
        return read_error(body[0])
    if not isinstance(body, Mapping):
        return ErrorBody("")
    inner = body.get("error", body)
    if not isinstance(inner, Mapping):
        return ErrorBody(_text(inner))
    message = inner.get("message") or inner.get("detail") or inner.get("error") or body.get("detail") or ""
    details = inner.get("details")
    names = [inner.get("type"), inner.get("code"), inner.get("status")]
    if isinstance(details, Mapping):
        names.append(details.get("error_code"))
    raw = inner.get("metadata", {}).get("raw") if isinstance(inner.get("metadata"), Mapping) else None
    return ErrorBody(
        " ".join(part for part in (_text(message), _text(raw)) if part),
        tuple(name.lower() for name in names if isinstance(name, str) and name not in ("error", "")),
    )


def _text(value: object) -> str:
    return "" if value is None else str(value)


def status_in(body: object) -> int | None:
    """The status that an error object names itself (OpenRouter does, inside a 200); None when it names none."""
    inner = body.get("error") if isinstance(body, Mapping) else None
    code = inner.get("code") if isinstance(inner, Mapping) else None
    return code if isinstance(code, int) and 400 <= code <= 599 else None


def fault_of(status: int | None, error: ErrorBody) -> Fault:
    """The table.  `status` is None for an error inside an answer that began as a success."""
    by_name = next((FAULT_OF_NAME[name] for name in reversed(error.names) if name in FAULT_OF_NAME), None)
    if status is None:
        return by_name or Fault.FAILED
    fault = _fault_of_status(status)
    if status == 403 and _FLAGGED.search(error.message):
        return Fault.REJECTED  # a moderated prompt says nothing about the next one
    if by_name is Fault.FATAL or (by_name is Fault.OVERLOADED and status >= 500):
        return by_name
    if fault in (Fault.RATE_LIMITED, Fault.REJECTED) and _concerns_all(fault, error.message):
        return Fault.FATAL
    return fault


def _concerns_all(fault: Fault, message: str) -> bool:
    if _SPENT.search(message) and not _BY_THE_MINUTE.search(message):
        return True
    return fault is Fault.REJECTED and bool(_NO_SUCH_MODEL.search(message))


def _fault_of_status(status: int) -> Fault:
    if (fault := FAULT_OF_STATUS.get(status)) is not None:
        return fault
    if 300 <= status < 400:
        return Fault.FATAL
    return Fault.REJECTED if status < 500 else Fault.FAILED


def refuses_schema(status: int, error: ErrorBody) -> bool:
    """Whether the server said that it takes no JSON Schema, or not this one."""
    return status in (400, 404, 422, 500, 501) and bool(_ABOUT_SCHEMA.search(" ".join((error.message, *error.names))))


def retry_after_s(headers: Mapping[str, str], *, now: float) -> float | None:
    """The server's own wish in seconds from `now` (Unix time), uncapped; None when it has none that can be read.

    `retry-after-ms` is the more exact form and wins.  A date is taken against the server's own `date` where it sent
    one, so that neither clock has to be right.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    wish = headers.get("retry-after")
    if (seconds := _number(wish)) is not None or not wish:
        return seconds
    until, sent = _date(wish), _date(headers.get("date"))
    return None if until is None else max(0.0, until - (now if sent is None else sent))


def _number(text: str | None) -> float | None:
    if text is None or not re.fullmatch(r"\s*\d{1,15}(\.\d*)?\s*", text, re.ASCII):
        return None
    return float(text)


def _date(text: str | None) -> float | None:
    if not text:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class Reporter:
    """Makes the errors of one endpoint: it knows the secrets that must never be shown.  The engine adds who speaks."""

    secrets: Secrets = NO_SECRETS
    connect_timeout_s: float = inf

    def shown(self, text: bytes) -> str:
        """The beginning of what came, as an error quotes it."""
        return repr(self.secrets.scrub(text[:ERROR_CHARS].decode("utf-8", "replace"))[:_QUOTED_CHARS])

    def of_status(self, status: int, headers: Mapping[str, str], body: object, *, now: float) -> ProviderError:
        """The error for an answer with an error status."""
        error = read_error(body)
        said = error.message or (f"redirects to {headers['location']}" if "location" in headers else "no message")
        return ProviderError(
            fault_of(status, error),
            self._line(f"HTTP {status}", said, error),
            status=status,
            retry_after_s=retry_after_s(headers, now=now),
        )

    def of_body(self, body: object, usage: Usage = NO_USAGE) -> ProviderError:
        """The error for an error object inside an answer that began with status 200."""
        error, status = read_error(body), status_in(body)
        message = self._line("error inside the answer", error.message or "no message", error)
        return ProviderError(fault_of(status, error), message, status=status, usage=usage)

    def failed(self, what: str, usage: Usage = NO_USAGE, fault: Fault = Fault.FAILED) -> ProviderError:
        """An error in our own words."""
        return ProviderError(fault, self.secrets.scrub(what), usage=usage)

    def of_transport(self, exc: Exception, usage: Usage = NO_USAGE) -> ProviderError:
        """The error for a connection that could not be made, broke, or spoke no HTTP."""
        import httpx2

        fault = transport_fault(exc)
        if isinstance(exc, httpx2.ConnectTimeout):
            return self.failed(f"no connection within connect_timeout_s={self.connect_timeout_s:g}", usage, fault)
        what = "no connection" if fault is Fault.UNREACHABLE else "the connection broke"
        return self.failed(f"{what}: {reason(exc)}", usage, fault)

    def _line(self, what: str, said: str, error: ErrorBody) -> str:
        names = f" ({', '.join(error.names)})" if error.names else ""
        clean = self.secrets.scrub(said)  # before it is cut: the beginning of a key is no less a secret
        shown = clean if len(clean) <= _SHOWN_CHARS else clean[: _SHOWN_CHARS - 3] + "..."
        return self.secrets.scrub(f"{what}{names}: {shown}")


def transport_fault(exc: Exception) -> Fault:
    """What an exception of httpx2 means.  Only what failed before the request was written is UNREACHABLE."""
    import httpx2

    if isinstance(exc, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)):
        return Fault.UNREACHABLE
    if isinstance(exc, httpx2.TimeoutException):
        return Fault.TIMED_OUT
    if isinstance(exc, (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL)):
        return Fault.REJECTED
    return Fault.FAILED


def reason(exc: BaseException) -> str:
    """What a chain of causes says: the outer ones are often empty, the telling one is often the last."""
    texts: list[str] = []
    for link in _chain(exc):
        texts += [text for text in _said(link) if not any(_says_again(text, before) for before in texts)]
    return ": ".join([type(exc).__name__, *texts[:3]])


def _says_again(text: str, before: str) -> bool:
    """Whether a text is in another, or holds the end of it, which was made of it: a certificate's fault, say."""
    end = before.rpartition(": ")[2].rstrip(".")
    return text in before or (len(end) >= _TELLING_CHARS and end in text)


def _said(exc: BaseException) -> list[str]:
    if isinstance(exc, BaseExceptionGroup):  # one address refused, the next unreachable: its own text only counts them
        return [text for part in exc.exceptions for text in _said(part)]
    return [text] if (text := str(exc).strip()) else []


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        yield exc
        exc = exc.__cause__ or exc.__context__


def shows(exc: BaseException, secrets: Secrets) -> bool:
    """Whether a secret would be read by somebody who prints `exc` with its causes, their arguments and bodies."""
    return any(secrets.are_in(text) for link in _chain(exc) for text in (str(link), repr(link.args), _body(link)))


def _body(exc: BaseException) -> str:
    body = getattr(exc, "body", "")
    return body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
