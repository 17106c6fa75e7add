"""Does an answer come back as it was kept, and is only what many have in common kept once?"""

from __future__ import annotations

import pytest

from synth_actors.config import Price
from synth_actors.policy.answers import LABELS_AT_MOST, Answers, Made, is_worth_keeping, worth_in
from synth_actors.policy.cache_index import NO_ROOM, REFUSED, STORED, CacheIndex
from synth_actors.types import Answer, StopReason


def answers(max_bytes: int = 10**9, max_entry_bytes: int | None = None) -> Answers:
    index = CacheIndex(max_entries=10**6, max_bytes=max_bytes, ttl_s=None, max_entry_bytes=max_entry_bytes)
    return Answers(index, {"paid"})


def made(text: str = "text", model: str = "model", identity: str = "paid") -> Made:
    return Made(Answer(text=text, stop_reason="end", endpoint="name", model=model), identity, 15, 0.5)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


@pytest.mark.parametrize("text", ["", "text", "äöü 🙂", "\ud800 half a pair", "\0"])
def test_an_answer_comes_back_as_it_was_kept_and_saves_what_it_had_cost(text: str) -> None:
    kept = answers()
    assert kept.keep(key(1), made(text), now=0.0) is STORED
    assert kept.find(key(1), now=1.0) == made(text).answer
    assert (kept.savings.tokens, kept.savings.usd) == (15, 0.5)


def test_what_another_endpoint_made_is_not_given_and_saves_nothing() -> None:
    kept = answers()
    kept.keep(key(1), made(identity="local"), now=0.0)
    assert kept.find(key(1), now=1.0) is None
    assert kept.savings.tokens == 0


def test_bytes_count_not_characters() -> None:
    kept = answers(max_entry_bytes=4)
    assert kept.keep(key(1), made("🙂"), now=0.0) is STORED
    assert kept.keep(key(2), made("🙂!"), now=0.0) is REFUSED
    assert answers(max_bytes=10).keep(key(1), made(), now=0.0) is NO_ROOM


def test_a_server_that_names_its_model_otherwise_each_time_fills_no_memory() -> None:
    kept = answers()
    for number in range(3 * LABELS_AT_MOST):
        kept.keep(key(number % 10), made(model=f"model of request {number}"), now=0.0)
        assert len(kept._labels) <= LABELS_AT_MOST
    assert [found.model for number in range(10) if (found := kept.find(key(number), now=0.0))] == [
        f"model of request {number}" for number in range(3 * LABELS_AT_MOST - 10, 3 * LABELS_AT_MOST)
    ]


@pytest.mark.parametrize(
    ("stop_reason", "kept"), [("end", True), ("stop", True), ("max_tokens", False), ("refusal", False)]
)
def test_only_whole_answers_are_worth_keeping(stop_reason: StopReason, kept: bool) -> None:
    assert is_worth_keeping(Answer(text="t", stop_reason=stop_reason, endpoint="e", model="m")) is kept


def test_answers_are_compared_by_dollars_unless_a_price_is_not_known() -> None:
    price = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)
    assert worth_in([price, price]) == "usd"
    assert worth_in([price, None]) == "tokens"
