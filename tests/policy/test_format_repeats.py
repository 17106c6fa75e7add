"""Are misses seen that differ from earlier ones in nothing but their formatting?"""

from __future__ import annotations

from typing import Any

import pytest

from synth_actors.policy.cache_key import key_of
from synth_actors.policy.format_repeats import (
    CHECKED_AT_FIRST,
    LONGEST_CHARS,
    REMEMBERED,
    WINDOW,
    WINDOW_EVERY,
    FormatRepeats,
)
from synth_actors.types import Message, Request


def note(repeats: FormatRepeats, prompt: str, **fields: Any) -> None:
    request = Request(prompt=prompt, **fields)
    repeats.note(key_of(request), request)


def noted(*prompts: str) -> FormatRepeats:
    repeats = FormatRepeats()
    for prompt in prompts:
        note(repeats, prompt)
    return repeats


@pytest.mark.parametrize(
    "variant",
    ["Name an otter. ", "\nName an otter.", "Name  an\totter.", "Name an otter.\r\n"],
)
def test_the_same_in_another_formatting_is_a_repeat(variant: str) -> None:
    repeats = noted("Name an otter.", variant)
    assert (repeats.checked, repeats.repeats, repeats.share) == (2, 1, 0.5)


@pytest.mark.parametrize("other", ["Name an owl.", "Name an otter?", "Name\nan otter.", "name an otter."])
def test_another_text_is_none(other: str) -> None:
    repeats = noted("Name an otter.", other)
    assert (repeats.checked, repeats.repeats, repeats.share) == (2, 0, 0.0)


def test_the_same_key_again_is_none_for_its_answer_was_lost_and_not_missed_by_formatting() -> None:
    assert noted("Name an otter.", "Name an otter.").repeats == 0


def test_each_change_of_the_formatting_is_one() -> None:
    assert noted("One.", "One. ", "One. ", "One.", " One.").repeats == 3


def test_what_differs_in_more_than_its_text_is_none() -> None:
    repeats = noted("Name an otter.")
    note(repeats, "Name an otter. ", max_tokens=7)
    note(repeats, "Name an otter. ", sample_index=1)
    assert (repeats.checked, repeats.repeats) == (3, 0)


def test_all_of_the_first_are_compared_and_later_on_the_first_of_every_few_thousand() -> None:
    repeats = FormatRepeats()
    request = Request(prompt="One.")
    counted = []
    for _ in range(CHECKED_AT_FIRST + 2 * WINDOW_EVERY):
        repeats.note(b"plain", request)
        counted.append(repeats.checked)
    window_ends = CHECKED_AT_FIRST + WINDOW
    assert counted[window_ends - 1] == window_ends
    assert counted[CHECKED_AT_FIRST + WINDOW_EVERY - 1] == window_ends
    assert counted[CHECKED_AT_FIRST + WINDOW_EVERY + WINDOW - 1] == window_ends + WINDOW
    assert counted[-1] == CHECKED_AT_FIRST + 2 * WINDOW


def test_half_of_all_misses_repeating_at_once_is_seen_as_such_whatever_is_left_out() -> None:
    repeats = FormatRepeats()
    for number in range(3_000):
        note(repeats, f"Name otter {number}.")
        note(repeats, f"Name otter {number}. ")
    assert repeats.checked == CHECKED_AT_FIRST + 2 * WINDOW
    assert repeats.share == 0.5


def test_what_was_asked_between_two_windows_is_not_known_so_the_share_is_a_lower_bound() -> None:
    repeats = FormatRepeats()
    for number in range(CHECKED_AT_FIRST + WINDOW_EVERY):
        note(repeats, f"Name otter {number}.")
    note(repeats, "Name otter 3. ")
    note(repeats, f"Name otter {CHECKED_AT_FIRST + WINDOW_EVERY - 1}. ")
    assert repeats.repeats == 1


def test_the_oldest_are_forgotten_when_there_are_too_many() -> None:
    repeats = noted("Name otter 0.", "Name otter 1.", "Name otter 0. ")
    number = 2
    while repeats.checked < REMEMBERED + 2:
        note(repeats, f"Name otter {number}.")
        number += 1
    assert len(repeats._latest) == REMEMBERED
    note(repeats, "Name  otter 0.")  # asked for once more, so it is not the oldest
    assert repeats.repeats == 2
    note(repeats, "Name otter 1. ")
    assert (repeats.repeats, repeats.checked) == (2, REMEMBERED + 4)


def test_a_huge_text_is_not_compared_wherever_it_stands() -> None:
    repeats = FormatRepeats()
    huge = "x" * (LONGEST_CHARS + 1)
    note(repeats, huge)
    note(repeats, "One.", system=huge)
    request = Request(messages=(Message(role="user", content="One."), Message(role="user", content=huge)))
    repeats.note(key_of(request), request)
    note(repeats, huge[1:])
    assert (repeats.too_long, repeats.checked) == (3, 1)
    assert repr(repeats) == "<FormatRepeats checked=1 repeats=0 too_long=3>"
