"""What became of the rows that were asked for?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from synth_actors.datasets.seen import SeenRows
from synth_actors.types import NO_USAGE, Usage

MAX_REASONS = 20
OTHER_REASONS = "other reasons"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsReport:
    """Figures of one `generate_rows` so far; all counters only grow.

    Of the `asked` rows `valid` were made, `repaired` of them by asking again, and `missing` were given up, with the
    last reason of each in `missing_reasons`; the rest is under way.  `invalid` counts values that came and were no
    valid row, `duplicates` the valid rows that equal an earlier one exactly (they are delivered all the same).
    `requests` counts what was asked of the engine, `failed_requests` those that ended in an error.  `usage` is the bill
    of these requests; its `cost_usd` is None when an endpoint has no known price.
    """

    asked: int
    valid: int = 0
    repaired: int = 0
    invalid: int = 0
    duplicates: int = 0
    missing: int = 0
    missing_reasons: Mapping[str, int] = field(default_factory=dict)
    requests: int = 0
    failed_requests: int = 0
    usage: Usage = NO_USAGE

    @property
    def complete(self) -> bool:
        """Whether every row asked for is there."""
        return self.valid == self.asked


class RowsTally:
    """Counts while the rows are made."""

    def __init__(self, asked: int) -> None:
        self.valid = self.repaired = self.invalid = self.missing = self.requests = self.failed_requests = 0
        self.usage = NO_USAGE
        self._asked = asked
        self._reasons: Counter[str] = Counter()
        self._seen = SeenRows()

    def made(self, row: bytes, *, repaired: bool) -> None:
        """A valid row, as canonical JSON."""
        self.valid += 1
        self.repaired += repaired
        self._seen.add(row)

    def gave_up(self, rows: int, reason: str) -> None:
        """`rows` rows will not come."""
        self.missing += rows
        known = reason in self._reasons or len(self._reasons) < MAX_REASONS
        self._reasons[reason if known else OTHER_REASONS] += rows

    def report(self) -> RowsReport:
        """The figures now, frozen."""
        return RowsReport(
            asked=self._asked,
            valid=self.valid,
            repaired=self.repaired,
            invalid=self.invalid,
            duplicates=self.valid - len(self._seen),
            missing=self.missing,
            missing_reasons=dict(self._reasons.most_common()),
            requests=self.requests,
            failed_requests=self.failed_requests,
            usage=self.usage,
        )
