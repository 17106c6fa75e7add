"""Is memory tight enough to shrink?

A watchdog that evicts until resident memory falls empties the cache and frees nothing: the allocator keeps what it has.
So the cache is shrunk by what its accounted bytes are worth in resident ones (a ratio learned from earlier shrinks), in
bounded steps, and what has no effect is given up soon: first the shrinking, then the slowing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from synth_actors.errors import ConfigError

MIB = 2**20
SHARE_OF_CONTAINER = 0.8
ROOM_ABOVE_OPENING_BYTES = 512 * MIB

State = Literal["ok", "shrinking", "slowed", "not_reclaimable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryThresholds:
    """When the policy acts, and when it stops.  Marks are shares of the room between opening and the limit."""

    high_mark: float = 0.95  # pressure begins here
    low_mark: float = 0.85  # and ends here
    aim: float = 0.8  # a shrink aims below the low mark, since the cache refills meanwhile
    largest_step: float = 0.25  # of the accounted bytes, in one shrink
    smallest_step_bytes: int = MIB  # resident memory does not show less than this
    worthwhile_share: float = 0.25  # a cache that holds less than this share of the excess is left alone
    fruitful_share: float = 0.1  # a shrink has helped when this share of it shows in resident memory
    judgeable_share: float = 0.5  # a shrink says nothing when less than this share of it was not refilled since
    fruitful_slow: float = 0.01  # slowing has helped when this share of the room came back
    patience: int = 3  # actions without effect before their kind is given up
    settle_s: float = 0.2  # between a shrink and its judgement: one look at the default interval
    slow_settle_s: float = 2.0  # between slowing and its judgement
    drain_patience_s: float = 10.0  # how much longer running calls may take to sink to the cap
    recover_s: float = 2.0  # between two steps up; doubled when pressure soon comes back
    longest_recover_s: float = 60.0
    recover_share: float = 0.125  # of the full concurrency, in one step up
    growth_since_giving_up: float = 0.1  # above what was given up: new memory may be the engine's again
    forgetting: float = 0.998  # per reading, so that memory that came and went does not hide what comes later


DEFAULT_THRESHOLDS = MemoryThresholds()


@dataclass(frozen=True, slots=True)
class Fine:
    """Nothing to do now."""


@dataclass(frozen=True, slots=True)
class Shrink:
    """The cache is to give up that many accounted bytes."""

    wanted_bytes: int


@dataclass(frozen=True, slots=True)
class Slow:
    """At most `cap` calls at once from now on."""

    cap: int


@dataclass(frozen=True, slots=True)
class Recover:
    """Up to `cap` calls at once again."""

    cap: int


@dataclass(frozen=True, slots=True)
class NotReclaimable:
    """Memory stays above its mark whatever the engine gives up.  Said once; from then on it is not fought."""

    reason: str


Verdict = Fine | Shrink | Slow | Recover | NotReclaimable
FINE = Fine()


def default_limit(usable_bytes: int, rss_at_open_bytes: int) -> int:
    """The smaller of 0.8 x what the container allows and what is resident at opening + 512 MiB."""
    return min(int(SHARE_OF_CONTAINER * usable_bytes), rss_at_open_bytes + ROOM_ABOVE_OPENING_BYTES)


def check_limit(limit_bytes: int, rss_at_open_bytes: int) -> None:
    """Refuse a limit that leaves no room.

    Raises:
        ConfigError: the process is at or above the limit already.
    """
    if rss_at_open_bytes >= limit_bytes:
        raise ConfigError(
            f"EngineConfig.memory_limit_bytes: {limit_bytes} bytes ({limit_bytes / MIB:.0f} MiB) leave no room: the"
            f" process holds {rss_at_open_bytes} bytes ({rss_at_open_bytes / MIB:.0f} MiB) at opening; give at least"
            f" {rss_at_open_bytes + 64 * MIB}, run in a larger container, or load less before the engine opens"
        )


@dataclass(frozen=True, slots=True)
class _Reading:
    rss: int
    accounted: int
    in_flight: int
    now: float


class MemoryPolicy:
    """Four states, each with one method that looks at a reading and answers.

    ok -> shrinking (high mark reached) -> slowed (shrinking does not help) -> not_reclaimable (nor does slowing).  From
    everywhere back to ok once resident memory is below its mark and the cap has recovered to full.
    """

    def __init__(
        self,
        limit_bytes: int,
        rss_at_open_bytes: int,
        max_concurrency: int,
        thresholds: MemoryThresholds = DEFAULT_THRESHOLDS,
    ) -> None:
        self.state: State = "ok"
        self.cap = max_concurrency
        self.rss_per_accounted_byte = 1.25  # JSON text in bytes objects, before anything was learned
        self._full = max_concurrency
        self._is = thresholds
        self.limit_bytes = limit_bytes
        self.rss_at_open_bytes = rss_at_open_bytes
        self._room = limit_bytes - rss_at_open_bytes
        self.high_bytes = rss_at_open_bytes + int(thresholds.high_mark * self._room)
        self.low_bytes = rss_at_open_bytes + int(thresholds.low_mark * self._room)
        self._aim_bytes = rss_at_open_bytes + int(thresholds.aim * self._room)
        self._before: _Reading | None = None  # the reading at the last action, until that was judged
        self._wanted = 0
        self._judge_at = -inf
        self._fruitless = 0
        self._floor = 0  # shrinking below this was found useless
        self._known_rss = 0  # the peak of this spell of pressure
        self._recover_wait_s = thresholds.recover_s
        self._recover_at = inf
        self._recovered_at = -inf

    def decide(self, rss_bytes: int, accounted_bytes: int, in_flight: int, now: float) -> Verdict:
        """What to do about this reading.  `in_flight` counts running calls; `now` is monotonic, in seconds."""
        reading = _Reading(rss_bytes, accounted_bytes, in_flight, now)
        match self.state:
            case "ok":
                return self._press_anew(reading) if reading.rss >= self.high_bytes else FINE
            case "shrinking":
                return self._shrinking(reading)
            case "slowed":
                return self._slowed(reading)
            case "not_reclaimable":
                return self._not_reclaimable(reading)

    def _press_anew(self, reading: _Reading) -> Verdict:
        """A new spell of pressure.  One that follows soon upon a recovery makes the next recovery slower."""
        is_relapse = reading.now - self._recovered_at < self._is.longest_recover_s
        doubled = min(2 * self._recover_wait_s, self._is.longest_recover_s)
        self._recover_wait_s = doubled if is_relapse else self._is.recover_s
        self._known_rss = reading.rss
        self._before = None
        self._fruitless = 0
        self.state = "shrinking"
        return self._shrinking(reading)

    def _shrinking(self, reading: _Reading) -> Verdict:
        if reading.rss <= self.low_bytes:
            return self._relieved(reading)
        if not self._judged(reading):
            return FINE
        if self._fruitless >= self._is.patience:
            self._floor = max(self._floor, reading.accounted)
        wanted = self._worthwhile_bytes(reading)
        if wanted:
            return self._act(reading, Shrink(wanted), self._is.settle_s)
        self._fruitless = 0
        self.state = "slowed"
        return self._slowed(reading)

    def _worthwhile_bytes(self, reading: _Reading) -> int:
        """How much to take from the cache now; 0 when that is not worth it."""
        excess = reading.rss - self.low_bytes
        available = reading.accounted - self._floor
        if available * self.rss_per_accounted_byte < self._is.worthwhile_share * excess:
            return 0
        above_aim = reading.rss - self._aim_bytes
        needed = max(int(above_aim / self.rss_per_accounted_byte), self._is.smallest_step_bytes)
        return min(needed, int(self._is.largest_step * reading.accounted), available)

    def _slowed(self, reading: _Reading) -> Verdict:
        if reading.rss < self.high_bytes:
            return self._relieved(reading)
        if self._recover_at < inf:  # it had been below
            self._recover_at = inf
            return self._press_anew(reading)
        if reading.in_flight > self.cap and reading.now < self._judge_at + self._is.drain_patience_s:
            return FINE
        if not self._judged(reading):
            return FINE
        cap = min(self.cap, reading.in_flight) // 2
        if cap < 1 or self._fruitless >= self._is.patience:
            return self._give_up(reading)
        self.cap = cap
        return self._act(reading, Slow(cap), self._is.slow_settle_s)

    def _relieved(self, reading: _Reading) -> Verdict:
        """Below the mark: step by step back to full concurrency, slowly while it is not far below."""
        if self._before is not None:
            self._count_effect(self._before, reading)
            self._before = None
        is_low = reading.rss <= self.low_bytes
        if is_low:
            self._floor = 0
        if self.cap == self._full:
            self._recover_at = inf
            self.state = "ok"
            return FINE
        self.state = "slowed"
        wait_s = self._recover_wait_s if is_low else self._is.longest_recover_s
        return self._recover(reading.now, wait_s)

    def _recover(self, now: float, wait_s: float) -> Verdict:
        self._recover_at = min(self._recover_at, now + wait_s)
        if now < self._recover_at:
            return FINE
        self.cap = min(self._full, self.cap + max(1, int(self._is.recover_share * self._full)))
        self._recover_at = now + wait_s
        self._recovered_at = now
        return Recover(self.cap)

    def _give_up(self, reading: _Reading) -> Verdict:
        self.state = "not_reclaimable"
        self._before = None
        self._recover_at = inf
        return NotReclaimable(
            f"{reading.rss} bytes are resident, above the mark of {self.high_bytes}; the cache accounts for"
            f" {reading.accounted} of them, {reading.in_flight} calls are running: giving up more does not help"
        )

    def _not_reclaimable(self, reading: _Reading) -> Verdict:
        if reading.rss <= self.low_bytes:
            return self._relieved(reading)
        if reading.rss >= max(self.high_bytes, self._known_rss * (1 + self._is.growth_since_giving_up)):
            self._recover_at = inf
            return self._press_anew(reading)
        if self.cap < self._full:
            return self._recover(reading.now, self._is.recover_s)
        if reading.rss < self._known_rss:
            self._known_rss = max(reading.rss, int(self._known_rss * self._is.forgetting))
        return FINE

    def _act(self, reading: _Reading, verdict: Shrink | Slow, settle_s: float) -> Verdict:
        self._before = reading
        self._wanted = verdict.wanted_bytes if isinstance(verdict, Shrink) else 0
        self._judge_at = reading.now + settle_s
        return verdict

    def _judged(self, reading: _Reading) -> bool:
        """Whether the last action has had its time; then its effect is counted."""
        self._known_rss = max(self._known_rss, reading.rss)
        before = self._before
        if before is None:
            return True
        if reading.now < self._judge_at:
            return False
        self._before = None
        self._count_effect(before, reading)
        return True

    def _count_effect(self, before: _Reading, after: _Reading) -> None:
        """After slowing: did resident memory fall?  After a shrink also: by how much for each accounted byte?"""
        fell, released = before.rss - after.rss, before.accounted - after.accounted
        if not self._wanted:
            helped = fell >= self._is.fruitful_slow * self._room
        elif released < self._is.judgeable_share * self._wanted:
            return
        elif helped := fell >= self._is.fruitful_share * self._wanted:
            seen = min(max(fell / released, 0.25), 4.0)
            self.rss_per_accounted_byte += 0.3 * (seen - self.rss_per_accounted_byte)
        self._fruitless = 0 if helped else self._fruitless + 1

    def __repr__(self) -> str:
        return f"<MemoryPolicy {self.state} cap={self.cap}/{self._full} high={self.high_bytes} low={self.low_bytes}>"
