"""Does everybody who waits get exactly one answer, and one of them the bill?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_actors.policy.single_flight import Departure, Flight, Follow, Lead, SingleFlight


class Waiter:
    """Equal to every other one: only identity may count."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Waiter)

    def __hash__(self) -> int:
        return 0


Flights = SingleFlight[bytes, Waiter]


def lead(flights: Flights, key: bytes, waiter: Waiter) -> Flight[bytes, Waiter]:
    verdict = flights.join(key, waiter)
    assert isinstance(verdict, Lead)
    return verdict.flight


def test_the_first_leads_and_the_next_follow_in_the_same_flight() -> None:
    flights = Flights()
    first, second = Waiter(), Waiter()
    flight = lead(flights, b"k", first)
    match flights.join(b"k", second):
        case Follow(joined):
            assert joined is flight
        case Lead():
            pytest.fail("two lead")
    assert [id(waiter) for waiter in flight.waiters] == [id(first), id(second)]
    assert flight.payer is first
    assert len(flights) == 1


def test_different_keys_fly_apart() -> None:
    flights = Flights()
    assert lead(flights, b"a", Waiter()) is not lead(flights, b"b", Waiter())
    assert len(flights) == 2


def test_landing_gives_everybody_once_and_frees_the_key() -> None:
    flights = Flights()
    waiters = [Waiter() for _ in range(3)]
    flight = lead(flights, b"k", waiters[0])
    for waiter in waiters[1:]:
        flights.join(b"k", waiter)
    assert [id(waiter) for waiter in flights.land(flight)] == [id(waiter) for waiter in waiters]
    assert flights.land(flight) == []
    assert flights.leave(flight, waiters[0]) is Departure.NOT_WAITING
    assert lead(flights, b"k", Waiter()) is not flight


def test_when_the_leader_leaves_the_next_one_pays() -> None:
    flights = Flights()
    first, second = Waiter(), Waiter()
    flight = lead(flights, b"k", first)
    flights.join(b"k", second)
    assert flights.leave(flight, first) is Departure.REMAINS
    assert flight.payer is second
    assert flights.join(b"k", Waiter()).flight is flight


def test_a_deserted_flight_is_over_and_the_next_request_leads() -> None:
    flights = Flights()
    waiter = Waiter()
    flight = lead(flights, b"k", waiter)
    assert flights.leave(flight, waiter) is Departure.DESERTED
    assert flight.payer is None
    assert len(flights) == 0
    assert lead(flights, b"k", Waiter()) is not flight


def test_a_deserted_flight_that_lands_late_leaves_the_new_one_alone() -> None:
    flights = Flights()
    waiter = Waiter()
    old = lead(flights, b"k", waiter)
    flights.leave(old, waiter)
    new = lead(flights, b"k", Waiter())
    assert flights.land(old) == []
    assert flights.flights() == [new]
    assert flights.join(b"k", Waiter()).flight is new


def test_leaving_twice_is_told_apart() -> None:
    flights = Flights()
    first, second = Waiter(), Waiter()
    flight = lead(flights, b"k", first)
    flights.join(b"k", second)
    assert flights.leave(flight, first) is Departure.REMAINS
    assert flights.leave(flight, first) is Departure.NOT_WAITING
    assert len(flight) == 1


def test_joining_twice_is_an_error() -> None:
    flights = Flights()
    waiter = Waiter()
    lead(flights, b"k", waiter)
    with pytest.raises(ValueError, match="already"):
        flights.join(b"k", waiter)


def test_nobody_joins_a_flight_that_leads_alone() -> None:
    flights = Flights()
    waiter = Waiter()
    alone = flights.lead_alone(waiter).flight
    assert alone.key is None
    assert lead(flights, b"k", Waiter()) is not alone
    assert set(map(id, flights.flights())) >= {id(alone)}
    assert flights.leave(alone, waiter) is Departure.DESERTED
    assert len(flights) == 1


def test_a_flight_alone_lands_like_any_other() -> None:
    flights = Flights()
    waiter = Waiter()
    alone = flights.lead_alone(waiter).flight
    assert flights.land(alone) == [waiter]
    assert flights.land(alone) == []
    assert len(flights) == 0


def test_a_payload_stays_with_its_flight() -> None:
    flights = Flights()
    flight = lead(flights, b"k", Waiter())
    flight.payload = {"chunks": 3}
    assert flights.join(b"k", Waiter()).flight.payload == {"chunks": 3}


def test_reprs_say_who_waits() -> None:
    flights = Flights()
    flight = lead(flights, b"k", Waiter())
    flights.lead_alone(Waiter())
    assert repr(flight) == "<Flight 6b waiters=1>"
    assert repr(flights) == "<SingleFlight flights=2 waiting=2>"


@given(st.lists(st.tuples(st.sampled_from(["join", "alone", "leave", "land"]), st.integers(0, 2), st.integers(0, 20))))
def test_everybody_who_came_left_once_was_answered_once_or_waits(steps: list[tuple[str, int, int]]) -> None:
    flights: Flights = Flights()
    came: list[tuple[Flight[bytes, Waiter], Waiter]] = []
    gone: list[int] = []
    for action, key, pick in steps:
        if action in ("join", "alone"):
            waiter = Waiter()
            verdict = flights.join(bytes([key]), waiter) if action == "join" else flights.lead_alone(waiter)
            came.append((verdict.flight, waiter))
        elif came and action == "leave":
            flight, waiter = came[pick % len(came)]
            if flights.leave(flight, waiter) is not Departure.NOT_WAITING:
                gone.append(id(waiter))
        elif came:
            gone += [id(waiter) for waiter in flights.land(came[pick % len(came)][0])]
    waiting = [id(waiter) for flight in flights.flights() for waiter in flight.waiters]
    assert sorted(gone + waiting) == sorted(id(waiter) for _flight, waiter in came)
    keys = [flight.key for flight in flights.flights() if flight.key is not None]
    assert len(keys) == len(set(keys))
    assert all(len(flight) for flight in flights.flights())
