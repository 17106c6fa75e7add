"""Which values look as if nobody meant them?"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean, median
from typing import NamedTuple

from synth_actors.datasets.quality.sketches import Extremes

SHOWN_CHARS = 80
FAR = 6.0
"""Robust standard deviations from the median beyond which a value is strange."""
MIN_SAMPLE = 20
"""Values below which none of them is far from the others."""
RARE_SHARE = 0.01
"""What more than this share of all values are is not strange."""
PER_COLUMN = 3
OVERALL = 20

BEYOND, DAMAGED, PLACEHOLDER, OUTLIER, MIXED, LENGTH, SCRIPT, SPACE = range(8)
"""What is strange about a value, the worst first."""
KIND_NAMES = (
    "beyond range",
    "damaged",
    "placeholder",
    "outlier",
    "mixed scripts",
    "length",
    "rare script",
    "white space",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strange:
    """One value that stands out: its row, its column, the value on at most `SHOWN_CHARS` characters, and why.

    `kind` is one of the constants of this module, `distance` says how far out it is among those of its kind.
    """

    row: int
    column: str
    value: str
    why: str
    kind: int
    distance: float = 0.0


def shown(value: object) -> str:
    """A value on one line of at most `SHOWN_CHARS` characters; what does not print is escaped as in Python."""
    if isinstance(value, int) and value.bit_length() > 1024:  # Python refuses to write out the longest ones
        return f"an integer of {value.bit_length()} bits"
    text = "true" if value is True else "false" if value is False else "null" if value is None else str(value)
    if len(text) <= SHOWN_CHARS and text.isprintable():
        return text
    escaped = "".join(one if one.isprintable() else _escaped(one) for one in text[: SHOWN_CHARS + 1])
    return escaped if len(escaped) <= SHOWN_CHARS else escaped[: SHOWN_CHARS - 1] + "…"


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


# -- texts: rules, each `text -> why | None` ---------------------------------------------------------------------------
_CONTROL_BYTES = bytes([*range(9), 11, 12, *range(14, 32), 127])
_DAMAGE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # control characters but tab and line ends
    "\u200b\u2060\u202a-\u202e\u2066-\u2069\ufeff"  # invisible: zero width, overrides of direction, byte order marks
    "\ufffd\ud800-\udfff\ue000-\uf8ff\ufffe\uffff]"  # replaced, half a pair, private, no character
    "|Ã[\u0080-\u00bf]|â€"  # UTF-8 that was read as Latin-1 or Windows-1252
)
_MIXED = re.compile(r"[A-Za-z][\u0370-\u03ff\u0400-\u052f]|[\u0370-\u03ff\u0400-\u052f][A-Za-z]")
_NAMES = {"\u200b": "zero width space", "\ufeff": "byte order mark", "\ufffd": "replacement character"}

PLACEHOLDERS = frozenset(
    """
    -|--|---|.|..|...|?|??|???|x|xx|xxx|xxxx|n/a|n.a.|#n/a|nan|none|null|nil|undefined|unknown|todo|tbd|tba|fixme
    |string|str|example|placeholder|dummy|foo|foobar|foo bar|bar baz|asdf|qwerty|changeme|your name|name here|first last
    |john doe|jane doe|max mustermann|erika mustermann|firstname|lastname|test test|test user|123 main st
    |123 main street|anytown|springfield, usa|acme|user@example.com|test@example.com|name@example.com
    |email@example.com|example@example.com|john.doe@example.com|johndoe@example.com|jane.doe@example.com|1234567890
    |+1234567890|123-456-7890|555-555-5555|000-000-0000|00000000-0000-0000-0000-000000000000
    |123e4567-e89b-12d3-a456-426614174000|550e8400-e29b-41d4-a716-446655440000|a1b2c3d4-e5f6-7890-abcd-ef1234567890
    """.replace("\n", "")
    .replace("    ", "")
    .split("|")
)
"""Whole values, in lower case, that people and models write where they know nothing better."""
_PART_BYTES = (
    b"lorem ipsum",
    b"dolor sit amet",
    b"as an ai ",
    b"ai language model",
    b"{{",
    b"[insert",
    b"[your ",
    b"<insert",
    b"<your",
    b"todo:",
    b"placeholder",
)
_PLACEHOLDER_BYTES = frozenset(one.encode() for one in PLACEHOLDERS)
_SPACED_BYTES = (b"\n ", b" \n", b"\n\t", b"\t\n", b"\n\n", b"\r")


def _damaged(text: str) -> str | None:
    found = _DAMAGE.search(text)
    if found is None:
        return None
    if len(part := found.group()) > 1:
        return f"{part[0]!r} as if UTF-8 was read as another encoding"
    return f"contains U+{ord(part):04X} ({_NAMES.get(part, 'not for print')})"


def _placeholder(text: str) -> str | None:
    lowered = text.encode("utf-8", "surrogatepass").lower()  # lowers ASCII alone, as the placeholders are
    if lowered in _PLACEHOLDER_BYTES:
        return "a placeholder"
    return next((f"contains {part.decode().strip()!r}" for part in _PART_BYTES if part in lowered), None)


def _mixed(text: str) -> str | None:
    found = None if text.isascii() else _MIXED.search(text)
    return found and f"letters of two scripts in one word: {found.group()!r}"


def _spaced(text: str) -> str | None:
    if text == (bare := text.strip()):
        return None
    return "white space at its ends" if bare else "nothing but white space"


TEXT_RULES: dict[int, Callable[[str], str | None]] = {
    DAMAGED: _damaged,
    PLACEHOLDER: _placeholder,
    MIXED: _mixed,
    SPACE: _spaced,
}


def suspects(texts: Sequence[str]) -> list[int]:
    """The rules that at least one of `texts` may break: a look at all of them at once, for it is mostly none."""
    joined = "\n".join(("", *texts, ""))
    ascii_only = joined.isascii()
    raw = joined.encode("utf-8", "surrogatepass").lower()
    damaged = len(raw.translate(None, _CONTROL_BYTES)) < len(raw) or not (ascii_only or not _DAMAGE.search(joined))
    placeholders = not _PLACEHOLDER_BYTES.isdisjoint(raw.split(b"\n")) or any(part in raw for part in _PART_BYTES)
    spaced = damaged or not ascii_only or any(part in raw for part in _SPACED_BYTES)  # beyond ASCII, spaces are many
    verdicts = {DAMAGED: damaged, PLACEHOLDER: placeholders, MIXED: not ascii_only, SPACE: spaced}
    return [kind for kind, suspected in verdicts.items() if suspected]


# -- scripts -----------------------------------------------------------------------------------------------------------
_SCRIPTS = (
    ("Greek", "\u0370-\u03ff\u1f00-\u1fff"),
    ("Cyrillic", "\u0400-\u052f"),
    ("Armenian", "\u0530-\u058f"),
    ("Hebrew", "\u0590-\u05ff"),
    ("Arabic", "\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc"),
    ("Indic", "\u0900-\u0dff"),
    ("Thai", "\u0e00-\u0e7f"),
    ("Georgian", "\u10a0-\u10ff"),
    ("Hangul", "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"),
    ("Kana", "\u3040-\u30ff"),
    ("Han", "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"),
    ("emoji", "\u2600-\u27bf\U0001f000-\U0001faff"),
)
_SCRIPT = re.compile("|".join(f"([{ranges}])" for _, ranges in _SCRIPTS))


def script_of(text: str) -> str | None:
    """What `text` is written in where it is not Latin, by its first such character; None for Latin and what is none."""
    found = None if text.isascii() else _SCRIPT.search(text)
    return _SCRIPTS[found.lastindex - 1][0] if found and found.lastindex else None


# -- numbers -----------------------------------------------------------------------------------------------------------
def centre_and_spread(sample: Sequence[float]) -> tuple[float, float]:
    """Median and robust standard deviation of at least one value.

    The larger of 1.4826 MAD (Iglewicz and Hoaglin 1993) and of what the distance between the 1 % and the 99 % quantile
    would be in a normal distribution: by the MAD alone, half of a column with two humps would be strange.  Where both
    are 0 it is 1.2533 mean absolute deviations, so that 0 says that all values are the same.
    """
    ordered = sorted(sample)
    centre = median(ordered)
    deviations = [abs(value - centre) for value in ordered]
    high = (len(ordered) - 1) * 99 // 100  # never the last one itself
    bulk = (ordered[high] - ordered[len(ordered) - 1 - high]) / (2 * 2.3263)
    return centre, max(1.4826 * median(deviations), bulk) or 1.2533 * fmean(deviations)


def far_out(extremes: Extremes, sample: Sequence[float]) -> list[Far]:
    """Those extremes that are more than `FAR` from the median of `sample`."""
    if len(sample) < MIN_SAMPLE:
        return []
    centre, spread = centre_and_spread(sample)
    ends = {**extremes.low, **extremes.high}
    distances = {key: abs(key - centre) / spread if spread else inf for key in ends if key != centre}
    return [Far(key, *ends[key], distances[key], centre) for key in distances if distances[key] > FAR]


class Far(NamedTuple):
    """An extreme far from `centre`, by `distance` robust standard deviations; infinite where all others are equal."""

    key: float
    row: int
    label: str
    distance: float
    centre: float


# -- which to show -----------------------------------------------------------------------------------------------------
def strangest(found: Iterable[Strange], limit: int) -> list[Strange]:
    """At most `limit` of them: of every kind and column the first before the second of any, the worst kinds first."""
    turns: defaultdict[tuple[str, int], int] = defaultdict(int)
    taken: dict[tuple[str, str], tuple[int, Strange]] = {}
    for one in sorted(found, key=lambda one: (one.kind, -one.distance, one.row, one.column, one.value)):
        if (one.column, one.value) not in taken:  # a value is shown once, for the worst that is said of it
            taken[one.column, one.value] = (turns[one.column, one.kind], one)
            turns[one.column, one.kind] += 1
    ordered = sorted(taken.values(), key=lambda pair: pair[0])
    return [one for _, one in ordered[:limit]]
