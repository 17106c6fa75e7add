from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_type_checker_sees_what_the_reference_says() -> None:
    """`mypy --strict` (the project's settings) accepts every `assert_type` and needs every ignore."""
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "tests/typing/public_surface.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0
