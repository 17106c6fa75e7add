"""Are the curves those of the samples, and are figures written so that nobody is misled?"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.telemetry.report import units
from synth_actors.telemetry.report.curves import common_axis, curve
from synth_actors.telemetry.report.markup import as_data, element, joined, text
from tests.telemetry.samples import histogram_of, mixed_samples

SAMPLES = st.lists(st.integers(1, 3_600_000_000).map(lambda us: us / 1e6), max_size=200)


@given(st.lists(SAMPLES, max_size=3))
def test_a_curve_has_the_samples_at_their_ranks_and_ends_with_them(several: list[list[float]]) -> None:
    histograms = [histogram_of(samples) for samples in several]
    axis = common_axis(histograms)
    assert all(before < after for before, after in pairwise(axis))
    for samples, histogram in zip(several, histograms, strict=True):
        values = curve(histogram, axis)
        assert len(values) == len(axis)
        ranked = sorted(samples)
        for at, value in zip(axis, values, strict=True):
            if at > len(ranked):
                assert value is None
                continue
            share = 1.0 if at == len(ranked) else 1.0 - 1.0 / at
            rank = max(1, -int(-(share * len(ranked) - 1e-6) // 1))  # the smallest that covers the share
            assert value == pytest.approx(ranked[rank - 1], rel=0.0011, abs=1e-6)


def test_the_axis_has_five_points_for_each_half_of_the_way_to_100_percent() -> None:
    axis = common_axis([histogram_of(mixed_samples(1000, seed=1))])
    percentiles = [round(100 * (1 - 1 / at), 4) for at in axis]
    assert percentiles[:12] == [0, 10, 20, 30, 40, 50, 55, 60, 65, 70, 75, 77.5]
    assert axis[-1] == 1000
    assert len(axis) < 60


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0, "0 s"),
        (0.0000124, "12.4 µs"),
        (0.0009994, "999 µs"),
        (0.0009996, "1.00 ms"),
        (0.0123456, "12.3 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (75.24, "75.2 s"),
        (4312.4, "4,312 s"),
    ],
)
def test_durations_have_three_digits_and_a_unit(seconds: float, written: str) -> None:
    assert units.duration(seconds) == written


@pytest.mark.parametrize(
    ("amount", "written"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1024, "1.00 KiB"),
        (1023 * 1024, "1.00 MiB"),
        (5 * 2**30, "5.00 GiB"),
        (2**60, "1,048,576 TiB"),
    ],
)
def test_sizes_change_their_unit_before_they_have_four_digits(amount: int, written: str) -> None:
    assert units.size_of(amount) == written


@pytest.mark.parametrize(
    ("usd", "written"),
    [
        (None, "unknown"),
        (0.0, "$0"),
        (1234.5, "$1,234.50"),
        (0.5, "$0.500"),
        (0.0303, "$0.0303"),
        (0.00000123, "$0.00000123"),
    ],
)
def test_dollars_are_never_rounded_to_nothing(usd: float | None, written: str) -> None:
    assert units.dollars(usd) == written


def test_counts_shares_and_rates() -> None:
    assert [units.count(value) for value in (0, 12345, 2.5)] == ["0", "12,345", "2.50"]
    assert (units.share(0.4567), units.rate(1234.5), units.count(float("inf"))) == ("45.7 %", "1,234/s", "inf")


@given(st.text())
def test_text_is_never_markup(given_text: str) -> None:
    made = text(given_text)
    assert not set(made) & set("<>\"'")
    assert made.count("&") == sum(given_text.count(sign) for sign in "<>&\"'")


def test_an_element_keeps_markup_and_escapes_the_rest() -> None:
    assert (
        element("p", {"title": 'a"b'}, "1 < 2", element("b", {}, "&")) == '<p title="a&quot;b">1 &lt; 2<b>&amp;</b></p>'
    )
    assert element("br") == "<br>"
    assert joined(["<", element("i", {}, "x")]) == "&lt;<i>x</i>"


def test_data_ends_no_element_and_holds_no_number_that_json_has_not() -> None:
    assert as_data(["</script><!--", "\u2028", "\ud800"]) == r'["\u003c/script\u003e\u003c!--","\u2028","\ud800"]'
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_data([float("nan")])
