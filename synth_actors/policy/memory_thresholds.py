"""When does the memory policy act, how much does it do, and when does it stop?"""

from __future__ import annotations

from dataclasses import dataclass

from synth_actors.policy.memory_limit import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryThresholds:
    """When the policy acts, and when it stops.  Marks are shares of the room between opening and the limit."""

    high_mark: float = 0.95  # pressure begins here
    full_mark: float = 0.9  # so far the cache may fill the memory: one that is as full as it may be is no pressure
    low_mark: float = 0.85  # and ends here
    aim: float = 0.845  # a shrink aims below the low mark, since the cache refills meanwhile
    largest_step: float = 0.25  # of the accounted bytes, in one shrink
    smallest_step_bytes: int = MIB  # resident memory does not show less than this
    worthwhile_share: float = 0.25  # a cache, or calls, that hold less than this share of the excess are left alone
    fruitful_share: float = 0.1  # a shrink has helped when this share of it shows in resident memory
    learning: float = 0.3  # weight of a shrink in what an accounted byte is worth; the first one is all that is known
    judgeable_share: float = 0.5  # a shrink says nothing when less than this share of it was not refilled since
    attempt_share: float = 0.125  # of the calls, by which is slowed as long as it is only a guess that calls hold much
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
    tight_share: float = 0.05  # of a container's limit: with less room than that, and than `tight_bytes`, it is tight
    tight_bytes: int = 256 * MIB


DEFAULT_THRESHOLDS = MemoryThresholds()
