"""Does nothing that a tracing raises reach the engine?"""

from __future__ import annotations

from typing import Any

import pytest

from synth_actors import Request, Usage
from synth_actors.tracing import (
    AttemptEnd,
    AttemptStart,
    Destination,
    GuardedTracing,
    MeteredTracing,
    RequestTrace,
)

START = AttemptStart(Destination(endpoint="main", provider="local", model="m"), 1, streamed=False, at_s=0.0)
END = AttemptEnd(at_s=1.0, usage=Usage(), fault="failed")


class Broken:
    """A tracing whose parts raise wherever they are told something, once `at` is reached."""

    def __init__(self, at: str) -> None:
        self.at = at

    def _told(self, what: str) -> Any:
        if self.at in (what, "everything"):
            raise ZeroDivisionError(what)
        return self

    def opened(self, take: Any) -> Any:
        self._told("opened")
        return lambda: self._told("closed")

    def request(self, request: Request, *, number: int, streamed: bool) -> Any:
        return self._told("request")

    def joined(self, leader: RequestTrace) -> None:
        assert isinstance(leader, Broken)
        self._told("joined")

    def fetch_began(self) -> None:
        self._told("fetch_began")

    def fetch_ended(self, *, found: bool) -> None:
        self._told("fetch_ended")

    def queue_began(self) -> None:
        self._told("queue_began")

    def queue_ended(self, endpoint: str | None) -> None:
        self._told("queue_ended")

    def attempt_began(self, start: AttemptStart) -> Any:
        return self._told("attempt_began")

    def chunk(self, at_s: float) -> None:
        self._told("chunk")

    def ended(self, end: Any) -> None:
        self._told("ended")


STEPS = "opened request joined fetch_began fetch_ended queue_began queue_ended attempt_began chunk ended closed".split()


@pytest.mark.parametrize("at", STEPS)
def test_what_a_tracing_raises_reaches_nobody_and_is_logged_once(at: str, caplog: pytest.LogCaptureFixture) -> None:
    guarded = GuardedTracing(Broken(at))
    close = guarded.opened(lambda: pytest.fail("nobody asked"))
    for number in (1, 2):
        request = guarded.request(Request(prompt="x"), number=number, streamed=False)
        if request is None:
            assert at == "request"
            continue
        request.joined(request)
        request.fetch_began()
        request.fetch_ended(found=True)
        request.queue_began()
        request.queue_ended("main")
        if (call := request.attempt_began(START)) is not None:
            call.chunk(1.0)
            call.ended(END)
        request.ended(None)
    close()
    assert guarded.problems >= 1
    assert len(caplog.records) == 1
    assert "Broken raised" in caplog.text


def test_a_tracing_that_wants_no_figures_gets_none() -> None:
    class Plain:
        def request(self, request: Request, *, number: int, streamed: bool) -> None:
            return None

    guarded = GuardedTracing(Plain())
    assert not isinstance(Plain(), MeteredTracing)
    guarded.opened(lambda: pytest.fail("nobody asked"))()
    assert guarded.request(Request(prompt="x"), number=1, streamed=False) is None
    assert guarded.problems == 0
