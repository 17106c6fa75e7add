"""What became of the rows that were asked for?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from synth_actors.datasets.block import Counts
from synth_actors.datasets.duplicates.seen import SeenRows
from synth_actors.types import NO_USAGE, Usage

MAX_REASONS = 20
OTHER_REASONS = "other reasons"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsReport:
    """Figures of one `generate_rows` or one job so far; all counters only grow.

    Of the `asked` rows `valid` were made, `repaired` of them by asking again, `salvaged` of them out of answers that
    were not just the JSON that was asked for, and `missing` were given up, with the last reason of each in
    `missing_reasons`; the rest is under way.  `invalid` counts values that came and were no valid row, `refused` the
    answers in which the model refused, `cut` those that ended at `max_tokens`, `duplicates` the valid rows that equal
    an earlier one exactly and `near_duplicates` those that nearly do; `replaced` of both were asked for anew, and
    `kept_duplicates` are among the rows all the same, as all are with `generate_rows`.  `requests` counts what was
    asked of the engine, `failed_requests` those that brought no valid row.  `usage` is the bill of these requests; its
    `cost_usd` is None when an endpoint has no known price.
    """

    asked: int
    valid: int = 0
    repaired: int = 0
    salvaged: int = 0
    invalid: int = 0
    refused: int = 0
    cut: int = 0
    duplicates: int = 0
    near_duplicates: int = 0
    replaced: int = 0
    kept_duplicates: int = 0
    missing: int = 0
    missing_reasons: Mapping[str, int] = field(default_factory=dict)
    requests: int = 0
    failed_requests: int = 0
    usage: Usage = NO_USAGE

    @property
    def cost_usd_per_1000(self) -> float | None:
        """What 1,000 valid rows cost in US dollars; None when that is not known, or there is none."""
        cost_usd = self.usage.cost_usd
        return None if cost_usd is None or not self.valid else 1000 * cost_usd / self.valid

    @property
    def complete(self) -> bool:
        """Whether every row asked for is there."""
        return self.valid == self.asked


class RowsTally:
    """Counts while the rows are made."""

    def __init__(self, asked: int, *, valid: int = 0) -> None:
        self.valid = valid
        self.missing = self.requests = self.failed_requests = 0
        self.duplicates = self.near_duplicates = self.replaced = self.kept_duplicates = 0
        self.counts = Counts()
        self.usage = NO_USAGE
        self._asked = asked
        self._reasons: Counter[str] = Counter()
        self._seen = SeenRows()

    def add(self, counts: Counts) -> None:
        """What came of the answers of one more block."""
        for name in Counts.__slots__:
            setattr(self.counts, name, getattr(self.counts, name) + getattr(counts, name))

    def made(self, row: bytes) -> None:
        """A valid row, as canonical JSON."""
        self.valid += 1
        if not self._seen.add(row):
            self.duplicates += 1
            self.kept_duplicates += 1

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
            repaired=self.counts.repaired,
            salvaged=self.counts.salvaged,
            invalid=self.counts.invalid,
            refused=self.counts.refused,
            cut=self.counts.cut,
            duplicates=self.duplicates,
            near_duplicates=self.near_duplicates,
            replaced=self.replaced,
            kept_duplicates=self.kept_duplicates,
            missing=self.missing,
            missing_reasons=dict(self._reasons.most_common()),
            requests=self.requests,
            failed_requests=self.failed_requests,
            usage=self.usage,
        )
