"""How does text become HTML without ever becoming markup?

Whatever is no `Html` is text, whoever wrote it: an endpoint's name, a message of a server, a title.  Only `element`,
`joined` and `trusted` make `Html`.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping

VOID = frozenset({"br", "link", "meta"})
"""Elements without an end tag."""
_NOT_SHOWN = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"} | {0x7F: 0x2421}
"""Control characters, which a page may not hold, as the pictures that Unicode has of them."""
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), 0xFFFD)
"""Halves of characters, which no file can hold in UTF-8."""
_HARMLESS = _NOT_SHOWN | _SURROGATES


class Html(str):
    """Markup that is finished: `element` puts it in as it is."""

    __slots__ = ()


def text(given: str) -> Html:
    """`given` as text: nothing of it is markup, in elements as in attributes."""
    return given if isinstance(given, Html) else Html(html.escape(given.translate(_HARMLESS)))


def element(name: str, attributes: Mapping[str, str] | None = None, *children: str) -> Html:
    """An element; the children that are no `Html` are text."""
    given = "".join(f' {key}="{text(value)}"' for key, value in (attributes or {}).items())
    if name in VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{''.join(map(text, children))}</{name}>")


def joined(parts: Iterable[str]) -> Html:
    """One after another; those that are no `Html` are text."""
    return Html("".join(map(text, parts)))


def trusted(markup: str) -> Html:
    """Markup of the project's own: files of this package, never anything that was given."""
    return Html(markup)


def as_data(value: object) -> Html:
    """JSON that may stand in a `<script>` whose type is no program: nothing in it ends the element.

    Raises:
        ValueError: a number is not finite, which JSON cannot say.
    """
    made = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII: halves of characters stay escaped
    return Html(made.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
