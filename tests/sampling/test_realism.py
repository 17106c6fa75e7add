"""Do the fields of a record say what their names say, and do they agree with each other?"""

from __future__ import annotations

import re
from typing import Any

import pytest

from synth_actors.sampling.names import Hint, kind_of, subject_of, words_of
from synth_actors.sampling.places import PLACES
from synth_actors.sampling.record import plain
from synth_actors.sampling.sampler import sampler_for

TEXT = {"type": "string"}


def record(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def samples(schema: dict[str, Any], count: int = 60) -> list[Any]:
    sampler = sampler_for(schema)
    return [sampler.sample(seed) for seed in range(count)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("first_name", "first_name"), ("firstName", "first_name"), ("FirstName", "first_name"),
        ("lastname", "last_name"), ("billing_email", "email"), ("userEmail", "email"), ("homePhone", "phone"),
        ("companyName", "company"), ("job_title", "occupation"), ("zip", "postcode"), ("postalCode", "postcode"),
        ("countryCode", "country_code"), ("home_country", "country"), ("lat", "latitude"), ("createdAt", "created"),
        ("updated_at", "updated"), ("date_of_birth", "birth"), ("unitPrice", "price"), ("qty", "quantity"),
        ("totalAmount", "money"), ("currency", "currency"), ("ip_address", "ip"), ("userAgent", "user_agent"),
        ("colour", "colour"), ("customerID", "uuid"), ("tags", "tag"), ("review_text", "review"),
        ("customer_name", "full_name"), ("product_name", "product"), ("planName", "label"), ("xyzzy", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_name_is_recognised_in_every_spelling(name: str, kind: str | None) -> None:
    assert kind_of(Hint(name)) == kind


def test_words_are_split_in_every_case() -> None:
    assert words_of("HTTPServerURL2") == ("http", "server", "url2")
    assert words_of("kebab-case_andMore") == ("kebab", "case", "and", "more")


def test_a_description_helps_where_the_name_says_nothing() -> None:
    values = samples(record(a={"type": "string", "description": "the e-mail address of the buyer"}))
    assert all("@" in value["a"] for value in values)


def test_what_an_object_is_about_decides_what_its_name_is() -> None:
    assert subject_of("product", ("name", "price")) == "product"
    assert subject_of("", ("name", "sku")) == "product"
    assert subject_of("Employer", ("name",)) == "company"
    assert subject_of("", ("first_name", "title")) == "person"
    products = {value["name"] for value in samples(record(name=TEXT, sku=TEXT, price={"type": "number"}))}
    people = {value["name"] for value in samples(record(name=TEXT, email=TEXT))}
    assert any(name.endswith(("Lamp", "Mat", "Chair")) for name in products)
    assert not products & people


def test_email_username_and_full_name_belong_to_the_name() -> None:
    schema = record(
        first_name=TEXT, lastName=TEXT, full_name=TEXT, email={"type": "string", "format": "email"}, username=TEXT
    )
    for value in samples(schema):
        assert value["full_name"] == f"{value['first_name']} {value['lastName']}"
        assert plain(value["lastName"]) in value["email"]
        assert value["email"].startswith(value["username"] + "@")
        assert re.search(r"@(\w+\.)?example\.(com|org|net)$", value["email"])


def test_city_region_country_postcode_and_phone_lie_in_one_place() -> None:
    places = {(p.city, p.region, p.country.name, p.country.code): p for p in PLACES}
    schema = record(
        city=TEXT, state=TEXT, country=TEXT, country_code=TEXT, zip=TEXT, phone=TEXT, latitude={"type": "number"}
    )
    for value in samples(schema):
        place = places[value["city"], value["state"], value["country"], value["country_code"]]
        assert re.fullmatch(place.postcode.replace("#", r"\d").replace("@", "[A-Z]"), value["zip"])
        assert value["phone"].startswith(place.phone.split("#")[0])
        assert abs(value["latitude"] - place.latitude) < 0.1


def test_an_enum_of_countries_or_genders_follows_the_record() -> None:
    values = samples(record(country_code={"enum": ["US", "DE", "GB"]}, phone=TEXT), 200)
    american = [value for value in values if value["phone"].startswith("+1")]
    assert sum(value["country_code"] == "US" for value in american) > 0.7 * len(american)


def test_what_is_updated_or_ends_is_never_before_what_is_created_or_starts() -> None:
    moment = {"type": "string", "format": "date-time"}
    schema = record(
        created_at=moment,
        updated_at=moment,
        start_date={"type": "string", "format": "date"},
        end_date=TEXT,
        age={"type": "integer"},
    )
    schema["properties"]["birth_date"] = {"type": "string", "format": "date"}
    schema["required"].append("birth_date")
    for value in samples(schema):
        assert value["created_at"] <= value["updated_at"] < "2026"
        assert value["start_date"] <= value["end_date"]
        assert value["age"] in (2025 - int(value["birth_date"][:4]), 2026 - int(value["birth_date"][:4]))


def test_a_total_is_quantity_times_price_unless_its_bounds_forbid_it() -> None:
    line = {"quantity": {"type": "integer"}, "unit_price": {"type": "number"}}
    for value in samples(record(**line, total={"type": "number"})):
        assert value["total"] == round(value["quantity"] * value["unit_price"], 2)
    assert all(
        value["total"] <= 1 for value in samples(record(**line, total={"type": "number", "minimum": 0, "maximum": 1}))
    )


def test_a_nested_object_shares_the_person_unless_it_is_about_somebody_else() -> None:
    person = record(first_name=TEXT, email=TEXT)
    contact = record(email=TEXT, phone=TEXT)
    schema = record(
        first_name=TEXT,
        last_name=TEXT,
        email=TEXT,
        contact=contact,
        manager=person,
        address=record(city=TEXT),
        city=TEXT,
    )
    values = samples(schema)
    assert all(value["contact"]["email"] == value["email"] for value in values)
    assert all(value["address"]["city"] == value["city"] for value in values)
    assert sum(value["manager"]["first_name"] != value["first_name"] for value in values) > 50


def test_each_item_of_an_array_is_somebody_else() -> None:
    rows = sampler_for(
        {"type": "array", "items": record(email=TEXT, name=TEXT), "minItems": 50, "maxItems": 50}
    ).sample(1)
    assert len({row["email"] for row in rows}) == 50
    assert all(plain(row["name"].split()[-1])[:4] in row["email"] for row in rows)


@pytest.mark.parametrize(
    ("name", "constraint"),
    [
        ("first_name", {"maxLength": 4}),
        ("email", {"format": "email", "maxLength": 12}),
        ("phone", {"pattern": r"^\d{10}$"}),
        ("sku", {"pattern": "^[a-f0-9]{6}$"}),
        ("description", {"minLength": 300, "maxLength": 320}),
        ("description", {"maxLength": 20}),
        ("country", {"enum": ["Atlantis", "Utopia"]}),
        ("city", {"minLength": 40}),
    ],
)
def test_a_constraint_always_wins_over_what_the_name_says(name: str, constraint: dict[str, Any]) -> None:
    import jsonschema

    schema = record(**{name: {"type": "string", **constraint}})
    for value in samples(schema):
        jsonschema.validate(value, schema)


def test_numbers_are_of_the_size_that_their_name_says_inside_their_bounds() -> None:
    number = {"type": "number"}
    schema = record(
        price=number,
        rating=number,
        percent=number,
        quantity={"type": "integer"},
        year={"type": "integer"},
        score={**number, "maximum": 1},
    )
    for value in samples(schema):
        assert 1 <= value["price"] <= 500
        assert 1 <= value["rating"] <= 5
        assert 1 <= value["quantity"] <= 20
        assert 1990 <= value["year"] <= 2025
        assert 0 <= value["score"] <= 1
        assert round(value["price"], 2) == value["price"]


def test_card_numbers_and_ibans_carry_right_check_digits() -> None:
    for value in samples(record(iban=TEXT, credit_card=TEXT)):
        moved = value["iban"][4:] + value["iban"][:4]
        assert int("".join(str(int(c, 36)) for c in moved)) % 97 == 1
        digits = [int(d) for d in value["credit_card"]][::-1]
        assert (sum(digits[::2]) + sum(sum(divmod(2 * d, 10)) for d in digits[1::2])) % 10 == 0
