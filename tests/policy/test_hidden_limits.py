from __future__ import annotations

import random
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_actors.policy.buckets import Bucket
from synth_actors.policy.limits import EndpointLimits, Need, Ticket
from synth_actors.providers.base import Allowance, Metering, RateLimits
from synth_actors.types import Usage

KINDS = ("requests", "input_tokens", "output_tokens")


@dataclass
class Flight:
    """One call: what it needs, what it will make, and what the server told when it came."""

    ticket: Ticket
    need: Need
    makes: float
    headers: RateLimits | None = None
    is_refused: bool = False


@dataclass
class World:
    """A server with a bucket for each kind of limit, and a client that sends whenever its picture of them allows it.

    A call comes to the server up to `jitter_s` after it was sent, its headers come back up to `lag_s` later, and its
    end up to `lag_s` after that: in any order.
    """

    chance: random.Random
    per_minute: dict[str, float]
    metering: Metering = "meter"
    at_once: int = 50
    jitter_s: float = 0.0
    lag_s: float = 1.0
    output: tuple[float, float] = (50.0, 50.0)
    now: float = 0.0
    sent: int = 0
    used: float = 0.0  # of the kind that there is, where there is one
    refused: int = 0
    in_flight: int = 0
    events: list[tuple[float, int, str, Flight]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.truth = {kind: Bucket(most, 0.0) for kind, most in self.per_minute.items()}
        self.limits = EndpointLimits(maximum=inf, metering=self.metering)
        self.numbers = count()
        self.next = self.some_need()

    def run(self, seconds: float, *, step_s: float = 0.02) -> None:
        for _ in range(round(seconds / step_s)):
            while self.events and self.events[0][0] <= self.now:
                _at, _number, what, flight = heappop(self.events)
                getattr(self, what)(flight)
            self.send_what_may_go()
            self.now += step_s

    def some_need(self) -> Need:
        return Need(float(self.chance.choice([10, 100, 400])), 100)

    def later(self, most_s: float, what: str, flight: Flight) -> None:
        heappush(self.events, (self.now + self.chance.uniform(0.0, most_s), next(self.numbers), what, flight))

    def send_what_may_go(self) -> None:
        while self.in_flight < (self.at_once if self.limits.named else 1):
            need = self.next
            if self.limits.ready_at(need, self.now) > self.now:
                return
            self.next = self.some_need()
            ticket = self.limits.begin(need, self.now)
            assert ticket is not None
            self.in_flight += 1
            self.sent += 1
            self.later(self.jitter_s, "comes", Flight(ticket, need, round(self.chance.uniform(*self.output))))

    def comes(self, flight: Flight) -> None:
        takes = {
            "requests": 1.0,
            "input_tokens": flight.need.input_tokens,
            "output_tokens": 1.0 if self.metering == "meter" else float(flight.need.max_tokens),
        }
        if all(bucket.level(self.now) >= takes[kind] for kind, bucket in self.truth.items()):
            for kind, bucket in self.truth.items():
                if kind != "output_tokens" or self.metering == "reserve":
                    bucket.take(takes[kind], self.now)
                    self.used += takes[kind]
        else:
            flight.is_refused = True
        left = {kind: (bucket.capacity, max(0.0, bucket.level(self.now))) for kind, bucket in self.truth.items()}
        flight.headers = RateLimits(
            **{kind: Allowance(limit=limit, remaining=remaining) for kind, (limit, remaining) in left.items()}
        )
        self.later(self.lag_s, "is_heard", flight)

    def is_heard(self, flight: Flight) -> None:
        if flight.is_refused:
            self.limits.refused(flight.ticket, flight.headers, self.now, counted=True)
            self.refused += 1
            self.in_flight -= 1
            return
        self.limits.heard(flight.ticket, flight.headers, self.now)
        if self.metering == "meter" and "output_tokens" in self.truth:
            self.truth["output_tokens"].take(flight.makes, self.now)
            self.used += flight.makes
        self.later(self.lag_s, "ends", flight)

    def ends(self, flight: Flight) -> None:
        usage = Usage(input_tokens=int(flight.need.input_tokens), output_tokens=int(flight.makes))
        self.limits.ended(flight.ticket, usage, self.now)
        self.limits.learn(flight.ticket, usage)
        self.in_flight -= 1


some_limits = st.fixed_dictionaries(
    {"requests": st.sampled_from([60.0, 600.0, 3000.0])},
    optional={
        "input_tokens": st.sampled_from([20_000.0, 200_000.0]),
        "output_tokens": st.sampled_from([10_000.0, 100_000.0]),
    },
)


@settings(max_examples=25)
@given(
    st.integers(0, 2**32),
    some_limits,
    st.sampled_from(["meter", "reserve"]),
    st.sampled_from([1, 10, 200]),
    st.sampled_from([0.0, 0.3, 5.0]),
)
def test_headers_in_any_order_and_with_any_delay_never_lead_to_more_than_the_server_has(
    seed: int, per_minute: dict[str, float], metering: Metering, at_once: int, lag_s: float
) -> None:
    world = World(random.Random(seed), per_minute, metering, at_once, lag_s=lag_s)
    world.run(75.0)
    assert world.refused == 0
    assert world.sent > 10


@pytest.mark.parametrize("jitter_s", [0.05, 0.09])
@pytest.mark.parametrize("seed", range(5))
def test_calls_that_overtake_each_other_are_hardly_ever_refused(seed: int, jitter_s: float) -> None:
    world = World(random.Random(seed), {"requests": 1200.0}, at_once=200, jitter_s=jitter_s)
    world.run(150.0)
    assert world.refused <= 0.005 * world.sent


@pytest.mark.parametrize("metering", ["meter", "reserve"])
@pytest.mark.parametrize("kind", KINDS)
def test_nearly_all_that_the_server_has_is_used(kind: str, metering: Metering) -> None:
    per_minute = {"requests": 1200.0, "input_tokens": 100_000.0, "output_tokens": 60_000.0}
    world = World(random.Random(1), {kind: per_minute[kind]}, metering, at_once=200)
    world.run(90.0)
    before = world.used
    world.run(60.0)
    assert 0.93 * per_minute[kind] <= world.used - before <= 1.07 * per_minute[kind]
    assert world.refused == 0


@pytest.mark.parametrize("seed", range(3))
def test_answers_of_very_different_lengths_are_settled_at_their_end(seed: int) -> None:
    world = World(random.Random(seed), {"output_tokens": 30_000.0}, at_once=100, output=(1.0, 100.0))
    world.run(60.0)
    before = world.truth["output_tokens"].level(world.now), world.sent
    world.run(120.0)
    assert (world.sent - before[1]) * 50.5 == pytest.approx(60_000.0, rel=0.07)
    assert world.refused <= 0.01 * world.sent


def test_a_limit_that_is_halved_is_followed_as_soon_as_a_header_tells() -> None:
    world = World(random.Random(1), {"requests": 1200.0}, at_once=100, lag_s=0.2)
    world.run(90.0)
    world.truth["requests"].resize(600.0, 10.0, world.now)
    before = world.sent
    world.run(60.0)
    assert world.sent - before == pytest.approx(600.0, rel=0.05)
    assert world.refused <= 10
