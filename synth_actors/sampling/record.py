"""Who is this record about, where, and when?

A record draws its person, place and times only when a field asks for one, and then every field of the record sees the
same.  Times are relative to a fixed day, so that a record is the same next year.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, TypeVar

from synth_actors.sampling import corpus
from synth_actors.sampling.places import PLACES, Place

if TYPE_CHECKING:
    from synth_actors.sampling.stream import Stream

TODAY = datetime(2026, 1, 1, tzinfo=UTC)
"""The day that "recent" means."""

MAIL_HOSTS = ("example.com", "example.org", "example.net", "mail.example.com", "post.example.org")
"""Only names reserved for documentation (RFC 2606): no generated address reaches a real person."""

_SPELLED = str.maketrans({"ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "æ": "ae", "Æ": "Ae", "œ": "oe", "đ": "d"})


T = TypeVar("T")


class Drawn(Generic[T]):
    """A property that is drawn at its first use; `functools.cached_property`, without its lock in Python 3.11."""

    def __init__(self, draw: Callable[[Record], T]) -> None:
        self.draw = draw
        self.name = draw.__name__

    def __get__(self, record: Record, owner: type[Record]) -> T:
        value = record.__dict__[self.name] = self.draw(record)
        return value


class Context:
    """What one document carries along while it is made."""

    __slots__ = ("record", "room", "spent", "stream")

    def __init__(self, stream: Stream, room: float) -> None:
        self.stream = stream
        self.room = room  # levels of nesting that may still be opened freely
        self.spent = 0  # values made so far
        self.record = Record(stream)


class Record:
    """One person, place and time line, drawn on demand."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    @Drawn
    def place(self) -> Place:
        return self.stream.pick(PLACES)

    @Drawn
    def is_female(self) -> bool:
        return self.stream.chance(0.5)

    @Drawn
    def first(self) -> str:
        gender = "female" if self.is_female else "male"
        return self.stream.pick(corpus.first_names(self.place.country.language, gender))

    @Drawn
    def last(self) -> str:
        return self.stream.pick(corpus.surnames(self.place.country.language))

    @Drawn
    def handle(self) -> str:
        first, last = plain(self.first), plain(self.last)
        form = self.stream.between(0, 4)
        number = str(self.stream.between(1, 99)) if self.stream.chance(0.4) else ""
        return (f"{first}.{last}", f"{first}{last}", f"{first[0]}{last}", f"{first}_{last}", f"{last}.{first}")[
            form
        ] + number

    @Drawn
    def email(self) -> str:
        return f"{self.handle}@{self.stream.pick(MAIL_HOSTS)}"

    @Drawn
    def company(self) -> str:
        return self.stream.pick(corpus.companies())

    @Drawn
    def domain(self) -> str:
        return f"{plain(self.company)}.example"

    @Drawn
    def postcode(self) -> str:
        return self.stream.fill(self.place.postcode)

    @Drawn
    def street(self) -> str:
        country = self.place.country
        name = self.stream.pick(corpus.streets(country.language))
        return country.street.format(n=self.stream.between(1, 299), s=name)

    @Drawn
    def birth(self) -> date:
        return (TODAY - timedelta(days=self.stream.between(18 * 366, 80 * 365))).date()

    @Drawn
    def age(self) -> int:
        return TODAY.year - self.birth.year - ((TODAY.month, TODAY.day) < (self.birth.month, self.birth.day))

    @Drawn
    def created(self) -> datetime:
        return TODAY - timedelta(seconds=self.stream.between(30 * 86_400, 4 * 365 * 86_400))

    @Drawn
    def updated(self) -> datetime:
        return self.created + (TODAY - self.created) * self.stream.random()

    @Drawn
    def start(self) -> datetime:
        return TODAY - timedelta(minutes=15 * self.stream.between(96 * 60, 96 * 900))

    @Drawn
    def end(self) -> datetime:
        return self.start + timedelta(minutes=15 * self.stream.between(1, 96 * 45))


@lru_cache(maxsize=16_384)
def plain(text: str) -> str:
    """Small ASCII letters and digits of a name, at least one of them."""
    ascii_text = unicodedata.normalize("NFKD", text.translate(_SPELLED)).encode("ascii", "ignore").decode()
    return "".join(c for c in ascii_text.lower() if c.isalnum()) or "x"
