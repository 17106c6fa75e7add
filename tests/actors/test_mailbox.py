"""Does every message arrive, in order, and is every question answered exactly once?"""

from __future__ import annotations

from collections import Counter
from itertools import count
from math import inf

import pytest
import trio

from synth_actors.actors.actor import Decider
from synth_actors.actors.mailbox import INLINE_RUN, Mailbox
from synth_actors.errors import EngineClosedError
from synth_actors.reply import Failed, Reply, closed_error
from tests.actors.kernel import BugError, Clerk, Echo, Note, Question, running
from tests.conftest import Soak
from tests.stepping import every_cancellation


class Steps(trio.abc.Instrument):
    """Counts the steps of each task while it is in use."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.of[task.name] += 1

    def __enter__(self) -> Steps:
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(self, *exc: object) -> None:
        trio.lowlevel.remove_instrument(self)


# ---------------------------------------------------------------------------------------------------- inline delivery


async def test_asking_a_parked_decider_switches_no_task() -> None:
    echo = Echo()
    async with running(echo):
        with Steps() as steps:
            assert await echo.mailbox.ask(Question("hello")) == "HELLO"
        assert not steps.of
    assert echo.mailbox.statistics().inline_asks == 1
    assert echo.mailbox.statistics().handled == 0


async def test_what_was_told_before_is_handled_before_what_is_asked() -> None:
    echo = Echo()
    async with running(echo):
        echo.mailbox.tell(Note("first"))
        assert await echo.mailbox.ask(Question("second")) == "SECOND"
        assert echo.log == ["first", "second"]
    assert echo.mailbox.statistics().inline_asks == 0


async def test_a_message_handed_to_the_parked_actor_leaves_an_empty_buffer_and_still_goes_first() -> None:
    echo = Echo()
    async with running(echo):
        echo.mailbox.tell(Note("first"))
        assert echo.mailbox._receive.statistics().current_buffer_used == 0
        assert echo.mailbox.pending == 1
        assert not echo.mailbox.offer(Question("second"))
        assert echo.log == []


async def test_telling_is_never_inline() -> None:
    echo = Echo()
    async with running(echo):
        echo.mailbox.tell(Note("later"))
        assert echo.log == []
        await trio.testing.wait_all_tasks_blocked()
        assert echo.log == ["later"]


async def test_an_actor_that_has_not_started_is_asked_through_its_mailbox() -> None:
    echo = Echo()
    question = Question("hello")
    assert not echo.mailbox.offer(question)
    echo.mailbox.tell(question)
    async with running(echo):
        assert question.reply.take() == "HELLO"


async def test_a_worker_is_never_run_inline() -> None:
    clerk = Clerk()
    async with running(clerk):
        assert not clerk.mailbox.offer(Question("hello"))
        assert await clerk.mailbox.ask(Question("hello")) == "HELLO"


async def test_after_an_actor_was_cancelled_nothing_is_run_inline() -> None:
    echo = Echo()
    async with running(echo):
        pass
    assert not echo.mailbox.offer(Question("hello"))
    assert echo.log == []


async def test_a_caller_that_only_asks_inline_lets_others_run_every_64_asks() -> None:
    """Twice 64 for the others, since trio draws who goes first in each round."""
    echo = Echo()
    most_in_a_row = asked = 0

    async def others() -> None:
        nonlocal most_in_a_row, asked
        while True:
            most_in_a_row, asked = max(most_in_a_row, asked), 0
            await trio.lowlevel.checkpoint()

    async with running(echo) as nursery:
        nursery.start_soon(others)
        for _ in range(20 * INLINE_RUN):
            await echo.mailbox.ask(Question("hello"))
            asked += 1
        assert INLINE_RUN <= most_in_a_row <= 2 * INLINE_RUN


async def test_inline_asks_are_counted_one_by_one() -> None:
    echo = Echo()
    async with running(echo):
        for _ in range(1_000):
            await echo.mailbox.ask(Question("hello"))
    assert echo.mailbox.statistics().inline_asks == 1_000
    assert len(echo.log) == 1_000


async def test_a_deadline_that_has_passed_ends_a_loop_of_inline_asks(autojump_clock: trio.testing.MockClock) -> None:
    echo = Echo()
    async with running(echo):
        with trio.move_on_after(1.0) as scope:
            while True:
                await echo.mailbox.ask(Question("hello"))
                autojump_clock.jump(0.001)
        assert scope.cancelled_caught
        assert 1_000 <= len(echo.log) <= 1_000 + 2 * INLINE_RUN


async def test_order_stays_exact_however_tells_and_asks_are_mixed(soak: Soak) -> None:
    """Every message has the number of its sending; the handler must see 0, 1, 2, ... whoever sent them and how."""
    seen: list[int] = []
    numbers = count()
    inline = 0

    class Log(Decider[int]):
        def handle(self, message: int) -> None:
            seen.append(message)

    log = Log(Mailbox("log", inf))
    chance = soak.random()

    async def send(times: int) -> None:
        nonlocal inline
        for _ in range(times):
            number = next(numbers)
            if chance.random() < 0.5 and log.mailbox.offer(number):
                inline += 1
            else:
                log.mailbox.tell(number)
            if chance.random() < 0.3:
                await trio.lowlevel.checkpoint()

    async with running(log) as nursery:
        async with trio.open_nursery() as senders:
            for _ in range(5):
                senders.start_soon(send, soak.count // 5)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == list(range(soak.count // 5 * 5))
    statistics = log.mailbox.statistics()
    assert 0 < inline == statistics.inline_asks
    assert statistics.handled == len(seen) - inline > 0
    assert statistics.depth == 0


# ------------------------------------------------------------------------------------------------------- cancellation


async def test_a_cancelled_caller_asks_nothing() -> None:
    echo = Echo()
    async with running(echo):
        with trio.CancelScope() as scope:
            scope.cancel()
            await echo.mailbox.ask(Question("hello"))
        assert echo.log == []


async def test_an_answer_to_somebody_who_has_left_does_no_harm() -> None:
    echo = Echo()
    async with running(echo) as nursery:
        question = Question("later")
        scope = trio.CancelScope()

        async def ask() -> None:
            with scope:
                await echo.mailbox.ask(question)

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        question.reply.send("the asker is cancelled and has not run yet")
        await trio.testing.wait_all_tasks_blocked()
        assert scope.cancelled_caught
        assert question.reply.answered
        echo.owed.clear()


async def test_an_answer_on_its_way_wins_over_a_cancellation_that_comes_after_it() -> None:
    question = Question("later")
    got = []
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def wait() -> None:
            with scope:
                got.append(await question.reply.wait())

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        question.reply.send("paid")
        scope.cancel()
    assert got == ["paid"]


@pytest.mark.parametrize("watch", ["own", "any"])
@pytest.mark.parametrize("text", ["hello", "boom?"])
async def test_an_ask_cancelled_anywhere_is_handled_at_most_once_and_leaves_nothing_pending(
    watch: str, text: str
) -> None:
    for step in every_cancellation("own" if watch == "own" else "any"):
        echo = Echo()
        async with running(echo):
            echo.mailbox.tell(Note("before"))
            with step:
                await echo.mailbox.ask(Question(text))
            echo.mailbox.tell(Note("after"))
            await trio.testing.wait_all_tasks_blocked()
            assert echo.mailbox.pending == 0
            assert echo.log in (["before", "after"], ["before", text, "after"])
            assert step.cancelled or echo.log == ["before", text, "after"]


# -------------------------------------------------------------------------------------------------------------- replies


async def test_a_reply_is_answered_exactly_once() -> None:
    reply: Reply[str] = Reply()
    reply.send("first")
    with pytest.raises(RuntimeError, match="answered before"):
        reply.send("second")
    with pytest.raises(RuntimeError, match="answered before"):
        reply.fail(lambda: BugError("third"))
    assert await reply.wait() == "first"


async def test_none_is_an_answer() -> None:
    reply: Reply[None] = Reply()
    reply.send(None)
    assert reply.answered
    await reply.wait()


async def test_everybody_who_waits_for_one_failure_raises_an_exception_of_their_own() -> None:
    cause = BugError("the cause")
    caught: list[EngineClosedError] = []
    echo = Echo()

    async def ask() -> None:
        with pytest.raises(EngineClosedError) as info:
            await echo.mailbox.ask(Question("later"))
        caught.append(info.value)

    async with running(echo) as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        for question in echo.owed:
            question.reply.fail(lambda: closed_error("echo", cause))
        echo.owed.clear()
        await trio.testing.wait_all_tasks_blocked()
    assert len({id(error) for error in caught}) == 3
    assert all(error.__cause__ is cause for error in caught)


async def test_a_nudge_wakes_without_an_answer() -> None:
    reply: Reply[str] = Reply()
    woken = []

    async def park() -> None:
        await reply.park()
        woken.append(reply.take())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(park)
        await trio.testing.wait_all_tasks_blocked()
        reply.nudge()
    assert woken == [None]
    assert not reply.answered


async def test_a_nudge_and_an_answer_in_the_same_moment_wake_once() -> None:
    reply: Reply[str] = Reply()
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            assert await reply.wait() == "answer"

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        reply.nudge()
        reply.nudge()
        reply.send("answer")


async def test_a_nudge_does_not_end_a_wait() -> None:
    reply: Reply[str] = Reply()
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            assert await reply.wait() == "answer"

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        reply.nudge()
        await trio.testing.wait_all_tasks_blocked()
        reply.send("answer")


def test_a_failure_is_taken_as_a_value() -> None:
    reply: Reply[str] = Reply()
    reply.fail(lambda: BugError("failed"))
    failed = reply.take()
    assert isinstance(failed, Failed)
    assert isinstance(failed.make(), BugError)


async def test_a_reply_says_how_it_stands() -> None:
    reply: Reply[str] = Reply()
    assert repr(reply) == "<Reply open>"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reply.wait)
        await trio.testing.wait_all_tasks_blocked()
        assert repr(reply) == "<Reply awaited>"
        reply.send("answer")
    assert repr(reply) == "<Reply answered>"


# ------------------------------------------------------------------------------------------------------ full and closed


def test_a_full_mailbox_refuses_at_once_and_keeps_what_it_has() -> None:
    mailbox: Mailbox[Note] = Mailbox("full", 2)
    notes = [Note("0"), Note("1")]
    for note in notes:
        mailbox.tell(note)
    with pytest.raises(trio.WouldBlock):
        mailbox.tell(Note("2"))
    assert mailbox.pending == 2
    assert mailbox.close(lambda: closed_error("full", None)) == notes


async def test_a_closed_mailbox_answers_every_question_at_once() -> None:
    echo = Echo()
    cause = BugError("the cause")
    echo.stop(cause)
    with pytest.raises(EngineClosedError, match="the engine was closed by BugError: the cause") as info:
        await echo.mailbox.ask(Question("hello"))
    assert info.value.__cause__ is cause
    assert info.value.usage is None


async def test_a_closed_mailbox_drops_what_expects_no_answer() -> None:
    echo = Echo()
    echo.stop(None)
    echo.mailbox.tell(Note("nobody reads this"))
    assert echo.mailbox.pending == 0


def test_closing_returns_what_was_not_read_in_order() -> None:
    mailbox: Mailbox[Note] = Mailbox("box", inf)
    notes = [Note(str(number)) for number in range(5)]
    for note in notes:
        mailbox.tell(note)
    assert mailbox.close(lambda: closed_error("box", None)) == notes
    assert mailbox.close(lambda: closed_error("box", None)) == []
    assert mailbox.pending == 0


# -------------------------------------------------------------------------------------------------------------- figures


async def test_statistics_tell_depth_peak_and_what_was_handled() -> None:
    echo = Echo()
    for number in range(5):
        echo.mailbox.tell(Note(str(number)))
    before = echo.mailbox.statistics()
    assert (before.depth, before.peak, before.handled) == (5, 5, 0)
    async with running(echo):
        echo.mailbox.tell(Note("one more"))
        await trio.testing.wait_all_tasks_blocked()
        after = echo.mailbox.statistics(restarts=2)
    assert (after.depth, after.peak, after.handled, after.restarts) == (0, 5, 6, 2)
    assert 0.0 < after.mean_wait_s <= after.max_wait_s
    assert after.mean_handling_s > 0.0


async def test_a_mailbox_says_how_it_stands() -> None:
    echo = Echo()
    assert repr(echo.mailbox) == "<Mailbox echo busy pending=0 peak=0>"
    async with running(echo):
        assert repr(echo.mailbox) == "<Mailbox echo parked pending=0 peak=0>"
        echo.mailbox.tell(Note("hello"))
        assert repr(echo.mailbox) == "<Mailbox echo parked pending=1 peak=1>"
    assert repr(echo.mailbox) == "<Mailbox echo closed pending=0 peak=1>"
