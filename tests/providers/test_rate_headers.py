"""Are the limits read that servers tell in their headers, and is nonsense left alone?"""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synth_actors.providers.base import Allowance, RateLimits
from synth_actors.providers.rate_headers import rate_limits

NOW = 1_795_600_000.0  # 2026-11-25T09:46:40Z
DATE = ("Date", "Wed, 25 Nov 2026 12:00:00 GMT")


def read(*headers: tuple[str, str]) -> RateLimits | None:
    return rate_limits([(name.encode(), value.encode()) for name, value in headers], now=NOW)


def anthropic(what: str, limit: str, remaining: str, reset: str) -> list[tuple[str, str]]:
    start = f"anthropic-ratelimit-{what}"
    return [(f"{start}-limit", limit), (f"{start}-remaining", remaining), (f"{start}-reset", reset)]


def openai(what: str, limit: str, remaining: str, reset: str) -> list[tuple[str, str]]:
    values = {"limit": limit, "remaining": remaining, "reset": reset}
    return [(f"x-ratelimit-{field}-{what}", value) for field, value in values.items()]


def test_headers_that_say_nothing_of_limits_are_none() -> None:
    assert read() is None
    assert read(DATE, ("content-type", "application/json"), ("retry-after", "3")) is None


def test_headers_of_other_limits_are_none() -> None:
    assert read(("x-ratelimit-limit", "10"), ("x-ratelimit-limit-project-tokens", "5")) is None
    assert read(("anthropic-ratelimit-lunches-limit", "3"), ("my-ratelimit-requests-limit", "9")) is None


def test_anthropics_limits_are_read_against_the_servers_own_clock() -> None:
    limits = read(
        DATE,
        *anthropic("requests", "50", "49", "2026-11-25T12:00:01Z"),
        *anthropic("input-tokens", "30000", "29000", "2026-11-25T14:00:02+02:00"),
        *anthropic("output-tokens", "8000", "0", "2026-11-25T12:01:00.5Z"),
        *anthropic("tokens", "38000", "0", "2026-11-25T12:01:00Z"),
    )
    assert limits == RateLimits(
        requests=Allowance(limit=50.0, remaining=49.0, reset_s=1.0),
        input_tokens=Allowance(limit=30_000.0, remaining=29_000.0, reset_s=2.0),
        output_tokens=Allowance(limit=8000.0, remaining=0.0, reset_s=60.5),
    )


def test_anthropics_tokens_count_where_nothing_more_exact_is_named() -> None:
    assert read(*anthropic("tokens", "40000", "39000", "2026-11-25T09:46:45Z")) == RateLimits(
        tokens=Allowance(limit=40_000.0, remaining=39_000.0, reset_s=5.0)
    )


def test_without_a_date_of_the_server_our_wall_time_counts() -> None:
    limits = read(*anthropic("requests", "50", "50", "2026-11-25T09:46:43Z"))
    assert limits is not None
    assert limits.requests == Allowance(limit=50.0, remaining=50.0, reset_s=3.0)


def test_a_reset_in_the_past_is_now() -> None:
    limits = read(DATE, *anthropic("requests", "50", "50", "2026-11-25T11:59:00Z"))
    assert limits is not None
    assert limits.requests == Allowance(limit=50.0, remaining=50.0, reset_s=0.0)


def test_openais_limits_are_read_whatever_the_case_of_their_names() -> None:
    headers = [*openai("requests", "5000", "4999", "1s"), *openai("tokens", "160000", "159976", "6m0s")]
    expected = RateLimits(
        requests=Allowance(limit=5000.0, remaining=4999.0, reset_s=1.0),
        tokens=Allowance(limit=160_000.0, remaining=159_976.0, reset_s=360.0),
    )
    assert read(*headers) == expected
    assert read(*((name.upper(), value) for name, value in headers)) == expected


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("6m0s", 360.0),
        ("1s", 1.0),
        ("120ms", 0.12),
        ("1h2m3.5s", 3723.5),
        ("1d", 86_400.0),
        ("59.999s", 59.999),
        ("7.5", 7.5),
        ("0", 0.0),
        ("", None),
        ("-1s", None),
        ("1 s", None),
        ("soon", None),
        ("1s2", None),
        ("nan", None),
        ("inf", None),
        ("٣s", None),
        ("2026-11-25T12:00:01", None),
        ("2026-99-25T12:00:01Z", None),
        ("0001-01-01T00:00:00+23:59", 0.0),
    ],
)
def test_every_form_of_a_reset_is_read_and_nonsense_is_none(reset: str, seconds: float | None) -> None:
    limits = read(*openai("requests", "1", "1", reset))
    assert limits is not None
    assert limits.requests is not None
    assert limits.requests.limit == 1.0
    assert limits.requests.reset_s == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("garbage", ["", "-5", "1e9", "many", "0x10", "nan", "1_000", "9" * 400])
def test_a_number_that_is_none_leaves_the_rest_readable(garbage: str) -> None:
    limits = read(*openai("tokens", garbage, "7", "1s"))
    assert limits is not None
    assert limits.tokens == Allowance(limit=None, remaining=7.0, reset_s=1.0)


NAMES = [name for name, _ in [*anthropic("requests", "", "", ""), *anthropic("output-tokens", "", "", "")]]
NAMES += [name for name, _ in [*openai("requests", "", "", ""), *openai("tokens", "", "", "")]] + ["date"]


@given(st.lists(st.tuples(st.sampled_from(NAMES) | st.text(max_size=20), st.text(max_size=30)), max_size=8))
@example([("date", "Mon, 01 Jan 0001 00:00:00 +9999"), ("x-ratelimit-reset-tokens", "9999-12-31T23:59:59-23:59")])
def test_no_header_raises_and_every_value_is_none_or_finite_and_not_negative(headers: list[tuple[str, str]]) -> None:
    limits = rate_limits([(name.encode(), value.encode()) for name, value in headers], now=NOW)
    for allowance in (limits.requests, limits.tokens, limits.input_tokens, limits.output_tokens) if limits else ():
        for value in (allowance.limit, allowance.remaining, allowance.reset_s) if allowance else ():
            assert value is None or 0 <= value < 1e18
