"""Do two prompts differ in anything but their formatting?

They do not when their normal forms are equal.  The same in the normal form, and nothing else:

- composed and decomposed characters: the text is brought to Unicode's form NFC (UAX 15);
- the ways to end a line, as `str.splitlines` knows them;
- white space before and after the whole text, and at the end of a line;
- how far a template is indented: what all lines but the first have in common at their beginnings, as `textwrap.dedent`
  takes it away (PEP 257 says why the first line does not count);
- several blank lines in a row and one;
- several blanks, tabs and other white space between two words of a line and one blank.

What a line holds in which order, how far it is indented beyond the others, where a line ends and where a paragraph does
is text: a list is not a sentence, and code is not what it is without its indentation.  Between Markdown's fences
(three or more ` or ~) stands code: there only the first four count as formatting, and not the ends of its lines,
but for lines of nothing but white space, which are blank lines there, too.

What is outside of fences and means something by white space inside a line, a table with empty columns between tabs or
a quoted "a  b", is not told apart from what has less of it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_OPENS = re.compile(r"`{3,}(?=[^`]*$)|~{3,}")


def normal_form(text: str) -> str:
    """`text` without what is formatting only; the normal form of a normal form is itself."""
    lines = unicodedata.normalize("NFC", text).strip().splitlines()
    return "\n".join(_tidied(_without_margin(lines)))


def _without_margin(lines: list[str]) -> list[str]:
    """The lines without the indentation that all but the first share; lines of white space alone become empty."""
    bodies = [line if line.strip() else "" for line in lines]
    indents = [line[: len(line) - len(line.lstrip())] for line in bodies[1:] if line]
    margin = _common_start(min(indents), max(indents)) if indents else ""
    return [*bodies[:1], *(line.removeprefix(margin) for line in bodies[1:])]


def _common_start(one: str, other: str) -> str:
    for at, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return one[:at]
    return min(one, other, key=len)


def _tidied(lines: list[str]) -> Iterator[str]:
    fence = previous = ""
    for line in lines:
        if fence:
            ends = _closes(line, fence)
            fence = "" if ends else fence
            yield line.rstrip() if ends else line
        elif line or previous:
            body = line.lstrip()
            if body.startswith(("```", "~~~")) and (opening := _OPENS.match(body)):
                fence = opening[0]
            yield line[: len(line) - len(body)] + " ".join(body.split())
        previous = line


def _closes(line: str, fence: str) -> bool:
    mark = line.strip()
    return len(mark) >= len(fence) and set(mark) == {fence[0]}
