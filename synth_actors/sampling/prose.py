"""What does plain English text about something read like?

Sentences are made of small tables; they say nothing false, since they say very little.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synth_actors.sampling.stream import Stream

Pools = Mapping[str, tuple[str, ...]]

_COMMON: Pools = {
    "quality": (
        "reliable",
        "simple",
        "careful",
        "practical",
        "friendly",
        "modern",
        "quiet",
        "robust",
        "useful",
        "compact",
    ),
    "adverb": ("usually", "often", "rarely", "quickly", "clearly", "gradually", "quietly", "easily"),
    "span": (
        "two weeks",
        "a month",
        "half a year",
        "a few days",
        "the whole season",
        "more than a year",
        "three visits",
    ),
    "thing": ("product", "service", "order", "delivery", "package", "subscription", "account", "support team"),
    "part": (
        "finish",
        "price",
        "size",
        "manual",
        "interface",
        "packaging",
        "response time",
        "quality",
        "design",
        "setup",
    ),
    "group": (
        "families",
        "small teams",
        "students",
        "beginners",
        "larger companies",
        "travellers",
        "experts",
        "busy people",
    ),
    "topic": (
        "the market",
        "the schedule",
        "the new release",
        "local events",
        "daily work",
        "the budget",
        "the neighbourhood",
    ),
}

_PHRASES: Pools = {
    "adjective": tuple(
        "amber bright broad calm careful clear common cool early eastern fresh gentle golden green honest"
        " large late light local lucky main modern narrow natural new northern open plain quiet rapid"
        " regular silver simple small smooth southern steady strong thin tidy warm western wide".split()
    ),
    "noun": tuple(
        "anchor answer archive balance basket bridge cabin canal circle corner evening field forest"
        " garden harbour hill island journey kitchen ladder lantern letter library lighthouse map market"
        " meadow mill mirror morning orchard paper path pattern picture plan river road school season"
        " shelter signal square station stone story summer table tower train valley village voyage wall"
        " watch weather window winter workshop".split()
    ),
}
PHRASE = (
    "{adjective} {noun}",
    "{adjective} {noun} and {noun}",
    "{noun} of the {adjective} {noun}",
    "{adjective} {adjective} {noun}",
)
REVIEW = (
    "The {part} is better than I expected.",
    "I have used it for {span} and would buy it again.",
    "The {thing} arrived on time and the {part} is {quality}.",
    "The {part} could be improved, but overall it is {quality}.",
    "Customer service answered {adverb} and was very {quality}.",
    "It does what it promises, and the {part} is fine for {group}.",
    "After {span} it still works like on the first day.",
    "Not perfect, yet {quality} enough for {group}.",
)
DESCRIPTION = (
    "A {quality} choice for {group}.",
    "Made for {group} who want a {quality} {thing}.",
    "The {part} has been reworked to be more {quality}.",
    "It comes with a {quality} {part} and a clear {part}.",
    "Well suited to {group}, and {adverb} recommended.",
    "Combines a {quality} design with a {quality} {part}.",
    "Covers everything that {group} need for {span}.",
)
NOTE = (
    "Asked about the {part} of the {thing}.",
    "Prefers to be contacted by e-mail.",
    "Follow up on the {thing} in {span}.",
    "Mentioned that the {part} should be more {quality}.",
    "Waiting for an answer about the {thing}.",
    "Was happy with the {thing}, especially the {part}.",
    "Needs a new offer that includes the {thing}.",
)
BIOGRAPHY = (
    "Writes about {topic} and works with {group}.",
    "Has worked for {group} for {span}.",
    "Likes {quality} tools and long walks.",
    "Interested in {topic}, cooking and music.",
    "Started out helping {group} and never stopped.",
)
HEADLINE = (
    "A {quality} guide to {topic}",
    "What {group} should know about {topic}",
    "How {topic} changed in {span}",
    "Five {quality} ideas for {group}",
    "Notes on {topic}",
    "Why {group} {adverb} talk about {topic}",
)
ESSAY = (
    "{Topic} can be described in a few words, yet there is always more to notice.",
    "People who spend {span} with {topic} {adverb} come to see it differently.",
    "What makes {topic} interesting is how {quality} it can be in everyday life.",
    "For {group}, {topic} is {adverb} a good place to start.",
    "There are {quality} ways to learn about {topic}, and most of them begin with patience.",
    "Much has been said about {topic}; the {quality} observations last longest.",
    "Anyone who looks closely at {topic} will find something {quality} in it.",
    "Over {span}, {topic} shows both its {quality} and its surprising side.",
    "Experts and beginners {adverb} agree that {topic} deserves attention.",
    "In short, {topic} rewards those who take the time.",
)

_SLOT = re.compile(r"\{(\w+)\}")
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]+")
_ABOUT = re.compile(r"\b(?:about|on|describing|regarding|concerning)\s+([^.?!\n,;:]{2,60})", re.IGNORECASE)
_COUNT = re.compile(r"\b(one|a|single|two|three|four|five|six|\d{1,2})\s+(?:\w+\s+)?sentences?\b", re.IGNORECASE)
_NUMBERS = {"one": 1, "a": 1, "single": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
_INSTRUCTIONS = frozenset(
    "a an and answer are as at be brief by can could create describe do does each explain for from generate give"
    " how i in is it list make me may my of one or paragraph please sentence sentences short should some tell"
    " text that the their them then there these this to two us use was what when where which who why will with"
    " words would write you your".split()
)


def sentence(stream: Stream, templates: tuple[str, ...], pools: Pools = _COMMON) -> str:
    """One sentence of the templates."""
    return _SLOT.sub(lambda slot: stream.pick(pools[slot[1]]), stream.pick(templates))


def phrase(stream: Stream) -> str:
    """A few plain words that belong together, for a text of which nothing is known."""
    return sentence(stream, PHRASE, _PHRASES)


def word(stream: Stream) -> str:
    """One plain noun."""
    return stream.pick(_PHRASES["noun"])


def sentences(templates: tuple[str, ...], low: int, high: int) -> Callable[[Stream], str]:
    """A maker of `low` to `high` different sentences of the templates."""

    def make(stream: Stream) -> str:
        chosen = stream.shuffled(templates)[: stream.between(low, high)]
        return " ".join(sentence(stream, (template,)) for template in chosen)

    return make


def essay(stream: Stream, prompt: str, most_characters: int) -> str:
    """Some sentences about the topic of `prompt`, as many as it asks for, otherwise three to six."""
    topic = topic_of(prompt)
    pools = {**_COMMON, "topic": (topic,), "Topic": (topic[0].upper() + topic[1:],)}
    asked = _COUNT.search(prompt)
    count = int(_NUMBERS.get(asked[1].lower(), 0) or asked[1]) if asked else stream.between(3, 6)
    made: list[str] = []
    order: list[str] = []
    length = 0
    while len(made) < count and length <= most_characters:
        if len(made) % len(ESSAY) == 0:
            order = stream.shuffled(ESSAY)
        made.append(sentence(stream, (order[len(made) % len(ESSAY)],), pools))
        length += len(made[-1]) + 1
    return " ".join(made)


def topic_of(prompt: str) -> str:
    """What the prompt is about, in its own words."""
    if (about := _ABOUT.search(prompt)) is not None:
        return about[1].strip()
    content = [word for word in _WORD.findall(prompt) if word.lower() not in _INSTRUCTIONS]
    return " ".join(content[:4]) or "this subject"


def fitted(text: str, low: int, high: int | None, stream: Stream) -> str:
    """The text within its length: cut after a sentence or a word, or continued with plain words."""
    if high is not None and len(text) > high:
        text = _cut(text, max(low, 0), high)
    while len(text) < low:
        text = f"{text} {word(stream)}" if text else word(stream)
    return text if high is None or len(text) <= high else text[:high]


def _cut(text: str, low: int, high: int) -> str:
    head = text[: high + 1]
    for end in (head.rfind(". ") + 1, head.rfind(" ")):
        if end > 0 and end >= low and len(head[:end].rstrip()) <= high:
            return head[:end].rstrip()
    return text[:high].rstrip() if len(text[:high].rstrip()) >= low else text[:high]
