"""What has a tier done, and how is it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["open", "read_only", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TierStatistics:
    """The state and the counters of a tier since it was opened; counts are rows unless their names say otherwise.

    state           "open"; "read_only": answers are served, and none are kept; "off": neither
    reason          why it is not "open", with the path and the remedy; None when it is
    hits            keys asked for that a fresh answer was found for
    misses          keys that no such endpoint's answer was there for
    stale           keys whose answers were too old, or stored in the future
    unread          keys asked for while the tier could not read
    written         answers that are in the file
    dropped         answers that were posted and will never be: no room in the queue, too large, or no writing
    queued, queued_bytes  posted and not written so far
    expired         rows deleted since their time to live was over
    evicted         rows deleted since the file had reached `max_file_bytes`
    damaged_rows    rows whose checksum was wrong: not served, and deleted
    used_bytes      what rows and indices occupied in the file after the last writing; 0: none so far
    set_aside       where damaged or outdated files were moved
    """

    path: str
    state: State
    reason: str | None
    hits: int
    misses: int
    stale: int
    unread: int
    written: int
    dropped: int
    queued: int
    queued_bytes: int
    expired: int
    evicted: int
    damaged_rows: int
    used_bytes: int
    set_aside: tuple[str, ...]
