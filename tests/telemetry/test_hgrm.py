"""Is a percentile table what Java's would be, to the last digit, and are its percentiles those of the samples?"""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.errors import ConfigError
from synth_actors.histogram import NO_SAMPLES, Histogram
from synth_actors.telemetry.hgrm import Unit, write_percentiles
from tests.telemetry.readers import without_start
from tests.telemetry.samples import histogram_of, mixed_samples

GOLDEN = Path(__file__).with_name("golden")


def table(histogram: Histogram, unit: Unit = "ms") -> str:
    text = io.StringIO()
    write_percentiles(histogram, text, unit)
    return text.getvalue()


def rows_of(text: str) -> list[list[float]]:
    return [[float(cell) for cell in line.split()] for line in text.splitlines()[2:] if not line.startswith("#")]


@pytest.mark.parametrize(("tag", "samples"), [
    ("response.a", mixed_samples(5000, 1) + mixed_samples(3000, 2)),
    ("response.b", mixed_samples(50, 3)),
])  # fmt: skip
def test_the_table_is_the_one_that_java_writes(tag: str, samples: list[float]) -> None:
    by_java = without_start((GOLDEN / f"java-{tag}.hgrm").read_text(encoding="utf-8"))
    assert table(histogram_of(samples)) == by_java


@given(st.lists(st.floats(0.0, 3600.0), min_size=1, max_size=60))
def test_each_value_is_the_smallest_that_covers_so_many_samples(samples: list[float]) -> None:
    for value_us, share, count, *_ in rows_of(table(histogram_of(samples), "us")):
        covered = [sample for sample in samples if int(sample * 1_000_000 + 0.5) <= value_us]
        assert len(covered) == count
        assert count >= share * len(samples) - 1e-6


def test_without_samples_there_are_no_rows() -> None:
    lines = table(NO_SAMPLES).splitlines()
    assert lines[0] == "       Value     Percentile TotalCount 1/(1-Percentile)"
    assert [line.partition("=")[0].strip() for line in lines[1:]] == ["", "#[Mean", "#[Max", "#[Buckets"]


def test_a_path_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.hgrm"
    write_percentiles(histogram_of([1.0] * 100), path)
    write_percentiles(histogram_of([2.0]), path, unit="ms")
    assert path.read_text(encoding="utf-8") == table(histogram_of([2.0]))


def test_a_unit_that_the_layout_has_no_digits_for_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unit='s': give 'us' or 'ms'"):
        write_percentiles(NO_SAMPLES, io.StringIO(), "s")  # type: ignore[arg-type]


@pytest.mark.parametrize(("given", "said"), [(None, "None is no Histogram"), ("x", "an object of class str is no")])
def test_what_is_no_histogram_is_refused(given: object, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"write_percentiles: {said}.*metrics_now\(histograms=True\)"):
        write_percentiles(given, io.StringIO())  # type: ignore[arg-type]
