"""What does the router know of one request, who makes its attempts, and what is logged when one fails?"""

from __future__ import annotations

from dataclasses import dataclass
from logging import INFO
from math import inf
from typing import Protocol

from synth_actors.messages import Attempt, Failure, Route
from synth_actors.policy.limits import Need
from synth_actors.policy.progress import Progress
from synth_actors.policy.retry import REFUSED_BEFORE_WORK, Again, Elsewhere
from synth_actors.providers.base import Fault
from synth_actors.request_log import log_failed_call, log_retry, logger, of_call


class Pool(Protocol):
    """Where attempts are made."""

    started: int

    def generate(self, attempt: Attempt) -> None:
        """Have `attempt` made by an idle generator, or by a new one."""


@dataclass(slots=True, eq=False)
class Job:
    """A `Route` on its way: in the backlog, delayed, or under way as `attempt`."""

    route: Route
    number: int
    progress: Progress
    need: Need
    queued_at: float
    size_bytes: int  # of its request's texts
    back_at: float = inf  # when it may go again to where it failed, though others are open to it
    dropped: bool = False
    in_line: bool = False
    attempt: Attempt | None = None


def fields_of(attempt: Attempt) -> dict[str, object]:
    """By which fields a record about `attempt` is found."""
    return of_call(attempt.route.number, attempt.endpoint, attempt.number)


def log_failure(attempt: Attempt, failure: Failure, fault: Fault, *, ends: bool) -> None:
    """An attempt has failed; with `ends` it was the last one at its endpoint, for good."""
    if ends:
        extra = {**fields_of(attempt), "fault": fault.value, "status": failure.status}
        logger.error("%s; it gets no more calls", failure.message, extra=extra)
    elif logger.isEnabledFor(INFO):
        pauses = "; it takes no call for a while" if fault in REFUSED_BEFORE_WORK else ""
        log_failed_call(f"{failure.message}{pauses}", fields_of(attempt), fault.value, failure.status)


def log_again(attempt: Attempt, verdict: Again | Elsewhere) -> None:
    """Another attempt will follow this one."""
    if logger.isEnabledFor(INFO):
        log_retry(fields_of(attempt), verdict.delay_s if isinstance(verdict, Again) else None)
