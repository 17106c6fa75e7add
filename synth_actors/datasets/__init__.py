"""How does a schema become rows, and rows a file?"""

from __future__ import annotations

from synth_actors.datasets.report import RowsReport
from synth_actors.datasets.rows import Rows, generate_rows

__all__ = ["Rows", "RowsReport", "generate_rows"]
