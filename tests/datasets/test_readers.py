"""Do pandas, polars, DuckDB, Arrow and Hugging Face `datasets` read what was written, without options?"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest
from pydantic import BaseModel

from synth_actors.datasets.outputs.sinks import open_sink
from synth_actors.datasets.row_schema import RowSchema


class Author(BaseModel):
    name: str
    born: dt.date | None = None


class Book(BaseModel):
    title: str
    pages: int
    price: float | None = None
    printed: bool
    published: dt.date
    sold_at: dt.datetime | None = None
    opens: dt.time
    tags: list[str] = []
    author: Author | None = None
    editions: list[Author] = []
    extra: dict[str, int] = {}


ROWS = [
    Book(
        title='A "quoted",\nlong\0 title \u202e',
        pages=321,
        price=9.5,
        printed=True,
        published=dt.date(2024, 2, 29),
        sold_at=dt.datetime(2024, 3, 1, 12, 30, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        opens=dt.time(9, 30),
        tags=["new", ""],
        author=Author(name="Ana", born=dt.date(1970, 1, 1)),
        editions=[Author(name="Bo"), Author(name="Cy", born=dt.date(1969, 12, 31))],
        extra={"x": 1},
    ),
    Book(title="", pages=1, printed=False, published=dt.date(1999, 12, 31), opens=dt.time(0)),
    Book(title="B", pages=2, printed=False, published=dt.date(2000, 1, 1), opens=dt.time(1)),
]
SOLD = dt.datetime(2024, 3, 1, 10, 30, tzinfo=dt.UTC)
ANA = {"name": "Ana", "born": dt.date(1970, 1, 1)}
BO_AND_CY = [{"name": "Bo", "born": None}, {"name": "Cy", "born": dt.date(1969, 12, 31)}]


def written(target: Path, name: str) -> str:
    """What was written under `name`, with two rows a shard when it is a folder."""
    path = f"{target}/{name}"
    sink = open_sink(path, RowSchema(Book), overwrite=False, rows_per_shard=2)
    for row in ROWS:
        sink.write(row)
    sink.finish()
    return path.removesuffix("/")


BOTH = pytest.mark.parametrize("name", ["books.parquet", "books.parquet/"])


@BOTH
def test_arrow_reads_parquet(tmp_path: Path, name: str) -> None:
    table = pyarrow.dataset.dataset(written(tmp_path, name)).to_table()
    assert table.schema.field("published").type == pa.date32()
    assert table.schema.field("sold_at").type == pa.timestamp("us", tz="UTC")
    assert table["title"].to_pylist() == [row.title for row in ROWS]
    assert table["author"].to_pylist() == [ANA, None, None]
    assert table["editions"].to_pylist() == [BO_AND_CY, [], []]


@BOTH
def test_polars_reads_parquet(tmp_path: Path, name: str) -> None:
    frame = pl.read_parquet(written(tmp_path, name))
    author = pl.Struct({"name": pl.String, "born": pl.Date})
    assert dict(frame.schema) == {
        "title": pl.String,
        "pages": pl.Int64,
        "price": pl.Float64,
        "printed": pl.Boolean,
        "published": pl.Date,
        "sold_at": pl.Datetime("us", "UTC"),
        "opens": pl.Time,
        "tags": pl.List(pl.String),
        "author": author,
        "editions": pl.List(author),
        "extra": pl.String,
    }
    assert frame["title"].to_list() == [row.title for row in ROWS]
    assert frame["published"].to_list() == [row.published for row in ROWS]
    assert frame["price"].to_list() == [9.5, None, None]
    assert frame["sold_at"][0] == SOLD
    assert frame["editions"].to_list() == [BO_AND_CY, [], []]
    assert [json.loads(text) for text in frame["extra"]] == [{"x": 1}, {}, {}]


@BOTH
def test_duckdb_reads_parquet(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name)
    relation = duckdb.read_parquet(f"{path}/*.parquet" if name.endswith("/") else path)
    author = 'STRUCT("name" VARCHAR, born DATE)'
    assert list(map(str, relation.types)) == [
        "VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP WITH TIME ZONE", "TIME", "VARCHAR[]", author,
        f"{author}[]", "VARCHAR",
    ]  # fmt: skip
    rows = relation.select("title", "price", "published", "opens", "author", "editions", "sold_at").fetchall()
    assert rows[0] == (
        ROWS[0].title, 9.5, dt.date(2024, 2, 29), dt.time(9, 30), ANA, BO_AND_CY, SOLD
    )  # fmt: skip
    assert rows[1] == ("", None, dt.date(1999, 12, 31), dt.time(0), None, [], None)


@BOTH
def test_pandas_reads_parquet(tmp_path: Path, name: str) -> None:
    frame = pd.read_parquet(written(tmp_path, name))
    assert frame["title"].tolist() == [row.title for row in ROWS]
    assert (frame["pages"].dtype, frame["printed"].dtype) == (np.dtype("int64"), np.dtype("bool"))
    assert frame["price"].tolist()[0] == 9.5
    assert frame["price"].isna().tolist() == [False, True, True]
    assert frame["published"].tolist() == [row.published for row in ROWS]
    assert str(frame["sold_at"].dtype) == "datetime64[us, UTC]"
    assert frame["sold_at"][0] == SOLD
    assert frame["author"].tolist() == [ANA, None, None]
    assert [list(each) for each in frame["editions"]] == [BO_AND_CY, [], []]


def plain() -> list[dict[str, Any]]:
    return [json.loads(row.model_dump_json()) for row in ROWS]


def test_readers_of_tables_read_json_lines(tmp_path: Path) -> None:
    path, folder = written(tmp_path, "books.jsonl"), written(tmp_path, "books/")
    assert [json.loads(line) for line in Path(path).read_text("utf-8").split("\n")[:-1]] == plain()
    titles = [row.title for row in ROWS]
    assert pl.read_ndjson(path)["title"].to_list() == titles
    assert pl.read_ndjson(f"{folder}/*.jsonl")["title"].to_list() == titles
    assert pd.read_json(path, lines=True)["author"].tolist() == [row["author"] for row in plain()]
    relation = duckdb.read_json(f"{folder}/*.jsonl").select("title", "published", "author")
    assert relation.fetchall()[0] == (titles[0], dt.date(2024, 2, 29), ANA)
    arrow = pyarrow.dataset.dataset(folder, format="json").to_table()
    assert arrow["editions"].to_pylist()[1] == []


def test_readers_of_tables_read_csv(tmp_path: Path) -> None:
    path, folder = written(tmp_path, "books.csv"), written(tmp_path, "shards.csv/")
    titles = [row.title for row in ROWS]
    relation = duckdb.read_csv(f"{folder}/*.csv").select("title", "pages", "price", "printed", "published", "opens")
    first, second, _ = relation.fetchall()
    assert first == (titles[0], 321, 9.5, True, dt.date(2024, 2, 29), dt.time(9, 30))
    assert second[:3] == (None, 1, None), "DuckDB takes an empty text for a missing one"
    frame = pl.read_csv(f"{folder}/*.csv", try_parse_dates=True)
    assert frame["title"].to_list() == titles
    assert frame["published"].to_list() == [row.published for row in ROWS]
    assert json.loads(frame["editions"][0]) == plain()[0]["editions"]
    read = pd.read_csv(path, parse_dates=["published"])
    assert read["published"].dt.date.tolist() == [row.published for row in ROWS]
    assert read["title"].isna().tolist() == [False, True, False], "pandas takes an empty text for a missing one"


LOAD = """
import json, sys
import datasets

found = {}
for folder in sys.argv[1:]:
    data = datasets.load_dataset(folder)["train"]
    found[folder] = {"titles": data["title"][:], "types": {name: str(kind) for name, kind in data.features.items()}}
print(json.dumps(found))
"""


def test_hugging_face_loads_a_folder_of_any_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own: the library keeps threads and files, and asks the network unless it is told not to."""
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "1")
    for name in ("HF_HOME", "HF_DATASETS_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    folders = [written(tmp_path, name) for name in ("one.parquet/", "two/", "three.csv/")]
    done = subprocess.run([sys.executable, "-c", LOAD, *folders], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    parquet, lines, table = json.loads(done.stdout).values()
    titles = [row.title for row in ROWS]
    assert parquet["titles"] == lines["titles"] == titles
    assert table["titles"] == [titles[0], None, titles[2]], "it reads CSV with pandas"
    assert parquet["types"]["published"] == "Value('date32')"
    assert parquet["types"]["sold_at"] == "Value('timestamp[us, tz=UTC]')"
    assert parquet["types"]["author"] == "{'name': Value('string'), 'born': Value('date32')}"
