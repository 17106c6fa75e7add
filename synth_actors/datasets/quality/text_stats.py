"""What is known of the texts at one path?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean, mode
from typing import Any

from synth_actors.datasets.quality import strange
from synth_actors.datasets.quality.number_stats import LengthStats
from synth_actors.datasets.quality.quality_report import Words
from synth_actors.datasets.quality.sketches import Extremes, Frequencies, Rows, Sample, digest, digests
from synth_actors.datasets.quality.strange import MIN_SAMPLE, PER_COLUMN, RARE_SHARE, Strange, far_out, script_of, shown
from synth_actors.datasets.quality.time_stats import TimeStats

SAMPLED_TEXTS = 256
SAMPLED_CHARS = 400
LONG_CHARS = 80
"""A longer text is counted by its first characters and its digest."""
UNLIKE = 3
FREE_TEXT_WORDS = 4
"""Words in the mean from which on a text is free text."""

_WORD = re.compile(r"\w+")
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?")


def _key_of(text: str) -> str:
    """What `text` is counted by: a long one by a beginning and its digest, longer than any short text."""
    return text if len(text) <= LONG_CHARS else f"{text[: LONG_CHARS - 16]}…{digest(text).hex()}"


def label_of(key: str) -> str:
    """A counted text as it is shown."""
    return shown(key if len(key) <= LONG_CHARS else key[:-16])


def listed(value: Any) -> list[Any]:
    """The `enum` of a schema that may have none."""
    return value if isinstance(value, list) else []


class TextStats:
    """Texts of one path; `is_time` where the schema says so, or where all of the first ones are dates."""

    __slots__ = (
        "_ends",
        "_exempt",
        "_is_time",
        "_looked_at",
        "_names",
        "_odd",
        "_odd_counts",
        "_sample",
        "_scripts",
        "frequencies",
        "lengths",
        "times",
    )

    def __init__(self, schema: Mapping[str, Any], path: str) -> None:
        self.frequencies: Frequencies[str] = Frequencies(digests)
        self.lengths = LengthStats()
        self.times = TimeStats()
        self._ends = Extremes(shown)  # the shortest and the longest
        self._sample: Sample[tuple[int, str]] = Sample(SAMPLED_TEXTS, _shortened)
        self._is_time: bool | None = True if schema.get("format") in ("date", "date-time") else None
        self._exempt = frozenset(one for one in listed(schema.get("enum")) if isinstance(one, str))
        self._names = _names_of(path) - self._exempt
        self._odd: dict[int, list[tuple[int, str, str]]] = {}
        self._odd_counts: Counter[int] = Counter()
        self._scripts: dict[str, tuple[int, int, str]] = {}
        self._looked_at = 0

    def add(self, texts: Sequence[str], rows: Rows) -> None:
        """At least one text, and the rows."""
        lengths = list(map(len, texts))
        self.lengths.add(lengths)
        self._ends.add(lengths, texts, rows)
        self._sample.add(texts, rows)
        self._look_at(self._count(texts, max(lengths)), lambda text: rows.numbers[texts.index(text)])
        if self._is_time is None:
            self._is_time = all(map(_ISO.fullmatch, texts))
        if self._is_time:
            self.times.add(texts, rows)

    def _count(self, texts: Sequence[str], longest: int) -> Sequence[str]:
        if longest <= LONG_CHARS:  # each is its own key
            return self.frequencies.add(texts)
        keys = list(map(_key_of, texts))
        whole = dict(zip(keys, texts, strict=True))
        return [whole[key] for key in self.frequencies.add(keys)]

    def _look_at(self, new: Sequence[str], row_of: Callable[[str], int]) -> None:
        if not new:
            return
        for kind in strange.suspects(new):
            rule = strange.TEXT_RULES[kind]
            for text in new:
                if (why := rule(text)) is not None and text not in self._exempt:
                    self._keep(kind, row_of, text, why)
        for text in sorted(self._names.intersection(new)):
            self._keep(strange.PLACEHOLDER, row_of, text, "the name of the column")
        self._note_scripts(new, row_of)

    def _keep(self, kind: int, row_of: Callable[[str], int], text: str, why: str) -> None:
        self._odd_counts[kind] += 1
        kept = self._odd.setdefault(kind, [])
        if len(kept) < PER_COLUMN:
            kept.append((row_of(text), shown(text), why))

    def _note_scripts(self, new: Sequence[str], row_of: Callable[[str], int]) -> None:
        beyond_ascii = [text for text in new if not text.isascii()]
        self._looked_at += len(new)
        for text in beyond_ascii:
            if (script := script_of(text)) is not None:
                count, row, label = self._scripts.get(script) or (0, row_of(text), shown(text))
                self._scripts[script] = (count + 1, row, label)

    def words_report(self) -> Words | None:
        """Variety of the words; None where these are no free texts."""
        sample = [text for _, text in self._sample.values()]
        if self._is_time or len(sample) < MIN_SAMPLE or fmean(text.count(" ") for text in sample) < FREE_TEXT_WORDS - 1:
            return None
        texts = [_WORD.findall(text.lower()) for text in sample]
        words = sum(map(len, texts))
        if not words:
            return None
        different = {word for text in texts for word in text}
        pairs = [pair for text in texts for pair in pairwise(text)]
        share_of_pairs = len(set(pairs)) / len(pairs) if pairs else 0.0
        return Words(texts=len(texts), words=words, distinct_1=len(different) / words, distinct_2=share_of_pairs)

    def oddities(self) -> dict[str, int]:
        """Different strange texts by kind."""
        return {strange.KIND_NAMES[kind]: count for kind, count in sorted(self._odd_counts.items())}

    def strange(self, column: str) -> list[Strange]:
        """Texts that break a rule, are of unlike length or script, or name a time far from the others."""
        broken = [
            Strange(row=row, column=column, value=value, why=why, kind=kind)
            for kind, found in self._odd.items()
            for row, value, why in found
        ]
        return broken + self._of_strange_length(column) + self._of_rare_script(column) + self.times.strange(column)

    def _of_rare_script(self, column: str) -> list[Strange]:
        total = self._looked_at
        return [
            Strange(
                row=row,
                column=column,
                value=text,
                why=f"{script}, as in {count} of {total:,} texts",
                kind=strange.SCRIPT,
            )
            for script, (count, row, text) in self._scripts.items()
            if count <= RARE_SHARE * total
        ]

    def _of_strange_length(self, column: str) -> list[Strange]:
        """Where nearly all have one length, every other; else those `UNLIKE` times as long or short as the median."""
        lengths = [length for length, _ in self._sample.values()]
        all_alike = bool(lengths) and lengths.count(mode(lengths)) >= (1 - RARE_SHARE) * len(lengths)
        return [
            Strange(
                row=far.row,
                column=column,
                value=far.label,
                why=f"{far.key:,.0f} characters, where {far.centre:,.0f} are usual",
                kind=strange.LENGTH,
                distance=far.distance,
            )
            for far in far_out(self._ends, lengths)
            if far.key and (all_alike or not far.centre / UNLIKE < far.key < far.centre * UNLIKE)
        ]


def _names_of(path: str) -> frozenset[str]:
    """How the name of a column is written where a value should stand: first_name, First Name, FIRST NAME."""
    name = path.removesuffix("[]").rpartition(".")[2][:LONG_CHARS]
    words = name.replace("_", " ")
    return frozenset({name, words, words.title(), words.capitalize(), words.upper()})


def _shortened(text: str) -> tuple[int, str]:
    return len(text), text[:SAMPLED_CHARS]
