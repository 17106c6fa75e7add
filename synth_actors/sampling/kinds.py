"""What does a value of each kind of field look like?

A kind is what a field's name says it holds. `TEXT` makes strings, `NUMBERS` says in which range and how finely a
number of the kind usually lies, `DRAWN` takes a number from the record, so that it agrees with other fields.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from synth_actors.sampling import corpus, prose
from synth_actors.sampling.record import TODAY, Context
from synth_actors.sampling.stream import Stream

Text = Callable[[Context], str]

PRODUCTS = (
    "Desk Lamp|Office Chair|Water Bottle|Backpack|Coffee Maker|Wireless Mouse|Mechanical Keyboard|Running Shoes"
    "|Yoga Mat|Rain Jacket|Notebook|Fountain Pen|Bluetooth Speaker|Phone Case|Tea Kettle|Garden Hose|Bike Helmet"
    "|Wall Clock|Picture Frame|Travel Pillow"
).split("|")
ADJECTIVES = "Classic Compact Premium Modern Eco Smart Ultra Slim Nordic Urban Everyday Pro".split()
CATEGORIES = (
    "Electronics|Home & Garden|Books|Clothing|Sports|Toys|Beauty|Groceries|Office|Automotive|Health|Music".split("|")
)
INDUSTRIES = (
    "Software|Retail|Healthcare|Logistics|Education|Energy|Insurance|Construction|Hospitality|Agriculture".split("|")
)
DEPARTMENTS = "Sales|Marketing|Engineering|Finance|Human Resources|Support|Operations|Legal|Research".split("|")
STATUSES = ("active", "pending", "completed", "cancelled", "inactive")
TAGS = "new sale popular limited urgent internal archived featured draft verified remote seasonal premium".split()
SKILLS = "Python|SQL|Excel|Negotiation|Project Management|Writing|Design|Java|Data Analysis|Sales|German".split("|")
DIAGNOSES = (
    "Hypertension|Type 2 diabetes|Asthma|Migraine|Influenza|Fracture of the wrist|Back pain|Bronchitis|Allergy".split(
        "|"
    )
)
EVENTS = (
    "request handled",
    "cache refreshed",
    "connection opened",
    "job finished",
    "file written",
    "user signed in",
    "query answered",
)
METHODS = ("credit card", "debit card", "bank transfer", "invoice", "PayPal")
_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{v}.0) Gecko/20100101 Firefox/{v}.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
)
_IBANS = {"DE": 18, "FR": 23, "ES": 20, "GB": 18, "NL": 14}


def _of(attribute: str) -> Text:
    def make(ctx: Context) -> str:
        value: str = getattr(ctx.record, attribute)
        return value

    return make


def _place(attribute: str) -> Text:
    def make(ctx: Context) -> str:
        value: str = getattr(ctx.record.place, attribute)
        return value

    return make


def _country(attribute: str) -> Text:
    def make(ctx: Context) -> str:
        value: str = getattr(ctx.record.place.country, attribute)
        return value

    return make


def _pool(pool: Callable[[], tuple[str, ...]]) -> Text:
    return lambda ctx: ctx.stream.pick(pool())


def _one_of(*choices: str) -> Text:
    return lambda ctx: ctx.stream.pick(choices)


def _mask(mask: str) -> Text:
    return lambda ctx: ctx.stream.fill(mask)


def _prose(templates: tuple[str, ...], low: int, high: int) -> Text:
    make = prose.sentences(templates, low, high)
    return lambda ctx: make(ctx.stream)


def uuid(ctx: Context) -> str:
    """A version 4 UUID."""
    digits = f"{ctx.stream.getrandbits(128):032x}"
    return (
        f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[int(digits[16], 16) % 4]}{digits[17:20]}-{digits[20:]}"
    )


def words(low: int, high: int, ctx: Context) -> str:
    """Some plain words."""
    pool = corpus.words()
    return " ".join(ctx.stream.pick(pool) for _ in range(ctx.stream.between(low, high)))


def label(ctx: Context) -> str:
    """A short capitalised name for a thing."""
    return words(1, 2, ctx).title()


def slug(ctx: Context) -> str:
    """Words joined by hyphens."""
    return words(2, 3, ctx).replace(" ", "-")


def url(ctx: Context) -> str:
    """An address on the company's own reserved domain."""
    return f"https://www.{ctx.record.domain}/{ctx.stream.pick(corpus.words())}"


def ipv4(ctx: Context) -> str:
    """An address of the ranges reserved for documentation (RFC 5737)."""
    return f"{ctx.stream.pick(('192.0.2', '198.51.100', '203.0.113'))}.{ctx.stream.between(1, 254)}"


def ipv6(ctx: Context) -> str:
    """An address of the range reserved for documentation (RFC 3849)."""
    return "2001:db8:" + ":".join(f"{ctx.stream.between(1, 0xFFFF):x}" for _ in range(6))


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return moment.isoformat(timespec="seconds")[:19] + "Z"


def _card(ctx: Context) -> str:
    digits = "4" + ctx.stream.fill("#" * 14)
    total = sum(d if n % 2 else (2 * d - 9 * (d > 4)) for n, d in enumerate(map(int, digits)))
    return f"{digits}{-total % 10}"


def _iban(ctx: Context) -> str:
    code = ctx.record.place.country.code if ctx.record.place.country.code in _IBANS else "DE"
    body = ctx.stream.fill("@@@@" + "#" * 14) if code in ("GB", "NL") else ctx.stream.fill("#" * _IBANS[code])
    body = body[: _IBANS[code]]
    number = "".join(str(int(c, 36)) for c in f"{body}{code}00")
    return f"{code}{98 - int(number) % 97:02d}{body}"


def _full_address(ctx: Context) -> str:
    record = ctx.record
    return f"{record.street}, {record.postcode} {record.place.city}, {record.place.country.name}"


def _product(ctx: Context) -> str:
    return f"{ctx.stream.pick(ADJECTIVES)} {ctx.stream.pick(PRODUCTS)}"


MOMENTS: dict[str, Callable[[Context], datetime]] = {
    "created": lambda ctx: ctx.record.created,
    "updated": lambda ctx: ctx.record.updated,
    "start": lambda ctx: ctx.record.start,
    "end": lambda ctx: ctx.record.end,
    "birth": lambda ctx: datetime(
        ctx.record.birth.year, ctx.record.birth.month, ctx.record.birth.day, tzinfo=TODAY.tzinfo
    ),
    "future": lambda ctx: TODAY + timedelta(days=ctx.stream.between(400, 1800), seconds=ctx.stream.between(0, 86_399)),
}
"""When: what a date, a time or a date-time of the kind shows."""


def moment(ctx: Context) -> datetime:
    """Some time in the last three years."""
    return TODAY - timedelta(seconds=ctx.stream.between(86_400, 3 * 365 * 86_400))


TEXT: dict[str, Text] = {
    "full_name": lambda ctx: f"{ctx.record.first} {ctx.record.last}",
    "first_name": _of("first"),
    "last_name": _of("last"),
    "middle_name": lambda ctx: ctx.stream.pick(corpus.first_names("en", "female" if ctx.record.is_female else "male")),
    "username": _of("handle"),
    "email": _of("email"),
    "phone": lambda ctx: ctx.stream.fill(ctx.record.place.phone),
    "company": _of("company"),
    "company_domain": _of("domain"),
    "occupation": _pool(corpus.occupations),
    "honorific": lambda ctx: ("Ms." if ctx.record.is_female else "Mr.") if ctx.stream.chance(0.9) else "Dr.",
    "street": _of("street"),
    "street_number": lambda ctx: str(ctx.stream.between(1, 299)),
    "unit": lambda ctx: ctx.stream.fill(ctx.stream.pick(("Apt. ##", "Suite 1##", "Unit #"))),
    "full_address": _full_address,
    "city": _place("city"),
    "region": _place("region"),
    "region_code": _place("region_code"),
    "postcode": _of("postcode"),
    "country": _country("name"),
    "country_code": _country("code"),
    "country_code3": _country("code3"),
    "currency": _country("currency"),
    "timezone": _country("timezone"),
    "language": _country("tongue"),
    "locale": _country("locale"),
    "language_code": lambda ctx: ctx.record.place.country.locale[:2],
    "nationality": _pool(corpus.nationalities),
    "university": _pool(corpus.universities),
    "bank": _pool(corpus.banks),
    "gender": lambda ctx: "female" if ctx.record.is_female else "male",
    "url": url,
    "ip": ipv4,
    "ipv6": ipv6,
    "mac": lambda ctx: ":".join(f"{ctx.stream.between(0, 255):02x}" for _ in range(6)),
    "user_agent": lambda ctx: ctx.stream.pick(_AGENTS).format(v=ctx.stream.between(118, 132)),
    "image": lambda ctx: f"https://img.{ctx.record.domain}/{slug(ctx)}.png",
    "password": lambda ctx: (
        "".join(ctx.stream.pick(corpus.words()).title() for _ in range(2)) + ctx.stream.fill("###!")
    ),
    "token": lambda ctx: f"{ctx.stream.getrandbits(160):040x}",
    "uuid": uuid,
    "code": _mask("@@@-#####"),
    "order_number": _mask("ORD-######"),
    "invoice_number": _mask("INV-######"),
    "sku": _mask("@@@-####-@@"),
    "barcode": _mask("4############"),
    "licence_plate": _mask("@@@-####"),
    "version": lambda ctx: ".".join(str(ctx.stream.between(0, 9)) for _ in range(3)),
    "iban": _iban,
    "card": _card,
    "card_expiry": lambda ctx: f"{ctx.stream.between(1, 12):02d}/{ctx.stream.between(27, 31)}",
    "cvv": _mask("###"),
    "ssn": _mask("9##-##-####"),
    "payment_method": _one_of(*METHODS),
    "colour": _pool(corpus.colours),
    "hex_colour": lambda ctx: f"#{ctx.stream.getrandbits(24):06x}",
    "product": _product,
    "category": _one_of(*CATEGORIES),
    "industry": _one_of(*INDUSTRIES),
    "department": _one_of(*DEPARTMENTS),
    "status": _one_of(*STATUSES),
    "priority": _one_of("low", "medium", "high"),
    "sentiment": _one_of("positive", "neutral", "negative"),
    "tag": _one_of(*TAGS),
    "hobby": _one_of(
        "reading", "cycling", "chess", "gardening", "climbing", "photography", "cooking", "hiking", "painting"
    ),
    "dish": _pool(corpus.dishes),
    "size": _one_of("XS", "S", "M", "L", "XL"),
    "weekday": _one_of("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "month": _one_of(*"January February March April May June July August September October November December".split()),
    "file_name": lambda ctx: f"{slug(ctx)}.{ctx.stream.pick(('pdf', 'csv', 'txt', 'png'))}",
    "mime_type": _one_of("application/pdf", "text/csv", "text/plain", "image/png"),
    "slug": slug,
    "label": label,
    "word": lambda ctx: prose.word(ctx.stream),
    "words": lambda ctx: prose.phrase(ctx.stream),
    "question": _pool(corpus.questions),
    "skill": _one_of(*SKILLS),
    "difficulty": _one_of("easy", "medium", "hard"),
    "blood_type": _one_of("A+", "A-", "B+", "B-", "AB+", "AB-", "O+", "O-"),
    "diagnosis": _one_of(*DIAGNOSES),
    "genre": _one_of(
        "Drama", "Comedy", "Thriller", "Documentary", "Fantasy", "Science Fiction", "Mystery", "Romance", "History"
    ),
    "http_path": lambda ctx: (
        f"/api/v{ctx.stream.between(1, 3)}/{prose.word(ctx.stream)}s/{ctx.stream.between(1, 9_999)}"
    ),
    "log_message": lambda ctx: f"{ctx.stream.pick(EVENTS)} in {ctx.stream.between(1, 2_000)} ms",
    "headline": lambda ctx: prose.sentence(ctx.stream, prose.HEADLINE),
    "description": _prose(prose.DESCRIPTION, 1, 2),
    "review": _prose(prose.REVIEW, 2, 3),
    "note": _prose(prose.NOTE, 1, 2),
    "biography": _prose(prose.BIOGRAPHY, 2, 3),
    "article": _prose(prose.DESCRIPTION + prose.REVIEW, 4, 7),
}

PROSE = frozenset({"headline", "description", "review", "note", "biography", "article", "words", "label", "question"})
"""Kinds whose text may be cut or continued to fit a length."""


class Range(NamedTuple):
    """Where numbers of a kind usually lie; `skew` > 1 makes small ones more frequent."""

    low: float
    high: float
    decimals: int = 0
    skew: float = 1.0


NUMBERS: dict[str, Range] = {
    "price": Range(1, 500, 2, 2.0),
    "money": Range(5, 5_000, 2, 2.0),
    "salary": Range(28_000, 180_000, 0, 1.5),
    "quantity": Range(1, 20, 0, 2.0),
    "count": Range(0, 500, 0, 2.0),
    "rating": Range(1, 5, 1, 0.6),
    "score": Range(0, 100, 1),
    "fraction": Range(0, 1, 3),
    "percent": Range(0, 100, 1),
    "year": Range(1990, 2025),
    "month": Range(1, 12),
    "day": Range(1, 28),
    "hour": Range(0, 23),
    "minutes": Range(1, 240, 0, 1.5),
    "seconds": Range(1, 3_600, 0, 1.5),
    "serial": Range(1, 999_999),
    "weight": Range(0.1, 90, 1, 1.5),
    "height": Range(150, 200),
    "length": Range(1, 250, 1, 1.5),
    "temperature": Range(-10, 38, 1),
    "distance": Range(0.5, 900, 1, 1.5),
    "bytes": Range(500, 50_000_000, 0, 3.0),
    "body_weight": Range(45, 120, 1),
    "body_temperature": Range(36, 39.5, 1, 1.5),
    "http_status": Range(200, 204),
    "port": Range(1_024, 65_535),
    "employees": Range(2, 5_000, 0, 2.5),
    "unix_time": Range(1_672_531_200, 1_767_225_600),
    "floor": Range(0, 30),
    "age": Range(18, 80),
    "birth_year": Range(1945, 2007),
    "latitude": Range(-90, 90, 6),
    "longitude": Range(-180, 180, 6),
}

DRAWN: dict[str, Callable[[Context], float]] = {
    "age": lambda ctx: ctx.record.age,
    "birth_year": lambda ctx: ctx.record.birth.year,
    "latitude": lambda ctx: round(ctx.record.place.latitude + (ctx.stream.random() - 0.5) / 10, 6),
    "longitude": lambda ctx: round(ctx.record.place.longitude + (ctx.stream.random() - 0.5) / 10, 6),
}

LIKELY_TRUE = frozenset(
    {"active", "verified", "enabled", "available", "valid", "in_stock", "published", "confirmed", "subscribed"}
)
LIKELY_FALSE = frozenset(
    {"deleted", "archived", "blocked", "banned", "locked", "suspended", "expired", "disabled", "refunded"}
)


def truth(stream: Stream, words_of_name: tuple[str, ...]) -> bool:
    """A boolean that is what its name usually says."""
    if not LIKELY_TRUE.isdisjoint(words_of_name):
        return stream.chance(0.85)
    return stream.chance(0.1 if not LIKELY_FALSE.isdisjoint(words_of_name) else 0.5)
