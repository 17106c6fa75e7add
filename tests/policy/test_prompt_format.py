"""Is formatting all that two prompts with one normal form differ in?"""

from __future__ import annotations

import unicodedata
from inspect import cleandoc
from textwrap import indent

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synth_actors.policy.prompt_format import normal_form

TEMPLATE = """Write a customer.

Rules:
- a name
  - first name first
- no e-mail

```python
def  f():
    return "a  b"

```

Thank you."""

texts = st.text("ab \t\n\r`~\u0301\u00e1\u00a0\u2028\x1f", max_size=24)
blanks = st.sampled_from([" ", "  ", "\t", " \t ", "\u00a0"])


@pytest.mark.parametrize(
    "other",
    [
        f"\n\n  {TEMPLATE}  \n \n",
        TEMPLATE.replace("\n", "\r\n"),
        TEMPLATE.replace("customer.\n", "customer.  \t\n").replace("Rules:", "Rules:   "),
        TEMPLATE.replace("\n\nRules", "\n\n   \n\nRules").replace("\n\nThank", "\n\n\n\nThank"),
        TEMPLATE.replace("a customer", "a \t  customer").replace("- a", "-  a"),
        indent(TEMPLATE, "    "),
        indent(TEMPLATE, "\t"),
        indent(TEMPLATE, "    ").lstrip(),  # a triple-quoted text within a function
        f"\n{indent(TEMPLATE, ' ' * 8)}\n" + " " * 8,
    ],
)
def test_what_is_formatting_only_has_no_place_in_the_normal_form(other: str) -> None:
    assert other != TEMPLATE
    assert normal_form(other) == normal_form(TEMPLATE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a b", "ab"),
        ("a\nb", "a b"),
        ("a\n\nb", "a\nb"),
        ("- a\n- b\n  - c", "- a\n- b\n- c"),
        ("if a:\n    b()\n    c()\nd()", "if a:\n    b()\nc()\nd()"),
        ("```\na  b\n```", "```\na b\n```"),
        ("```\na \n```", "```\na\n```"),
        ("```\na\n\n\nb\n```", "```\na\n\nb\n```"),
        ("~~~~\na  b\n~~~\nc  d\n~~~~", "~~~~\na  b\n~~~\nc d\n~~~~"),
        ("```\na  b", "```\na b"),  # a fence that nobody closes
        ("x\n   ```\n   a  b\n   ```\ny", "x\n   ```\n   a b\n   ```\ny"),
        ("A", "a"),
        ("\ufb01", "fi"),  # compatible, not canonically equivalent
        ("a\u200bb", "ab"),  # no white space to Unicode
    ],
)
def test_what_is_more_than_formatting_is_kept_apart(one: str, other: str) -> None:
    assert normal_form(one) != normal_form(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9", "cafe\u0301"),
        ("\u212b", "\u00c5"),
        ("a\u00a0b", "a b"),
        ("``` x\na b", "```  x\na b"),
        ("```\na\n```  \nb", "```\na\n```\nb"),
        ("```\na\n \nb\n```", "```\na\n\nb\n```"),
        ("```\na\n```\nb  c", "```\na\n```\nb c"),
        ("an ```inline``` mark\na  b", "an ```inline``` mark\na b"),
        ("```inline```  mark\na  b", "```inline``` mark\na b"),  # no fence: backticks follow
        ("if a:\n    b()", "if a:\nb()"),  # all lines but the first share it
        ("", " \n\t\n "),
    ],
)
def test_these_are_the_same(one: str, other: str) -> None:
    assert normal_form(one) == normal_form(other)


@given(texts)
@example("\n    a\n      b")
@example("a\n```\n \u0301\n  b\n")
def test_a_normal_form_is_its_own_normal_form(text: str) -> None:
    once = normal_form(text)
    assert normal_form(once) == once
    assert unicodedata.is_normalized("NFC", once)


@given(texts)
def test_the_characters_that_are_no_white_space_stay_in_their_order(text: str) -> None:
    expected = "".join(unicodedata.normalize("NFC", text).split())
    assert "".join(normal_form(text).split()) == expected


@given(st.lists(st.text("ab.", min_size=1, max_size=4), min_size=1, max_size=5), st.data())
def test_how_words_of_a_line_are_spaced_does_not_matter(words: list[str], data: st.DataObject) -> None:
    spaced = words[0] + "".join(data.draw(blanks) + word for word in words[1:])
    assert normal_form(spaced) == " ".join(words)


@given(st.lists(st.text("ab ", max_size=5), min_size=1, max_size=5), st.text(" \t", max_size=4))
def test_the_margin_is_what_python_takes_from_a_docstring(lines: list[str], margin: str) -> None:
    text = "x\n" + "\n".join(margin + line for line in lines)
    plain = [line for line in cleandoc(text).split("\n") if line.strip()]
    ours = [line for line in normal_form(text).split("\n") if line]
    widths = [[len(line.expandtabs()) - len(line.expandtabs().lstrip()) for line in part] for part in (ours, plain)]
    assert widths[0] == widths[1]
