"""Are rows that were there before found, exactly and nearly, and at a cost that does not grow?"""

from __future__ import annotations

import json
import math
import random
import sqlite3
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_actors.datasets.duplicates.distinct import MOST_SHARING, Distinct, Duplicate, _Same
from synth_actors.datasets.duplicates.minhash import (
    MOST_CHANCE_MEETINGS,
    RECALL,
    SLOTS,
    banding_for,
    resemblance,
    shingles,
    signature,
    words_of,
)
from synth_actors.errors import ConfigError

WORDS = """arrived battery broken button charger colour customer delivery desk easily finish friendly garden handle
kitchen late manual motor never office order packaging phone price quickly quiet return screen service setup sturdy
support surface though twice value window winter yesterday zip""".split()
TEXT = "Our new standing desk is sturdy and easy to assemble, and the motor is quiet enough for an open office."
OTHER = "I bought this blender for smoothies last winter; it crushes ice without any trouble and cleans in a minute."


def text_of(words: int, seed: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def alike(one: str, other: str) -> float:
    first, second = set(shingles(one)), set(shingles(other))
    return len(first & second) / len(first | second)


def judged(rows: Sequence[Any], *, near: float | None, at_once: int = 20) -> dict[int, Duplicate]:
    """The verdicts on rows 0, 1, ..., some at once."""
    distinct = Distinct(near=near)
    found: dict[int, Duplicate] = {}
    for start in range(0, len(rows), at_once):
        found |= distinct.judge(list(enumerate(rows))[start : start + at_once])
    distinct.close()
    return found


def edited(seed: int, count: int) -> Iterator[str]:
    """Texts of which many are another one with some words changed."""
    chance = random.Random(seed)
    texts = [text_of(30, seed)]
    for _ in range(count):
        words = chance.choice(texts).split() if chance.random() < 0.7 else text_of(30, chance.randrange(10**6)).split()
        for _ in range(chance.choice([0, 1, 2, 4, 8])):
            words[chance.randrange(len(words))] = chance.choice(WORDS)
        texts.append(" ".join(words))
    yield from texts


# ------------------------------------------------------------------------------------------------------------- exactly
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([1.0, 2**70, "a", "é"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=4,
)


@given(rows=st.lists(VALUES, max_size=30), at_once=st.integers(1, 30), near=st.sampled_from([None, 0.8]))
def test_exact_duplicates_are_those_whose_canonical_json_was_there(
    rows: list[Any], at_once: int, near: float | None
) -> None:
    first: dict[str, int] = {}
    expected = {}
    for number, row in enumerate(rows):
        of = first.setdefault(json.dumps(row, sort_keys=True), number)
        if of != number:
            expected[number] = Duplicate(of, near=False)
    assert judged(rows, near=near, at_once=at_once) == expected


def test_the_order_of_keys_makes_no_other_row_and_the_kind_of_a_number_does() -> None:
    rows = [{"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"d": 2, "c": 1}, "a": 1}, {"a": 1.0, "b": {"c": 1, "d": 2}}]
    assert judged(rows, near=None) == {1: Duplicate(0, near=False)}


def test_row_numbers_are_the_callers() -> None:
    distinct = Distinct(near=0.8)
    assert distinct.judge([(70, {"text": TEXT}), (2**40, {"text": OTHER})]) == {}
    assert distinct.judge([(3, {"text": OTHER}), (4, {"text": TEXT, "id": 4})]) == {
        3: Duplicate(2**40, near=False),
        4: Duplicate(70, near=True),
    }


def test_a_duplicate_is_not_remembered() -> None:
    rows = [{"id": 0, "text": TEXT}, {"id": 1, "text": TEXT}, {"id": 1, "text": TEXT}]
    assert judged(rows, near=0.8) == {1: Duplicate(0, near=True), 2: Duplicate(0, near=True)}


def test_rows_that_share_half_a_digest_are_different() -> None:
    same = _Same(sqlite3.connect(""))
    same.remember([(7, 1, 10)])
    same.remember([(7, 2, 20)])
    assert same.earlier([(7, 1), (7, 2), (8, 1)]) == {(7, 1): 10}


def test_more_rows_at_once_than_fit_a_query() -> None:
    distinct = Distinct(near=0.5)
    rows = [{"id": number, "text": text_of(20, number)} for number in range(1200)]
    first = distinct.judge(list(enumerate(rows)))
    again = distinct.judge([(len(rows) + number, row) for number, row in enumerate(rows)])
    assert len(again) == len(rows)
    assert {number - len(rows): of.of for number, of in again.items() if not of.near} == {
        number: number for number in range(len(rows)) if number not in first
    }


# --------------------------------------------------------------------------------------------------------------- nearly
@pytest.mark.parametrize(
    ("text", "near"),
    [
        (TEXT.upper().replace(",", " -").replace(".", "!"), True),
        (TEXT.replace("desk", "table"), True),
        (TEXT.replace("sturdy", "solid").replace("quiet enough", "too loud").replace("office", "kitchen"), False),
        (OTHER, False),
    ],
)
def test_what_is_nearly_the_same_text(text: str, near: bool) -> None:
    rows = [{"id": 1, "stars": 4, "review": TEXT}, {"id": 2, "stars": 5, "review": text}]
    assert judged(rows, near=0.8) == ({1: Duplicate(0, near=True)} if near else {})


def test_the_row_that_is_nearest_is_named() -> None:
    far = TEXT.replace("sturdy", "solid").replace("assemble", "mount")
    nearer = TEXT.replace("quiet enough", "made")
    rows = [{"text": text} for text in (far, nearer, TEXT)]
    assert judged(rows, near=0.6) == {2: Duplicate(1, near=True)}


def test_without_near_only_the_same_counts() -> None:
    assert judged([{"id": 1, "text": TEXT}, {"id": 2, "text": TEXT}], near=None) == {}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), near=st.sampled_from([0.6, 0.7, 0.8, 0.9]))
def test_near_duplicates_are_those_of_a_comparison_with_all(seed: int, near: float) -> None:
    texts = list(edited(seed, 40))
    found = judged([{"id": number, "text": text} for number, text in enumerate(texts)], near=near)
    for number, text in enumerate(texts):
        kept = [earlier for earlier in range(number) if earlier not in found]
        if number in found:
            assert alike(text, texts[found[number].of]) > near - 0.2  # more than five standard errors
        else:
            assert all(alike(text, texts[earlier]) < 0.98 for earlier in kept)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), near=st.sampled_from([0.5, 0.8]), at_once=st.integers(1, 50))
def test_how_many_rows_come_at_once_changes_no_verdict(seed: int, near: float, at_once: int) -> None:
    rows = [{"id": number % 5, "text": text} for number, text in enumerate(edited(seed, 49))]
    assert judged(rows, near=near, at_once=at_once) == judged(rows, near=near, at_once=50)


def test_a_phrase_that_very_many_rows_share_hides_no_duplicate() -> None:
    phrase = text_of(12, 0)
    rows = [{"id": number, "text": f"{phrase} {text_of(14, number)}"} for number in range(1, 20 * MOST_SHARING)]
    found = judged([*rows, {"id": 0, "text": rows[-1]["text"]}], near=0.8)
    assert found[len(rows)] == found.get(len(rows) - 1, Duplicate(len(rows) - 1, near=True))


@pytest.mark.parametrize("near", [0.49, 1.01, 0.0, -1.0, math.nan])
def test_a_threshold_out_of_range_is_refused(near: float) -> None:
    with pytest.raises(ConfigError, match=r"near: .* is not valid: give 0.5 to 1.0, or None"):
        Distinct(near=near)


def test_at_one_only_the_same_text_is_near() -> None:
    texts = [TEXT, TEXT.lower(), TEXT.replace("desk", "desks")]
    assert judged([{"id": n, "text": text} for n, text in enumerate(texts)], near=1.0) == {1: Duplicate(0, near=True)}


# ------------------------------------------------------------------------------------------------------------ words
@pytest.mark.parametrize(
    ("row", "text"),
    [
        (
            {"b": "Two  more words,\nhere: five!", "a": ["One", "It's THE first of them."]},
            "one it s the first of them two more words here five",
        ),
        ({"a": "only seven words are in this text"}, None),
        ({"a": "1 2 3 4 5 6 7 8 9 10"}, None),
        ({"a": "+49 341 71 68 40 12 55 61 17"}, None),
        ({"a": "6a81cce0-ac7f-4b4e-9a36-3b2a0dc808ef", "b": "2025-10-04T02:15:59Z"}, None),
        ({"n": "Ann", "a": "Eight words are just enough for a text."}, "eight words are just enough for a text ann"),
        ({"n": "A1 7", "a": "Eight words are just enough for a text."}, "eight words are just enough for a text"),
        ("Eight words are just enough for a text.", "eight words are just enough for a text"),
        ("我们今天去公园散步,天气非常好,大家都很高兴", "我们今天去公园散步 天气非常好 大家都很高兴"),
        ("Zoe\u0308 said: the café is ﬁne, is it not?", "zoë said the café is fine is it not"),
        ([1, None, True, {}], None),
        (None, None),
    ],
)
def test_what_of_a_row_is_compared(row: Any, text: str | None) -> None:
    assert words_of(row) == text


# ----------------------------------------------------------------------------------------------------------- signatures
@pytest.mark.parametrize("changes", [0, 1, 3, 10, 30])
def test_the_resemblance_is_jaccards_within_five_standard_errors(changes: int) -> None:
    errors = []
    for seed in range(100):
        words = text_of(30, seed).split()
        chance = random.Random(-seed)
        for _ in range(changes):
            words[chance.randrange(30)] = chance.choice(WORDS)
        one, other = text_of(30, seed), " ".join(words)
        exact = alike(one, other)
        errors.append(resemblance(signature(one).sketch, signature(other).sketch) - exact)
        assert abs(errors[-1]) <= 5 * math.sqrt(exact * (1 - exact) / SLOTS) + 0.01
    assert abs(sum(errors)) / len(errors) < 0.015


def test_a_signature_is_the_same_on_every_machine() -> None:
    assert signature("the same text").sketch % 2**64 == 0x980E2392CF00D0B2
    assert banding_for(0.8).keys(signature("the same text"))[:2] == [1517763940, 1848803560]


@pytest.mark.parametrize("threshold", [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0])
def test_bands_find_what_is_as_alike_as_the_threshold(threshold: float) -> None:
    banding = banding_for(threshold)
    assert banding.chance(threshold) >= RECALL
    assert banding.bands * banding.slots <= SLOTS
    assert banding.chance(threshold / 2) <= MOST_CHANCE_MEETINGS or threshold < 0.7
    keys = banding.keys(signature(TEXT))
    assert len(set(keys)) == banding.bands


# ----------------------------------------------------------------------------------------------------------------- cost
def test_memory_does_not_grow_with_the_rows() -> None:
    distinct = Distinct(near=0.8)

    def judge(start: int, count: int) -> None:
        for first in range(start, start + count, 20):
            distinct.judge([(n, {"id": n, "text": text_of(20, n)}) for n in range(first, first + 20)])

    judge(0, 400)  # caches of statements and patterns
    tracemalloc.start()
    judge(400, 400)
    after_some = tracemalloc.get_traced_memory()[0]
    judge(800, 1600)
    grown = tracemalloc.get_traced_memory()[0] - after_some
    tracemalloc.stop()
    assert grown < 20_000  # 12 bytes a row; a digest in a set would take 100


def test_what_was_closed_judges_no_more() -> None:
    distinct = Distinct(near=None)
    distinct.close()
    with pytest.raises(sqlite3.ProgrammingError):
        distinct.judge([(0, {})])
