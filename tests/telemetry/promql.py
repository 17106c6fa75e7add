"""Which metrics, labels and label values does a PromQL expression ask for?"""

from __future__ import annotations

import re
from dataclasses import dataclass

FUNCTIONS = frozenset(
    """
    abs absent absent_over_time avg avg_over_time ceil changes clamp_max clamp_min count count_over_time delta deriv
    histogram_quantile idelta increase irate label_replace last_over_time max max_over_time min min_over_time
    predict_linear quantile rate resets round scalar sort sum sum_over_time time topk vector
""".split()
)
KEYWORDS = frozenset("and or unless bool offset by without on ignoring group_left group_right".split())
GROUPINGS = frozenset("by without on ignoring group_left group_right".split())

TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
      | (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<range>\[[^\]]*\])
      | (?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?(?:ms|[smhdwy])?)
      | (?P<name>[A-Za-z_:$][A-Za-z0-9_:]*)
      | (?P<matcher>=~|!~|!=|==|>=|<=)
      | (?P<sign>[-+*/%^<>=(){},])""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    label: str
    operator: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """`metrics` with their matchers, in order; `grouped_by` are the labels of `by`, `on` and so on."""

    metrics: tuple[tuple[str, tuple[Matcher, ...]], ...]
    grouped_by: frozenset[str]


def tokens_of(expression: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    place = 0
    while place < len(expression):
        token = TOKEN.match(expression, place)
        assert token is not None, f"no PromQL at {expression[place:]!r}"
        assert token.lastgroup is not None
        if token.lastgroup != "blank":
            found.append((token.lastgroup, token[0]))
        place = token.end()
    assert [text for _, text in found].count("(") == [text for _, text in found].count(")"), expression
    return [*found, ("end", "")]


def query_of(expression: str) -> Query:
    """What `expression` asks for; an unknown function, or a name that is followed by `(`, is an error."""
    tokens = tokens_of(expression)
    metrics: list[tuple[str, tuple[Matcher, ...]]] = []
    grouped_by: set[str] = set()
    place = 0
    while tokens[place][0] != "end":
        kind, text = tokens[place]
        place += 1
        if kind != "name":
            continue
        if text in GROUPINGS:
            end = next(at for at in range(place, len(tokens)) if tokens[at][1] == ")")
            grouped_by.update(name for kind, name in tokens[place:end] if kind == "name")
            place = end + 1
        elif tokens[place][1] == "(" or text in KEYWORDS or tokens[place][1] in GROUPINGS:
            assert text in FUNCTIONS | KEYWORDS, f"{text}: no function of PromQL that this knows"
        else:
            matchers: tuple[Matcher, ...] = ()
            if tokens[place][1] == "{":
                end = next(at for at in range(place, len(tokens)) if tokens[at][1] == "}")
                matchers = tuple(_matchers(tokens[place + 1 : end]))
                place = end + 1
            metrics.append((text, matchers))
    return Query(metrics=tuple(metrics), grouped_by=frozenset(grouped_by))


def _matchers(tokens: list[tuple[str, str]]) -> list[Matcher]:
    parts = [token for token in tokens if token[1] != ","]
    assert len(parts) % 3 == 0, tokens
    found = []
    for label, operator, value in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        assert (label[0], value[0]) == ("name", "string"), tokens
        found.append(Matcher(label=label[1], operator=operator[1], value=value[1][1:-1]))
    return found
