"""Which programs and styles are in the page, and how does a browser know that nothing else is?

uPlot draws (MIT licence, kept in `assets/uplot.LICENSE` and shown in each page that holds it): 50 KB, no dependency,
it puts labels in as text only and needs no exception from the page's policy.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from synth_actors.telemetry.report.markup import Html, element, trusted

SCRIPTS = ("uplot.min.js", "page.js")
STYLES = ("uplot.min.css", "page.css")
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect width='16' height='16' rx='4' fill='%232563eb'/%3E"
    "%3Cpath d='M3 12 6 8l3 2 4-6' fill='none' stroke='white' stroke-width='2'/%3E%3C/svg%3E"
)
"""With it no browser asks a server for one."""


@cache
def asset(name: str) -> str:
    """The text of a file of the package, with the line ends that a browser makes of all."""
    found = files("synth_actors.telemetry.report").joinpath("assets", name).read_text(encoding="utf-8")
    return found.replace("\r\n", "\n")


@cache
def policy() -> str:
    """Nothing but these scripts and styles, by their hashes; no network, no form, no markup from a script."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hashes(SCRIPTS)}",
            f"style-src {_hashes(STYLES)}",
            "img-src data:",  # the icon
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


@cache
def styles() -> Html:
    """The style elements."""
    return Html("".join(element("style", {}, trusted(asset(name))) for name in STYLES))


@cache
def scripts() -> Html:
    """The script elements, behind the licence of what is not ours."""
    licence = trusted(f"<!--\nuPlot\n{asset('uplot.LICENSE')}-->\n")
    return Html(licence + "".join(element("script", {}, trusted(asset(name))) for name in SCRIPTS))


def _hashes(names: tuple[str, ...]) -> str:
    digests = (hashlib.sha256(asset(name).encode()).digest() for name in names)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
