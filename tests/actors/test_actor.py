"""Is a handler atomic, does a timer ring on time, and is nobody left waiting when an actor ends?"""

from __future__ import annotations

import signal
from collections.abc import Callable
from math import inf
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from synth_actors.actors.actor import Decider, Worker
from synth_actors.actors.mailbox import Mailbox
from synth_actors.errors import EngineClosedError
from tests.actors.kernel import BugError, Clerk, Echo, Note, Question, running
from tests.stepping import every_cancellation

# ---------------------------------------------------------------------------------------------------------------- turns


class Chain(Decider[int]):
    """Tells itself the next smaller number."""

    def __init__(self) -> None:
        super().__init__(Mailbox("chain", inf))
        self.handled: list[int] = []

    def handle(self, message: int) -> None:
        self.handled.append(message)
        if message:
            self.mailbox.tell(message - 1)


async def lengths_seen(log: list[Any], until: int) -> set[int]:
    """How long `log` is whenever another task has a turn."""
    seen = set()
    while len(log) < until:
        seen.add(len(log))
        await trio.lowlevel.checkpoint()
    return seen


async def test_what_comes_during_a_turn_waits_for_the_next_one() -> None:
    chain = Chain()
    async with running(chain):
        chain.mailbox.tell(100)
        assert len(await lengths_seen(chain.handled, 101)) > 50
    assert chain.handled == list(range(100, -1, -1))


async def test_a_turn_takes_everything_that_was_there_when_it_began() -> None:
    echo = Echo()
    async with running(echo):
        for number in range(5_000):
            echo.mailbox.tell(Note(str(number)))
        assert await lengths_seen(echo.log, 5_000) == {0}
    assert echo.log == [str(number) for number in range(5_000)]


async def test_two_deciders_that_tell_each_other_never_block() -> None:
    class Pair(Decider[int]):
        other: Pair

        def __init__(self, name: str) -> None:
            super().__init__(Mailbox(name, 100))
            self.handled = 0

        def handle(self, message: int) -> None:
            self.handled += 1
            if message:
                self.other.mailbox.tell(message - 1)

    left, right = Pair("left"), Pair("right")
    left.other, right.other = right, left
    async with running(left, right):
        for _ in range(100):
            left.mailbox.tell(50)
        await trio.testing.wait_all_tasks_blocked()
    assert left.handled + right.handled == 100 * 51


class Eager(Decider[int]):
    """Sends itself the next smaller number, inline if it is let."""

    def __init__(self) -> None:
        super().__init__(Mailbox("eager", inf))
        self.handled: list[int] = []
        self.inside = False
        self.alarm = inf

    def handle(self, message: int) -> None:
        assert not self.inside, "a handler was entered while it was running"
        self.inside = True
        if message:
            self.mailbox.send(message - 1)
        self.handled.append(message)
        self.inside = False

    def next_wakeup(self) -> float:
        return self.alarm

    def wake(self) -> None:
        self.alarm = inf
        self.inside = True
        self.mailbox.send(3)
        self.inside = False


@pytest.mark.parametrize("way", ["told", "inline", "wake"])
async def test_a_handler_is_never_entered_while_it_runs(way: str) -> None:
    eager = Eager()
    eager.alarm = -inf if way == "wake" else inf
    async with running(eager):
        if way == "told":
            eager.mailbox.tell(3)
        elif way == "inline":
            assert eager.mailbox.offer(3)
        await trio.testing.wait_all_tasks_blocked()
    assert eager.handled == [3, 2, 1, 0]


# --------------------------------------------------------------------------------------------------------------- timers


class Alarm(Decider[Any]):
    """Wakes at each of the times it was given, and remembers when that was."""

    def __init__(self) -> None:
        super().__init__(Mailbox("alarm", inf))
        self.due: list[float] = []
        self.woken: list[float] = []
        self.log: list[float | str] = []

    def handle(self, message: float | str) -> None:
        self.log.append(message)
        if isinstance(message, float):
            self.due.append(trio.current_time() + message)
        elif message == "forget":
            self.due.clear()

    def next_wakeup(self) -> float:
        return min(self.due, default=inf)

    def wake(self) -> None:
        now = trio.current_time()
        self.woken.append(now)
        self.due = [due for due in self.due if due > now]


@pytest.fixture
async def alarm() -> Alarm:
    return Alarm()


Give = Callable[[Alarm, float | str], None]


def by_tell(alarm: Alarm, message: float | str) -> None:
    alarm.mailbox.tell(message)


def inline(alarm: Alarm, message: float | str) -> None:
    assert alarm.mailbox.offer(message)


both_ways = pytest.mark.parametrize("give", [by_tell, inline])


@both_ways
async def test_a_timer_rings_exactly_when_it_is_due(alarm: Alarm, give: Give, autojump_clock: MockClock) -> None:
    async with running(alarm):
        begun = trio.current_time()
        give(alarm, 2.5)
        await trio.sleep(10.0)
        assert [when - begun for when in alarm.woken] == [2.5]


@both_ways
async def test_an_earlier_timer_armed_later_rings_first(alarm: Alarm, give: Give, autojump_clock: MockClock) -> None:
    async with running(alarm):
        begun = trio.current_time()
        give(alarm, 8.0)
        await trio.sleep(1.0)
        give(alarm, 2.0)
        await trio.sleep(1.0)
        give(alarm, 0.25)
        await trio.sleep(20.0)
        assert [when - begun for when in alarm.woken] == [2.25, 3.0, 8.0]


@both_ways
async def test_a_timer_taken_back_never_rings(alarm: Alarm, give: Give, autojump_clock: MockClock) -> None:
    async with running(alarm):
        give(alarm, 1.0)
        await trio.sleep(0.5)
        give(alarm, "forget")
        await trio.sleep(10.0)
        assert alarm.woken == []
        give(alarm, 1.0)
        await trio.sleep(10.0)
        assert len(alarm.woken) == 1


async def test_a_timer_due_at_start_rings_at_once(alarm: Alarm, autojump_clock: MockClock) -> None:
    alarm.due.append(-inf)
    async with running(alarm):
        assert len(alarm.woken) == 1


@both_ways
async def test_a_timer_armed_for_the_past_rings_without_further_messages(
    alarm: Alarm, give: Give, autojump_clock: MockClock
) -> None:
    async with running(alarm):
        give(alarm, -1.0)
        await trio.testing.wait_all_tasks_blocked()
        assert len(alarm.woken) == 1


async def test_a_timer_that_rings_while_messages_come_loses_none(autojump_clock: MockClock) -> None:
    for _ in range(30):  # trio draws who goes first
        alarm = Alarm()
        async with running(alarm):
            alarm.mailbox.tell(1.0)
            await trio.sleep(1.0)  # this task and the timer wake in the same round
            alarm.mailbox.tell("one")
            alarm.mailbox.tell("two")
            await trio.sleep(1.0)
            assert alarm.log == [1.0, "one", "two"]
            assert len(alarm.woken) == 1
            assert alarm.mailbox.pending == 0


async def test_messages_that_never_stop_do_not_hold_up_a_timer() -> None:
    class Busy(Alarm):
        def handle(self, message: float | str) -> None:
            super().handle(message)
            if message == "again" and not self.woken:
                self.mailbox.tell("again")

    busy = Busy()
    with trio.fail_after(30):
        async with running(busy):
            busy.mailbox.tell(0.001)
            busy.mailbox.tell("again")
            while not busy.woken:
                await trio.lowlevel.checkpoint()


async def test_a_timer_that_is_always_due_does_not_hold_up_messages() -> None:
    class Restless(Echo):
        """Has something to do at once, for as long as it has not handled what was told."""

        woken = 0

        def next_wakeup(self) -> float:
            return inf if "hello" in self.log else -inf

        def wake(self) -> None:
            self.woken += 1
            assert self.woken < 1_000, "nothing is read any more"

    restless = Restless()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(restless.run)
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        assert restless.woken > 1
        question = Question("hello")
        restless.mailbox.tell(question)
        assert await question.reply.wait() == "HELLO"
        nursery.cancel_scope.cancel()


async def test_an_inline_ask_between_two_turns_of_long_work_is_answered() -> None:
    """Work in bounded turns, as the cache shrinks: lookups go between, also through the mailbox."""

    class Digger(Echo):
        left = 200

        def next_wakeup(self) -> float:
            return -inf if self.left else inf

        def wake(self) -> None:
            self.left -= 1

    digger = Digger()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(digger.run)
        await trio.lowlevel.checkpoint()
        digger.mailbox.tell(Note("so that the next one cannot be inline"))
        assert await digger.mailbox.ask(Question("hello")) == "HELLO"
        assert digger.left > 100
        nursery.cancel_scope.cancel()


# -------------------------------------------------------------------------------------------------------------- crashes


async def test_a_handler_that_raises_ends_run_with_that_exception() -> None:
    echo = Echo()
    for text in ("one", "boom", "two"):
        echo.mailbox.tell(Note(text))
    with pytest.raises(BugError):
        await echo.run()
    assert echo.log == ["one", "boom"]
    assert echo.mailbox.pending == 1


async def crashed(echo: Echo, crash: Callable[[], object]) -> BaseException | None:
    """Run `echo`, crash it, and return what left its `run`."""
    left: list[BaseException] = []

    async def run() -> None:
        try:
            await echo.run()
        except BugError as exc:
            left.append(exc)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        crash()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return left[0] if left else None


async def test_a_handler_that_raises_inline_ends_the_actor_and_not_the_caller() -> None:
    echo = Echo()
    question = Question("boom")
    cause = await crashed(echo, lambda: echo.mailbox.offer(question))
    assert isinstance(cause, BugError)
    with pytest.raises(EngineClosedError) as info:
        await echo.mailbox.ask(question)  # its reply is answered already
    assert info.value.__cause__ is cause


async def test_after_an_inline_crash_nothing_more_is_run_inline() -> None:
    echo = Echo()

    def crash() -> None:
        assert echo.mailbox.offer(Note("boom"))
        assert not echo.mailbox.offer(Note("too late"))
        echo.mailbox.tell(Note("unread"))

    await crashed(echo, crash)
    assert echo.log == ["boom"]
    assert echo.mailbox.pending == 1


async def test_a_next_wakeup_that_raises_inline_ends_the_actor_and_not_the_caller() -> None:
    class Confused(Echo):
        def next_wakeup(self) -> float:
            if self.log:
                raise BugError("next_wakeup")
            return inf

    confused = Confused()
    question = Question("hello")
    cause = await crashed(confused, lambda: confused.mailbox.offer(question))
    assert isinstance(cause, BugError)
    assert question.reply.take() == "HELLO"


async def test_an_inline_crash_is_not_lost_when_the_actor_is_cancelled_in_the_same_moment() -> None:
    echo = Echo()
    left: list[BaseException] = []
    scope = trio.CancelScope()

    async def run() -> None:
        try:
            with scope:
                await echo.run()
        except BugError as exc:
            left.append(exc)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        echo.mailbox.offer(Note("boom"))
        scope.cancel()
    assert len(left) == 1


async def test_a_wake_that_raises_ends_the_actor() -> None:
    class Snoozer(Echo):
        def next_wakeup(self) -> float:
            return -inf

        def wake(self) -> None:
            raise BugError("wake")

    with pytest.raises(BugError, match="wake"):
        await Snoozer().run()


async def test_an_actor_that_crashed_may_run_again_and_reads_on() -> None:
    echo = Echo()
    for text in ("one", "boom", "two"):
        echo.mailbox.tell(Note(text))
    with pytest.raises(BugError):
        await echo.run()
    echo.give_up_in_hand(BugError("boom"))
    async with running(echo):
        assert echo.log == ["one", "boom", "two"]
        assert await echo.mailbox.ask(Question("three")) == "THREE"
        assert echo.mailbox.statistics().inline_asks == 1


async def test_an_actor_that_crashed_inline_may_run_again() -> None:
    echo = Echo()
    assert isinstance(await crashed(echo, lambda: echo.mailbox.offer(Note("boom"))), BugError)
    async with running(echo):
        assert await echo.mailbox.ask(Question("hello")) == "HELLO"
        echo._timer.cancel()  # a timer that rings must not bring up the old crash
        await trio.testing.wait_all_tasks_blocked()
        assert await echo.mailbox.ask(Question("again")) == "AGAIN"
    assert echo.log == ["boom", "hello", "again"]


# ----------------------------------------------------------------------------------------------------------------- stop


async def answers_of(*questions: Question) -> list[BaseException | str]:
    """What each of them got; every one of them has an answer."""
    answers: list[BaseException | str] = []
    for question in questions:
        value = question.reply.take()
        assert value is not None, f"{question.text!r} was never answered"
        answers.append(value if isinstance(value, str) else value.make())
    return answers


async def test_stopping_answers_what_was_not_read_and_what_is_owed() -> None:
    echo = Echo()
    owed, unread, told = Question("later"), Question("unread"), Note("unread")
    async with running(echo):
        assert echo.mailbox.offer(owed)
    # `running` has stopped it with no cause
    echo.mailbox.tell(unread)
    echo.mailbox.tell(told)
    for error in await answers_of(owed, unread):
        assert isinstance(error, EngineClosedError)
        assert error.__cause__ is None


async def test_stopping_before_the_first_run_answers_what_was_told() -> None:
    echo = Echo()
    question = Question("hello")
    echo.mailbox.tell(question)
    echo.mailbox.tell(Note("hello"))
    echo.stop(BugError("another actor's"))
    (error,) = await answers_of(question)
    assert isinstance(error, EngineClosedError)
    assert isinstance(error.__cause__, BugError)


async def test_stopping_twice_answers_nobody_twice() -> None:
    echo = Echo()
    question = Question("hello")
    echo.mailbox.tell(question)
    echo.stop(None)
    echo.stop(BugError("too late"))
    (error,) = await answers_of(question)
    assert isinstance(error, EngineClosedError)
    assert error.__cause__ is None


async def test_stopping_twice_hands_over_what_is_unread_once() -> None:
    handed_over: list[list[str]] = []

    class Careful(Echo):
        def on_stop(self, unread: list[Any], cause: BaseException | None) -> None:
            handed_over.append([message.text for message in unread])

    careful = Careful()
    careful.mailbox.tell(Note("boom"))
    careful.mailbox.tell(Note("unread"))
    with pytest.raises(BugError) as info:
        await careful.run()
    careful.stop(info.value)
    careful.stop(None)
    assert handed_over == [["boom", "unread"], []]


async def test_an_actor_that_is_stopped_while_it_is_parked_handles_nothing_more() -> None:
    echo = Echo()
    async with running(echo):
        echo.stop(None)
        assert not echo.mailbox.offer(Note("too late"))
        with pytest.raises(EngineClosedError):
            await echo.mailbox.ask(Question("too late"))
        assert echo.log == []


async def test_the_question_in_hand_when_the_handler_crashed_is_answered() -> None:
    echo = Echo()
    boom, unread = Question("boom"), Question("unread")
    echo.mailbox.tell(boom)
    echo.mailbox.tell(unread)
    with pytest.raises(BugError) as info:
        await echo.run()
    echo.stop(info.value)
    for error in await answers_of(boom, unread):
        assert isinstance(error, EngineClosedError)
        assert error.__cause__ is info.value


async def test_a_question_answered_before_the_handler_crashed_keeps_its_answer() -> None:
    class Late(Echo):
        def handle(self, message: Any) -> None:
            super().handle(message)
            raise BugError("after the answer")

    late = Late()
    question = Question("hello")
    late.mailbox.tell(question)
    with pytest.raises(BugError) as info:
        await late.run()
    late.stop(info.value)
    assert await answers_of(question) == ["HELLO"]


async def test_whoever_asks_a_dying_actor_is_never_left_waiting() -> None:
    errors: list[EngineClosedError] = []
    echo = Echo()

    async def ask(text: str) -> None:
        with pytest.raises(EngineClosedError) as info:
            await echo.mailbox.ask(Question(text))
        errors.append(info.value)

    async with trio.open_nursery() as nursery:
        for text in ("later", "later", "boom", "unread"):
            nursery.start_soon(ask, text)
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(BugError) as info:
            await echo.run()
        echo.stop(info.value)
    assert len(errors) == 4
    assert all(error.__cause__ is info.value for error in errors)


# -------------------------------------------------------------------------------------------------------------- workers


async def test_a_worker_handles_one_message_at_a_time(autojump_clock: MockClock) -> None:
    clerk = Clerk(work_s=1.0)
    async with running(clerk):
        begun = trio.current_time()
        questions = [Question(str(number)) for number in range(5)]
        for question in questions:
            clerk.mailbox.tell(question)
        assert await questions[-1].reply.wait() == "4"
        assert trio.current_time() - begun == 5.0
    assert clerk.log == ["0", "1", "2", "3", "4"]


async def test_workers_that_share_a_mailbox_take_each_message_once(autojump_clock: MockClock) -> None:
    mailbox: Mailbox[Any] = Mailbox("pool", inf)
    clerks = [Clerk(mailbox, work_s=1.0) for _ in range(8)]
    async with running(*clerks):
        begun = trio.current_time()
        questions = [Question(str(number)) for number in range(64)]
        for question in questions:
            mailbox.tell(question)
        for question in questions:
            await question.reply.wait()
        assert trio.current_time() - begun == 8.0
    assert sorted(int(text) for clerk in clerks for text in clerk.log) == list(range(64))


async def test_a_worker_cancelled_anywhere_leaves_every_question_answered() -> None:
    for step in every_cancellation():
        clerk = Clerk()
        questions = [Question("one"), Question("two"), Question("last")]
        for question in questions:
            clerk.mailbox.tell(question)
        with step, pytest.raises(BugError):
            await run_until_answered(clerk, questions[-1])
        clerk.stop(None)
        answers = await answers_of(*questions)
        assert all(isinstance(answer, str | EngineClosedError) for answer in answers)
        assert step.fired or answers == ["ONE", "TWO", "LAST"]


async def run_until_answered(clerk: Clerk, question: Question) -> None:
    """Run in this very task, so that its steps are the worker's; ends by a crash behind the last question."""
    assert clerk.mailbox.pending
    clerk.mailbox.tell(Note("boom"))
    await clerk.run()
    assert question.reply.answered


async def test_a_worker_that_is_cancelled_can_still_tell_a_fact() -> None:
    echo = Echo()

    class Reporter(Worker[Note]):
        async def handle(self, message: Note) -> None:
            try:
                await trio.sleep_forever()
            finally:  # an await would do nothing here
                echo.mailbox.tell(Note("it was cancelled"))

    reporter = Reporter(Mailbox("reporter", inf))
    async with running(echo):
        async with running(reporter):
            reporter.mailbox.tell(Note("work"))
            await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        assert echo.log == ["it was cancelled"]


# --------------------------------------------------------------------------------------------------------------- Ctrl-C


class Interrupted(Decider[Any]):
    """Gets a Ctrl-C in the middle of its handler, its wake-up and its stop."""

    def __init__(self, done: list[str]) -> None:
        super().__init__(Mailbox("interrupted", inf))
        self.done = done
        self.due = inf

    def handle(self, message: Note | Question) -> None:
        signal.raise_signal(signal.SIGINT)
        if isinstance(message, Question):
            message.reply.send("answered")
        if message.text == "arm":
            self.due = -inf
        self.done.append(message.text)

    def next_wakeup(self) -> float:
        return self.due

    def wake(self) -> None:
        self.due = inf
        signal.raise_signal(signal.SIGINT)
        self.done.append("wake")

    def on_stop(self, unread: list[Any], cause: BaseException | None) -> None:
        signal.raise_signal(signal.SIGINT)
        super().on_stop(unread, cause)
        self.done.append("stop")


@pytest.mark.parametrize("way", ["told", "inline", "wake"])
def test_ctrl_c_in_the_middle_of_a_handler_comes_after_it(way: str) -> None:
    done: list[str] = []

    async def main() -> None:
        actor = Interrupted(done)
        async with running(actor):
            if way == "inline":
                await actor.mailbox.ask(Question("hello"))
            else:
                actor.mailbox.tell(Note("arm" if way == "wake" else "hello"))
            await trio.sleep_forever()

    with pytest.raises((KeyboardInterrupt, BaseExceptionGroup)) as info:
        trio.run(main)
    assert holds_only(info.value, KeyboardInterrupt)
    assert done == {"told": ["hello"], "inline": ["hello"], "wake": ["arm", "wake"]}[way]


def holds_only(exc: BaseException, kind: type[BaseException]) -> bool:
    """Whether `exc` is of that kind, or a group of nothing else."""
    if isinstance(exc, BaseExceptionGroup):
        return all(holds_only(inner, kind) for inner in exc.exceptions)
    return isinstance(exc, kind)


def test_ctrl_c_during_a_stop_comes_after_everybody_was_answered() -> None:
    done: list[str] = []
    questions = [Question(str(number)) for number in range(3)]

    async def main() -> None:
        actor = Interrupted(done)
        for question in questions:
            actor.mailbox.tell(question)
        actor.stop(None)
        assert all(question.reply.answered for question in questions)
        assert done == ["stop"]
        await trio.lowlevel.checkpoint()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert done == ["stop"]


def test_ctrl_c_reaches_the_caller_that_waits() -> None:
    log: list[str] = []

    async def main() -> None:
        echo = Echo()
        echo.log = log
        async with running(echo) as nursery:

            async def press() -> None:
                await trio.testing.wait_all_tasks_blocked()
                signal.raise_signal(signal.SIGINT)

            nursery.start_soon(press)
            await echo.mailbox.ask(Question("later"))

    with pytest.raises((KeyboardInterrupt, BaseExceptionGroup)) as info:
        trio.run(main)
    assert holds_only(info.value, KeyboardInterrupt)
    assert log == ["later"]
