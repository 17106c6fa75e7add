"""Does the code keep the shape that the design gives it?"""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

import synth_actors
from synth_actors import errors

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "synth_actors"
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py"))

HEAVY = (
    "anthropic",
    "genai_prices",
    "hdrh",
    "httpx2",
    "jsonschema_rs",
    "mimesis",
    "openai",
    "psutil",
    "rich",
    "sqlite3",
    "typer",
)
WHAT_EVERY_PROGRAM_DOES = """
import sys
import synth_actors
from synth_actors.config import CacheConfig, EngineConfig, Endpoint
from synth_actors.types import Request
EngineConfig(max_concurrency=7, cache=CacheConfig(max_entries=10))
Request(prompt="x", max_tokens=5)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 50
MOST_PUBLIC_NAMES = 25

# Put together here, so that this file does not hold what it forbids.
FORBIDDEN_TEXT = ("py" + "pi.org", "python" + "hosted.org", "/" + "work/", "/" + "root/", "/" + "opt/" + "pypi")


@cache
def tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def functions(path: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: what is tracked is unknown")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_the_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")  # a process of its own: it rewires this one's logging
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_needs_itself_to_be_imported() -> None:
    graph = grimp.build_graph("synth_actors", exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # CycleError shows the circle


def test_importing_the_package_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", WHAT_EVERY_PROGRAM_DOES], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split())
    assert {"trio", "pydantic", "synth_actors"} <= imported
    assert imported.isdisjoint(HEAVY), f"imported too early: {sorted(imported.intersection(HEAVY))}"


def test_there_are_few_public_names_beside_the_errors() -> None:
    names = set(synth_actors.__all__)
    beside = {name for name in names if not name.startswith("__") and not hasattr(errors, name)}
    assert len(beside) <= MOST_PUBLIC_NAMES, sorted(beside)


def test_every_public_name_is_there() -> None:
    assert [name for name in synth_actors.__all__ if not hasattr(synth_actors, name)] == []


def test_every_error_is_public() -> None:
    raised = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.SynthActorsError)
    }
    assert raised <= set(synth_actors.__all__)


@pytest.mark.parametrize("path", MODULES)
def test_a_module_says_which_question_it_answers(path: str) -> None:
    empty = not tree(path).body
    assert empty or ast.get_docstring(tree(path)), f"{path}: the first line is the question that the module answers"


@pytest.mark.parametrize("path", MODULES)
def test_a_module_can_be_read_in_one_sitting(path: str) -> None:
    lines = len((ROOT / path).read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES_OF_A_FILE
    long = {function.name: length(function) for function in functions(path)}
    assert {name: count for name, count in long.items() if count > MOST_LINES_OF_A_FUNCTION} == {}


def test_functions_are_short() -> None:
    lengths = sorted(length(function) for path in MODULES for function in functions(path))
    assert lengths[len(lengths) // 2] <= 7
    assert lengths[len(lengths) * 9 // 10] <= 25


def test_nothing_tracked_names_a_registry_or_a_path_of_somebodys_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {text}"
        for path in tracked_files()
        if path.is_file()
        for text in FORBIDDEN_TEXT
        if text.encode() in path.read_bytes()
    ]
    assert found == []
