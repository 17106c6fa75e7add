"""How many calls may an endpoint work on at once?

A limit between 1 and a maximum that follows what the server shows, since few say what they bear.  It begins low, lower
where first tokens are seen, whose measure are calls that nobody stands in the way of, and doubles or more with every
round of calls that are let in (slow start, Jacobson 1988), then grows by a twentieth.  It sinks

- to what was in flight, when a call was refused although others were let in;
- when calls wait for each other at the server, see `queueing.py`;
- when more than a tenth of the calls are refused as overloaded, or one times out.

Calls that are not streamed tell nothing about a queue: for them only refusals and timeouts count.
"""

from __future__ import annotations

from collections import deque
from math import inf

from synth_actors.policy.queueing import NotOurs, Queues, QueueWatch

FIRST_LIMIT = 16
FIRST_LIMIT_UNSEEN = 32
"""Where the first call is not streamed."""
FIRST_GROWTH = 1.0
FIRST_GROWTH_UNSEEN = 1.25
"""For each call that is let in during slow start: twice as many each round, or 2.25 times.  Where no first token tells
of a queue a refusal is all that too many can cost, and each round below what it may have costs a batch some time."""
SHARPEST_CUT = 0.5
USUAL_CUT = 0.8
GROWTH_SHARE = 0.05
HOLD_S = 10.0
"""After a refusal nothing is tried above the limit for this long: each try costs a refusal."""
OUTCOMES = 50
FEWEST_OUTCOMES = 20
OVERLOADED_SHARE = 0.1
USED_SHARE = 0.8
"""A limit that is not used is not proved by those who are let in."""


class AdaptiveLimit:
    """How many at once.  `limit` is at least 1 and at most `maximum`."""

    __slots__ = (
        "_before",
        "_changed_at",
        "_held_until",
        "_is_new",
        "_outcomes",
        "_overloads",
        "_queue",
        "_slow_start",
        "limit",
        "maximum",
    )

    def __init__(self, maximum: float, first: float = FIRST_LIMIT) -> None:
        self.maximum = maximum
        self.limit = float(min(first, maximum))
        self._is_new = True  # nothing was sent
        self._slow_start = True
        self._queue = QueueWatch()
        self._changed_at = -inf  # calls from before tell about another limit
        self._held_until = -inf
        self._before: float | None = None  # the limit before refusals lowered it
        self._outcomes: deque[bool] = deque(maxlen=OUTCOMES)  # whether a call was refused as overloaded
        self._overloads = 0

    @property
    def is_found(self) -> bool:
        """Whether something has shown that more would be too many; before that the limit only was not yet higher."""
        return not self._slow_start

    def sent(self, *, streamed: bool) -> None:
        """A call is sent: whether the first one is streamed decides where to begin."""
        if self._is_new and not streamed:
            self.limit = max(self.limit, float(min(FIRST_LIMIT_UNSEEN, self.maximum)))
        self._is_new = False

    def let_in(self, now: float, *, begun_at: float, in_flight: int, ttft_s: float | None) -> None:
        """A call dispatched at `begun_at` was let in; `in_flight` counts it too."""
        self._before = None
        self._note(overloaded=False)
        is_used = in_flight >= USED_SHARE * self.limit
        if ttft_s is None:
            self._queue.add_unseen()
        else:
            limit = min(self.limit, float(in_flight))
            seen = self._queue.add(ttft_s, begun_at=begun_at, limit=limit, is_used=is_used, is_hasty=self._slow_start)
            match seen:
                case Queues(ratio):
                    self.limit = limit
                    self._cut(max(SHARPEST_CUT, min(USUAL_CUT, 2.0 / ratio)), now)
                    return
                case NotOurs(before):
                    self.limit = min(self.maximum, before)
                    self._changed(now)
                    return
        if self._queue.is_suspect:  # the next window will tell
            return
        if is_used and now >= self._held_until:
            first = FIRST_GROWTH_UNSEEN if ttft_s is None else FIRST_GROWTH
            step = first if self._slow_start else max(1.0, GROWTH_SHARE * self.limit) / self.limit
            self.limit = min(self.maximum, self.limit + step)

    def refused(self, now: float, *, in_flight: int) -> None:
        """A call was refused while `in_flight` others were under way, which may have been let in."""
        if self._before is None:
            self._before = self.limit
        self._slow_start = False
        self._held_until = now + HOLD_S
        self.limit = max(1.0, min(self.limit, float(in_flight)))

    def paused(self) -> None:
        """Not the number of calls was refused but all of them: begin again at half of what was right before."""
        before = self.limit if self._before is None else self._before
        self._before = None
        self._held_until = -inf
        self._slow_start = True
        self.limit = max(1.0, before / 2)
        self._outcomes.clear()
        self._overloads = 0

    def overloaded(self, now: float, *, begun_at: float) -> None:
        """A call was refused since the server is overloaded."""
        self._note(overloaded=True)
        if self.overloaded_share > OVERLOADED_SHARE and begun_at >= self._changed_at:
            self._cut(USUAL_CUT, now)

    def timed_out(self, now: float, *, begun_at: float) -> None:
        """A call was let in and not answered in time."""
        if begun_at >= self._changed_at:
            self._cut(USUAL_CUT, now)

    @property
    def overloaded_share(self) -> float:
        """The share of the last calls that were refused as overloaded; 0.0 while there were too few to say."""
        return self._overloads / len(self._outcomes) if len(self._outcomes) >= FEWEST_OUTCOMES else 0.0

    def _note(self, *, overloaded: bool) -> None:
        if len(self._outcomes) == OUTCOMES:
            self._overloads -= self._outcomes[0]
        self._outcomes.append(overloaded)
        self._overloads += overloaded

    def _cut(self, factor: float, now: float) -> None:
        self._slow_start = False
        self.limit = max(1.0, self.limit * factor)
        self._changed(now)

    def _changed(self, now: float) -> None:
        self._changed_at = now
        self._queue.start_over(now)

    def __repr__(self) -> str:
        return f"<AdaptiveLimit {self.limit:.1f}/{self.maximum:g}>"
