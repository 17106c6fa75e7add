"""How much time do requests lose to calls that fail?

To the failed calls themselves, to the delay before the next try, and to endpoints that take no calls for a while since
too many have failed: a server that fails every tenth call may take ten times as long for the same work.
"""

from __future__ import annotations

from dataclasses import dataclass

from synth_actors.findings import Finding, Prediction, predicted
from synth_actors.policy.rules.errors import REMEDIES, remedy_for, worst_of
from synth_actors.policy.rules.figures import is_local
from synth_actors.policy.rules.loop import loop_explains
from synth_actors.policy.rules.places import waited_for_places
from synth_actors.policy.rules.rates import pace_setter
from synth_actors.policy.rules.thresholds import Thresholds, severity_of, worse_of
from synth_actors.policy.throughput import attempts
from synth_actors.snapshot import Snapshot

RATE_LIMITED = "rate_limited"
"""Who is not refused any more waits for the limit before the call: less is asked in vain, and nothing comes sooner."""
FEWEST_RETRIES = 3
"""Fewer are an accident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Seconds of requests that failures have cost, and all that requests were inside for."""

    failed_calls_s: float
    delayed_s: float
    closed_s: float
    inside_s: float
    waiting_s: float

    @property
    def all_s(self) -> float:
        """What failures have cost together."""
        return self.failed_calls_s + self.delayed_s + self.closed_s

    @property
    def share(self) -> float:
        """Of the time that requests were inside, 0.0 to 1.0."""
        return min(1.0, self.all_s / self.inside_s) if self.inside_s > 0 else 0.0

    @property
    def is_most_of_the_waits(self) -> bool:
        """Whether requests that waited before the call that answered them did so mostly for it."""
        return self.all_s > 0 and 2 * self.all_s >= self.waiting_s


def lost(snapshot: Snapshot) -> Lost:
    """What failures have cost so far, and for how long requests were inside."""
    router = snapshot.router
    rows = [row for row in snapshot.series if row.name == "service" and row.outcome in REMEDIES]
    failed_s = sum((row.summary.count * row.summary.mean_s for row in rows), 0.0)
    return Lost(
        failed_calls_s=failed_s,
        delayed_s=router.delayed_s,
        closed_s=router.closed_backlog_s,
        inside_s=router.busy_s + router.backlog_s + router.delayed_s,
        waiting_s=router.backlog_s + router.delayed_s + failed_s,
    )


def failures_make_wait(snapshot: Snapshot, limits: Thresholds) -> bool:
    """Whether what the p99 of responses waited for is that calls had failed before."""
    response, queue = snapshot.latency["response"], snapshot.latency["queue"]
    if response.count < limits.fewest_responses or not queue.p99_s or loop_explains(snapshot, limits):
        return False
    if queue.p99_s < limits.waiting_share * response.p99_s or pace_setter(snapshot, limits) is not None:
        return False
    return not waited_for_places(snapshot, limits) and lost(snapshot).is_most_of_the_waits


def retries_wait(snapshot: Snapshot, limits: Thresholds) -> Finding | None:
    """Much of the time that requests are inside goes into calls that fail and what comes after them."""
    router, found = snapshot.router, lost(snapshot)
    if attempts(snapshot) < limits.fewest_requests or router.retries < FEWEST_RETRIES or is_local(snapshot):
        return None
    reasons = router.retries_by_reason
    reason = max(reasons, key=lambda name: reasons[name], default="")
    endpoint = worst_of(router.endpoints.values(), reason)
    severity = severity_of(found.share, limits.retry_wait_share)
    if failures_make_wait(snapshot, limits):
        severity = worse_of(severity, severity_of(snapshot.latency["response"].p99_s, limits.response_p99_s))
    if severity is None or endpoint is None:
        return None
    remedy, settings = remedy_for(snapshot, endpoint, reason)
    return Finding(
        kind="errors",
        rule="retries_wait",
        severity=severity,
        what=f"{found.share:.0%} of the time of requests went into calls that failed and waiting for the next try,"
        f" most often after {reason}",
        evidence={
            "lost_share": found.share,
            "failed_calls_s": found.failed_calls_s,
            "delayed_s": found.delayed_s,
            "closed_backlog_s": found.closed_s,
            "response_p99_s": snapshot.latency["response"].p99_s,
            "queue_p99_s": snapshot.latency["queue"].p99_s,
            "service_p99_s": snapshot.latency["service"].p99_s,
            "retries": float(router.retries),
        }
        | {name: float(count) for name, count in reasons.items()},
        cause=f"{reason} at endpoint {endpoint.name!r}: a request is tried again after a delay, and an endpoint takes"
        " no calls for a while when several in a row have failed",
        remedy=remedy,
        settings=settings,
        effort="low" if settings else "medium",
        prediction=None if reason == RATE_LIMITED else _without_failures(snapshot, found),
    )


def _without_failures(snapshot: Snapshot, found: Lost) -> Prediction | None:
    """The mean time of a response, without its part of what was lost."""
    rows = [row.summary.count for row in snapshot.series if row.name == "response" and row.outcome != "shared"]
    responses, mean_s = sum(rows), snapshot.latency["response"].mean_s
    if not responses or mean_s <= 0:
        return None
    then_s = max(snapshot.latency["service"].mean_s, mean_s - found.all_s / responses)
    basis = (
        f"without {found.failed_calls_s:.3g} s of calls that failed, {found.delayed_s:.3g} s of delays and"
        f" {found.closed_s:.3g} s before closed endpoints, over {responses} requests"
    )
    return predicted("response_mean_s", mean_s, then_s, basis)
