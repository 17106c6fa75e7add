"""Does a provider keep the promises of `Provider`?

    async def test_my_provider_keeps_its_promises():
        await check_provider(MyProvider(...))

Every check takes a provider that answers, alone or in front of a real server, and raises an `AssertionError` that says
which promise was broken and what came instead.  What only a server that obeys can show, a failure of each kind, is
checked with `faults`.  Nothing here needs pytest; under trio's `MockClock` nothing here takes real time.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, get_args

import trio

from synth_actors.providers.base import (
    Allowance,
    Call,
    Completion,
    Fault,
    Provider,
    ProviderError,
    RateLimits,
    RemoteProvider,
)
from synth_actors.types import Request, StopReason, Usage

Arrange = Callable[[], Awaitable[None] | None]
"""Has the next call of the provider fail in one way; plain or `async`."""

REQUEST = Request(prompt="Two sentences about otters.", max_tokens=64)
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
AT_ONCE = 8
CANCELS = 16
ANSWERS_WITHIN_S = 60.0
LEAVES_WITHIN_S = 5.0
CLOSING_STEPS = 10
"""So many turns a call may still take when it is cancelled, to close what it has open; then it went on all the same."""

ENGINES_OWN = frozenset({Fault.TIMED_OUT, Fault.OUTPUT_INVALID, Fault.BUG})
UNNOTICED_STEPS = 2
"""The end of an operation that went well is no place to be cancelled: so many turns may pass until it is noticed."""

_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


async def check_provider(
    provider: Provider, *, request: Request = REQUEST, faults: Mapping[Fault, Arrange] | None = None
) -> None:
    """Everything below, one after the other; closes the provider in the end.

    Makes about forty calls of `request`, half of which are cancelled, and three more for each of `faults`.

    Raises:
        AssertionError: a promise was broken; it says which.
    """
    for check in CHECKS:
        await check(provider, request)
    if faults is not None:
        await check_faults(provider, request, faults)
    await check_aclose(provider)


async def check_names(provider: Provider, request: Request = REQUEST) -> None:
    """`name`, `model` and `identity` are there and stay as they are."""
    before = [getattr(provider, what, None) for what in ("name", "model", "identity")]
    _promise(all(isinstance(name, str) and name for name in before), "name, model and identity are texts", before)
    await _answer(provider, request, None)
    after = [provider.name, provider.model, provider.identity]
    _promise(after == before, "name, model and identity never change", after)


async def check_whole(provider: Provider, request: Request = REQUEST) -> None:
    """Without `emit` the whole answer comes in one piece, with all that is noted on the way."""
    notes = _Notes()
    _check_notes(notes, await _answer(provider, request, None, notes))


async def check_stream(provider: Provider, request: Request = REQUEST) -> None:
    """With `emit` the pieces are the answer, and none comes from elsewhere or too late."""
    heard, notes = _Heard(), _Notes()
    completion = await _answer(provider, request, heard.emit, notes)
    heard.over = True
    _check_pieces(heard, completion)
    _check_notes(notes, completion)
    await trio.lowlevel.checkpoint()
    _promise(not heard.late, "nothing is emitted when the call is over", heard.late)


async def check_concurrency(provider: Provider, request: Request = REQUEST) -> None:
    """Calls that run at the same time do not mix."""

    async def one(number: int) -> None:
        heard, notes = _Heard(), _Notes()
        sample = request.model_copy(update={"sample_index": number})
        try:
            completion = await _answer(provider, sample, heard.emit, notes)
            _check_pieces(heard, completion)
            _check_notes(notes, completion)
        except AssertionError as exc:  # whoever calls this looks for one, not for a group
            broken.append(exc)

    broken: list[AssertionError] = []
    async with trio.open_nursery() as nursery:
        for number in range(AT_ONCE):
            nursery.start_soon(one, number)
    if broken:
        raise broken[0]


async def check_cancellation(provider: Provider, request: Request = REQUEST) -> None:
    """A call may be cancelled before it begins, at each of its first moments and in the middle of its text."""
    for number in range(CANCELS):
        if not await _cancelled(provider, request, _CancelAt(number)):
            break
    await _cancelled(provider, request, _CancelAt(None))
    await check_stream(provider, request)  # it is as good as before


async def check_bound(provider: Provider, request: Request = REQUEST) -> None:
    """What comes from a server is not read beyond `max_response_bytes`."""
    if not isinstance(provider, RemoteProvider):
        return
    heard = _Heard()
    for emit in (None, heard.emit):
        error = await _failure(provider, Call(request=request, json_schema=None, max_response_bytes=1), emit)
        _promise(error.fault is Fault.TOO_LARGE, "an answer beyond max_response_bytes is TOO_LARGE", error.fault)
    await check_stream(provider, request)


async def check_faults(provider: Provider, request: Request, faults: Mapping[Fault, Arrange]) -> None:
    """Every failure that can be arranged is told as what it is, streamed and whole, and the next call goes well.

    Raises:
        ValueError: one of `faults` is the engine's own: no provider raises it.
    """
    if ours := ENGINES_OWN & faults.keys():
        raise ValueError(f"faults: {sorted(fault.name for fault in ours)} are raised by the engine; leave them out")
    for fault, arrange in faults.items():
        schema = SCHEMA if fault is Fault.SCHEMA_REFUSED else None
        for emit in (None, _Heard().emit):
            if (arranging := arrange()) is not None:
                await arranging
            error = await _failure(provider, Call(request=request, json_schema=schema), emit)
            _promise(error.fault is fault, f"this failure is {fault.name}", f"{error.fault.name}: {error}")
            _check_error(error)
        await _answer(provider, request, None)


async def check_aclose(provider: Provider) -> None:
    """`aclose` comes to its end."""
    with trio.move_on_after(ANSWERS_WITHIN_S) as scope:
        await provider.aclose()
    _promise(not scope.cancelled_caught, f"aclose ends within {ANSWERS_WITHIN_S:g} s", "it did not")


CHECKS: tuple[Callable[[Provider, Request], Awaitable[None]], ...] = (
    check_names,
    check_whole,
    check_stream,
    check_concurrency,
    check_cancellation,
    check_bound,
)
"""What holds for a provider whose server nobody can tell what to do."""


def _promise(kept: bool, promise: str, found: object) -> None:
    if not kept:
        raise AssertionError(f"a provider promises that {promise}; this one: {found!r:.500}")


class _Heard:
    """What was emitted, by whom, and when."""

    def __init__(self) -> None:
        self.pieces: list[Any] = []
        self.late: list[Any] = []
        self.over = False
        self.elsewhere = False
        self._thread = threading.get_ident()

    def emit(self, piece: Any) -> None:
        """Never raises, as it is promised to providers."""
        self.elsewhere |= threading.get_ident() != self._thread
        (self.late if self.over else self.pieces).append(piece)


class _Notes:
    """What was noted during one call."""

    def __init__(self) -> None:
        self.usages: list[Any] = []
        self.limits: list[Any] = []


async def _answer(
    provider: Provider, request: Request, emit: Callable[[str], None] | None, notes: _Notes | None = None
) -> Completion:
    notes = notes or _Notes()
    call = Call(request=request, json_schema=None, note_usage=notes.usages.append, note_limits=notes.limits.append)
    try:
        with trio.move_on_after(ANSWERS_WITHIN_S):
            completion = await provider.generate(call, emit)
            _check_completion(completion)
            return completion
    except ProviderError as exc:
        raise AssertionError(f"no call could be made to check the provider: {exc.fault.name}: {exc}") from exc
    raise AssertionError(f"the provider did not answer within {ANSWERS_WITHIN_S:g} s")


async def _failure(provider: Provider, call: Call, emit: Callable[[str], None] | None) -> ProviderError:
    completion: Completion | None = None
    try:
        with trio.move_on_after(ANSWERS_WITHIN_S):
            completion = await provider.generate(call, emit)
    except ProviderError as exc:
        return exc
    what = "it hung" if completion is None else completion
    raise AssertionError(f"a provider promises that a call that fails raises ProviderError; this one: {what!r:.500}")


class _CancelAt(trio.abc.Instrument):
    """A scope that is cancelled before its call begins, at a moment of it, or (None) when it first emits a text.

    The moments are two for each turn of the task: when it has parked, and when it is about to go on.
    """

    def __init__(self, moment: int | None) -> None:
        self.scope = trio.CancelScope()
        self.steps_after = 0
        self.late: list[str] = []
        self.ended_s = 0.0
        self.before_it_began = moment == 0
        self._moment = moment
        self._task = trio.lowlevel.current_task()
        if self.before_it_began:
            self.fire()

    def fire(self) -> None:
        if not self.scope.cancel_called:
            self.ended_s = trio.current_time() + LEAVES_WITHIN_S
            self.scope.cancel()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task and self.scope.cancel_called:
            self.steps_after += 1
        self._at_moment(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._at_moment(task)

    def _at_moment(self, task: trio.lowlevel.Task) -> None:
        if task is self._task and self._moment is not None and not self.scope.cancel_called:
            self._moment -= 1
            if self._moment <= 0:
                self.fire()

    def emit(self, piece: str) -> None:
        if self.steps_after > UNNOTICED_STEPS:
            self.late.append(piece)
        elif self._moment is None:
            self.fire()


async def _cancelled(provider: Provider, request: Request, at: _CancelAt) -> bool:
    """Make one call and cancel it; False when it was over before."""
    trio.lowlevel.add_instrument(at)
    returned = False
    try:
        with at.scope:
            await provider.generate(Call(request=request, json_schema=None), at.emit)
            returned = True
    except ProviderError as exc:
        if at.scope.cancel_called:
            raise AssertionError(
                f"a provider promises that trio.Cancelled leaves as itself; this one: {exc!r}"
            ) from exc
        raise AssertionError(f"no call could be made to check the provider: {exc.fault.name}: {exc}") from exc
    finally:
        trio.lowlevel.remove_instrument(at)
    if not at.scope.cancel_called:
        return False
    went_on = returned and (at.before_it_began or at.steps_after > CLOSING_STEPS)
    _promise(not at.late, "a cancelled call emits nothing more", at.late)
    _promise(not went_on, "trio.Cancelled is never swallowed", "it returned an answer")
    _promise(trio.current_time() <= at.ended_s, f"a cancelled call ends within {LEAVES_WITHIN_S:g} s", "it did not")
    return True


def _check_completion(completion: Any) -> None:
    _promise(isinstance(completion, Completion), "generate returns a Completion", completion)
    _promise(isinstance(completion.text, str), "its text is a str", completion.text)
    stop = completion.stop_reason
    _promise(stop in get_args(StopReason), f"stop_reason is one of {get_args(StopReason)}", stop)
    model = completion.model
    _promise(model is None or (isinstance(model, str) and bool(model)), "model is a name or None", model)
    _check_usage(completion.usage)


def _check_usage(usage: Any) -> None:
    _promise(isinstance(usage, Usage), "usage is a Usage", usage)
    counts = [getattr(usage, name) for name in _TOKENS]
    _promise(all(type(count) is int and count >= 0 for count in counts), "tokens are ints, and not below 0", usage)
    _promise(usage.cost_usd in (0.0, None), "usage holds tokens, not dollars", usage)


def _check_pieces(heard: _Heard, completion: Completion) -> None:
    _promise(all(isinstance(piece, str) for piece in heard.pieces), "pieces of text are str", heard.pieces)
    _promise(not heard.elsewhere, "emit is called in the thread of the call", "another thread")
    text = "".join(heard.pieces)
    _promise(text == completion.text, "what was emitted is the text", (text, completion.text))


def _check_notes(notes: _Notes, completion: Completion) -> None:
    for usage in notes.usages:
        _check_usage(usage)
        over = [name for name in _TOKENS if getattr(usage, name) > getattr(completion.usage, name)]
        _promise(not over, "what is noted is no more than the whole", (usage, completion.usage))
    for limits in notes.limits:
        _promise(isinstance(limits, RateLimits), "note_limits takes a RateLimits", limits)
        for allowance in (limits.requests, limits.input_tokens, limits.output_tokens, limits.tokens):
            _promise(allowance is None or _is_sane(allowance), "limits are None or not below 0", limits)


def _is_sane(allowance: Allowance) -> bool:
    values = (allowance.limit, allowance.remaining, allowance.reset_s)
    return all(value is None or (math.isfinite(value) and value >= 0) for value in values)


def _check_error(error: ProviderError) -> None:
    _promise(bool(str(error).strip()), "an error says what went wrong", error)
    wish = error.retry_after_s
    _promise(wish is None or (math.isfinite(wish) and wish >= 0), "retry_after_s is None or not below 0", wish)
    _check_usage(error.usage)
