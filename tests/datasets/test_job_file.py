"""Is a job read as it is meant, is every mistake named with its remedy, and is it known what decides about the rows?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from synth_actors.config import CacheConfig, Endpoint
from synth_actors.datasets.columns.column_specs import ColumnSpec
from synth_actors.datasets.jobs.job import DedupSpec, JobSpec, LimitsSpec
from synth_actors.datasets.jobs.job_file import load_job
from synth_actors.datasets.jobs.job_identity import differences
from synth_actors.errors import ConfigError
from synth_actors.testing import ScriptedProvider

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "plan": {"enum": ["free", "pro"]},
        "age": {"type": "integer", "maximum": 90},
        "address": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
JOB = """
[job]
schema = "a.json"
count = 10
output = "rows.jsonl"
"""


class Customer(BaseModel):
    name: str


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "a.json").write_text(json.dumps(SCHEMA))
    return tmp_path


def load(folder: Path, text: str) -> JobSpec:
    path = folder / "job.toml"
    path.write_text(text)
    return load_job(path)


def test_a_short_job_has_the_defaults(folder: Path) -> None:
    job = load(folder, JOB)
    assert (job.seed, job.rows_per_request, job.durability, job.budget_usd, job.instructions) == (
        0,
        20,
        "process",
        None,
        None,
    )
    assert (job.dedup, job.limits) == (DedupSpec(exact=True, near=0.8, max_attempts=3), LimitsSpec(max_attempts=4))
    assert [endpoint.name for endpoint in job.endpoints_resolved()] == ["local"]
    assert job.row_schema.json_schema == SCHEMA
    assert job.target == str(folder / "rows.jsonl")
    engine = job.engine_config()
    assert (engine.max_concurrency, engine.cache, engine.outage_patience_s) == (8, CacheConfig(enabled=False), 600.0)


def test_a_long_job_says_it_all(folder: Path) -> None:
    job = load(
        folder,
        JOB
        + """
seed = -5
instructions = "Customers of a shop"
endpoints = ["openai:m@http://127.0.0.1:9/v1", {provider = "local", requests_per_minute = 7}]
rows_per_request = 5
concurrency = 3
budget_usd = 2
durability = "power"
[columns.plan]
values = ["free", "pro"]
[dedup]
exact = false
near = 0.75
max_attempts = 0
[limits]
max_tokens = 500
temperature = 0.5
max_attempts = 2
timeout_s = 60
outage_patience_s = 5
requests_per_minute = 100
input_tokens_per_minute = 1000
memory_limit_bytes = 300_000_000
drain_timeout_s = 1
""",
    )
    rows = job.rows_job()
    assert (rows.count, rows.rows_per_request, rows.seed, rows.max_tokens) == (10, 5, -5, 500)
    assert (rows.temperature, rows.max_attempts, rows.instructions) == (0.5, 2, "Customers of a shop")
    engine = job.engine_config()
    assert (engine.max_concurrency, engine.budget_usd, engine.timeout_s, engine.outage_patience_s) == (3, 2.0, 60, 5)
    assert (engine.memory_limit_bytes, engine.drain_timeout_s) == (300_000_000, 1)
    limits = [
        (each.name, each.requests_per_minute, each.input_tokens_per_minute, each.output_tokens_per_minute)
        for each in job.endpoints_resolved()
    ]
    assert limits == [("openai:m", 100, 1000, None), ("local", 7, 1000, None)]
    assert job.columns == {"plan": ColumnSpec(values=["free", "pro"])}
    assert job.dedup == DedupSpec(exact=False, near=0.75, max_attempts=0)
    assert job.durability == "power"


@pytest.mark.parametrize("off", ["false", "0", "0.0"])
def test_near_is_switched_off(folder: Path, off: str) -> None:
    assert load(folder, f"{JOB}[dedup]\nnear = {off}").dedup.near is None


def test_a_schema_is_a_file_a_model_or_a_table(folder: Path) -> None:
    (folder / "shop_of_job.py").write_text("from pydantic import BaseModel\nclass Order(BaseModel): n: int\n")
    assert load(folder, JOB.replace("a.json", "shop_of_job:Order")).row_schema.model is not None
    table = '[job.schema]\ntype = "object"\n[job.schema.properties.day]\nconst = 2024-01-31\n'
    job = load(folder, JOB.replace('schema = "a.json"', "") + table)
    assert job.row_schema.json_schema == {"type": "object", "properties": {"day": {"const": "2024-01-31"}}}


@pytest.mark.parametrize("head", ['[columns."address.city"]', "[columns.address.city]"])
def test_a_nested_column_may_be_named_with_or_without_quotes(folder: Path, head: str) -> None:
    job = load(folder, f'{JOB}{head}\nvalues = {{Rome = 0.5, Oslo = 0.5}}\n[columns.plan]\nvalues = ["pro"]')
    assert set(job.columns) == {"address.city", "plan"}
    assert job.drawn.fill(0, {"address": {}})["address"]["city"] in {"Rome", "Oslo"}


def test_files_of_columns_stand_beside_the_job(folder: Path) -> None:
    (folder / "ages.txt").write_text("33\n")
    assert load(folder, f'{JOB}[columns.age]\nfile = "ages.txt"').drawn.fill(0, {}) == {"age": 33}


def test_what_looks_wrong_is_noted(folder: Path) -> None:
    (folder / "a.json").write_text('{"minLenght": 1, "properties": {"plan": {}}}')
    first, second = load(folder, f"{JOB}[columns.plam]\nvalues = [1]").notes
    assert first.startswith("job.schema: a.json: unknown keyword 'minLenght'")
    assert second.startswith("columns.plam: is no property of the schema; did you mean 'plan'?")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (JOB.replace("count", "cuont"), "job.cuont: unknown key; did you mean 'count'? known keys are budget_usd,"),
        (JOB.replace("count = 10", ""), "job.count: is missing; give count = 1000 below [job]"),
        (JOB.replace('output = "rows.jsonl"', ""), "job.output: is missing"),
        ("", "job.schema: is missing"),
        ("[jobs]", "[jobs]: unknown table; did you mean 'job'? known are [job], [columns.NAME], [dedup] and [limits]"),
        ("[engine]", "[engine]: unknown table; known are"),
        ("count = 5\n" + JOB, "count: stands outside of its table; put it below [job]"),
        ("temperature = 1.0\n" + JOB, "temperature: stands outside of its table; put it below [limits]"),
        (JOB + '[[endpoints]]\nprovider = "local"', "endpoints: stands outside of [job]"),
        (JOB + "temperature = 1.0", "job.temperature: unknown key; it belongs to [limits]"),
        (JOB + "max_attempts = 1", "job.max_attempts: unknown key; it belongs to [dedup] or [limits]"),
        (JOB + "[job.columns.plan]\nvalues = [1]", "job.columns: is a table of its own; write [columns]"),
        (JOB + "folder = '.'", "job.folder: unknown key"),
        ("job = 5", "job: 5 is not valid: give a table"),
        (JOB + "[limits]\ntemprature = 1", "limits.temprature: unknown key; did you mean 'temperature'?"),
        (JOB + "[limits]\ntemperature = 3", "limits.temperature: 3 is not valid"),
        (JOB + "[dedup]\nnear = 0.3", "dedup.near: 0.3 is not valid"),
        (JOB + "[dedup]\nnear = true", "dedup.near: True is not valid"),
        (JOB + "[dedup]\nexact = 1", "dedup.exact: 1 is not valid"),
        (JOB.replace("10", "0"), "job.count: 0 is not valid"),
        (JOB.replace("10", "10.0"), "job.count: 10.0 is not valid"),
        (JOB.replace("10", '"10"'), "job.count: '10' is not valid"),
        (JOB + "seed = 18446744073709551616", "job.seed: 18446744073709551616 is not valid"),
        (JOB + "instructions = 5", "job.instructions: 5 is not valid"),
        (JOB + "budget_usd = 0", "job.budget_usd: 0 is not valid"),
        (JOB + 'durability = "paper"', "job.durability: 'paper' is not valid: Input should be 'process' or 'power'"),
        (JOB.replace("rows.jsonl", "rows.xlsx"), "job.output: 'rows.xlsx' is not valid: give a file that ends in"),
        (JOB.replace("rows.jsonl", ""), "job.output: '' is not valid"),
        (JOB.replace('"rows.jsonl"', "5"), "job.output: 5 is not valid: give a path"),
        (JOB.replace("a.json", "b.json"), "job.schema: b.json: no such file; give a JSON Schema file"),
        (JOB.replace("a.json", "no_module_here:M"), "job.schema: no_module_here:M: there is no module"),
        (JOB.replace('"a.json"', "5"), "job.schema: 5 is not valid: give the path of a JSON Schema file"),
        (JOB.replace('"a.json"', '{type = "objct"}'), "job.schema: not a valid JSON Schema at #/type"),
        (JOB.replace('"a.json"', '{"$ref" = "http://x/y"}'), "job.schema: $ref 'http://x/y' leaves the schema"),
        (JOB + "endpoints = []", "job: endpoints = [] is not valid: give at least one"),
        (JOB + 'endpoints = ["nobody"]', "job.endpoints: endpoint 'nobody': unknown provider"),
        (JOB + "endpoints = [5]", "job.endpoints: endpoint 5: give a string"),
        (JOB + '[[job.endpoints]]\nmodel = "m"', "job.endpoints: endpoints: provider is missing"),
        (JOB + '[[job.endpoints]]\nprovider = "local"\nweigth = 1', "unknown field; did you mean 'weight'?"),
        (JOB + "columns = 5", "job.columns: is a table of its own"),
        ("columns = 5\n" + JOB, "columns: 5 is not valid: give a table"),
        (JOB + "[columns]\nplan = 5", "columns.plan: 5 is not valid: give a table"),
        (JOB + "[columns.plan]", "columns.plan: give exactly one of values"),
        (JOB + "[columns.plan]\nvaleus = [1]", "columns.plan.valeus: unknown field; did you mean 'values'?"),
        (JOB + '[columns.plan]\nvalues = ["gold"]', 'columns.plan: "gold" is not valid: "gold" is not one of'),
        (JOB + "[columns.age]\nmin = '1'\nmax = 2", "columns.age.min: '1' is not valid: give a number"),
        (
            JOB + "[columns.age]\nmin = 1\nmax = 99",
            "columns.age: 91 is not valid: 91 is greater than the",
        ),
        (JOB + '[columns."a.b"]\nmin=1\nmax=2\n[columns.a.b]\nmin=1\nmax=2', "columns.a.b: is given twice"),
        ("[job", "is no TOML: "),
        (JOB + "count = 5", "is no TOML: "),
    ],
)
def test_a_mistake_is_named_with_file_key_value_and_remedy(folder: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'job.toml'}: ")
    assert words in message
    assert "\n" not in message
    assert "JobSpec" not in message
    assert "ColumnSpec" not in message


def test_a_file_that_is_not_there_or_no_text_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read \(No such file or directory\); give a job file"):
        load_job(folder / "none.toml")
    (folder / "job.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"job.toml: is no TOML"):
        load_job(folder / "job.toml")


def test_a_file_may_begin_with_a_byte_order_mark(folder: Path) -> None:
    (folder / "job.toml").write_text(JOB, encoding="utf-8-sig")
    assert load_job(folder / "job.toml").count == 10


def test_the_same_job_may_be_written_in_python(folder: Path) -> None:
    file = load(folder, JOB + '[columns.plan]\nvalues = ["pro"]\n[dedup]\nnear = false')
    by_dict = JobSpec(
        schema=SCHEMA,
        count=10,
        output=folder / "rows.jsonl",
        columns={"plan": ColumnSpec(values=["pro"])},
        dedup=DedupSpec(near=None),
    )
    by_text = JobSpec(schema="a.json", count=10, columns={"plan": ColumnSpec(values=["pro"])}, folder=folder)
    assert file.identity() == by_dict.identity()
    assert differences(by_text.identity(), by_dict.identity()) == ["dedup.near: 0.8 -> null"]
    assert by_dict.target == file.target
    assert by_text.target is None
    assert JobSpec(schema=Customer, count=1).row_schema.model is Customer
    assert JobSpec(schema=Customer, count=1).schema is Customer


def test_in_python_parts_may_be_dicts_and_mistakes_name_the_field() -> None:
    fields: dict[str, Any] = {"schema": SCHEMA, "count": 1}
    columns: Any = {"age": {"min": 1, "max": 2}}
    half: Any = {"age": {"min": 1}}
    unknown: Any = {"cuont": 3}
    assert JobSpec(**fields, columns=columns).drawn.taken == {"age"}
    with pytest.raises(ConfigError, match=r"JobSpec.cuont: unknown field; did you mean 'count'\? known fields are"):
        JobSpec(**fields, **unknown)
    with pytest.raises(ConfigError, match=r"JobSpec.columns.age: ColumnSpec: max is missing"):
        JobSpec(**fields, columns=half)
    with pytest.raises(ConfigError, match=r"JobSpec.schema: .* is not valid: give the path of a JSON Schema file"):
        JobSpec(schema=JobSpec(**fields), count=1)  # type: ignore[arg-type]


def test_an_endpoint_is_whatever_may_stand_for_one() -> None:
    provider = ScriptedProvider([], name="mine", model="m")
    given: list[Any] = [
        "local",
        Endpoint(provider="anthropic", model="a", name="first"),
        provider,
        {"provider": "openai", "model": "o"},
    ]
    job = JobSpec(schema=SCHEMA, count=1, endpoints=given)
    assert [endpoint.name for endpoint in job.endpoints_resolved()] == ["local", "first", "mine", "openai:o"]
    assert job.identity()["job"]["endpoints"] == ["local", "anthropic:a", "mine:m", "openai:o"]
    assert len(JobSpec(schema=SCHEMA, count=1, endpoints="local").endpoints_resolved()) == 1


def test_no_key_is_shown() -> None:
    table = {"provider": "openai", "model": "m", "api_key": "secret1", "extra_headers": {"X-Key": "secret2"}}
    job = JobSpec(schema=SCHEMA, count=1, endpoints=[table])
    assert job.endpoints_resolved()[0].api_key == SecretStr("secret1")
    assert "secret" not in f"{job!r} {job} {job.identity()}"
    for wrong in ({"weight": -1}, {"nonsense": 1}, {"model": ""}, {"provider": "nobody"}):
        with pytest.raises(ConfigError) as caught:
            JobSpec(schema=SCHEMA, count=1, endpoints=[{**table, **wrong}])
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("output", "target"),
    [
        ("rows.CSV", "rows.CSV"),
        ("a/rows.parquet", "a/rows.parquet"),
        ("rows/", "rows/"),
        (Path("rows"), "rows/"),
        (Path("rows.jsonl"), "rows.jsonl"),
    ],
)
def test_an_output_is_a_file_of_a_known_kind_or_a_folder(output: str | Path, target: str) -> None:
    assert JobSpec(schema=SCHEMA, count=1, output=output).target == target


BASE: dict[str, Any] = {"schema": SCHEMA, "count": 10}


@pytest.mark.parametrize(
    "fields",
    [
        {"concurrency": 3},
        {"output": "x.csv"},
        {"budget_usd": 1.0},
        {"durability": "power"},
        {"endpoints": [Endpoint(provider="local", weight=2.0, requests_per_minute=5)]},
        {"limits": LimitsSpec(max_attempts=9, timeout_s=1.0, requests_per_minute=5, outage_patience_s=1.0)},
    ],
)
def test_what_does_not_decide_about_the_rows_is_not_in_the_identity(fields: dict[str, Any]) -> None:
    assert differences(JobSpec(**BASE).identity(), JobSpec(**BASE, **fields).identity()) == []


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"seed": 1}, "job.seed: 0 -> 1"),
        ({"count": 11}, "job.count: 10 -> 11"),
        ({"instructions": "x"}, 'job.instructions: null -> "x"'),
        ({"rows_per_request": 5}, "job.rows_per_request: 20 -> 5"),
        ({"endpoints": ["openai:m"]}, 'job.endpoints: ["local"] -> ["openai:m"]'),
        ({"columns": {"plan": ColumnSpec(values=["pro"])}}, "columns.plan: added"),
        ({"dedup": DedupSpec(exact=False)}, "dedup.exact: true -> false"),
        ({"limits": LimitsSpec(max_tokens=5)}, "limits.max_tokens: null -> 5"),
        ({"limits": LimitsSpec(temperature=0.5)}, "limits.temperature: null -> 0.5"),
        (
            {"schema": {**SCHEMA, "properties": {**SCHEMA["properties"], "age": {"type": "integer", "maximum": 99}}}},
            "job.schema: properties.age.maximum: 90 -> 99",
        ),
    ],
)
def test_what_decides_about_the_rows_is_in_the_identity(fields: dict[str, Any], line: str) -> None:
    old, new = JobSpec(**BASE).identity(), JobSpec(**{**BASE, **fields}).identity()
    assert differences(old, new) == [line]
    assert json.loads(json.dumps(new)) == new


def test_a_changed_column_is_named_with_what_changed() -> None:
    old, new = (JobSpec(**BASE, columns={"age": ColumnSpec(min=1, max=most)}).identity() for most in (50, 60))
    assert differences(old, new) == ["columns.age: max: 50 -> 60"]
    assert differences(old, JobSpec(**BASE).identity()) == ["columns.age: removed"]


def test_long_values_are_shortened() -> None:
    (line,) = differences({"job": {"instructions": "x" * 500}}, {"job": {"instructions": "y"}})
    assert line.startswith('job.instructions: "xxx')
    assert len(line) < 100


DOCUMENTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.floats(0, 1), st.lists(st.integers(0, 2), max_size=2)),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@given(old=DOCUMENTS, new=DOCUMENTS)
def test_there_is_a_difference_exactly_where_the_json_differs(old: Any, new: Any) -> None:
    same = json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
    assert (differences({"job": old}, {"job": new}) == []) is same
