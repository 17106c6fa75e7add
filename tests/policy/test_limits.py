from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from synth_actors.policy.buckets import MARGIN_S, WINDOW_S
from synth_actors.policy.limits import (
    BURST_S,
    CHARS_PER_TOKEN,
    LEARNED_SHARE,
    MOST_BURSTS,
    EndpointLimits,
    Need,
    PerMinute,
    need_of,
)
from synth_actors.providers.base import Allowance, Metering, RateLimits
from synth_actors.schema import output_of
from synth_actors.types import NO_USAGE, Message, Request, Usage

NEED = Need(input_tokens=10.0, max_tokens=100)


def known(limits: EndpointLimits) -> dict[str, float]:
    """What is left of each limit, at time 0."""
    return {kind: one.remaining for kind, one in limits.snapshot(0.0).items()}


def says(**left: tuple[float, float]) -> RateLimits:
    """Headers: by the kind of limit its size and what is left."""
    return RateLimits(
        **{kind: Allowance(limit=limit, remaining=remaining) for kind, (limit, remaining) in left.items()}
    )


def margin(per_minute: float) -> float:
    return MARGIN_S * per_minute / WINDOW_S


# ------------------------------------------------------------------------------------------------- what a call needs


def test_a_request_is_reckoned_by_the_length_of_its_texts() -> None:
    assert need_of(Request(prompt="x" * 40, max_tokens=7), None) == Need(40 / CHARS_PER_TOKEN, 7)
    messages = (Message(role="user", content="x" * 30), Message(role="assistant", content="x" * 10))
    output = output_of({"type": "object"})
    assert output is not None
    need = need_of(Request(messages=messages, system="x" * 8), output)
    assert need.input_tokens == (48 + len(output.tag)) / CHARS_PER_TOKEN


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_an_answer_may_be_as_long_as_the_extra_says(name: str) -> None:
    assert need_of(Request(prompt="x", max_tokens=7, extra={name: 500}), None).max_tokens == 500
    assert need_of(Request(prompt="x", max_tokens=7, extra={name: 5}), None).max_tokens == 7
    assert need_of(Request(prompt="x", max_tokens=7, extra={"top_k": 500}), None).max_tokens == 7


def test_a_prompt_of_nothing_teaches_nothing() -> None:
    limits = configured()
    empty = limits.begin(Need(0.0, 10), 0.0)
    limits.learn(empty, Usage(input_tokens=5, output_tokens=5))
    limits.begin(NEED, 0.0)
    assert known(limits)["input_tokens"] == 590.0


# ------------------------------------------------------------------------------------------------ configured limits


def test_without_limits_there_is_nothing_to_count() -> None:
    limits = EndpointLimits(maximum=7.0, metering=None)
    assert (limits.limit, limits.has_buckets, limits.begin(NEED, 0.0)) == (7.0, False, None)
    assert (limits.has_room(6), limits.has_room(7)) == (True, False)
    assert limits.ready_at(NEED, 5.0) == 5.0
    limits.heard(None, says(requests=(1.0, 0.0)), 0.0)
    limits.refused(None, None, 0.0, counted=True)
    limits.ended(None, NO_USAGE, 0.0)
    limits.learn(None, Usage(output_tokens=5))
    assert (limits.snapshot(0.0), limits.usual_output) == ({}, 5.0)


def test_a_call_takes_from_every_bucket_and_the_emptiest_decides() -> None:
    per_minute = PerMinute(requests=60, input_tokens=600, output_tokens=6000)
    limits = EndpointLimits(maximum=inf, metering=None, per_minute=per_minute)
    limits.begin(Need(590.0, 2000), 0.0)
    assert known(limits) == {"requests": 59.0, "input_tokens": 10.0, "output_tokens": 4000.0}
    assert limits.ready_at(Need(10.0, 100), 0.0) == 0.0
    assert limits.ready_at(Need(20.0, 100), 0.0) == 1.0
    assert limits.ready_at(Need(20.0, 5000), 0.0) == 10.0


def configured() -> EndpointLimits:
    per_minute = PerMinute(requests=60, input_tokens=600, output_tokens=6000)
    return EndpointLimits(maximum=inf, metering="meter", per_minute=per_minute)


def test_what_a_call_has_used_is_settled_when_it_has_ended() -> None:
    limits = configured()
    ticket = limits.begin(NEED, 0.0)
    limits.ended(ticket, Usage(input_tokens=15, cache_write_tokens=5, output_tokens=30, cost_usd=0.0), 0.0)
    assert known(limits) == {"requests": 59.0, "input_tokens": 580.0, "output_tokens": 5970.0}


@pytest.mark.parametrize("cost_usd", [0.0, 0.5, None])
def test_it_is_settled_whether_or_not_a_price_is_known(cost_usd: float | None) -> None:
    limits = configured()
    limits.ended(limits.begin(NEED, 0.0), Usage(input_tokens=20, output_tokens=30, cost_usd=cost_usd), 0.0)
    assert known(limits) == {"requests": 59.0, "input_tokens": 580.0, "output_tokens": 5970.0}


@pytest.mark.parametrize("cost_usd", [0.0, None])
def test_what_nobody_knows_counts_as_expected(cost_usd: float | None) -> None:
    limits = configured()
    limits.ended(limits.begin(NEED, 0.0), replace(NO_USAGE, cost_usd=cost_usd), 0.0)
    assert known(limits) == {"requests": 59.0, "input_tokens": 590.0, "output_tokens": 5900.0}


def test_a_server_that_reserves_gives_nothing_back() -> None:
    per_minute = PerMinute(output_tokens=6000)
    limits = EndpointLimits(maximum=inf, metering="reserve", per_minute=per_minute)
    ticket = limits.begin(NEED, 0.0)
    limits.ended(ticket, Usage(output_tokens=30, cost_usd=0.0), 0.0)
    limits.learn(ticket, Usage(output_tokens=30, cost_usd=0.0))
    assert known(limits) == {"output_tokens": 5900.0}
    assert limits.output_of(NEED) == 100.0, "it goes on reserving"


def test_a_call_that_was_refused_gives_its_tokens_back_and_its_request_only_if_it_never_arrived() -> None:
    limits = configured()
    limits.refused(limits.begin(NEED, 0.0), None, 0.0, counted=True)
    assert known(limits) == {"requests": 59.0, "input_tokens": 600.0, "output_tokens": 6000.0}
    limits = configured()
    limits.refused(limits.begin(NEED, 0.0), None, 0.0, counted=False)
    assert known(limits) == {"requests": 60.0, "input_tokens": 600.0, "output_tokens": 6000.0}


def test_the_next_call_is_expected_to_take_what_the_last_ones_took() -> None:
    limits = configured()
    ticket = limits.begin(NEED, 0.0)
    limits.learn(ticket, Usage(input_tokens=18, cache_write_tokens=2, output_tokens=40))
    assert limits.usual_output == 40.0
    limits.learn(ticket, Usage(output_tokens=60))
    assert limits.usual_output == pytest.approx(40.0 + LEARNED_SHARE * 20.0)
    assert limits.output_of(Need(0.0, 30)) == 30.0, "never more than it may make"
    limits = configured()
    ticket = limits.begin(NEED, 0.0)
    for _ in range(200):
        limits.learn(ticket, Usage(input_tokens=18, cache_write_tokens=2))
    second = configured()
    limits.begin(NEED, 0.0)
    assert known(limits)["input_tokens"] == pytest.approx(600.0 - 10.0 - 20.0, abs=0.1), "twice as much as reckoned"
    assert known(second)["input_tokens"] == 600.0


# --------------------------------------------------------------------------------------------- limits from headers


def remote() -> EndpointLimits:
    return EndpointLimits(maximum=1000.0, metering="meter")


def test_a_header_that_names_no_size_makes_no_limit() -> None:
    limits = remote()
    limits.heard(limits.begin(NEED, 0.0), RateLimits(requests=Allowance(remaining=5.0)), 0.0)
    assert not limits.has_buckets
    limits.heard(limits.begin(NEED, 0.0), says(requests=(0.0, 0.0)), 0.0)
    assert not limits.has_buckets
    limits.heard(limits.begin(NEED, 0.0), says(requests=(60.0, 59.0)), 0.0)
    assert known(limits) == {"requests": 59.0 - margin(60.0)}


def test_calls_of_the_same_burst_that_were_not_heard_of_may_come_after_the_one_that_was() -> None:
    limits = remote()
    tickets = [limits.begin(NEED, 0.01 * number) for number in range(10)]
    limits.heard(tickets[3], says(requests=(600.0, 500.0)), 0.1)
    assert known_at(limits, 0.1) == pytest.approx(500.0 + 0.07 * 10 - 9.0 - margin(600.0))
    limits.heard(tickets[5], says(requests=(600.0, 496.0)), 0.1)
    assert known_at(limits, 0.1) == pytest.approx(496.0 + 0.05 * 10 - 8.0 - margin(600.0))
    limits.heard(tickets[4], says(requests=(600.0, 500.0)), 0.1)
    assert known_at(limits, 0.1) == pytest.approx(496.0 + 0.05 * 10 - 7.0 - margin(600.0)), "the lowest holds"
    for ticket in (tickets[number] for number in (0, 9, 1, 8, 2, 7, 6)):
        limits.heard(ticket, says(requests=(600.0, 490.0 if ticket is tickets[9] else 500.0)), 0.1)
    assert known_at(limits, 0.1) == pytest.approx(490.0 + 0.01 * 10 - margin(600.0)), "and nothing is left to come"


def known_at(limits: EndpointLimits, now: float) -> float:
    return limits.snapshot(now)["requests"].remaining


def test_calls_of_later_bursts_were_sent_since_whether_heard_of_or_not() -> None:
    limits = remote()
    early = limits.begin(NEED, 0.0)
    later = [limits.begin(NEED, 1.0 + number) for number in range(3)]
    limits.heard(early, says(requests=(600.0, 500.0)), 5.0)
    assert known_at(limits, 5.0) == pytest.approx(500.0 + 50.0 - 3.0 - margin(600.0))
    limits.heard(later[1], says(requests=(600.0, 400.0)), 5.0)
    assert known_at(limits, 5.0) == pytest.approx(400.0 + 30.0 - 1.0 - margin(600.0))
    limits.heard(later[0], says(requests=(600.0, 10.0)), 5.0)
    assert known_at(limits, 5.0) == pytest.approx(400.0 + 30.0 - 1.0 - margin(600.0)), "a newer call has told more"


def test_a_burst_is_what_was_sent_within_a_tenth_of_a_second() -> None:
    for gap_s, outstanding in ((BURST_S, 1.0), (BURST_S + 0.001, 0.0)):
        limits = remote()
        limits.begin(NEED, 0.0)
        limits.heard(limits.begin(NEED, gap_s), says(requests=(600.0, 500.0)), gap_s)
        assert known_at(limits, gap_s) == pytest.approx(500.0 - outstanding - margin(600.0))


def test_headers_of_one_call_are_heard_once() -> None:
    limits = remote()
    ticket = limits.begin(NEED, 0.0)
    limits.heard(ticket, says(requests=(600.0, 500.0)), 0.0)
    limits.heard(ticket, says(requests=(600.0, 100.0)), 0.0)
    assert known_at(limits, 0.0) == 500.0 - margin(600.0)


def test_a_refused_call_gives_back_what_the_server_has_not_taken() -> None:
    limits = remote()
    limits.heard(limits.begin(NEED, 0.0), says(requests=(600.0, 500.0)), 0.0)
    ticket = limits.begin(NEED, 1.0)
    before = known_at(limits, 1.0)
    limits.refused(ticket, None, 1.0, counted=True)
    assert known_at(limits, 1.0) == before + 1.0
    old, new = limits.begin(NEED, 2.0), limits.begin(NEED, 3.0)
    limits.heard(new, says(requests=(600.0, 500.0)), 3.0)
    limits.refused(old, None, 3.0, counted=True)
    assert known_at(limits, 3.0) == 500.0 - margin(600.0), "the server told its level without it"


def test_a_refused_call_gives_back_also_when_one_of_its_own_burst_was_heard_of() -> None:
    limits = remote()
    heard, refused = limits.begin(NEED, 0.0), limits.begin(NEED, 0.0)
    limits.heard(heard, says(requests=(600.0, 500.0)), 0.0)
    limits.refused(refused, None, 0.0, counted=True)
    assert known_at(limits, 0.0) == 500.0 - margin(600.0)


def test_a_refused_call_is_none_that_was_sent_since() -> None:
    limits = remote()
    limits.heard(limits.begin(NEED, -1.0), says(requests=(600.0, 500.0)), 0.0)
    early, refused = limits.begin(NEED, 0.0), limits.begin(NEED, 1.0)
    limits.refused(refused, None, 1.0, counted=True)
    limits.heard(early, says(requests=(600.0, 500.0)), 1.0)
    assert known_at(limits, 1.0) == pytest.approx(500.0 + 10.0 - margin(600.0))


def test_metered_output_is_expected_until_it_is_settled() -> None:
    limits = remote()
    first = limits.begin(NEED, 0.0)
    limits.heard(first, says(output_tokens=(60_000.0, 50_000.0)), 0.0)

    def level(now: float) -> float:
        return limits.snapshot(now)["output_tokens"].remaining + margin(60_000.0)

    assert level(0.0) == 50_000.0 - 100.0, "it may make as much as it may"
    second = limits.begin(NEED, 0.0)
    assert level(0.0) == 50_000.0 - 200.0
    limits.ended(first, Usage(output_tokens=30, cost_usd=0.0), 0.0)
    assert level(0.0) == 50_000.0 - 130.0
    limits.heard(second, says(output_tokens=(60_000.0, 49_970.0)), 0.0)
    assert level(0.0) == pytest.approx(49_970.0 - 130.0), "the first may have ended after the second came"
    third = limits.begin(NEED, 1.0)
    limits.heard(third, says(output_tokens=(60_000.0, 49_970.0)), 1.0)
    assert level(1.0) == pytest.approx(49_970.0 - 200.0), "what had ended before the third was sent is known"


def test_what_a_refused_call_might_have_made_is_not_expected_any_more() -> None:
    limits = remote()
    limits.heard(limits.begin(NEED, 0.0), says(output_tokens=(60_000.0, 50_000.0)), 0.0)
    limits.refused(limits.begin(NEED, 1.0), None, 1.0, counted=True)
    limits.heard(limits.begin(NEED, 2.0), says(output_tokens=(60_000.0, 50_000.0)), 2.0)
    assert limits.snapshot(2.0)["output_tokens"].remaining == 50_000.0 - 200.0 - margin(60_000.0)


def test_tokens_of_both_kinds_are_counted_together() -> None:
    limits = remote()
    limits.heard(limits.begin(NEED, 0.0), says(tokens=(60_000.0, 50_000.0)), 0.0)
    limits.begin(NEED, 0.0)
    assert limits.snapshot(0.0)["tokens"].remaining == 50_000.0 - 100.0 - 110.0 - margin(60_000.0)


def test_the_tighter_of_two_limits_of_one_kind_is_shown_and_holds() -> None:
    limits = EndpointLimits(maximum=inf, metering="meter", per_minute=PerMinute(requests=60))
    limits.heard(limits.begin(NEED, 0.0), says(requests=(600.0, 10.0)), 0.0)
    assert known(limits) == {"requests": 9.0}
    for _ in range(9):
        limits.begin(NEED, 0.0)
    assert limits.ready_at(NEED, 0.0) == pytest.approx(0.1)


def test_a_server_that_ceases_to_say_anything_fills_no_memory() -> None:
    limits = remote()
    limits.heard(limits.begin(NEED, 0.0), says(requests=(1e6, 1e6)), 0.0)
    for number in range(3 * MOST_BURSTS):
        limits.heard(limits.begin(NEED, 1.0 + number), None, 1.0 + number)
    assert len(limits._bursts) <= MOST_BURSTS
    silent = remote()
    for number in range(3 * MOST_BURSTS):
        silent.heard(silent.begin(NEED, float(number)), None, float(number))
    assert len(silent._bursts) <= MOST_BURSTS


@pytest.mark.parametrize(
    ("metering", "headers", "is_used_up"),
    [
        ("meter", None, False),
        ("meter", says(requests=(60.0, 1.0)), False),
        ("meter", says(requests=(60.0, 0.0)), True),
        ("meter", RateLimits(requests=Allowance(limit=60.0)), False),
        ("meter", says(requests=(60.0, 9.0), input_tokens=(600.0, 9.0)), True),
        ("meter", says(input_tokens=(600.0, 10.0)), False),
        ("meter", says(input_tokens=(5.0, 5.0)), False),  # all there is, though it needs more
        ("meter", says(input_tokens=(5.0, 4.0)), True),
        ("meter", says(output_tokens=(6000.0, 1.0)), False),  # it is made little by little
        ("meter", says(output_tokens=(6000.0, 0.0)), True),
        ("meter", says(tokens=(6000.0, 1.0)), False),
        ("reserve", says(output_tokens=(6000.0, 99.0)), True),
        ("reserve", says(output_tokens=(6000.0, 100.0)), False),
        ("reserve", says(tokens=(6000.0, 109.0)), True),
        ("reserve", says(tokens=(6000.0, 110.0)), False),
    ],
)
def test_whether_the_server_says_that_a_limit_is_used_up(
    metering: Metering, headers: RateLimits | None, is_used_up: bool
) -> None:
    assert EndpointLimits(maximum=inf, metering=metering).is_used_up(headers, NEED) == is_used_up


def test_the_snapshot_says_whose_limit_it_is_and_shows_the_tighter_one() -> None:
    limits = EndpointLimits(maximum=10.0, per_minute=PerMinute(requests=100), metering="meter", now=0.0)
    assert limits.snapshot(0.0)["requests"].is_configured
    limits.heard(limits.begin(NEED, 0.0), RateLimits(requests=Allowance(limit=50.0, remaining=5.0)), 0.0)
    shown = limits.snapshot(0.0)["requests"]
    assert (shown.per_minute, shown.is_configured) == (50.0, False)
