"""Is the event loop kept busy by something that does not wait?"""

from __future__ import annotations

from synth_actors.findings import Finding, predicted
from synth_actors.histogram import LatencySummary
from synth_actors.policy.rules.figures import is_local
from synth_actors.policy.rules.thresholds import Thresholds, severity_of
from synth_actors.snapshot import Snapshot

DECIDERS = ("cache", "router")
"""Actors whose turns are the engine's own part of the loop's work; those of a generator are mostly waiting."""
AT_ONCE = frozenset({*DECIDERS, "generators"})
"""Actors that take a message as soon as they have a turn.  Others may be waiting for a thread or a disk meanwhile."""


def loop_is_blocked(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """Messages lie in mailboxes although the actors that would take them have nothing else to do.

    What computes inside this process blocks it by nature; then there is no finding.
    """
    waits, response = _longest_waits(snapshot, limits), snapshot.latency["response"]
    severity = severity_of(waits.p99_s, limits.loop_wait_s)
    if severity is None or waits.count < limits.fewest_responses or is_local(snapshot):
        return None
    turns_s = [snapshot.mailboxes[name].mean_handling_s for name in DECIDERS if name in snapshot.mailboxes]
    handling_s = max(turns_s, default=0.0)
    return Finding(
        kind="latency",
        rule="loop_is_blocked",
        severity=severity,
        what=f"one message in a hundred lay {waits.p99_s:.3g} s in its mailbox before its actor had a turn",
        evidence={
            "mailbox_wait_p99_s": waits.p99_s,
            "mailbox_wait_max_s": waits.max_s,
            "handling_mean_s": handling_s,
            "response_p99_s": response.p99_s,
        },
        cause="something in the trio loop computes or blocks for so long without a checkpoint; the actors' own turns"
        f" take {handling_s * 1e6:.0f} us",
        remedy="run what computes or blocks, such as parsing or time.sleep, in await trio.to_thread.run_sync(...)",
        effort="high",
        prediction=predicted(
            "response_p99_s",
            response.p99_s,
            max(0.0, response.p99_s - waits.p99_s),
            "without one such wait; a request goes through several mailboxes",
        )
        if response.p99_s > 0
        else None,
    )


def _longest_waits(snapshot: Snapshot, limits: Thresholds) -> LatencySummary:
    """Of the mailboxes that messages are taken from at once, the one in which they lay longest."""
    rows = [each for each in snapshot.series if each.name == "mailbox_wait"]
    if not rows:
        return snapshot.latency["mailbox_wait"]
    taken = [row.summary for row in rows if row.actor in AT_ONCE and row.summary.count >= limits.fewest_responses]
    return max(taken, key=lambda summary: summary.p99_s, default=LatencySummary())
