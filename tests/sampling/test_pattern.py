"""Does every text that is made for an expression match it, in every length that is asked for?"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.sampling.document import matcher
from synth_actors.sampling.pattern import Pattern
from synth_actors.sampling.pattern_parse import PatternError
from synth_actors.sampling.stream import Stream

EXACT = (
    r"^[A-Z]{3}-\d{4}$", r"^\+?[1-9]\d{1,14}$", "abc", "^(a|bb)+$", "^a|b$", r"^(?:[a-z]{2,3}\.){2}(com|org)$", "",
    "^$", r"x\.y\/z", r"^(?<year>\d{4})-(0[1-9]|1[0-2])$", r"^[^\s@]+@[^\s@]+\.[^\s@]+$", r"^[\w.-]+$",
    r"^\S+ \D\W$", r"^(ab?|c*)?d$", r"^\x41\u0042\$$", r"^[a-c\]\-\\]+$", r"^[-a]+$", r"^(|x)y{2,}$", r"^.{3}$",
    "[^\\x00-\\x7f]", r"^a+?b*?$", r"^[\d-]{4}$",
)  # fmt: skip
CHECKED = (
    r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$",
    r"^(?=.*[A-Z])(?=.*\d).{8,12}$",
    r"^(^a$|^bc$)$",
    r"^\bfoo\b bar$",
    r"^(?!abc)[a-c]{3}$",
)


@pytest.mark.parametrize("expression", EXACT)
def test_an_expression_without_assertions_is_matched_every_time(expression: str) -> None:
    pattern, matches, stream = Pattern(expression), matcher(expression), Stream(1)
    assert pattern.exact
    for _ in range(100):
        text = pattern.text(stream)
        assert matches(text), text
        assert re.search(expression.replace("(?<", "(?P<"), text)


@pytest.mark.parametrize("expression", CHECKED)
def test_an_expression_with_assertions_is_matched_often_enough_to_try_again(expression: str) -> None:
    pattern, matches, stream = Pattern(expression), matcher(expression), Stream(1)
    assert not pattern.exact
    assert sum(matches(pattern.text(stream)) for _ in range(100)) >= 20


@given(st.sampled_from(EXACT), st.integers(0, 40), st.integers(0, 12), st.integers(0, 2**32))
def test_a_text_has_an_allowed_length_or_there_is_none(expression: str, low: int, width: int, seed: int) -> None:
    pattern = Pattern(expression, low, low + width)
    if pattern.is_empty:
        free, stream = Pattern(expression), Stream(seed)
        assert all(not low <= len(free.text(stream)) <= low + width for _ in range(20))
        return
    text = pattern.text(Stream(seed))
    assert low <= len(text) <= low + width
    assert matcher(expression)(text)


@pytest.mark.parametrize(
    "expression",
    [
        r"(a)\1",
        "(?i)a",
        "a{3,1}",
        "(",
        "a)",
        "[",
        r"\q",
        "[b-a]",
        "a**",
        r"\p{Foo}",
        "*a",
        r"\k<x>",
        "[]",
        "\\",
        r"\ud800",
        "(?#x)",
    ],
)
def test_what_cannot_be_generated_from_is_refused_with_a_reason(expression: str) -> None:
    with pytest.raises(PatternError, match=r"\w"):
        Pattern(expression)
