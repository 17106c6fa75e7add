"""What would have been paid without the cache?"""

from __future__ import annotations


class Savings:
    """Tokens and dollars of answers that nobody had to pay for again.

    `usd` is None once one of unknown price was among them: a sum that leaves some out would be believed.
    """

    __slots__ = ("tokens", "usd")

    def __init__(self) -> None:
        self.tokens = 0
        self.usd: float | None = 0.0

    def add(self, times: int, tokens: int, cost_usd: float | None) -> None:
        """`times` answers, each of which had used `tokens` and cost `cost_usd` when it was made."""
        self.tokens += times * tokens
        if cost_usd is None:
            if times:
                self.usd = None
        elif self.usd is not None:
            self.usd += times * cost_usd

    def __repr__(self) -> str:
        dollars = "unknown" if self.usd is None else f"{self.usd:.6f}"
        return f"<Savings tokens={self.tokens} usd={dollars}>"
