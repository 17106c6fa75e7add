"""Does a crash cost what it must and nothing more, and is everybody answered when it ends the engine?"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from synth_actors.actors.actor import Actor, Worker
from synth_actors.actors.mailbox import Mailbox
from synth_actors.actors.supervisor import Supervisor
from synth_actors.errors import EngineClosedError
from synth_actors.policy.restart import RestartBudget
from tests.actors.kernel import BugError, Clerk, Echo, Note, Question
from tests.stepping import every_cancellation


@asynccontextmanager
async def supervised(*actors: Actor[Any]) -> AsyncIterator[Supervisor]:
    """The actors run, without a budget; at the end they and all that were started later are stopped in order."""
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery)
        for actor in actors:
            supervisor.start(actor)
        await wait_all_tasks_blocked()
        try:
            yield supervisor
        finally:
            for name in supervisor.statistics():
                await supervisor.stop(name)


async def asked(mailbox: Mailbox[Any], text: str, answers: list[str | EngineClosedError]) -> None:
    """Ask, and write down what came of it."""
    try:
        answers.append(await mailbox.ask(Question(text)))
    except EngineClosedError as exc:
        answers.append(exc)


# ------------------------------------------------------------------------------------------------------------- restarts


class Diary(Clerk):
    """Writes down when it was started."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[float] = []

    async def run(self) -> None:
        self.started.append(trio.current_time())
        await super().run()


async def test_a_worker_that_crashes_starts_again_each_time_after_twice_the_wait(autojump_clock: MockClock) -> None:
    diary = Diary()
    async with supervised() as supervisor:
        supervisor.start(diary, RestartBudget(restarts=3, window_s=60.0, first_delay_s=1.0))
        begun = trio.current_time()
        for _ in range(3):
            diary.mailbox.tell(Note("boom"))
        diary.mailbox.tell(Note("fine"))
        await trio.sleep(30.0)
        assert [when - begun for when in diary.started] == [0.0, 1.0, 3.0, 7.0]
        assert diary.log == ["boom", "boom", "boom", "fine"]
        assert supervisor.statistics()["clerk"].restarts == 3
        assert supervisor.cause is None
        await supervisor.stop("clerk")


async def test_a_budget_that_is_used_up_ends_everything(autojump_clock: MockClock) -> None:
    diary, echo = Diary(), Echo()
    answers: list[str | EngineClosedError] = []
    async with trio.open_nursery() as callers, trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery)
        supervisor.start(echo)
        supervisor.start(diary, RestartBudget(restarts=2, window_s=60.0, first_delay_s=1.0))
        callers.start_soon(asked, echo.mailbox, "later", answers)
        for _ in range(3):
            diary.mailbox.tell(Note("boom"))
        callers.start_soon(asked, diary.mailbox, "unread", answers)
    assert len(diary.started) == 3
    assert isinstance(supervisor.cause, BugError)
    assert [type(answer) for answer in answers] == [EngineClosedError] * 2
    assert all(isinstance(answer, EngineClosedError) and answer.__cause__ is supervisor.cause for answer in answers)


async def test_restarts_are_forgotten_after_a_while(autojump_clock: MockClock) -> None:
    diary = Diary()
    async with supervised() as supervisor:
        supervisor.start(diary, RestartBudget(restarts=1, window_s=10.0, first_delay_s=1.0))
        for _ in range(5):
            diary.mailbox.tell(Note("boom"))
            await trio.sleep(11.0)
        assert len(diary.started) == 6
        assert supervisor.cause is None
        await supervisor.stop("clerk")


async def test_a_crash_disturbs_neither_the_other_actors_nor_the_callers(autojump_clock: MockClock) -> None:
    answers: list[str | EngineClosedError] = []
    diary, echo, other = Diary(), Echo(), Clerk(Mailbox("other", inf), work_s=5.0)
    async with supervised(echo, other) as supervisor, trio.open_nursery() as callers:
        supervisor.start(diary, RestartBudget())
        callers.start_soon(asked, other.mailbox, "slow", answers)
        await trio.sleep(1.0)
        await asked(diary.mailbox, "boom", answers)
        await asked(diary.mailbox, "after", answers)
        await asked(echo.mailbox, "hello", answers)
        await trio.sleep(10.0)
        error, *rest = answers
        assert isinstance(error, EngineClosedError)
        assert isinstance(error.__cause__, BugError)
        assert rest == ["AFTER", "HELLO", "SLOW"]
        await supervisor.stop("clerk")


async def test_a_decider_may_have_a_budget_too_also_when_it_crashes_inline(autojump_clock: MockClock) -> None:
    answers: list[str | EngineClosedError] = []
    echo = Echo()
    async with supervised() as supervisor:
        supervisor.start(echo, RestartBudget())
        await wait_all_tasks_blocked()
        await asked(echo.mailbox, "boom", answers)
        await asked(echo.mailbox, "after", answers)
        assert isinstance(answers[0], EngineClosedError)
        assert answers[1] == "AFTER"
        assert supervisor.statistics()["echo"].restarts == 1
        await supervisor.stop("echo")


# ------------------------------------------------------------------------------------------------------ the end of all


@pytest.mark.parametrize("way", ["told", "inline"])
async def test_a_bug_in_a_decider_ends_everything_and_answers_everybody(way: str) -> None:
    answers: list[str | EngineClosedError] = []
    left, right, clerk = Echo("left"), Echo("right"), Clerk(work_s=inf)
    async with trio.open_nursery() as callers:
        with trio.CancelScope() as outer:
            async with trio.open_nursery() as nursery:
                supervisor = Supervisor(nursery)
                for actor in (left, right, clerk):
                    supervisor.start(actor)
                await wait_all_tasks_blocked()
                for mailbox in (left.mailbox, right.mailbox, clerk.mailbox, clerk.mailbox):
                    callers.start_soon(asked, mailbox, "later", answers)
                await wait_all_tasks_blocked()
                if way == "told":
                    left.mailbox.tell(Note("boom"))
                else:
                    assert left.mailbox.offer(Note("boom"))
                await trio.sleep_forever()
        assert not outer.cancelled_caught
    assert isinstance(supervisor.cause, BugError)
    assert len(answers) == 4
    assert all(isinstance(answer, EngineClosedError) and answer.__cause__ is supervisor.cause for answer in answers)
    assert len({id(answer) for answer in answers}) == 4


async def test_a_bug_ends_everything_also_when_the_caller_that_met_it_leaves_at_once() -> None:
    echo = Echo()
    async with supervised(echo) as supervisor:
        with pytest.raises(EngineClosedError):
            await echo.mailbox.ask(Question("boom"))
        await supervisor.stop("echo")  # before the actor had a chance to notice
    assert isinstance(supervisor.cause, BugError)


async def test_the_first_bug_is_the_cause() -> None:
    class Second(Echo):
        def on_stop(self, unread: list[Any], cause: BaseException | None) -> None:
            super().on_stop(unread, cause)
            self.mailbox.tell(Note("too late"))

    class Stubborn(Worker[Any]):
        async def handle(self, message: Note) -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise BugError("second")

    echo, stubborn = Second(), Stubborn(Mailbox("stubborn", inf))
    async with supervised(echo, stubborn) as supervisor:
        stubborn.mailbox.tell(Note("work"))
        await wait_all_tasks_blocked()
        echo.mailbox.tell(Note("boom"))
    assert str(supervisor.cause) == "boom"


async def test_whoever_asked_an_actor_that_was_about_to_take_the_question_is_answered_too(
    autojump_clock: MockClock,
) -> None:
    """Another one crashes when the message was handed to the parked actor, and so is in no mailbox any more."""
    for _ in range(30):  # trio draws who goes first
        answers: list[str | EngineClosedError] = []
        echo, clerk, broken = Echo(), Clerk(work_s=inf), Echo("broken")
        with trio.fail_after(5):
            async with trio.open_nursery() as callers, trio.open_nursery() as nursery:
                supervisor = Supervisor(nursery)
                for actor in (echo, clerk, broken):
                    supervisor.start(actor)
                await wait_all_tasks_blocked()
                for mailbox in (echo.mailbox, clerk.mailbox):
                    question = Question("later")
                    mailbox.tell(question)
                    callers.start_soon(wait_for, question, answers)
                broken.mailbox.tell(Note("boom"))
        assert [type(answer) for answer in answers] == [EngineClosedError] * 2


async def wait_for(question: Question, answers: list[str | EngineClosedError]) -> None:
    value = await question.reply.wait()
    answers.append(value if isinstance(value, str) else value.make())  # type: ignore[arg-type]


class Careless(Echo):
    """Has a bug in the very handler that should answer everybody."""

    def on_stop(self, unread: list[Any], cause: BaseException | None) -> None:
        raise BugError("in on_stop")


async def test_a_bug_in_one_stop_keeps_no_other_actor_from_ending(autojump_clock: MockClock) -> None:
    careless, broken, echo = Careless("careless"), Echo("broken"), Echo("echo")
    question = Question("later")
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(nursery)
            for actor in (careless, broken, echo):
                supervisor.start(actor)
            await wait_all_tasks_blocked()
            echo.mailbox.offer(question)
            broken.mailbox.tell(Note("boom"))
    assert question.reply.answered
    assert str(supervisor.cause) == "boom"


async def test_a_bug_in_a_stop_is_told_and_the_next_actors_can_still_be_stopped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    careless, echo = Careless("careless"), Echo("echo")
    async with supervised(careless, echo) as supervisor:
        await supervisor.stop("careless")
        await supervisor.stop("echo")
    assert str(supervisor.cause) == "in on_stop"
    assert "careless" in caplog.text


async def test_whoever_hears_of_the_bug_first_hears_of_it_before_anybody_is_answered() -> None:
    echo, broken = Echo(), Echo("broken")
    question = Question("later")
    heard: list[tuple[str, bool]] = []
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery, on_end=lambda cause: heard.append((str(cause), question.reply.answered)))
        supervisor.start(echo)
        supervisor.start(broken)
        await wait_all_tasks_blocked()
        echo.mailbox.offer(question)
        broken.mailbox.tell(Note("boom"))
    assert heard == [("boom", False)]
    assert question.reply.answered


# ------------------------------------------------------------------------------------------------------------ stopping


async def test_stopping_one_actor_leaves_the_others_running() -> None:
    first, second = Echo("first"), Echo("second")
    answers: list[str | EngineClosedError] = []
    async with supervised(first, second) as supervisor:
        await supervisor.stop("first")
        await asked(first.mailbox, "hello", answers)
        await asked(second.mailbox, "hello", answers)
        assert isinstance(answers[0], EngineClosedError)
        assert answers[0].__cause__ is None
        assert answers[1] == "HELLO"


async def test_stopping_waits_until_the_actor_has_really_ended() -> None:
    ended = []

    class Slow(Worker[Any]):
        async def handle(self, message: Note) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.lowlevel.checkpoint()
                ended.append(message.text)

    slow = Slow(Mailbox("slow", inf))
    async with supervised(slow) as supervisor:
        slow.mailbox.tell(Note("work"))
        await wait_all_tasks_blocked()
        await supervisor.stop("slow")
        assert ended == ["work"]


async def test_stopping_answers_the_question_at_work_and_those_behind_it() -> None:
    clerk = Clerk(work_s=inf)
    answers: list[str | EngineClosedError] = []
    async with supervised(clerk) as supervisor, trio.open_nursery() as callers:
        for _ in range(3):
            callers.start_soon(asked, clerk.mailbox, "hello", answers)
        await wait_all_tasks_blocked()
        await supervisor.stop("clerk")
    assert [type(answer) for answer in answers] == [EngineClosedError] * 3


async def test_stopping_ends_a_pause_before_a_restart(autojump_clock: MockClock) -> None:
    diary = Diary()
    async with supervised() as supervisor:
        supervisor.start(diary, RestartBudget(first_delay_s=1_000.0))
        diary.mailbox.tell(Note("boom"))
        await trio.sleep(1.0)
        begun = trio.current_time()
        await supervisor.stop("clerk")
        assert trio.current_time() == begun
        assert len(diary.started) == 1


async def test_an_actor_can_be_stopped_before_its_first_step() -> None:
    echo = Echo()
    question = Question("hello")
    echo.mailbox.tell(question)
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery)
        supervisor.start(echo)
        await supervisor.stop("echo")
    assert question.reply.answered


async def test_a_pool_stops_together() -> None:
    mailbox: Mailbox[Any] = Mailbox("pool", inf)
    clerks = [Clerk(mailbox, work_s=inf) for _ in range(4)]
    questions = [Question(str(number)) for number in range(6)]
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery)
        for clerk in clerks:
            supervisor.start(clerk)
        await wait_all_tasks_blocked()
        for question in questions:
            mailbox.tell(question)
        await wait_all_tasks_blocked()
        await supervisor.stop("pool")
        assert not nursery.child_tasks
    assert all(question.reply.answered for question in questions)


@pytest.mark.parametrize("watch", ["own", "any"])
async def test_a_stop_cancelled_anywhere_still_stops(watch: str) -> None:
    for step in every_cancellation("own" if watch == "own" else "any"):
        echo, clerk = Echo(), Clerk(work_s=inf)
        questions = [Question("later"), Question("hello")]
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor(nursery)
            supervisor.start(echo)
            supervisor.start(clerk)
            await wait_all_tasks_blocked()
            echo.mailbox.tell(questions[0])
            clerk.mailbox.tell(questions[1])
            with step:
                await supervisor.stop("echo")
                await supervisor.stop("clerk")
            assert not step.cancelled
            assert not nursery.child_tasks
        assert all(question.reply.answered for question in questions)


async def test_actors_outlive_the_cancellation_of_their_nursery_until_they_are_stopped_in_order() -> None:
    echo = Echo()
    question = Question("later")
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery)
        supervisor.start(echo)
        await wait_all_tasks_blocked()
        echo.mailbox.offer(question)
        nursery.cancel_scope.cancel()
        await wait_all_tasks_blocked_shielded()
        echo.mailbox.tell(Note("a fact that comes late"))
        await wait_all_tasks_blocked_shielded()
        assert echo.log == ["later", "a fact that comes late"]
        assert repr(question.reply) == "<Reply open>"
        await supervisor.stop("echo")
    assert question.reply.answered
    assert supervisor.cause is None


async def wait_all_tasks_blocked_shielded() -> None:
    with trio.CancelScope(shield=True):
        await wait_all_tasks_blocked()


def test_ctrl_c_leaves_the_supervised_handler_whole_and_everybody_answered() -> None:
    done: list[str] = []

    class Pressed(Clerk):
        async def handle(self, message: Any) -> None:
            signal.raise_signal(signal.SIGINT)
            done.append("after the signal")
            await super().handle(message)

    questions = [Question("hello"), Question("later")]

    async def main() -> None:
        pressed, echo = Pressed(), Echo()
        async with supervised(pressed, echo):
            echo.mailbox.tell(questions[1])
            pressed.mailbox.tell(questions[0])
            try:
                await trio.sleep_forever()
            finally:
                await wait_all_tasks_blocked()

    with pytest.raises((KeyboardInterrupt, BaseExceptionGroup)):
        trio.run(main)
    assert done == ["after the signal"]


async def test_a_supervisor_says_how_it_stands() -> None:
    echo = Echo()
    async with supervised(echo) as supervisor:
        assert repr(supervisor) == "<Supervisor running actors=1>"
        echo.mailbox.tell(Note("boom"))
    assert repr(supervisor) == "<Supervisor ended actors=1>"


async def test_statistics_are_by_name() -> None:
    left, right = Echo("left"), Echo("right")
    async with supervised(left, right) as supervisor:
        await left.mailbox.ask(Question("hello"))
        right.mailbox.tell(Note("hello"))
        await wait_all_tasks_blocked()
        statistics = supervisor.statistics()
        assert set(statistics) == {"left", "right"}
        assert (statistics["left"].inline_asks, statistics["right"].handled) == (1, 1)
