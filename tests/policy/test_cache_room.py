"""Is the cache allowed what there is room for, and no more, and does nobody take it away again?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synth_actors.policy.cache_room import LOOKS, CacheRoom
from synth_actors.policy.memory import MemoryPolicy, Reading, Shrink
from synth_actors.policy.memory_limit import MIB

OPEN = 60 * MIB
LIMIT = 160 * MIB  # a room of 100 MiB: full at 150, pressure at 155, at least 5 for the cache
TICK_S = 0.25


class Looks:
    """Readings of a process that is `OPEN` + cache + what else is there, one after another."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.policy = MemoryPolicy(limit, OPEN, 100)
        self.now = 0.0
        self.policy.begin(Reading(rss_bytes=OPEN, now=0.0))

    @property
    def state(self) -> str:
        return self.policy.state

    def look(self, cache: int, others: int = 0, **container: int) -> int:
        self.now += TICK_S
        self.policy.decide(Reading(rss_bytes=OPEN + cache + others, cache_bytes=cache, now=self.now, **container))
        return self.policy.cache_bound_bytes


def test_half_of_the_room_is_granted_at_opening_and_half_of_the_rest_at_each_look() -> None:
    looks = Looks()
    bounds = [looks.policy.cache_bound_bytes]
    for _ in range(3):
        bounds.append(looks.look(bounds[-1]))
    assert [bound / MIB for bound in bounds] == [45.0, 67.5, 78.75, 84.375]


def test_a_cache_that_is_filled_to_its_bound_at_every_look_is_never_pressure_and_comes_to_rest() -> None:
    looks = Looks()
    bounds = []
    for _ in range(50):
        bounds.append(looks.look(looks.policy.cache_bound_bytes))
        assert looks.policy.state == "ok"
    assert 86 * MIB < bounds[-1] <= 90 * MIB
    assert len(set(bounds[10:])) == 1, "what moves less than the noise is not told"


def test_the_most_of_what_else_was_resident_lately_is_reckoned_with() -> None:
    looks = Looks()
    assert looks.look(40 * MIB, others=30 * MIB) == 50 * MIB
    assert {looks.look(40 * MIB) for _ in range(LOOKS - 1)} == {50 * MIB}
    assert looks.look(40 * MIB) == 65 * MIB


def test_without_room_the_cache_keeps_what_it_has_and_does_not_grow() -> None:
    looks = Looks()
    assert looks.look(30 * MIB, others=64 * MIB) == 30 * MIB  # resident: 154 of 155
    assert looks.look(20 * MIB, others=74 * MIB) == 20 * MIB


def test_with_memory_that_is_not_the_engine_s_a_cache_may_have_again_what_has_expired() -> None:
    looks = Looks()
    for _ in range(5):
        looks.look(20 * MIB, others=900 * MIB)
    assert looks.policy.state == "not_reclaimable"
    assert [looks.look(cache * MIB, others=900 * MIB) for cache in (20, 1, 12, 20)] == [20 * MIB] * 4


def test_a_small_cache_has_its_place_whatever_the_program_holds() -> None:
    looks = Looks()
    assert {looks.look(0, others=900 * MIB) for _ in range(10)} == {5 * MIB}
    assert looks.policy.high_bytes + 5 * MIB == looks.policy.limit_bytes


def test_a_shrink_sets_the_bound_and_growth_waits_until_the_pressure_is_over() -> None:
    looks = Looks()
    for _ in range(20):
        looks.look(looks.policy.cache_bound_bytes)
    reading = Reading(rss_bytes=OPEN + 100 * MIB, cache_bytes=90 * MIB, now=looks.now)
    verdict = looks.policy.decide(reading)
    assert isinstance(verdict, Shrink)
    target = reading.cache_bytes - verdict.wanted_bytes
    assert looks.policy.cache_bound_bytes == target
    looks.now += 1.0
    assert looks.look(75 * MIB, others=12 * MIB) < target, "between the marks, and it goes on"
    assert looks.state == "shrinking"
    assert looks.look(60 * MIB, others=12 * MIB) > 65 * MIB
    assert looks.state == "ok"


def test_the_room_of_a_container_counts_where_it_is_less() -> None:
    looks = Looks()
    tight = looks.policy.tight_room_bytes(1000 * MIB)
    bound = looks.look(10 * MIB, container_limit_bytes=1000 * MIB, container_room_bytes=tight + 25 * MIB)
    assert bound == 20 * MIB, "half of what is above the tight room and the 5 between full and pressure"


def test_when_pressure_ends_the_bound_rises_with_the_room() -> None:
    looks = Looks()
    for _ in range(5):
        looks.look(20 * MIB, others=900 * MIB)
    bounds = [looks.look(20 * MIB) for _ in range(LOOKS)]
    assert bounds[-2:] == [20 * MIB, 55 * MIB]


def test_a_lower_limit_lowers_what_a_cache_has_in_any_case() -> None:
    looks = Looks()
    looks.policy.set_limit(OPEN + 20 * MIB)
    assert {looks.look(0, others=900 * MIB) for _ in range(3)} == {MIB}


readings = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=60)


@given(readings=readings, room=st.integers(1, 300))
def test_no_reading_grants_more_than_fills_the_memory_or_less_than_the_least(
    readings: list[tuple[int, int]], room: int
) -> None:
    policy = MemoryPolicy(OPEN + room * MIB, OPEN, 100)
    least = policy.limit_bytes - policy.high_bytes
    for tick, (cache, others) in enumerate(readings):
        reading = Reading(
            rss_bytes=OPEN + (cache + others) * MIB, cache_bytes=cache * MIB, in_flight=others % 100, now=tick * TICK_S
        )
        before = policy.cache_bound_bytes
        verdict = policy.decide(reading)
        bound = policy.cache_bound_bytes
        assert bound >= least
        if bound > before:
            assert not isinstance(verdict, Shrink)
            assert bound == least or OPEN + others * MIB + bound <= policy.high_bytes + MIB


def test_it_says_what_it_grants() -> None:
    room = CacheRoom()
    room.set_marks(full_bytes=10, least_bytes=3, room_bytes=20)
    assert repr(room) == "<CacheRoom 3 bytes until the next look, at least 3>"
