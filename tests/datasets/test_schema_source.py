"""Is every way to name a schema understood, and every wrong one explained in a line?"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from synth_actors.datasets.schema_source import load_schema
from synth_actors.errors import ConfigError


def load(text: str) -> object:
    return load_schema(text, pytest.fail)  # a warning is a failure here


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"type": "object"}')
    assert load("a.json") == {"type": "object"}
    assert load(str(tmp_path / "a.json")) == {"type": "object"}


def test_a_model_of_the_current_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "shop_a").mkdir()
    (tmp_path / "shop_a" / "models.py").write_text(
        "from pydantic import BaseModel\n"
        "class Order(BaseModel):\n    n: int\n    class Line(BaseModel):\n        m: int\n"
    )
    found = load("shop_a.models:Order")
    assert isinstance(found, type)
    assert issubclass(found, BaseModel)
    assert list(found.model_fields) == ["n"]
    nested = load("shop_a.models:Order.Line")
    assert isinstance(nested, type)


@pytest.mark.parametrize(
    ("argument", "content", "words"),
    [
        ("none.json", None, "no such file"),
        ("./shop_b.py:Order", None, "give a JSON Schema file or shop_b:Order"),
        ("shop_b.py:Order", "", "give shop_b:Order"),
        ("a.json", "{nope", "is no JSON"),
        ("a.json", "", "is no JSON"),
        ("a.json", "[1]", "holds a list, not an object"),
        (".", None, "cannot be read"),
        ("nothing_here:Order", None, "there is no module 'nothing_here'"),
        ("nothing_here.models:Order", None, "there is no module 'nothing_here'"),
        ("shop_b:Order", "", "shop_b has no 'Order'; it holds no pydantic model"),
        (
            "shop_b:Ordr",
            "from pydantic import BaseModel\nclass Order(BaseModel): n: int",
            "shop_b has no 'Ordr'; its models are Order",
        ),
        ("shop_b:Order", "Order = 5", "Order is a int, not a pydantic model class"),
        ("shop_b:Order", "Order = dict", "not a pydantic model class"),
        ("shop_b:Order", "import nothing_there", "shop_b needs 'nothing_there', which is not installed"),
        ("shop_b:Order", "1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
        ("shop_b:Order", "class", "cannot be imported: SyntaxError"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, argument: str, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / (argument if argument.endswith(".json") else "shop_b.py")).write_text(content)
    with pytest.raises(ConfigError) as caught:
        load(argument)
    message = str(caught.value)
    assert message.startswith(f"SCHEMA {argument}: ")
    assert words in message
    assert "\n" not in message


def test_a_module_that_ends_the_program_is_said_to(tmp_path: Path) -> None:
    (tmp_path / "shop_exit.py").write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(ConfigError, match="shop_exit cannot be imported: SystemExit: 3"):
        load("shop_exit:Order")


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"type": "object"}')
    assert load("a.json") == {"type": "object"}


def test_what_looks_wrong_in_a_file_is_said_with_the_name_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"minLenght": 1}')
    said: list[str] = []
    assert load_schema("a.json", said.append) == {"minLenght": 1}
    assert [line.partition(" at ")[0] for line in said] == ["SCHEMA a.json: unknown keyword 'minLenght'"]


def test_a_job_file_names_schemas_of_its_own_folder(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "a.json").write_text('{"type": "object"}')
    (folder / "shop_jobs.py").write_text("from pydantic import BaseModel\nclass Order(BaseModel): n: int\n")
    assert load_schema("a.json", pytest.fail, folder=folder) == {"type": "object"}
    found = load_schema("shop_jobs:Order", pytest.fail, folder=folder)
    assert isinstance(found, type)
    assert found.__name__ == "Order"


def test_a_job_file_may_name_a_model_of_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "shop_here.py").write_text("from pydantic import BaseModel\nclass Order(BaseModel): n: int\n")
    assert isinstance(load_schema("shop_here:Order", pytest.fail, folder=tmp_path / "jobs"), type)


@pytest.mark.parametrize("text", ["none.json", "nothing_here:Order"])
def test_the_message_begins_with_the_label(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=f"^job.schema: {text}: "):
        load_schema(text, pytest.fail, label="job.schema:", folder=tmp_path / "jobs")
