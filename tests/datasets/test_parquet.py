"""Does a Parquet file hold every value unchanged, or refuse it by name?"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from synth_actors.datasets.outputs import parquet
from synth_actors.datasets.outputs.parquet import Parquet
from synth_actors.datasets.outputs.row_text import RowRefusedError
from synth_actors.datasets.outputs.sinks import open_sink
from synth_actors.datasets.outputs.table_columns import JSON, Array, Kind, Record, Scalar, columns_of
from synth_actors.datasets.row_schema import RowSchema
from synth_actors.errors import ConfigError
from synth_actors.sampling.errors import UnsatisfiableError
from synth_actors.sampling.sampler import Sampler, sampler_for
from tests.sampling.models import MODELS
from tests.sampling.random_schemas import documents

UTC = dt.UTC
ALL: Mapping[str, Any] = {
    "text": {"type": "string"},
    "flag": {"type": "boolean"},
    "whole": {"type": "integer"},
    "big": {"type": "integer", "minimum": 0, "maximum": 2**63},
    "huge": {"type": "integer", "maximum": 2**63},
    "real": {"type": "number"},
    "day": {"type": "string", "format": "date"},
    "at": {"type": "string", "format": "date-time"},
    "clock": {"type": "string", "format": "time"},
    "tags": {"type": "array", "items": {"type": "string"}},
    "inner": {"type": "object", "properties": {"day": {"type": "string", "format": "date"}, "any": {}}},
    "any": {},
}
SCHEMA = RowSchema({"type": "object", "properties": ALL})


def of(**properties: Any) -> Parquet:
    return Parquet(RowSchema({"type": "object", "properties": properties}))


def data_of(encoder: Parquet, rows: Iterable[Any]) -> bytes:
    return encoder.head() + b"".join(map(encoder.row, rows)) + encoder.tail()


def table_of(encoder: Parquet, rows: Iterable[Any]) -> pa.Table:
    return pq.read_table(pa.BufferReader(data_of(encoder, rows)))


def cell(name: str, value: Any) -> Any:
    return table_of(of(a=ALL[name]), [{"a": value}])["a"][0].as_py()


def test_each_property_is_a_column_of_its_type() -> None:
    schema = table_of(Parquet(SCHEMA), [{}]).schema
    assert {field.name: str(field.type) for field in schema} == {
        "text": "string",
        "flag": "bool",
        "whole": "int64",
        "big": "uint64",
        "huge": "decimal128(38, 0)",
        "real": "double",
        "day": "date32[day]",
        "at": "timestamp[us, tz=UTC]",
        "clock": "time64[us]",
        "tags": "list<element: string>",
        "inner": "struct<day: date32[day], any: string>",
        "any": "string",
    }
    assert all(field.nullable for field in schema)
    assert schema.field("any").metadata[b"media_type"] == b"application/json"
    assert b"media_type" not in (schema.field("text").metadata or {})


def test_values_keep_their_types_and_nulls_are_nulls() -> None:
    row = {
        "text": "\0 \u202e",
        "flag": False,
        "whole": -(2**63),
        "big": 2**63,
        "huge": -(10**37),
        "real": 3,
        "day": "2024-02-29",
        "at": "2024-01-01T00:30:00.25+02:00",
        "clock": "23:59:59.999999",
        "tags": ["a", None],
        "inner": {"day": None, "any": {"x": [1, None]}},
        "any": "text",
    }
    table = table_of(Parquet(SCHEMA), [row, dict.fromkeys(row), {}])
    assert table.to_pylist() == [
        {
            **row,
            "huge": Decimal(-(10**37)),
            "day": dt.date(2024, 2, 29),
            "at": dt.datetime(2023, 12, 31, 22, 30, 0, 250_000, tzinfo=UTC),
            "clock": dt.time(23, 59, 59, 999_999),
            "inner": {"day": None, "any": '{"x":[1,null]}'},
            "any": '"text"',
        },
        dict.fromkeys(row),
        dict.fromkeys(row),
    ]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-01T10:00:00Z", dt.datetime(2024, 1, 1, 10, tzinfo=UTC)),
        ("2024-01-01t10:00:00z", dt.datetime(2024, 1, 1, 10, tzinfo=UTC)),
        ("2024-01-01 10:00:00", dt.datetime(2024, 1, 1, 10, tzinfo=UTC)),
        ("2024-01-01T10:00", dt.datetime(2024, 1, 1, 10, tzinfo=UTC)),
        ("2024-01-01T00:00:00-05:30", dt.datetime(2024, 1, 1, 5, 30, tzinfo=UTC)),
        ("2024-01-01T00:00:00.123456000Z", dt.datetime(2024, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", dt.datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", dt.datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    ],
)
def test_a_moment_is_one_in_utc(text: str, moment: dt.datetime) -> None:
    unchecked = of(a={"anyOf": [{"type": "string", "format": "date-time"}]})
    assert table_of(unchecked, [{"a": text}])["a"][0].as_py() == moment


@pytest.mark.parametrize(
    ("text", "time"),
    [("10:00:00", dt.time(10)), ("10:00:00.5Z", dt.time(10, 0, 0, 500_000)), ("01:00+02:00", dt.time(23))],
)
def test_a_time_of_day_is_one_in_utc(text: str, time: dt.time) -> None:
    assert cell("clock", text) == time


@pytest.mark.parametrize("value", [3, 3.0, -0.0, 1e15])
def test_an_integer_may_be_written_as_a_float(value: float) -> None:
    assert cell("whole", value) == value


MISFITS = [
    ("text", 1, "a: 1 is no text"),
    ("flag", "true", "a: true is neither true nor false"),
    ("whole", 2**63, "a: 9223372036854775808 does not fit 64 bits (a minimum and a maximum beyond make"),
    ("whole", 1.5, "a: 1.5 is no integer"),
    ("whole", True, "a: True is no integer"),
    ("big", -1, "a: -1 does not fit 64 bits without a sign"),
    ("huge", 10**38, "does not fit a decimal of 38 digits"),
    ("real", 2**53 + 1, "a: 9007199254740993 is not exactly a 64-bit float"),
    ("real", 10**400, "is not exactly a 64-bit float"),
    ("real", "1", "a: 1 is no number"),
    ("real", True, "a: True is no number"),
    ("day", "2024-13-45", "a: 2024-13-45 is no date, YYYY-MM-DD"),
    ("day", "20240101", "is no date"),
    ("day", "2024-W01-1", "is no date"),
    ("day", "2024-01-01T00:00:00Z", "is no date"),
    ("day", "\uff12024-01-01", "is no date"),
    ("day", 20240101, "is no text"),
    ("at", "2024-01-01", "a: 2024-01-01 is no moment to the microsecond, YYYY-MM-DDTHH:MM:SSZ"),
    ("at", "2024-01-01T10:00:00.1234567Z", "is no moment to the microsecond"),
    ("at", "2024-01-01T23:59:60Z", "is no moment"),
    ("at", "0001-01-01T00:00:00+01:00", "is no moment"),
    ("at", "", "is no moment"),
    ("clock", "25:00:00", "is no time of day"),
    ("tags", "a", "a: a is no array"),
    ("tags", ["a", 7], "a.1: 7 is no text"),
    ("inner", [], "a: [] is no object"),
    ("inner", {"day": "soon\n"}, r"a.day: soon\n is no date"),
]


@pytest.mark.parametrize(("name", "value", "problem"), MISFITS, ids=lambda value: str(value)[:40])
def test_what_a_column_cannot_hold_is_refused_by_path_and_value(name: str, value: Any, problem: str) -> None:
    encoder = of(a=ALL[name])
    encoder.head()
    assert problem in (encoder.problem({"a": value}) or "")
    with pytest.raises(RowRefusedError) as caught:
        encoder.row({"a": value})
    assert str(caught.value) == f"{encoder.problem({'a': value})}; .jsonl keeps it as it is"


def test_a_misfit_deep_inside_is_named_by_its_path() -> None:
    day = {"type": "array", "items": {"type": "object", "properties": {"day": ALL["day"]}}}
    assert of(list=day).problem({"list": [{}, {"day": "x"}]}) == "list.1.day: x is no date, YYYY-MM-DD"


def test_the_sink_says_which_row_was_refused_and_goes_on(tmp_path: Path) -> None:
    sink = open_sink(f"{tmp_path}/rows.parquet", SCHEMA, overwrite=False)
    for number in range(1, 4):
        with pytest.raises(RowRefusedError, match=rf"^row {number}: day: x is no date.*; \.jsonl keeps"):
            sink.write({"day": "x"})
        sink.write({"whole": number})
    sink.finish()
    assert pq.read_table(tmp_path / "rows.parquet")["whole"].to_pylist() == [1, 2, 3]


def test_a_lone_surrogate_is_refused_wherever_it_stands() -> None:
    encoder = Parquet(SCHEMA)
    assert encoder.problem({"any": {"x": "\ud800"}}) == (
        r"any.x: holds a lone surrogate (\ud800), which UTF-8 cannot carry; write the whole character"
    )


def test_a_key_without_a_column_is_counted_once_a_row_also_inside() -> None:
    encoder = Parquet(SCHEMA)
    rows = [{"other": 1, "inner": {"other": 2}}, {"inner": {"other": 2}}, {"whole": 1}]
    assert table_of(encoder, rows)["inner"].to_pylist() == [
        {"day": None, "any": None},
        {"day": None, "any": None},
        None,
    ]
    assert encoder.left_out == 2


def test_parquet_needs_columns() -> None:
    with pytest.raises(ConfigError, match=r"-o: \.parquet needs a schema with properties"):
        Parquet(RowSchema({"type": "array"}))


def test_row_groups_depend_on_the_rows_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(parquet, "ROWS_PER_GROUP", 10)
    monkeypatch.setattr(parquet, "BYTES_PER_GROUP", 1000)
    rows = [{"text": "x" * (n if n < 40 else 400), "whole": n} for n in range(50)]
    written = []
    for flush_every in (1, 7, 100):
        path = tmp_path / f"rows{flush_every}.parquet"
        sink = open_sink(str(path), SCHEMA, overwrite=False)
        for number, row in enumerate(rows):
            sink.write(row)
            if number % flush_every == 0:
                sink.flush()
        sink.finish()
        written.append(path.read_bytes())
    assert len(set(written)) == 1
    meta = pq.ParquetFile(pa.BufferReader(written[0])).metadata
    assert [meta.row_group(index).num_rows for index in range(meta.num_row_groups)] == [10, 10, 10, 10, 3, 3, 3, 1]


def test_rows_are_let_go_when_their_group_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS_PER_GROUP", 10)
    encoder = Parquet(SCHEMA)
    encoder.head()
    sizes = [len(encoder.row({"whole": n})) for n in range(100)]
    assert [n for n, size in enumerate(sizes, 1) if size] == list(range(10, 101, 10))
    assert len(set(sizes[9::10])) <= 3, "each hands over its own group, not those before it"


def test_an_incomplete_run_leaves_a_file_that_can_be_read(tmp_path: Path) -> None:
    sink = open_sink(f"{tmp_path}/rows.parquet", SCHEMA, overwrite=False)
    sink.write({"whole": 1})
    kept = sink.keep()
    assert kept == tmp_path / "rows.parquet.partial"
    assert pq.read_table(kept, partitioning=None)["whole"].to_pylist() == [1]


def test_no_rows_are_a_table_with_columns(tmp_path: Path) -> None:
    open_sink(f"{tmp_path}/rows.parquet", SCHEMA, overwrite=False).finish()
    table = pq.read_table(tmp_path / "rows.parquet")
    assert (table.num_rows, table.column_names) == (0, list(ALL))


def test_without_pyarrow_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("synth_actors.datasets.outputs.parquet", "synth_actors.datasets.outputs.arrow_types"):
        monkeypatch.delitem(sys.modules, name)
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError) as caught:
        open_sink(f"{tmp_path}/x.parquet", SCHEMA, overwrite=False)
    assert str(caught.value) == (
        f'-o {tmp_path}/x.parquet: needs pyarrow; pip install "synth-actors[parquet]", or use .jsonl'
    )
    assert list(tmp_path.iterdir()) == []


def test_other_outputs_do_not_import_pyarrow() -> None:
    program = "import sys, synth_actors.datasets.outputs.sinks; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def unread(kind: Kind, value: Any) -> Any:
    """What a reader finds, as the JSON that it was made of: a naive model of the columns, from the other side."""
    match kind:
        case Scalar("json"):
            return None if value is None else json.loads(value)
        case Array(item):
            return None if value is None else [unread(item, each) for each in value]
        case Record(fields):
            return None if value is None else {name: unread(each, value[name]) for name, each in fields}
    return value


def same(kind: Kind, cell: Any, value: Any) -> bool:
    """Whether `cell` stands for the JSON value that was written."""
    if value is None or cell is None:
        return value is cell is None
    match kind:
        case Scalar("date"):
            return bool(cell.isoformat() == value)
        case Scalar("date-time"):
            return bool(cell == dt.datetime.fromisoformat(value.upper()))
        case Scalar("time"):
            written = dt.time.fromisoformat(value.upper())
            return bool(dt.datetime.combine(dt.date(2000, 1, 1), written).astimezone(UTC).time() == cell)
        case Array(item):
            return len(cell) == len(value) and all(same(item, *pair) for pair in zip(cell, value, strict=True))
        case Record(fields):
            return all(same(each, cell[name], value.get(name)) for name, each in fields)
    return bool(cell == value)


def check_read_back(schema: RowSchema, rows: list[Any]) -> None:
    encoder, columns = Parquet(schema), columns_of(schema)
    found = table_of(encoder, rows).to_pylist()
    for read, row in zip(found, rows, strict=True):
        plain = orjson.loads(row.model_dump_json(by_alias=True)) if hasattr(row, "model_dump_json") else row
        for name, kind in columns.items():
            assert same(kind, unread(kind, read[name]), plain.get(name)), name


@pytest.mark.parametrize("model", [model for model in MODELS if columns_of(RowSchema(model))], ids=lambda m: m.__name__)
def test_the_rows_of_a_model_are_read_back(model: Any) -> None:
    sampler = sampler_for(model.model_json_schema())
    rows = [model.model_validate_json(orjson.dumps(sampler.sample(seed))) for seed in range(10)]
    check_read_back(RowSchema(model), rows)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_the_rows_of_any_schema_are_read_back(document: dict[str, Any]) -> None:
    definitions = document.pop("$defs", {})
    schema = {"type": "object", "properties": {"value": document}, "$defs": definitions}
    sampler, rows = Sampler(schema), []
    try:
        rows = [sampler.sample(seed) for seed in range(3)]
    except UnsatisfiableError:
        assume(False)
    check_read_back(RowSchema(schema), rows)


TREES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda part: st.lists(part, max_size=3))


@given(st.dictionaries(st.sampled_from(list(ALL)), TREES))
def test_whatever_a_row_holds_it_is_written_or_refused_and_never_a_crash(row: dict[str, Any]) -> None:
    encoder = Parquet(SCHEMA)
    problem = encoder.problem(row)
    if problem is not None:
        assert problem.partition(":")[0].partition(".")[0] in ALL
        return
    found = table_of(encoder, [row])
    for name, kind in columns_of(SCHEMA).items():
        if kind == JSON:
            assert unread(kind, found[name][0].as_py()) == row.get(name)
