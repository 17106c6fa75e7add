"""Does the pool give the connections that a list would give, searched from end to end?"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from synth_actors.wire.pool import IdlePool

ORIGINS = ["https://a", "https://b", "http://a"]


@dataclass(frozen=True)
class Idle:
    """One entry of the list that the pool is held against."""

    connection: int
    origin: str
    since_s: float


class AgainstAList(RuleBasedStateMachine):
    """Every operation on the pool and on a list, oldest first, that is searched from end to end."""

    def __init__(self) -> None:
        super().__init__()
        self.idle: list[Idle] = []
        self.in_use: list[tuple[int, str]] = []
        self.opened = 0
        self.now_s = 0.0

    @initialize(most_idle=st.none() | st.integers(0, 4), idle_s=st.none() | st.sampled_from([0.0, 1.0, 4.0]))
    def begin(self, most_idle: int | None, idle_s: float | None) -> None:
        self.most_idle = most_idle
        self.idle_s = idle_s
        self.pool: IdlePool[int] = IdlePool(most_idle=most_idle, idle_s=idle_s)

    @rule(origin=st.sampled_from(ORIGINS))
    def open(self, origin: str) -> None:
        self.opened += 1
        self.in_use.append((self.opened, origin))

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 1.5, 4.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @precondition(lambda self: self.in_use)
    @rule(data=st.data())
    def put(self, data: st.DataObject) -> None:
        connection, origin = self.in_use.pop(data.draw(st.integers(0, len(self.in_use) - 1)))
        surplus = self.pool.put(origin, connection, self.now_s)
        self.idle.append(Idle(connection, origin, self.now_s))
        if self.most_idle is None or len(self.idle) <= self.most_idle:
            assert surplus is None
        else:
            assert surplus == self.idle.pop(0).connection

    @rule(origin=st.sampled_from(ORIGINS))
    def take(self, origin: str) -> None:
        newest = max((entry for entry in self.idle if entry.origin == origin), key=self.idle.index, default=None)
        taken = self.pool.take(origin)
        if newest is None:
            assert taken is None
        else:
            assert taken == newest.connection
            self.idle.remove(newest)
            self.in_use.append((newest.connection, origin))

    @rule()
    def expire(self) -> None:
        """All that are too old, one by one, the oldest first."""
        expired = []
        while (connection := self.pool.expired(self.now_s)) is not None:
            expired.append(connection)
        limit_s = float("inf") if self.idle_s is None else self.idle_s
        assert expired == [entry.connection for entry in self.idle if self.now_s - entry.since_s > limit_s]
        self.idle = [entry for entry in self.idle if self.now_s - entry.since_s <= limit_s]

    @rule()
    def oldest(self) -> None:
        assert self.pool.oldest() == (self.idle.pop(0).connection if self.idle else None)

    @invariant()
    def holds_as_many_and_says_so(self) -> None:
        origins = {entry.origin for entry in self.idle}
        assert len(self.pool) == len(self.idle)
        assert repr(self.pool) == f"<IdlePool {len(self.idle)} idle, {len(origins)} origins>"


TestThePoolAgainstAList = AgainstAList.TestCase


def test_the_newest_connection_goes_first_and_the_oldest_is_given_up_first() -> None:
    pool: IdlePool[str] = IdlePool(most_idle=2, idle_s=4.0)
    assert pool.put("a", "first", 0.0) is None
    assert pool.put("a", "second", 1.0) is None
    assert pool.put("b", "third", 2.0) == "first"
    assert pool.take("a") == "second"
    assert pool.take("a") is None
    assert pool.expired(6.0) is None  # idle for 4 s is not more than 4 s
    assert pool.expired(6.5) == "third"
    assert len(pool) == 0


@pytest.mark.parametrize("idle_s", [None, 4.0])
def test_a_pool_without_room_keeps_nothing(idle_s: float | None) -> None:
    pool: IdlePool[str] = IdlePool(most_idle=0, idle_s=idle_s)
    assert pool.put("a", "it", 0.0) == "it"
    assert pool.take("a") is None
    assert pool.oldest() is None


def test_what_is_idle_is_handed_out_once_and_leaves_no_trace() -> None:
    """A pool that kept empty origins would grow with every host that was ever asked."""
    pool: IdlePool[int] = IdlePool(most_idle=None, idle_s=4.0)
    for number in range(1000):
        pool.put(f"https://{number}", number, float(number))
        assert (pool.take(f"https://{number}") if number % 2 else pool.oldest()) == number
    assert repr(pool) == "<IdlePool 0 idle, 0 origins>"
