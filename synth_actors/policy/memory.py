"""Is memory tight enough to shrink?

A watchdog that evicts until resident memory falls empties the cache and frees nothing: the allocator keeps what it has.
So the engine steers by what it holds itself: what the cache occupies, times what such a byte is worth in resident ones
(learned from earlier shrinks), and what calls under way hold.  A measure is taken only where it can take a worthwhile
share of the excess, in bounded steps, and one that had no effect is given up soon.  Memory that is not the engine's is
said once and not fought.  Between two readings the cache keeps to a bound (`cache_room`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from synth_actors.policy.cache_room import CacheRoom
from synth_actors.policy.call_cost import CallCost
from synth_actors.policy.memory_limit import MIB, check_limit
from synth_actors.policy.memory_thresholds import DEFAULT_THRESHOLDS, MemoryThresholds

State = Literal["ok", "shrinking", "slowed", "not_reclaimable"]


@dataclass(frozen=True, slots=True)
class Fine:
    """Nothing to do now."""


@dataclass(frozen=True, slots=True)
class Shrink:
    """The cache is to give up that many of the bytes that it occupies."""

    wanted_bytes: int


@dataclass(frozen=True, slots=True)
class Trim:
    """The allocator is to give back what is free: before anybody is slowed, and once in a spell of pressure."""


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


Verdict = Fine | Shrink | Trim | Slow | Recover | NotReclaimable
FINE = Fine()


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / MIB:.1f} MiB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look at the process; everything in bytes but the calls under way and `now`, in monotonic seconds.

    A shrink can take of `cache_bytes` (what the cache occupies), slowing of `calls_bytes` (texts of calls under way),
    and nothing takes `queued_bytes` (texts of requests that wait): fewer calls at once only make them wait longer.
    `container_room_bytes` is what a container with a limit has left, its working set taken off; None where none is.
    """

    rss_bytes: int
    cache_bytes: int = 0
    calls_bytes: int = 0
    queued_bytes: int = 0
    in_flight: int = 0
    container_limit_bytes: int | None = None
    container_room_bytes: int = 0
    now: float

    @property
    def accounted_bytes(self) -> int:
        """What the engine knows that it holds."""
        return self.cache_bytes + self.calls_bytes + self.queued_bytes


class MemoryPolicy:
    """Four states, each with one method that looks at a reading and answers.

    ok -> shrinking (high mark reached) -> slowed (shrinking does not help, calls hold much) -> not_reclaimable (neither
    helps, or neither holds much).  From everywhere back to ok once memory is below its mark and the cap has recovered.

    A container that is nearly full counts as resident memory of this process that is as much above its mark, whoever
    holds it: the kernel kills the process all the same.
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
        self.rss_per_accounted_byte = 1.0  # before anything was learned: the cache counts the pages that it occupies
        self._has_learned = False
        self.calls = CallCost(max_concurrency, rss_at_open_bytes)
        self.slowdowns = self.given_up = 0
        self._full = max_concurrency
        self._is = thresholds
        self.rss_at_open_bytes = rss_at_open_bytes
        self._recover_wait_s = thresholds.recover_s
        self._recover_at = inf
        self._recovered_at = -inf
        self._judge_at = -inf
        self._cache_room = CacheRoom()
        self._set_marks(limit_bytes)

    def set_limit(self, limit_bytes: int) -> None:
        """The process is to stay below `limit_bytes` from now on.

        Raises:
            ConfigError: that is not above what was resident at opening.
        """
        check_limit(limit_bytes, self.rss_at_open_bytes)
        self._set_marks(limit_bytes)
        if self.state == "not_reclaimable":
            self.state = "ok"
        if self.cap < self._full:
            self.state, self._recover_at = "slowed", -inf  # as one that is on its way up

    def _set_marks(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._room = limit_bytes - self.rss_at_open_bytes
        self.high_bytes = self.rss_at_open_bytes + int(self._is.high_mark * self._room)
        self.low_bytes = self.rss_at_open_bytes + int(self._is.low_mark * self._room)
        self._aim_bytes = self.rss_at_open_bytes + int(self._is.aim * self._room)
        full_bytes = self.rss_at_open_bytes + int(self._is.full_mark * self._room)
        # with so much in it, and all else just below the high mark, the process is at its limit and not above
        least_bytes = limit_bytes - self.high_bytes
        self._cache_room.set_marks(full_bytes=full_bytes, least_bytes=least_bytes, room_bytes=self._room)
        self._floor = 0  # shrinking the cache below this was found useless
        self._begin_spell(0)

    def _begin_spell(self, pressure: int) -> None:
        self._before: Reading | None = None  # the reading at the last action, until that was judged
        self._wanted = self._fruitless = 0
        self._trimmed = False
        self._known = pressure  # the peak of this spell

    def tight_room_bytes(self, container_limit_bytes: int) -> int:
        """A container of that limit is tight with less room than this."""
        return min(int(self._is.tight_share * container_limit_bytes), self._is.tight_bytes)

    def eased_room_bytes(self, container_limit_bytes: int) -> int:
        """With this much room it is tight no more."""
        return self.tight_room_bytes(container_limit_bytes) + self.high_bytes - self.low_bytes

    def near_room_bytes(self, container_limit_bytes: int, rss_bytes: int) -> int:
        """With less room than this it may matter until the next look: that is what this process may still grow by."""
        growth = max(0, self.high_bytes - rss_bytes)
        return max(self.eased_room_bytes(container_limit_bytes), self.tight_room_bytes(container_limit_bytes) + growth)

    @property
    def cache_bound_bytes(self) -> int:
        """What the cache may occupy until the next look, by the last one."""
        return self._cache_room.bound_bytes

    def judges_at(self, now: float) -> bool:
        """Whether the next reading shows what the last action did: what is free then should not be resident."""
        return self._before is not None and now >= self._judge_at

    def begin(self, reading: Reading) -> None:
        """Set `cache_bound_bytes` by the reading at opening, when there is nothing to do yet."""
        self._bound_cache(reading)

    def decide(self, reading: Reading) -> Verdict:
        """What to do about this reading; `cache_bound_bytes` is set anew, too."""
        self.calls.look(self._unexplained(reading), reading.in_flight, reading.now)
        verdict = self._decide(reading)
        self._bound_cache(reading)
        if isinstance(verdict, Shrink):
            self._cache_room.shrink(reading.cache_bytes - verdict.wanted_bytes)
        return verdict

    def _bound_cache(self, reading: Reading) -> None:
        rss_per_byte = max(1.0, self.rss_per_accounted_byte)  # it counts whole pages: what comes takes no less
        self._cache_room.look(
            cache_bytes=reading.cache_bytes,
            others_bytes=self._pressure(reading) - int(rss_per_byte * reading.cache_bytes),
            rss_per_byte=rss_per_byte,
            may_grow=self.state != "shrinking",
            is_settled=self.state in ("slowed", "not_reclaimable"),
        )

    def _decide(self, reading: Reading) -> Verdict:
        match self.state:
            case "ok":
                return self._press_anew(reading) if self._pressure(reading) >= self.high_bytes else FINE
            case "shrinking":
                return self._shrinking(reading)
            case "slowed":
                return self._slowed(reading)
            case "not_reclaimable":
                return self._not_reclaimable(reading)

    def _pressure(self, reading: Reading) -> int:
        """Resident memory, or what it would have to be for this process to be as near its limit as its container is."""
        if (limit := reading.container_limit_bytes) is None:
            return reading.rss_bytes
        missing = self.tight_room_bytes(limit) - reading.container_room_bytes
        return max(reading.rss_bytes, self.high_bytes + missing)

    def _unexplained(self, reading: Reading) -> int:
        return reading.rss_bytes - int(self.rss_per_accounted_byte * reading.accounted_bytes)

    def _press_anew(self, reading: Reading) -> Verdict:
        """A new spell of pressure.  One that follows soon upon a recovery makes the next recovery slower."""
        is_relapse = reading.now - self._recovered_at < self._is.longest_recover_s
        doubled = min(2 * self._recover_wait_s, self._is.longest_recover_s)
        self._recover_wait_s = doubled if is_relapse else self._is.recover_s
        self._begin_spell(self._pressure(reading))
        self.state = "shrinking"
        return self._shrinking(reading)

    def _shrinking(self, reading: Reading) -> Verdict:
        if self._pressure(reading) <= self.low_bytes:
            return self._relieved(reading)
        if not self._judged(reading):
            return FINE
        if self._fruitless >= self._is.patience:
            self._floor = max(self._floor, reading.cache_bytes)
        wanted = self._worthwhile_bytes(reading)
        if wanted:
            return self._act(reading, Shrink(wanted), self._is.settle_s)
        if not self._trimmed:
            self._trimmed = True
            return Trim()
        self._fruitless = 0
        self.state = "slowed"
        return self._slowed(reading)

    def _is_worthwhile(self, held: float, reading: Reading) -> bool:
        return held >= self._is.worthwhile_share * (self._pressure(reading) - self.low_bytes)

    def _worthwhile_bytes(self, reading: Reading) -> int:
        """How much to take from the cache now; 0 when that is not worth it."""
        available = reading.cache_bytes - self._floor
        if available <= 0 or not self._is_worthwhile(available * self.rss_per_accounted_byte, reading):
            return 0
        above_aim = self._pressure(reading) - self._aim_bytes
        needed = max(int(above_aim / self.rss_per_accounted_byte), self._is.smallest_step_bytes)
        return min(needed, int(self._is.largest_step * reading.cache_bytes), available)

    def _slower(self, reading: Reading) -> int:
        """To how many calls to slow now; 0 when that is not worth it.

        Half as many, if calls are known to hold much.  If that is a guess, a few less, which costs little and shows it.
        """
        calls = min(self.cap, reading.in_flight)
        counted = reading.calls_bytes * self.rss_per_accounted_byte
        if self._is_worthwhile(counted, reading):
            return calls // 2
        if not self._is_worthwhile(counted + reading.in_flight * self.calls.bytes_per_call, reading):
            return 0
        return calls // 2 if self.calls.is_proven else calls - max(1, int(self._is.attempt_share * calls))

    def _slowed(self, reading: Reading) -> Verdict:
        if self._pressure(reading) < self.high_bytes:
            return self._relieved(reading)
        if self._recover_at < inf:  # it had been below
            self._recover_at = inf
            return self._press_anew(reading)
        if reading.in_flight > self.cap and reading.now < self._judge_at + self._is.drain_patience_s:
            return FINE
        if not self._judged(reading):
            return FINE
        cap = self._slower(reading)
        if cap < 1 or self._fruitless >= self._is.patience:
            return self._give_up(reading)
        self.cap = cap
        self.slowdowns += 1
        return self._act(reading, Slow(cap), self._is.slow_settle_s)

    def _relieved(self, reading: Reading) -> Verdict:
        """Below the mark: step by step back to full concurrency, slowly while it is not far below."""
        if self._before is not None:
            self._count_effect(self._before, reading)
            self._before = None
        is_low = self._pressure(reading) <= self.low_bytes
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

    def _give_up(self, reading: Reading) -> Verdict:
        self.state = "not_reclaimable"
        self.given_up += 1
        self._before = None
        self._recover_at = inf
        return NotReclaimable(self._reason(reading))

    def _reason(self, reading: Reading) -> str:
        rss = _mib(reading.rss_bytes)
        if reading.rss_bytes >= self.high_bytes:
            what = f"{rss} are resident, above the mark of {_mib(self.high_bytes)}"
            remedy = "Raise EngineConfig.memory_limit_bytes"
        else:
            limit, room = _mib(reading.container_limit_bytes or 0), _mib(reading.container_room_bytes)
            what = f"the container of {limit} has {room} left, and this process holds {rss}"
            remedy = "Give the container more memory"
        calls = int(reading.in_flight * self.calls.bytes_per_call) + reading.calls_bytes
        return (
            f"{what}; the cache occupies {_mib(reading.cache_bytes)} of them, {reading.in_flight} calls under way about"
            f" {_mib(calls)}: giving up more would not help, so nothing more is given up; the rest is the program's."
            f" {remedy}, or have the program hold less; this is said again when a tenth more has come"
        )

    def _not_reclaimable(self, reading: Reading) -> Verdict:
        pressure = self._pressure(reading)
        if pressure <= self.low_bytes:
            return self._relieved(reading)
        if pressure >= max(self.high_bytes, self._known * (1 + self._is.growth_since_giving_up)):
            self._recover_at = inf
            return self._press_anew(reading)
        if self.cap < self._full:
            return self._recover(reading.now, self._is.recover_s)
        if pressure < self._known:
            self._known = max(pressure, int(self._known * self._is.forgetting))
        return FINE

    def _act(self, reading: Reading, verdict: Shrink | Slow, settle_s: float) -> Verdict:
        self._before = reading
        self._wanted = verdict.wanted_bytes if isinstance(verdict, Shrink) else 0
        self._judge_at = reading.now + settle_s
        return verdict

    def _judged(self, reading: Reading) -> bool:
        """Whether the last action has had its time; then its effect is counted."""
        self._known = max(self._known, self._pressure(reading))
        before = self._before
        if before is None:
            return True
        if reading.now < self._judge_at:
            return False
        self._before = None
        self._count_effect(before, reading)
        return True

    def _count_effect(self, before: Reading, after: Reading) -> None:
        """Did memory fall?  And what was an accounted byte, or a call, worth in resident ones?"""
        fell = self._pressure(before) - self._pressure(after)
        if not self._wanted:
            helped = fell >= self._is.fruitful_slow * self._room
            if (ended := before.in_flight - after.in_flight) > 0:
                self.calls.measured(self._unexplained(before) - self._unexplained(after), ended)
        else:
            released = before.cache_bytes - after.cache_bytes
            if released < self._is.judgeable_share * self._wanted:
                return
            if helped := fell >= self._is.fruitful_share * self._wanted:
                seen = min(max((before.rss_bytes - after.rss_bytes) / released, 0.25), 4.0)
                weight = self._is.learning if self._has_learned else 1.0
                self.rss_per_accounted_byte += weight * (seen - self.rss_per_accounted_byte)
                self._has_learned = True
        self._fruitless = 0 if helped else self._fruitless + 1

    def __repr__(self) -> str:
        return f"<MemoryPolicy {self.state} cap={self.cap}/{self._full} high={self.high_bytes} low={self.low_bytes}>"
