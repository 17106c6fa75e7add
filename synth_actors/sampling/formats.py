"""What does a string of each `format` look like?

`FORMATS` makes realistic values, given the kind that the field's name stands for; `SHAPES` are expressions whose
texts are of the format too and that can be made in any length, for when the realistic value does not fit.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from synth_actors.sampling import kinds
from synth_actors.sampling.kinds import MOMENTS, TEXT, Text, timestamp

if TYPE_CHECKING:
    from synth_actors.sampling.record import Context


def _date_time(kind: str | None) -> Text:
    when = MOMENTS.get(kind or "", kinds.moment)
    return lambda ctx: timestamp(when(ctx))


def _date(kind: str | None) -> Text:
    when = MOMENTS.get(kind or "", kinds.moment)
    return lambda ctx: when(ctx).date().isoformat()


def _time(kind: str | None) -> Text:
    if kind in ("start", "end", "created", "updated"):
        return lambda ctx: MOMENTS[kind](ctx).strftime("%H:%M:%SZ")
    return lambda ctx: (
        f"{ctx.stream.between(0, 23):02d}:{ctx.stream.between(0, 59):02d}:{ctx.stream.between(0, 59):02d}Z"
    )


def _duration(ctx: Context) -> str:
    return f"P{ctx.stream.between(0, 9)}DT{ctx.stream.between(0, 23)}H{ctx.stream.between(1, 59)}M"


def _path(ctx: Context) -> str:
    return f"/{kinds.words(1, 1, ctx)}/{kinds.words(1, 1, ctx)}"


def _base64(ctx: Context) -> str:
    return base64.b64encode(kinds.words(2, 4, ctx).encode()).decode()


def _always(make: Text) -> Callable[[str | None], Text]:
    return lambda _kind: make


def _for_kinds(default: str, *others: str) -> Callable[[str | None], Text]:
    """The field's own kind if it is one of these, else the default."""
    return lambda kind: TEXT[kind if kind in others else default]


FORMATS: dict[str, Callable[[str | None], Text]] = {
    "date-time": _date_time,
    "date": _date,
    "time": _time,
    "duration": _always(_duration),
    "email": _for_kinds("email"),
    "idn-email": _for_kinds("email"),
    "name-email": _always(lambda ctx: f"{ctx.record.first} {ctx.record.last} <{ctx.record.email}>"),
    "hostname": _for_kinds("company_domain"),
    "idn-hostname": _for_kinds("company_domain"),
    "ipv4": _for_kinds("ip"),
    "ipv6": _for_kinds("ipv6"),
    "ipvanyaddress": _for_kinds("ip", "ipv6"),
    "ipv4network": _always(lambda ctx: f"198.51.100.{ctx.stream.between(0, 15) * 16}/28"),
    "ipv4interface": _always(lambda ctx: f"{kinds.ipv4(ctx)}/24"),
    "ipvanynetwork": _always(lambda ctx: f"198.51.100.{ctx.stream.between(0, 15) * 16}/28"),
    "ipvanyinterface": _always(lambda ctx: f"{kinds.ipv4(ctx)}/24"),
    "ipv6network": _always(lambda ctx: f"2001:db8:{ctx.stream.between(1, 0xFFFF):x}::/48"),
    "ipv6interface": _always(lambda ctx: f"{kinds.ipv6(ctx)}/64"),
    "uri": _for_kinds("url", "image"),
    "iri": _for_kinds("url", "image"),
    "uri-reference": _for_kinds("url", "image"),
    "iri-reference": _for_kinds("url", "image"),
    "uri-template": _always(lambda ctx: f"https://api.{ctx.record.domain}/{kinds.words(1, 1, ctx)}/{{id}}"),
    "uuid": _for_kinds("uuid"),
    "uuid4": _for_kinds("uuid"),
    "regex": _always(lambda ctx: f"^{kinds.words(1, 1, ctx)}-[0-9]{{{ctx.stream.between(2, 6)}}}$"),
    "json-pointer": _always(_path),
    "relative-json-pointer": _always(lambda ctx: f"{ctx.stream.between(0, 3)}{_path(ctx)}"),
    "byte": _always(_base64),
    "base64": _always(_base64),
    "base64url": _always(_base64),
    "binary": _always(partial(kinds.words, 2, 4)),
    "password": _for_kinds("password"),
    "path": _always(lambda ctx: f"/srv{_path(ctx)}.txt"),
    "json-string": _always(lambda ctx: f'{{"{kinds.words(1, 1, ctx)}": {ctx.stream.between(1, 99)}}}'),
    "phone": _for_kinds("phone"),
    "fraction": _always(lambda ctx: f"{ctx.stream.between(1, 20)}/{ctx.stream.between(2, 20)}"),
    "zoneinfo": _for_kinds("timezone"),
    "multi-host-uri": _always(lambda ctx: f"postgresql://app@db.{ctx.record.domain}:5432/{kinds.words(1, 1, ctx)}"),
    "color": _for_kinds("hex_colour", "colour"),
}

_PATH_SHAPE = r"^(/[a-z]+)*$"
_DATE_SHAPE = r"20[0-2]\d-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])"
_TIME_SHAPE = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]0\d:00)"
SHAPES: dict[str, str] = {
    "email": r"^[a-z][a-z0-9]{0,40}@[a-z]([a-z]{0,50}\.(com|org|net))$",
    "idn-email": r"^[a-z][a-z0-9]{0,40}@[a-z]([a-z]{0,50}\.(com|org|net))$",
    "hostname": r"^[a-z][a-z0-9]{0,40}(\.[a-z]{2,40})*$",
    "idn-hostname": r"^[a-z][a-z0-9]{0,40}(\.[a-z]{2,40})*$",
    "uri": r"^(https://[a-z]+\.example(/[a-z]+)*|urn:[a-z]{2}:[a-z]+|[a-z]:)$",
    "iri": r"^(https://[a-z]+\.example(/[a-z]+)*|urn:[a-z]{2}:[a-z]+|[a-z]:)$",
    "uri-reference": _PATH_SHAPE,
    "iri-reference": _PATH_SHAPE,
    "uri-template": r"^/[a-z]*$",
    "json-pointer": _PATH_SHAPE,
    "relative-json-pointer": r"^[0-9](/[a-z]+)*$",
    "regex": r"^[a-z]*$",
    "duration": r"^P([1-9]\d{0,4}D|[1-9]\d{0,3}Y|\d{1,3}DT\d{1,3}H\d{1,3}M\d{1,3}S)$",
    "date-time": f"^{_DATE_SHAPE}T{_TIME_SHAPE}$",
    "date": f"^{_DATE_SHAPE}$",
    "time": f"^{_TIME_SHAPE}$",
    "ipv4": r"^([1-9]?\d|1\d\d)(\.([1-9]?\d|1\d\d)){3}$",
    "ipv6": r"^(([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}|::[0-9a-f]{1,4})$",
}
