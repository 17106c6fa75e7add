"""Which names, streets, companies and words can be drawn?

The lists are mimesis', read once per language through its way of making own providers; drawing from them is this
package's, since many documents are made at the same time and each has its own random stream.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from mimesis.locales import Locale
from mimesis.providers.base import BaseDataProvider

Pool = tuple[str, ...]


class _Person(BaseDataProvider):
    class Meta:
        name = "synth_actors_person"
        datafile = "person.json"
        auto_register = False

    def pool(self, *keys: str) -> Pool:
        return _tidy(self._extract(list(keys)))


class _Address(_Person):
    class Meta:
        name = "synth_actors_address"
        datafile = "address.json"
        auto_register = False


class _Finance(_Person):
    class Meta:
        name = "synth_actors_finance"
        datafile = "finance.json"
        auto_register = False


class _Text(_Person):
    class Meta:
        name = "synth_actors_text"
        datafile = "text.json"
        auto_register = False


class _Food(_Person):
    class Meta:
        name = "synth_actors_food"
        datafile = "food.json"
        auto_register = False


def _tidy(found: Any) -> Pool:
    return tuple(item.strip() for item in found)


@lru_cache(maxsize=32)
def first_names(language: str, gender: str) -> Pool:
    """First names of `male` or `female` people."""
    return _Person(Locale(language)).pool("names", gender)


@lru_cache(maxsize=16)
def surnames(language: str) -> Pool:
    """Family names."""
    return _Person(Locale(language)).pool("surnames")


@lru_cache(maxsize=16)
def streets(language: str) -> Pool:
    """Street names as they are written in an address, without the number."""
    address = _Address(Locale(language))
    names = address.pool("street", "name")
    if language not in ("en", "en-gb", "it", "es", "fr"):
        return names
    suffixes = {
        "en": ("Street", "Avenue", "Road", "Lane", "Drive"),
        "en-gb": ("Road", "Street", "Lane", "Close", "Way"),
    }
    prefixes = {"it": ("Via", "Viale"), "es": ("Calle", "Avenida"), "fr": ("rue", "avenue", "boulevard")}
    if language in suffixes:
        return tuple(f"{name} {suffixes[language][n % 5]}" for n, name in enumerate(names))
    kinds = prefixes[language]
    return tuple(f"{kinds[n % len(kinds)]} {name}" for n, name in enumerate(names))


@lru_cache(maxsize=1)
def occupations() -> Pool:
    """Job titles."""
    return _Person(Locale.EN).pool("occupation")


@lru_cache(maxsize=1)
def languages() -> Pool:
    """Names of languages."""
    return _Person(Locale.EN).pool("language")


@lru_cache(maxsize=1)
def nationalities() -> Pool:
    """Nationalities."""
    return _Person(Locale.EN).pool("nationality")


@lru_cache(maxsize=1)
def universities() -> Pool:
    """Universities, without the short form in brackets."""
    return tuple(name.split(" (")[0] for name in _Person(Locale.EN).pool("university"))


@lru_cache(maxsize=1)
def companies() -> Pool:
    """Company names that fit on one line."""
    return tuple(
        name for name in _Finance(Locale.EN).pool("company", "name") if 3 <= len(name) <= 28 and name.isascii()
    )


@lru_cache(maxsize=1)
def banks() -> Pool:
    """Banks."""
    return _Finance(Locale.EN).pool("banks")


@lru_cache(maxsize=1)
def colours() -> Pool:
    """Names of colours."""
    return _Text(Locale.EN).pool("color")


@lru_cache(maxsize=1)
def questions() -> Pool:
    """Questions that people asked on the web."""
    return tuple(text for text in _Text(Locale.EN).pool("questions") if len(text) <= 90 and text.isascii())


@lru_cache(maxsize=1)
def dishes() -> Pool:
    """Dishes."""
    return _Food(Locale.EN).pool("dishes")


@lru_cache(maxsize=1)
def words() -> Pool:
    """Plain English words of 4 to 10 small letters."""
    return tuple(
        word for word in _Text(Locale.EN).pool("words") if 4 <= len(word) <= 10 and word.isascii() and word.isalpha()
    )
