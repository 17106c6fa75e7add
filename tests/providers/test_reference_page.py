"""Does the page about providers show what is there, and does its example run?"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from synth_actors.providers.base import Fault
from synth_actors.providers.http_errors import FAULT_OF_STATUS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "provider.md").read_text()


def test_the_worked_example_runs() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "You said: otters\nThat is all.\n 7 lines\n"


def test_every_fault_is_in_the_table_with_its_statuses() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \|.*?\|(.*?)\|", PAGE, re.MULTILINE))
    assert set(rows) == {fault.name for fault in Fault}
    for status, fault in FAULT_OF_STATUS.items():
        said = rows[fault.name]
        ranges = ("5xx" in said and status >= 500) or ("other 4xx" in said and status < 500)
        assert str(status) in said or ranges, (status, fault)
