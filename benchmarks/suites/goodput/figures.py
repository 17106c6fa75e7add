"""What did a client get out of a server with hidden limits?"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from synth_actors.testing import SimulatedProvider


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the simulated server saw of one client in `duration_s` seconds of its time.

    `lost` are requests that the client gave up; `allowed_*` is what the hidden limits would have let through (`inf`
    without such a limit); `busy_s` is the time that slots were held by calls that completed, of `slots_s`; the times to
    first token include waiting for a slot.
    """

    client: str
    duration_s: float
    attempts: int
    accepted: int
    rejected: int
    failed: int
    completed: int
    lost: int
    peak_in_flight: int
    allowed_requests: float
    allowed_tokens: float
    used_tokens: float
    busy_s: float
    slots_s: float
    ttft_p50_s: float
    ttft_p99_s: float
    accepted_at_s: tuple[float, ...] = field(repr=False)

    @property
    def rejected_share(self) -> float:
        """Of the attempts, those that were refused."""
        return self.rejected / max(1, self.attempts)

    @property
    def wasted_share(self) -> float:
        """Of the attempts, those that came to nothing: refused, or failed after they were accepted."""
        return (self.rejected + self.failed) / max(1, self.attempts)

    def accepted_per_s(self, from_s: float, to_s: float) -> float:
        """The rate of accepted calls between two times."""
        times = self.accepted_at_s
        return (bisect_left(times, to_s) - bisect_left(times, from_s)) / (to_s - from_s)

    def __str__(self) -> str:
        tokens = f"{self.used_tokens:,.0f}/{self.allowed_tokens:,.0f} tokens, "
        slots = f"{self.busy_s / self.slots_s:.1%} of the slots, " if self.slots_s else ""
        return (
            f"{self.client}: {self.accepted:,}/{self.allowed_requests:,.0f} requests, {tokens}{slots}"
            f"{self.rejected_share:.2%} rejected, {self.lost} lost, at most {self.peak_in_flight} at once, "
            f"TTFT p50 {self.ttft_p50_s:.2f} s p99 {self.ttft_p99_s:.2f} s"
        )


def figures_of(client: str, provider: SimulatedProvider, *, slots: int | None, lost: int = 0) -> Figures:
    """The figures at this moment of the simulation."""
    counts, elapsed_s = provider.counts, provider.elapsed_s()
    ttft_s = sorted(counts.ttft_s) or [0.0]
    return Figures(
        client=client,
        duration_s=elapsed_s,
        attempts=counts.attempts,
        accepted=counts.accepted,
        rejected=counts.rejected_in_all,
        failed=counts.failed,
        completed=counts.completed,
        lost=lost,
        peak_in_flight=counts.peak_in_flight,
        allowed_requests=provider.allowed_requests(0.0, elapsed_s),
        allowed_tokens=provider.allowed_tokens(0.0, elapsed_s),
        used_tokens=provider.used_tokens(),
        busy_s=counts.busy_s,
        slots_s=(slots or 0) * elapsed_s,
        ttft_p50_s=ttft_s[len(ttft_s) // 2],
        ttft_p99_s=ttft_s[len(ttft_s) * 99 // 100],
        accepted_at_s=tuple(counts.accepted_at_s),
    )
