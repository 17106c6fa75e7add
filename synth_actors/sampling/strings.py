"""Which text fits a string schema, and reads like what its name says?

The sources are tried in order: what the name and the format say, then what the pattern or the length demands.  A source
that hardly ever fits is dropped when the schema is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from synth_actors.sampling import kinds, prose
from synth_actors.sampling.errors import UnsatisfiableError, UnsupportedError
from synth_actors.sampling.formats import FORMATS, SHAPES
from synth_actors.sampling.kinds import DRAWN, MOMENTS, NUMBERS, PROSE, TEXT, Text, timestamp
from synth_actors.sampling.names import Hint, kind_of, words_of
from synth_actors.sampling.pattern import Pattern
from synth_actors.sampling.pattern_parse import PatternError
from synth_actors.sampling.record import Context
from synth_actors.sampling.stream import Stream

if TYPE_CHECKING:
    from synth_actors.sampling.merge import Flat

Fits = Callable[[str], bool]
_PROBES = 12
_LAST_TRIES = 300
_FEWEST_HITS = 5  # of these; with so many, `_RARE_TRIES` miss once in ten million documents
_RARE_TRIES = 1_000


def string_maker(flat: Flat, hint: Hint) -> Text:
    """A maker of strings for a schema of type string.

    Raises:
        UnsupportedError: the pattern holds a construct that cannot be generated from.
        UnsatisfiableError: no text fits.
    """
    low, high = flat.get("minLength", 0), flat.get("maxLength")
    if high is not None and low > high:
        raise UnsatisfiableError("maxLength", flat.path, f"minLength {low} is above maxLength {high}")
    fits = _fits(flat, low, high)
    said = _said(flat, hint, low, high)
    if fits is None:
        return said
    last = _rare(said, flat, fits, (low, high))
    return last if _hits(said, fits) < 3 else _first_fitting(said, last, fits)


def _fits(flat: Flat, low: int, high: int | None) -> Fits | None:
    patterns, formats = flat.get("pattern", ()), flat.get("format", ())
    if patterns or any(name in FORMATS for name in formats):
        import jsonschema_rs  # late: heavy

        parts: list[dict[str, Any]] = [{"pattern": pattern} for pattern in patterns] + [
            {"format": name} for name in formats
        ]
        bounds = {"minLength": low, **({} if high is None else {"maxLength": high})}
        if not patterns and low <= 1 and high is None:
            return None  # the makers of formats are right by themselves; a test holds them to it
        fits: Fits = jsonschema_rs.Draft202012Validator({"allOf": [*parts, bounds]}, validate_formats=True).is_valid
        return fits
    if low <= 1 and high is None:
        return None
    return lambda text: low <= len(text) and (high is None or len(text) <= high)


def _said(flat: Flat, hint: Hint, low: int, high: int | None) -> Text:
    """What name, format and examples say, without regard to the pattern."""
    kind = kind_of(hint)
    for name in flat.get("format", ()):
        if name in FORMATS:
            return FORMATS[name](kind)
    if flat.hints.get("contentEncoding") in ("base64", "base64url"):
        return FORMATS["base64"](kind)
    if (named := _named(kind, words_of(hint.name))) is not None and kind not in PROSE:
        return named
    if kind is None and (examples := tuple(e for e in flat.hints.get("examples", ()) if isinstance(e, str))):
        return lambda ctx: ctx.stream.pick(examples)
    make = named or _unnamed(low, high)
    return lambda ctx: prose.fitted(make(ctx), low, high, ctx.stream)


def _unnamed(low: int, high: int | None) -> Text:
    if low > 30:
        return TEXT["article"]
    return TEXT["words"] if high is None or high > 12 else TEXT["word"]


def _named(kind: str | None, words: tuple[str, ...]) -> Text | None:
    if kind in TEXT:
        return TEXT[kind]
    if kind in MOMENTS or (words and words[-1] in ("date", "at", "on", "datetime", "timestamp")):
        when = MOMENTS.get(kind or "", kinds.moment)
        if kind in ("birth", "future") or words[-1] in ("date", "on", "dob", "day", "since"):
            return lambda ctx: when(ctx).date().isoformat()
        return lambda ctx: timestamp(when(ctx))
    if words and words[-1] == "time":
        return lambda ctx: f"{ctx.stream.between(0, 23):02d}:{ctx.stream.between(0, 59):02d}"
    if kind in DRAWN:
        drawn = DRAWN[kind]
        return lambda ctx: str(drawn(ctx))
    if kind in NUMBERS:
        return _digits(kind)
    return None


def _digits(kind: str) -> Text:
    usual = NUMBERS[kind]

    def make(ctx: Context) -> str:
        scale: int = 10**usual.decimals
        k = int((usual.low + ctx.stream.random() ** usual.skew * (usual.high - usual.low)) * scale)
        whole, rest = divmod(abs(k), scale)
        return f"{'-' * (k < 0)}{whole}.{rest:0{usual.decimals}d}" if usual.decimals else str(k)

    return make


def _hits(make: Text, fits: Fits, probes: int = _PROBES) -> int:
    """How many of some values fit; the values are the same at every compilation."""
    return sum(fits(make(Context(Stream(seed), 0))) for seed in range(probes))


def _rare(said: Text, flat: Flat, fits: Fits, bounds: tuple[int, int | None]) -> Text:
    """What the pattern demands; a format too is rarely met by that, so there its own values are tried often."""
    if not flat.get("format") or _hits(said, fits, _LAST_TRIES) < _FEWEST_HITS:
        return _last(flat, fits, *bounds)

    def make(ctx: Context) -> str:
        for _ in range(_RARE_TRIES):
            if fits(text := said(Context(ctx.stream, 0))):  # of somebody else: the same person has the same values
                return text
        raise UnsatisfiableError("format", flat.path, f"none of {_RARE_TRIES} values fits all keywords")

    return make


def _first_fitting(said: Text, last: Text, fits: Fits) -> Text:
    def make(ctx: Context) -> str:
        for _ in range(3):
            if fits(text := said(ctx)):
                return text
        return last(ctx)

    return make


def _last(flat: Flat, fits: Fits, low: int, high: int | None) -> Text:
    """What the pattern, the format or the length alone demands."""
    keyword, expression = _expression(flat)
    if expression is None:
        return lambda ctx: prose.fitted(prose.phrase(ctx.stream), low, high, ctx.stream)
    try:
        pattern = Pattern(expression, low, high)
        empty = pattern.is_empty
    except PatternError as exc:
        raise UnsupportedError(keyword, flat.path, f"{expression!r}: {exc}") from None
    if empty:
        raise UnsatisfiableError(keyword, flat.path, f"no text of {expression!r} has {low} to {high} characters")

    def make(ctx: Context) -> str:
        for _ in range(_LAST_TRIES):
            if fits(text := pattern.text(ctx.stream)):
                return text
        raise UnsatisfiableError(
            keyword, flat.path, f"none of {_LAST_TRIES} texts made for {expression!r} fits all keywords"
        )

    make(Context(Stream(0), 0))
    return make


def _expression(flat: Flat) -> tuple[str, str | None]:
    if patterns := flat.get("pattern"):
        return "pattern", max(patterns, key=len)
    for name in flat.get("format", ()):
        if name in SHAPES:
            return "format", SHAPES[name]
        if name in FORMATS and name not in (
            "byte",
            "base64",
            "base64url",
            "binary",
            "password",
            "path",
            "phone",
            "color",
        ):
            raise UnsatisfiableError(
                "format", flat.path, f"no text of format {name!r} was found that fits the other keywords"
            )
    return "maxLength", None
