"""Which request carries a body, when all the others are the same but for theirs?

Address, headers, authorization and deadlines of an endpoint do not change from call to call.  Putting them together
anew takes the Anthropic SDK (2.12) 130 us a call, a third of all that a call through the engine costs, and httpx2
(2.16) 40 us: so it is done once.  A cookie that a server sets is not sent back: no call depends on the one before.
"""

from __future__ import annotations

from typing import Any

import httpx2


class _Headers(httpx2.Headers):
    """Headers whose repr has their names alone: one is the key."""

    def __repr__(self) -> str:
        return f"<headers {', '.join(self)}>"


class RequestForm:
    """A POST without its body."""

    def __init__(self, url: httpx2.URL, headers: httpx2.Headers, extensions: dict[str, Any]) -> None:
        self._url = url
        self._headers = _Headers(headers)
        self._extensions = extensions

    def __repr__(self) -> str:
        return f"<RequestForm {self._headers!r}>"

    @classmethod
    def of(cls, request: httpx2.Request) -> RequestForm:
        """All of `request` but its body, and the length of that."""
        headers = httpx2.Headers(request.headers)
        headers.pop("content-length", None)
        return cls(request.url, headers, dict(request.extensions))

    def filled(self, body: bytes) -> httpx2.Request:
        """A request of its own with this body."""
        stream = httpx2.ByteStream(body)  # given so, httpx2 looks for no headers that are missing
        made = httpx2.Request("POST", self._url, headers=self._headers, stream=stream, extensions=self._extensions)
        made.headers["content-length"] = str(len(body))
        made.read()
        return made
