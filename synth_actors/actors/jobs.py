"""What does the router know of one request, and who makes its attempts?"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Protocol

from synth_actors.messages import Attempt, Route
from synth_actors.policy.limits import Need
from synth_actors.policy.progress import Progress


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
