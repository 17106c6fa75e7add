from __future__ import annotations

from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from synth_actors.policy.breaker import PROBE_EVERY_S, Breaker
from synth_actors.policy.retry import LONGEST_RETRY_AFTER_S, MOST_WAITS_EXCUSED


class Endpoint(RuleBasedStateMachine):
    """Any events in any order: what holds all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now = 0.0
        self.begun: list[tuple[float, bool]] = []
        self.last_probe_at = -inf
        self.reopened_at = -inf

    @rule(by_s=st.sampled_from([0.01, 0.5, 2.0, 31.0, 700.0]))
    def time_goes_by(self, by_s: float) -> None:
        self.now += by_s

    @precondition(lambda self: self.breaker.admits(self.now))
    @rule(count=st.integers(1, 5))
    def calls_begin(self, count: int) -> None:
        for _ in range(count):
            if self.breaker.admits(self.now):
                assert self.now >= self.breaker.reopens_at
                is_probe = self.breaker.begin(self.now)
                assert is_probe == (self.breaker.state(self.now) == "probing")
                if is_probe:
                    assert self.now - self.last_probe_at >= PROBE_EVERY_S
                    self.last_probe_at = self.now
                self.begun.append((self.now, is_probe))

    def end(self, which: int) -> float:
        begun_at, was_probe = self.begun.pop(which % len(self.begun))
        if was_probe:
            self.breaker.probed(begun_at)
        return begun_at

    @precondition(lambda self: self.begun)
    @rule(which=st.integers(0, 9))
    def one_is_answered(self, which: int) -> None:
        begun_at = self.end(which)
        self.breaker.let_in(begun_at=begun_at)
        self.breaker.succeeded(begun_at=begun_at)

    @precondition(lambda self: self.begun)
    @rule(which=st.integers(0, 9), after_s=st.sampled_from([None, -1.0, 0.1, 5.0, 601.0]), used_up=st.booleans())
    def one_is_limited(self, which: int, after_s: float | None, used_up: bool) -> None:
        begun_at = self.end(which)
        pauses = self.breaker.limited(self.now, begun_at=begun_at, retry_after_s=after_s, used_up=used_up)
        assert not (pauses and (after_s or 0.0) > 0.0 and self.breaker.admits(self.now))

    @precondition(lambda self: self.begun)
    @rule(which=st.integers(0, 9), after_s=st.sampled_from([None, 0.1, 5.0, 601.0]), share=st.floats(0.0, 1.0))
    def one_is_turned_away(self, which: int, after_s: float | None, share: float) -> None:
        begun_at = self.end(which)
        if self.breaker.down(self.now, begun_at=begun_at, retry_after_s=after_s, share=share):
            assert self.breaker.state(self.now) == "paused"

    @precondition(lambda self: self.begun)
    @rule(which=st.integers(0, 9))
    def one_fails(self, which: int) -> None:
        begun_at = self.end(which)
        self.breaker.let_in(begun_at=begun_at)
        if self.breaker.failed(self.now, begun_at=begun_at):
            assert self.breaker.state(self.now) == "paused"

    @precondition(lambda self: self.begun)
    @rule(which=st.integers(0, 9))
    def one_is_abandoned(self, which: int) -> None:
        self.end(which)

    @invariant()
    def it_opens_again(self) -> None:
        breaker = self.breaker
        assert breaker.opens_at <= self.now + LONGEST_RETRY_AFTER_S
        assert breaker.reopens_at >= self.reopened_at, "no pause is cut short"
        self.reopened_at = breaker.reopens_at
        assert breaker.admits(self.now) == (self.now >= breaker.opens_at)
        probes = [at for at, was_probe in self.begun if was_probe]
        assert not (breaker.is_trusted and breaker.probing_since < inf)
        assert breaker.probing_since == (min(probes, default=inf) if breaker._suspect else inf)
        assert 0.0 <= breaker.excused_s <= MOST_WAITS_EXCUSED * LONGEST_RETRY_AFTER_S
        if breaker.state(self.now) != "open":
            assert breaker.closed_since <= self.now


TestEndpoint = Endpoint.TestCase
TestEndpoint.settings = settings(max_examples=60, stateful_step_count=40)
