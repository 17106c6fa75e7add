"""Are two requests the same exactly when they should be?"""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from synth_actors.errors import ConfigError
from synth_actors.policy.cache_key import (
    KEYED,
    NOT_IN_KEY,
    cache_key,
    digest_of,
    key_of,
    normalised_key,
    normalised_key_of,
)
from synth_actors.policy.prompt_format import normal_form
from synth_actors.types import Message, Request

FACE = "\U0001f600"
FACE_AS_TWO = "\ud83d\ude00"  # the surrogates that encode it in UTF-16: two characters, another text


class Person(BaseModel):
    name: str


class Animal(BaseModel):
    name: str


class Own:
    """An output format of the user."""

    def __init__(self, tag: str, schema: dict[str, Any]) -> None:
        self.tag = tag
        self._schema = schema

    def json_schema(self) -> dict[str, Any]:
        return self._schema

    def parse(self, text: str) -> str:
        return text


HELLO = Message(role="user", content="hello")
HELLO_BACK = Message(role="assistant", content="hello")
OWN = [Own("a", {}), Own("b", {}), Own("a", {"type": "array"})]
VALUES: dict[str, list[Any]] = {
    "prompt": ["hello", "Hello", "hello ", "", FACE, FACE_AS_TWO],
    "messages": [(HELLO,), (HELLO, HELLO), (HELLO_BACK,), (Message(role="user", content="x"),)],
    "system": [None, "", "be brief", '","'],
    "output_schema": [None, Person, Animal, {}, {"type": "object"}, *OWN],
    "max_tokens": [1024, 1, 2**64, 2**64 + 1],
    "temperature": [None, 0.0, 1.0, 0.1, 0.1 + 2**-56],
    "stop": [(), ("a",), ("a", "b"), ("b", "a"), ("ab",), ("",), ('a","b',)],
    "seed": [None, 0, 1, -1, 10**30],
    "sample_index": [0, 1, 2],
    "namespace": ["", "a", " "],
    "endpoints": [None, ("a",), ("a", "b"), ("b", "a")],
    "timeout_s": [None, 1.0, 2.0],
    "cache": ["use", "refresh", "bypass"],
    "extra": [{}, {"b": 0.5}, {"b": None}, *({"a": value} for value in (True, 1, "1", [1], {"0": 1}, 10**30))],
}  # fmt: skip


def make(**fields: Any) -> Request:
    if "messages" not in fields:
        fields.setdefault("prompt", "hello")
    return Request(**fields)


def test_every_field_is_keyed_or_declared_to_be_left_out() -> None:
    assert set(Request.model_fields) == KEYED | NOT_IN_KEY
    assert not KEYED & NOT_IN_KEY
    assert {"timeout_s", "cache"} == NOT_IN_KEY


def test_a_new_field_needs_values_in_this_test() -> None:
    assert set(VALUES) == set(Request.model_fields)


@pytest.mark.parametrize("field", sorted(KEYED))
def test_changing_a_keyed_field_changes_the_key(field: str) -> None:
    keys = {cache_key(make(**{field: value})) for value in VALUES[field]}
    assert len(keys) == len(VALUES[field])


@pytest.mark.parametrize("field", sorted(NOT_IN_KEY))
def test_a_field_that_says_how_to_ask_changes_nothing(field: str) -> None:
    assert len({cache_key(make(**{field: value})) for value in VALUES[field]}) == 1


@pytest.mark.parametrize("field", sorted(set(Request.model_fields) - {"prompt", "messages"}))
def test_a_default_given_explicitly_is_the_default(field: str) -> None:
    default = Request.model_fields[field].get_default(call_default_factory=True)
    assert cache_key(make(**{field: default})) == cache_key(make())


def test_a_key_has_sixteen_bytes() -> None:
    assert len(cache_key(make())) == 16


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"temperature": 1}, {"temperature": 1.0}),
        ({"temperature": 0.0}, {"temperature": -0.0}),
        ({"max_tokens": 5}, {"max_tokens": 5.0}),
        ({"seed": 1}, {"seed": 1.0}),
        ({"stop": "a"}, {"stop": ["a"]}),
        ({"extra": {"n": 1}}, {"extra": {"n": 1.0}}),
        ({"extra": {"n": 10**20}}, {"extra": {"n": 1e20}}),
        ({"extra": {"n": 0.0}}, {"extra": {"n": -0.0}}),
        ({"extra": {"n": (1, 2)}}, {"extra": {"n": [1, 2]}}),
        ({"extra": {"a": 1, "b": {"c": 2, "d": 3}}}, {"extra": {"b": {"d": 3, "c": 2}, "a": 1}}),
        ({"extra": {"a": 10**30, "b": 1}}, {"extra": {"b": 1, "a": 10**30}}),
        ({"output_schema": {"a": 1, "b": 2}}, {"output_schema": {"b": 2, "a": 1}}),
        ({"output_schema": Own("a", {})}, {"output_schema": Own("a", {})}),
        ({"output_schema": {"minimum": 1}}, {"output_schema": {"minimum": 1.0}}),
        ({"output_schema": {"enum": [1e20, 0]}}, {"output_schema": {"enum": [1e20, -0.0]}}),
        ({"output_schema": Own("a", {"const": 1})}, {"output_schema": Own("a", {"const": 1.0})}),
    ],
)
def test_two_spellings_of_one_request_have_one_key(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert cache_key(make(**one)) == cache_key(make(**other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"prompt": "a", "system": "b"}, {"prompt": "ab"}),
        ({"prompt": 'a",null,"b'}, {"prompt": "a", "system": "b"}),
        ({"prompt": "hello"}, {"messages": [HELLO]}),
        ({"system": "x"}, {"namespace": "x"}),
        ({"stop": ("a",)}, {"endpoints": ("a",)}),
        ({"seed": 1}, {"sample_index": 1}),
        ({"extra": {"seed": 1}}, {"seed": 1}),
        ({"output_schema": {}}, {"extra": {"output_schema": {}}}),
        ({"output_schema": {"const": 1}}, {"output_schema": {"const": True}}),
        ({"output_schema": {"const": 1}}, {"output_schema": {"const": "1"}}),
        ({"output_schema": Own("a", {"const": 1})}, {"output_schema": Own('a\0{"const":1}', {"const": 1})}),
        ({"output_schema": {"const": FACE}}, {"output_schema": Own("", {"const": FACE})}),
        # the same, where orjson gives up
        ({"seed": 10**30, "prompt": "a", "system": "b"}, {"seed": 10**30, "prompt": "ab"}),
        ({"seed": 10**30, "prompt": FACE}, {"seed": 10**30, "prompt": FACE_AS_TWO}),
        ({"prompt": "\ud800"}, {"prompt": "\\ud800"}),
        ({"prompt": "\ud800"}, {"prompt": "\udc00"}),
        ({"seed": 10**30}, {"seed": 10**30 + 1}),
    ],
)
def test_text_that_moves_across_a_border_changes_the_key(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert cache_key(make(**one)) != cache_key(make(**other))


def kind(value: Any) -> Any:
    """`value` such that `==` tells apart exactly what JSON tells apart."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, dict):
        return {name: kind(item) for name, item in value.items()}
    return [kind(item) for item in value] if isinstance(value, list) else value


texts = st.text('a",\\[]\0\ud800', max_size=3)
leaves = st.none() | st.booleans() | st.sampled_from([0, 1, -1, 0.0, 1.0, -0.0, 0.5, 2**64, 2.0**64, 1e300]) | texts
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2), max_leaves=4
)
requests = st.fixed_dictionaries(
    {"prompt": texts},
    optional={
        "system": st.none() | texts,
        "stop": st.lists(texts, max_size=2).map(tuple),
        "namespace": texts,
        "endpoints": st.none() | st.lists(texts, min_size=1, max_size=2).map(tuple),
        "temperature": st.sampled_from([None, 0, -0.0, 1, 1.0]),
        "seed": st.sampled_from([None, 0, 1, 1.0, 10**30]),
        "extra": st.dictionaries(texts, trees, max_size=2),
        "timeout_s": st.sampled_from([None, 1.0]),
    },
)


@given(requests, requests)
def test_keys_are_equal_exactly_when_the_keyed_fields_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = make(**one), make(**other)
    same = all(kind(getattr(first, name)) == kind(getattr(second, name)) for name in KEYED)
    assert (cache_key(first) == cache_key(second)) == same


@given(requests, st.sampled_from(sorted(KEYED - {"prompt", "messages"})), st.data())
def test_one_changed_field_is_another_request(fields: dict[str, Any], name: str, data: st.DataObject) -> None:
    one, other = data.draw(st.sampled_from(VALUES[name])), data.draw(st.sampled_from(VALUES[name]))
    keys = {cache_key(make(**fields | {name: value})) for value in (one, other)}
    assert len(keys) == (1 if one is other else 2)


@given(texts, texts, st.integers(0, 6))
def test_where_a_text_is_cut_between_two_fields_matters(one: str, other: str, cut: int) -> None:
    whole = one + other
    moved = (whole[:cut], whole[cut:])
    keys = [cache_key(make(prompt=prompt, system=system)) for prompt, system in ((one, other), moved)]
    assert (keys[0] == keys[1]) == ((one, other) == moved)


@given(requests)
def test_a_remembered_key_is_the_computed_key(fields: dict[str, Any]) -> None:
    request = make(**fields)
    assert key_of(request) == key_of(request) == cache_key(request)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": nan}, "Request.extra.a: float nan"),
        ({"a": {"b": [0, inf]}}, r"Request.extra.a.b\[1\]: float inf"),
        ({"a": b"bytes"}, "Request.extra.a: bytes b'bytes'"),
        ({"a": {1: 2}}, "Request.extra.a: the key int 1"),
        ({"a": {1, 2}}, "Request.extra.a: set {1, 2}"),
        ({"a": HELLO}, "Request.extra.a: Message"),
        ({"a": 10**5000}, "Request: cannot be written as JSON"),
    ],
)
def test_what_json_cannot_write_is_named(value: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        cache_key(make(extra=value))


def test_an_extra_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ConfigError, match=r"Request\.extra: nested too deep, or it contains itself"):
        cache_key(make(extra={"loop": loop}))


def test_an_extra_deeper_than_orjson_goes_still_has_a_key() -> None:
    def nested(depth: int) -> Any:
        return [nested(depth - 1)] if depth else []

    assert cache_key(make(extra={"a": nested(300)})) != cache_key(make(extra={"a": nested(301)}))


def test_an_extra_changed_by_its_owner_is_another_request() -> None:
    inner = [1]
    request = make(extra={"a": inner})
    before = key_of(request)
    inner.append(2)
    assert key_of(request) == cache_key(make(extra={"a": [1, 2]})) != before


def test_an_empty_extra_filled_after_the_key_was_made_counts() -> None:
    request = make()
    before = key_of(request)
    request.extra["a"] = 1  # type: ignore[index]
    assert key_of(request) == cache_key(make(extra={"a": 1})) != before


def test_a_schema_changed_by_its_owner_is_another_request() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    request = make(output_schema=schema)
    before = key_of(request)
    schema["properties"]["name"] = {"type": "string"}
    assert key_of(request) != before


def test_a_copy_with_a_changed_field_has_its_own_key() -> None:
    request = make()
    key = key_of(request)
    assert key_of(request.model_copy(update={"sample_index": 1})) == cache_key(make(sample_index=1)) != key
    assert key_of(request.model_copy()) == key


def test_two_models_of_one_name_and_different_fields_are_told_apart() -> None:
    def model(limit: int) -> type[BaseModel]:
        class Same(BaseModel):
            name: str = Field(max_length=limit)

        return Same

    assert cache_key(make(output_schema=model(1))) != cache_key(make(output_schema=model(2)))


def test_remembering_a_key_changes_nothing_that_the_user_sees() -> None:
    request, fresh = make(), make()
    key_of(request)
    assert request == fresh
    assert request.model_dump() == fresh.model_dump()
    assert repr(request) == repr(fresh)


def test_a_temperature_put_in_as_a_whole_number_is_that_temperature() -> None:
    request = make(temperature=0.5).model_copy(update={"temperature": 1})
    assert request == make(temperature=1.0)
    assert cache_key(request) == cache_key(make(temperature=1.0))


# ----------------------------------------------------------------------------------------- fields of a subclass


class Team(Request):
    """A request of a user whose own provider reads one field more."""

    team: Any = None


class Renamed(Request):
    """The same fields under another name."""


def test_a_field_that_a_subclass_adds_changes_the_key() -> None:
    teams = [None, "", "otters", True, 1, 2, {"a": 1}, {"b": 1}, FACE, FACE_AS_TWO, 10**30]
    schemas: list[Any] = [None, {}, Person, Own("a", {})]
    for schema in schemas:
        keys = {key_of(Team(prompt="hello", team=team, output_schema=schema)) for team in teams}
        assert len(keys | {key_of(make(output_schema=schema))}) == len(teams) + 1


def test_a_subclass_that_adds_nothing_asks_for_the_same() -> None:
    assert key_of(Renamed(prompt="hello")) == key_of(make())


def test_a_field_of_a_subclass_that_its_owner_changes_is_read_again() -> None:
    team = ["a"]
    request = Team(prompt="hello", team=team)
    before = key_of(request)
    team.append("b")
    assert key_of(request) == key_of(Team(prompt="hello", team=["a", "b"])) != before


def test_a_field_of_a_subclass_that_json_cannot_write_is_named() -> None:
    with pytest.raises(ConfigError, match=r"Team\.team: set \{1\}"):
        key_of(Team(prompt="hello", team={1}))


# ----------------------------------------------------------------------------------------- without the formatting

formats = st.text("a\u0301\u00e1 \n\t\r`~", max_size=12)


@given(formats, formats)
def test_normalised_keys_are_equal_exactly_when_the_normal_forms_are(one: str, other: str) -> None:
    same = normal_form(one) == normal_form(other)
    for first, second in (
        (make(prompt=one), make(prompt=other)),
        (make(system=one), make(system=other)),
        (make(messages=[{"role": "user", "content": t}]) for t in (one, other)),
    ):
        assert (normalised_key(first) == normalised_key(second)) == same


@given(requests, requests)
def test_a_normalised_key_is_never_the_plain_key_of_any_request(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert normalised_key(make(**one)) != cache_key(make(**other))


def test_only_prompt_system_and_messages_are_normalised() -> None:
    for name in KEYED - {"prompt", "messages", "system", "output_schema"}:
        keys = {normalised_key(make(**{name: value})) for value in VALUES[name]}
        assert len(keys) == len(VALUES[name])
    stops = [("a",), ("a ",), ("a\n",)]
    assert len({normalised_key(make(stop=stop)) for stop in stops}) == len(stops)
    schemas = [{"const": "a"}, {"const": "a "}]
    assert len({normalised_key(make(output_schema=schema)) for schema in schemas}) == len(schemas)


def test_a_system_text_of_blanks_is_an_empty_one_and_not_none() -> None:
    assert normalised_key(make(system="  ")) == normalised_key(make(system="")) != normalised_key(make())


def test_a_normalised_key_leaves_the_request_as_it_is() -> None:
    request = make(messages=[{"role": "user", "content": "  a  b "}], system=" s ")
    normalised_key_of(request)
    assert request == make(messages=[{"role": "user", "content": "  a  b "}], system=" s ")


@given(requests)
def test_both_remembered_keys_are_the_computed_keys(fields: dict[str, Any]) -> None:
    request = make(**fields)
    assert normalised_key_of(request) == normalised_key_of(request) == normalised_key(request)
    assert key_of(request) == cache_key(request)


def test_a_normalised_key_is_made_anew_for_what_its_owner_may_change() -> None:
    inner = [1]
    for request in (make(extra={"a": inner}), make(output_schema={"enum": inner}), Team(prompt="p", team=inner)):
        before = normalised_key_of(request)
        inner.append(2)
        assert normalised_key_of(request) != before
    empty = make()
    before = normalised_key_of(empty)
    empty.extra["a"] = 1  # type: ignore[index]
    assert normalised_key_of(empty) != before


# ----------------------------------------------------------------------------------------- any other document


@given(st.dictionaries(texts, trees, max_size=2), st.dictionaries(texts, trees, max_size=2))
def test_digests_are_equal_exactly_when_the_documents_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (digest_of(one, "x") == digest_of(other, "x")) == (kind(one) == kind(other))


def test_a_document_without_a_digest_is_named() -> None:
    with pytest.raises(ConfigError, match=r"Endpoint\.extra_body\.a\[0\]: float nan cannot be written as JSON"):
        digest_of({"a": [nan]}, "Endpoint.extra_body")
    with pytest.raises(ConfigError, match=r"Endpoint\.extra_body: cannot be written as JSON"):
        digest_of({"a": 10**5000}, "Endpoint.extra_body")
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    with pytest.raises(ConfigError, match=r"Endpoint\.extra_body: nested too deep"):
        digest_of(loop, "Endpoint.extra_body")
