"""Which number lies within the bounds, is a multiple where it must be, and looks right for its field?

Numbers are drawn as whole multiples of a step in exact arithmetic and turned into a float once, by one correctly
rounded division: the same digits on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from synth_actors.sampling.errors import UnsatisfiableError
from synth_actors.sampling.kinds import DRAWN, NUMBERS, Range
from synth_actors.sampling.names import Hint, kind_of

if TYPE_CHECKING:
    from synth_actors.sampling.merge import Flat
    from synth_actors.sampling.record import Context

Number = int | float
_TRIES = 60


class Grid:
    """The numbers low*step, (low+1)*step … high*step."""

    __slots__ = ("bottom", "high", "low", "top")

    def __init__(self, low: int, high: int, step: Fraction) -> None:
        self.low = low
        self.high = high
        self.top = step.numerator
        self.bottom = step.denominator

    def number(self, k: int, *, as_int: bool) -> Number:
        """The k-th multiple of the step."""
        return k * self.top // self.bottom if as_int or self.bottom == 1 else k * self.top / self.bottom

    def holds(self, value: Number) -> bool:
        """Whether the value lies between the ends and on a multiple, as exactly as its digits say."""
        if type(value) is int:  # without fractions: eight times as quick
            multiple, rest = divmod(value * self.bottom, self.top)
            return rest == 0 and self.low <= multiple <= self.high
        k = exact(value) * self.bottom / self.top
        return k.denominator == 1 and self.low <= k <= self.high

    def within(self, usual: Range) -> Grid | None:
        """The part of the grid in a usual range; None when that is empty."""
        step = Fraction(self.top, self.bottom)
        low = max(self.low, math.ceil(exact(usual.low) / step))
        high = min(self.high, math.floor(exact(usual.high) / step))
        return Grid(low, high, step) if low <= high else None


def exact(value: Number) -> Fraction:
    """The number that the digits say, not the nearest binary one."""
    return Fraction(str(value))


def number_maker(flat: Flat, hint: Hint, *, integer: bool) -> Callable[[Context], Number]:
    """A maker of numbers for a schema of type number or integer.

    Raises:
        UnsatisfiableError: no number lies within the bounds.
    """
    kind = kind_of(hint)
    usual = NUMBERS.get(kind or "")
    if kind in ("uuid", "code", "order_number", "invoice_number", "sku", "barcode"):
        usual = NUMBERS["serial"]
    grid = grid_of(flat, integer=integer, usual=usual)
    drawn = DRAWN.get(kind or "")
    plain = _plain_maker(grid, usual, integer=integer, multiples=_floats(flat))
    if drawn is None:
        return plain
    make = drawn

    def fitting(ctx: Context) -> Number:
        value = int(make(ctx)) if integer else make(ctx)
        return value if grid.holds(value) else plain(ctx)

    return fitting


def _floats(flat: Flat) -> tuple[float, ...]:
    return tuple(m for m in flat.get("multipleOf", ()) if isinstance(m, float) and not m.is_integer())


def _plain_maker(
    grid: Grid, usual: Range | None, *, integer: bool, multiples: tuple[float, ...]
) -> Callable[[Context], Number]:
    chosen = (grid.within(usual) if usual else None) or grid
    low, width = chosen.low, chosen.high - chosen.low + 1
    skew = usual.skew if usual else 1.0

    def make(ctx: Context) -> Number:
        if width < 1 << 40:
            k = low + int(ctx.stream.random() ** skew * width)
        else:
            k = ctx.stream.between(low, low + width - 1)
        return chosen.number(k, as_int=integer)

    if not multiples:
        return make

    def agreed(ctx: Context) -> Number:
        """A multiple that also is one in binary arithmetic, which is how some validators divide."""
        value = make(ctx)
        for _ in range(_TRIES):
            if all((value / m).is_integer() for m in multiples):
                break
            value = make(ctx)
        return value

    return agreed


def grid_of(flat: Flat, *, integer: bool, usual: Range | None) -> Grid:
    """All numbers that the keywords allow, as finely as the field needs.

    Raises:
        UnsatisfiableError: there are none.
    """
    low, high = _ends(flat, usual)
    step = _step(flat, integer=integer)
    if step is None:
        decimals = usual.decimals if usual else 2
        step = Fraction(1, 10**decimals)
        while high - low < 20 * step and step > Fraction(1, 10**300) and (high - low > 0):
            step /= 10
        if low == high:
            step = Fraction(1, max(low.denominator, 1))
    first = math.floor(low / step) + 1 if _is_open(flat, "exclusiveMinimum", low) else math.ceil(low / step)
    last = math.ceil(high / step) - 1 if _is_open(flat, "exclusiveMaximum", high) else math.floor(high / step)
    if first > last:
        named = next(
            (k for k in ("multipleOf", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum") if flat.get(k)),
            "minimum",
        )
        raise UnsatisfiableError(named, flat.path, "no number lies within the bounds")
    return Grid(first, last, step)


def _is_open(flat: Flat, keyword: str, end: Fraction) -> bool:
    return keyword in flat.keywords and exact(flat.get(keyword)) == end


def _step(flat: Flat, *, integer: bool) -> Fraction | None:
    steps = [exact(m) for m in flat.get("multipleOf", ())] + ([Fraction(1)] if integer else [])
    if not steps:
        return None
    step = steps[0]
    for other in steps[1:]:
        step = Fraction(math.lcm(step.numerator, other.numerator), math.gcd(step.denominator, other.denominator))
    return step


def _ends(flat: Flat, usual: Range | None) -> tuple[Fraction, Fraction]:
    lows = [exact(flat.get(k)) for k in ("minimum", "exclusiveMinimum") if k in flat.keywords]
    highs = [exact(flat.get(k)) for k in ("maximum", "exclusiveMaximum") if k in flat.keywords]
    low, high = max(lows, default=None), min(highs, default=None)
    steps = sum((exact(m) for m in flat.get("multipleOf", ())), Fraction(0))
    span = max(Fraction(1000), 100 * steps, *(abs(end) for end in (low, high) if end is not None))
    wish = (
        (exact(usual.low), exact(usual.high))
        if usual
        else (Fraction(0) if steps or high is None else Fraction(1), span)
    )
    if low is None and high is None:
        return wish if usual else (Fraction(1), span)
    if low is None:
        assert high is not None
        return (wish[0] if wish[0] <= high else high - span), high
    if high is None:
        return low, (wish[1] if wish[1] > low else low + span)
    if low > high:
        raise UnsatisfiableError("maximum", flat.path, f"the bounds {float(low)} and {float(high)} leave no number")
    return low, high


def read_as_text(make: Callable[[Context], Number], valid: Callable[[Any], bool]) -> Callable[[Context], Number]:
    """Numbers of `make` whose digits `valid` accepts, with fewer decimals where that is what it takes."""

    def fitting(ctx: Context) -> Number:
        value = make(ctx)
        for decimals in (None, 2, 1, 0):
            shown = value if decimals is None else round(value, decimals)
            if valid(str(shown)):
                return shown
        return value

    return fitting
