"""What does a regular expression of JSON Schema (ECMA-262) consist of?

Only what can be generated from is read: characters, classes, groups, alternatives and repetitions. Assertions
(lookaround, word boundaries, anchors in the middle) become `Assertion`: nothing is generated for them, what comes out
is checked afterwards. Back references and unknown escapes are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

PRINTABLE = "".join(map(chr, range(32, 127)))
_BEYOND = "".join(map(chr, range(0xA1, 0x180)))  # looked at only when a class leaves no printable ASCII
_LOWER, _UPPER, _DIGITS = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
_WORD = _LOWER + _UPPER + _DIGITS + "_"
_SPACE = " \t\n\r\f\v"
ANY = _LOWER + _UPPER + _DIGITS + " -.!"
"""What a dot stands for: enough kinds of characters for lookaheads, and still readable."""

_CLASSES = {"d": _DIGITS, "w": _WORD, "s": " "}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_PROPERTIES = {
    "L": _LOWER + _UPPER, "Letter": _LOWER + _UPPER, "Alphabetic": _LOWER + _UPPER, "Lu": _UPPER,
    "Uppercase_Letter": _UPPER, "Uppercase": _UPPER, "Ll": _LOWER, "Lowercase_Letter": _LOWER, "Lowercase": _LOWER,
    "N": _DIGITS, "Nd": _DIGITS, "Number": _DIGITS,
    "P": ".,;:!?-_()", "Punctuation": ".,;:!?-_()", "S": "+$<=>", "Z": " ", "Zs": " ", "ASCII": PRINTABLE,
    "Script=Latin": _LOWER + _UPPER, "sc=Latin": _LOWER + _UPPER,
}  # fmt: skip


class PatternError(ValueError):
    """The expression is broken or asks for more than this reader knows."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of these."""

    chars: str


@dataclass(frozen=True, slots=True)
class Assertion:
    """Something of no width: `anchor` "^" or "$" is an end of the text, "" must be checked afterwards."""

    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """One of these."""

    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`low` to `high` times; None is without end."""

    part: Node
    low: int
    high: int | None


Node = Chars | Assertion | Sequence | Alternatives | Repeat


def parse(pattern: str) -> Node:
    """The expression as a tree.

    Raises:
        PatternError: it is broken, or holds a construct that cannot be generated from; the message names it.
    """
    reader = _Reader(pattern)
    tree = reader.alternatives()
    if reader.at < len(pattern):
        raise PatternError(f"unbalanced ')' at {reader.at}")
    return tree


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def take(self) -> str:
        if self.at >= len(self.text):
            raise PatternError("unexpected end of the expression")
        self.at += 1
        return self.text[self.at - 1]

    def took(self, text: str) -> bool:
        if self.text.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def until(self, end: str) -> str:
        stop = self.text.find(end, self.at)
        if stop < 0:
            raise PatternError(f"{end!r} is missing")
        found, self.at = self.text[self.at : stop], stop + len(end)
        return found

    def alternatives(self) -> Node:
        options = [self.sequence()]
        while self.took("|"):
            options.append(self.sequence())
        return options[0] if len(options) == 1 else Alternatives(tuple(options))

    def sequence(self) -> Node:
        parts: list[Node] = []
        while (char := self.peek()) and char not in "|)":
            parts.append(self.repeated(self.atom()))
        return Sequence(tuple(parts))

    def atom(self) -> Node:
        match char := self.take():
            case "^" | "$":
                return Assertion(char)
            case "(":
                return self.group()
            case "[":
                return Chars(self.char_class())
            case ".":
                return Chars(ANY)
            case "\\":
                return self.escape()
            case "*" | "+" | "?":
                raise PatternError(f"nothing to repeat before {char!r}")
        return Chars(char)

    def group(self) -> Node:
        assertion = any(self.took(mark) for mark in ("?=", "?!", "?<=", "?<!"))
        if not assertion and self.took("?<"):
            self.until(">")
        elif not assertion and not self.took("?:") and self.peek() == "?":
            raise PatternError(f"a group of the form {self.text[self.at - 1 : self.at + 3]!r} is not supported")
        inner = self.alternatives()
        if not self.took(")"):
            raise PatternError("')' is missing")
        return Assertion() if assertion else inner

    def escape(self) -> Node:
        if self.peek() in ("b", "B") and self.peek():
            self.take()
            return Assertion()
        if self.peek() == "k" or self.peek() in tuple("123456789"):
            raise PatternError(f"back references such as \\{self.peek()} are not supported")
        return Chars(self.escaped())

    def escaped(self) -> str:
        """The characters that the escape after a backslash stands for."""
        char = self.take()
        if char.lower() in _CLASSES:
            members = _CLASSES[char.lower()]
            return members if char.islower() else _others(_SPACE if char == "S" else members)
        if char in ("p", "P"):
            return self.property(negated=char == "P")
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char == "c":
            return chr(ord(self.take()) % 32)
        if char in ("x", "u"):
            return self.code_point(2 if char == "x" else 4)
        if char.isalnum():
            raise PatternError(f"the escape \\{char} is not supported")
        return char

    def code_point(self, digits: int) -> str:
        if digits == 4 and self.took("{"):
            return _character(self.until("}"))
        self.at += digits
        return _character(self.text[self.at - digits : self.at])

    def property(self, *, negated: bool) -> str:
        if not self.took("{"):
            raise PatternError("\\p needs a property in braces")
        name = self.until("}").removeprefix("General_Category=").removeprefix("gc=")
        if name not in _PROPERTIES:
            raise PatternError(f"the Unicode property {name!r} is not supported")
        return _others(_PROPERTIES[name]) if negated else _PROPERTIES[name]

    def char_class(self) -> str:
        negated = self.took("^")
        members = ""
        while not self.took("]"):
            first = self.member()
            if len(first) == 1 and self.peek() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.take()
                members += _span(first, self.member())
            else:
                members += first
        chosen = _others(members) if negated else _readable(members)
        if not chosen:
            raise PatternError("a class matches no character")
        return chosen

    def member(self) -> str:
        char = self.take()
        if char != "\\":
            return char
        return "\b" if self.took("b") else self.escaped()

    def repeated(self, part: Node) -> Node:
        bounds = self.bounds()
        if bounds is None:
            return part
        self.took("?")
        if self.peek() in ("*", "+") or (self.peek() == "{" and self.text[self.at + 1 : self.at + 2].isdigit()):
            raise PatternError("a repetition of a repetition is not supported")
        low, high = bounds
        if high is not None and high < low:
            raise PatternError(f"{{{low},{high}}} is empty")
        return part if isinstance(part, Assertion) else Repeat(part, low, high)

    def bounds(self) -> tuple[int, int | None] | None:
        for mark, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.took(mark):
                return bounds
        if self.peek() != "{":
            return None
        inner = self.text[self.at + 1 : self.text.find("}", self.at)]
        low, comma, high = inner.partition(",")
        if not low.isdigit() or (high and not high.isdigit()):
            raise PatternError(f"{{{inner}}} is no repetition")
        self.at += len(inner) + 2
        return int(low), (int(high) if high else None) if comma else int(low)


def _others(members: str) -> str:
    excluded = set(members)
    return "".join(c for c in PRINTABLE if c not in excluded) or "".join(c for c in _BEYOND if c not in excluded)


def _readable(members: str) -> str:
    unique = "".join(dict.fromkeys(members))
    return "".join(c for c in unique if c in PRINTABLE) or unique


def _span(first: str, last: str) -> str:
    if len(last) != 1 or last < first:
        raise PatternError(f"the range {first}-{last} is not in order")
    codes = range(ord(first), min(ord(last), ord(first) + 1023) + 1)
    return "".join(chr(code) for code in codes if not 0xD800 <= code <= 0xDFFF)


def _character(digits: str) -> str:
    try:
        code = int(digits, 16)
        if 0xD800 <= code <= 0xDFFF:
            raise PatternError("half a surrogate pair cannot be generated")
        return chr(code)
    except (ValueError, OverflowError):
        raise PatternError(f"{digits!r} is no code point") from None
