"""Does the page about the analysis name every rule, every threshold and its default?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from synth_actors.policy.bottlenecks import RULES
from synth_actors.policy.rules.thresholds import DEFAULT_THRESHOLDS, Thresholds

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "explanation" / "analysis.md").read_text(encoding="utf-8")


def test_every_rule_has_a_line_and_every_line_a_rule() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \| [^|]*\|$", PAGE, flags=re.MULTILINE)
    assert set(rows) == {rule.__name__ for rule in RULES}


@pytest.mark.parametrize("name", Thresholds.model_fields)
def test_every_threshold_has_a_line_with_its_default(name: str) -> None:
    default = getattr(DEFAULT_THRESHOLDS, name)
    values = default if isinstance(default, tuple) else (default,)
    assert f"| `{name}` | {', '.join(f'{value:g}' for value in values)} |" in PAGE
