"""Is the event loop kept busy by something that does not wait?"""

from __future__ import annotations

from dataclasses import dataclass

from synth_actors.findings import Finding, Prediction, predicted
from synth_actors.histogram import LatencySummary
from synth_actors.policy.rules.figures import is_local
from synth_actors.policy.rules.thresholds import SEVERITIES, Thresholds, severity_of, worse_of
from synth_actors.snapshot import Snapshot

DECIDERS = ("cache", "router")
"""Actors whose turns are the engine's own part of the loop's work; those of a generator are mostly waiting."""
AT_ONCE = frozenset({*DECIDERS, "generators"})
"""Actors that take a message as soon as they have a turn.  Others may be waiting for a thread or a disk meanwhile."""
FEWEST_LATE = 3
"""Looks that were late: fewer are a hitch of the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindrance:
    """What keeps the loop from coming round: `share` of the looks were late, and who waits for it waits `wait_s`."""

    share: float
    wait_s: float
    severity: str


def hindrance(snapshot: Snapshot, limits: Thresholds) -> Hindrance | None:
    """Whether the loop is late often enough, and by enough, to speak of it; None when it is not, or nobody knows.

    The proof is the engine's own timer, in the clock that all other durations are in: a busy moment of the machine
    makes one look late, and a simulated clock none.  What messages waited only says how long it lasts.  What computes
    inside this process blocks it by nature; then there is no finding.
    """
    loop = snapshot.loop
    share = loop.late / max(1, loop.looks)
    if loop.late < FEWEST_LATE or share < limits.loop_late_share or is_local(snapshot):
        return None
    waits = _longest_waits(snapshot, limits)
    wait_s = max(loop.late_s / loop.late, waits.p99_s if waits.count >= limits.fewest_responses else 0.0)
    severity = severity_of(wait_s, limits.loop_wait_s)
    if severity is None and share >= limits.loop_busy_share:  # many short ones leave it no time either
        severity = SEVERITIES[0]
    return None if severity is None else Hindrance(share=share, wait_s=wait_s, severity=severity)


def loop_explains(snapshot: Snapshot, limits: Thresholds) -> bool:
    """Whether calls and waits last long since the loop is late so often: more places or a faster model do not help."""
    found = hindrance(snapshot, limits)
    return found is not None and found.share >= limits.loop_blocked_share


def loop_is_blocked(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """The loop comes round late although the actors that wait for it have nothing else to do."""
    found, loop, response = hindrance(snapshot, limits), snapshot.loop, snapshot.latency["response"]
    if found is None:
        return None
    turns_s = [snapshot.mailboxes[name].mean_handling_s for name in DECIDERS if name in snapshot.mailboxes]
    waits, handling_s = _longest_waits(snapshot, limits), max(turns_s, default=0.0)
    severity: str | None = found.severity
    if loop_explains(snapshot, limits):
        severity = worse_of(severity, severity_of(response.p99_s, limits.response_p99_s))
    return Finding(
        kind="latency",
        rule="loop_is_blocked",
        severity=severity or found.severity,
        what=f"trio's loop came round late in {loop.late} of {loop.looks} looks at it, by"
        f" {loop.late_s / loop.late:.3g} s on average and {loop.longest_late_s:.3g} s at most",
        evidence={
            "late_share": found.share,
            "late_mean_s": loop.late_s / loop.late,
            "late_max_s": loop.longest_late_s,
            "mailbox_wait_p99_s": waits.p99_s,
            "mailbox_wait_max_s": waits.max_s,
            "handling_mean_s": handling_s,
            "response_p99_s": response.p99_s,
        },
        cause="something in the trio loop computes or blocks for so long without a checkpoint, or the machine has no"
        f" processor for it; the actors' own turns take {handling_s * 1e6:.0f} us",
        remedy="run what computes or blocks, such as parsing or time.sleep, in await trio.to_thread.run_sync(...)",
        effort="high",
        prediction=_without_a_wait(response.p99_s, found.wait_s),
    )


def _without_a_wait(p99_s: float, wait_s: float) -> Prediction | None:
    if not 0 < wait_s < p99_s:
        return None
    return predicted("response_p99_s", p99_s, p99_s - wait_s, "without one such wait; a request may meet several")


def _longest_waits(snapshot: Snapshot, limits: Thresholds) -> LatencySummary:
    """Of the mailboxes that messages are taken from at once, the one in which they lay longest."""
    rows = [each for each in snapshot.series if each.name == "mailbox_wait"]
    if not rows:
        return snapshot.latency["mailbox_wait"]
    taken = [row.summary for row in rows if row.actor in AT_ONCE and row.summary.count >= limits.fewest_responses]
    return max(taken, key=lambda summary: summary.p99_s, default=LatencySummary())
