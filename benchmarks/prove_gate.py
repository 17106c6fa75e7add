"""Does the gate let a good tree pass and stop a slow one, every time?

`python -m benchmarks.prove_gate --times 10` runs the real command, `python -m benchmarks --check
benchmarks/thresholds.toml`, in two copies of this tree, one after the other, so many times: one as it is, and one whose
`RouterActor._dispatch` sleeps for a millisecond.  It prints each exit status; it exits with 1 when the gate was wrong.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).resolve().parents[1]
ROUTER = Path("synth_actors", "actors", "router.py")
SLEEP = '__import__("time").sleep(0.001)'
COMMAND = ("-m", "benchmarks", "--check", "benchmarks/thresholds.toml")


@dataclass(frozen=True, slots=True)
class Tree:
    """A copy of the project, and the exit status that is right for it."""

    name: str
    folder: Path
    right: int


def main(argv: Sequence[str]) -> int:
    """Print a line for each run; 1 when one of them was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prove_gate", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--times", metavar="N", type=int, default=10, help="runs of each tree (%(default)s)")
    parser.add_argument("options", nargs="*", help="for the command, after --; such as -- --iterations 1")
    given = parser.parse_args(argv)
    wrong = {"false alarm": 0, "miss": 0}
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        trees = (Tree("as it is", copy_to(Path(folder, "good")), 0), Tree("slow", copy_to(Path(folder, "slow")), 1))
        make_slow(trees[1].folder / ROUTER)
        for number in range(1, given.times + 1):
            for tree in trees:
                began = monotonic()
                status, said = run(tree.folder, given.options)
                is_right = status == tree.right and (tree.right == 0 or any("FAIL" in line for line in said))
                verdict = "right" if is_right else "miss" if tree.right else "false alarm"
                if verdict != "right":
                    wrong[verdict] += 1
                print(f"{number:3} {tree.name:8} exit {status} {monotonic() - began:5.0f} s  {verdict}", flush=True)
                for line in said if verdict != "right" or tree.right else ():
                    print(f"      {line}", flush=True)
    print(f"{given.times} runs of each tree: {wrong['false alarm']} false alarms, {wrong['miss']} misses")
    return 1 if any(wrong.values()) else 0


def copy_to(folder: Path) -> Path:
    """What git knows of this tree or would, as it stands on disk."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def make_slow(router: Path) -> None:
    """Put `SLEEP` at the beginning of `RouterActor._dispatch`."""
    text = router.read_text(encoding="utf-8")
    classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == "RouterActor"]
    methods = [node for one in classes for node in one.body if isinstance(node, ast.FunctionDef)]
    (dispatch,) = [method for method in methods if method.name == "_dispatch"]
    first = dispatch.body[1] if isinstance(dispatch.body[0], ast.Expr) else dispatch.body[0]
    lines = text.splitlines(keepends=True)
    lines.insert(first.lineno - 1, f"{' ' * first.col_offset}{SLEEP}\n")
    router.write_text("".join(lines), encoding="utf-8")


def run(folder: Path, options: Sequence[str]) -> tuple[int, list[str]]:
    """The exit status of the command in `folder`, and the lines about what was not kept.

    Raises:
        RuntimeError: the package that would be measured is not the one in `folder`.
    """
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    where = [sys.executable, "-c", "import synth_actors; print(synth_actors.__file__)"]
    found = subprocess.run(
        where, cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).resolve().is_relative_to(folder.resolve()):
        raise RuntimeError(f"{found} would be measured, and not what is in {folder}")
    command = [sys.executable, *COMMAND, *options]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if line.strip().startswith(("FAIL", "benchmarks:", "Traceback"))]
    return done.returncode, said or done.stderr.splitlines()[-3:]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
