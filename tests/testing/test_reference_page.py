"""Does the page about the simulated provider show what is there, and does its example run?"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from synth_actors.testing import Counts, HiddenLimits, Pace, Trouble

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "simulated-provider.md").read_text()


def test_the_example_runs() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"\d+ s; \d+ were allowed, 2000 accepted\n\d+ of \d+ refused, at most \d+ at once\n", done.stdout
    )


@pytest.mark.parametrize("described", [Counts, HiddenLimits, Pace, Trouble])
def test_every_field_is_explained(described: type) -> None:
    assert [field.name for field in fields(described) if f"`{field.name}`" not in PAGE] == []
