"""May a worker that crashed start again, and when?"""

from __future__ import annotations

from collections import deque


class RestartBudget:
    """At most `restarts` in any `window_s` seconds, each waiting twice as long as the one before it.

    The scheme of Erlang/OTP's supervisors (maximum restart intensity), with an exponential backoff in front.
    """

    def __init__(self, *, restarts: int = 5, window_s: float = 60.0, first_delay_s: float = 0.05) -> None:
        self._restarts = restarts
        self._window_s = window_s
        self._first_delay_s = first_delay_s
        self._recent: deque[float] = deque()
        self.spent = 0

    def spend(self, now: float) -> float | None:
        """Seconds to wait before the next start, or None when the budget is used up."""
        while self._recent and self._recent[0] <= now - self._window_s:
            self._recent.popleft()
        if len(self._recent) >= self._restarts:
            return None
        delay_s = self._first_delay_s * 2.0 ** len(self._recent)
        self._recent.append(now)
        self.spent += 1
        return delay_s
