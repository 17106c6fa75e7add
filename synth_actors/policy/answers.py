"""How does an answer become an entry of the index, and an entry an answer again?

The text is kept as bytes, which nobody can change; the rest of an answer is the same for thousands of them and is kept
once.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from typing import Final, Literal, NamedTuple

from synth_actors.policy.cache_index import STORED, Admission, CacheIndex, Entry
from synth_actors.policy.curves import Curves
from synth_actors.policy.savings import Savings
from synth_actors.snapshot import NO_CURVES, CurvesSnapshot
from synth_actors.types import Answer, Request, StopReason

LABELS_AT_MOST: Final = 1000
"""Many more than an engine has endpoints; a server may name its model otherwise in each answer."""


class Made(NamedTuple):
    """An answer, who made it, and what that took: tokens of both directions, and dollars, None if unpriced."""

    answer: Answer
    identity: str
    tokens: int
    cost_usd: float | None


class _Label(NamedTuple):
    """What many answers have in common."""

    stop_reason: StopReason
    endpoint: str
    model: str


def is_worth_keeping(answer: Answer) -> bool:
    """Whether it is whole: one that was cut or refused may come out better the next time."""
    return answer.stop_reason in ("end", "stop")


def worth_in(prices: Collection[object | None]) -> Literal["usd", "tokens"]:
    """What the answers of endpoints with these prices are compared by: dollars, unless one price is not known."""
    return "tokens" if None in prices else "usd"


class Answers:
    """The answers in `index` that were made by endpoints of `identities`, and what giving them again has saved."""

    def __init__(self, index: CacheIndex, identities: Set[str], curves: Curves | None = None) -> None:
        """`curves` hear of every lookup of a request that may use the cache; None: nobody wants to know."""
        self.index = index
        self._curves = curves
        self.savings = Savings()
        self._identities = identities
        self._labels: dict[_Label, _Label] = {}

    def find(self, key: bytes, now: float) -> Answer | None:
        """The live answer of `key`; None when there is none."""
        found = self.index.lookup(key, now=now, identities=self._identities)
        if not isinstance(found, Entry):
            return None
        self.savings.add(1, found.tokens, found.cost_usd)
        if self._curves is not None:
            self._curves.hit(key, now)
        stop_reason, endpoint, model = found.label
        text = self.index.value(found).decode("utf-8", "surrogatepass")
        return Answer(text=text, stop_reason=stop_reason, endpoint=endpoint, model=model)

    def keep(self, key: bytes, made: Made, *, now: float, ttl_s: float | None = None) -> Admission:
        """Keep an answer for `ttl_s` seconds (None: as long as the index keeps one); what became of it."""
        answer = made.answer
        label = _Label(answer.stop_reason, answer.endpoint, answer.model)
        admission = self.index.store(
            key,
            answer.text.encode("utf-8", "surrogatepass"),
            now=now,
            identity=made.identity,
            label=self._shared(label),
            tokens=made.tokens,
            cost_usd=made.cost_usd,
            ttl_s=ttl_s,
        )
        if admission is not STORED and self._curves is not None:
            self._curves.not_kept(key)
        return admission

    def missed(self, key: bytes, request: Request, now: float, *, joined: bool) -> None:
        """There was no answer: the lookup has led a flight, or has `joined` one."""
        if self._curves is None or request.cache != "use":
            return
        if joined:
            self._curves.joined(key, now)
        else:
            self._curves.led(key, request, now)

    def not_kept(self, key: bytes, request: Request) -> None:
        """The flight has brought nothing to keep: the next lookup will find none, however large the cache is."""
        if self._curves is not None and request.cache == "use":
            self._curves.not_kept(key)

    def curves_snapshot(self) -> CurvesSnapshot:
        """What the cache would have done under other settings."""
        return NO_CURVES if self._curves is None else self._curves.snapshot()

    def _shared(self, label: _Label) -> _Label:
        if len(self._labels) >= LABELS_AT_MOST:
            self._labels.clear()  # entries keep theirs
        return self._labels.setdefault(label, label)

    def __repr__(self) -> str:
        return f"<Answers {self.index!r} {self.savings!r}>"
