"""Does every guarantee name a test that exists?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/explanation/semantics.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    assert re.search(rf"^\s*(async )?(def|class) {name}\b", (ROOT / file).read_text(), re.MULTILINE)


def test_every_guarantee_names_a_test() -> None:
    guarantees = PAGE.split("## What cannot be guaranteed")[0].split("\n- ")[1:]
    assert len(guarantees) > 25
    assert [line for line in guarantees if "`tests/" not in line] == []
