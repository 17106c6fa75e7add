"""Does a user who opens a flame graph see it, and does a click widen a box?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.flame_graph import to_html
from benchmarks.profiling import Frame, Profile, hottest
from tests.browser import Browser, browser_or_skip

MAIN, LEFT, RIGHT = Frame("main", "m.py", 1), Frame("left</b>", "a.py", 2), Frame("right", "b.py", 3)
WIDTHS = "[...document.querySelectorAll('button')].filter(b => !b.hidden).map(b => [b.textContent, b.offsetWidth])"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browser_or_skip() as started:
        yield started


def test_a_click_widens_a_box_escape_shows_all_and_the_page_asks_for_nothing(browser: Browser, tmp_path: Path) -> None:
    stacks: dict[tuple[Frame, ...], float] = {(MAIN, LEFT): 3.0, (MAIN, RIGHT): 1.0}
    profile = Profile(kind="cpu", tool="t", about="a", total=4.0, hottest=hottest(stacks), stacks=stacks)
    path = tmp_path / "flame.html"
    path.write_text(to_html(profile), encoding="utf-8")
    tab = browser.open(path, width=800)
    whole = dict(tab.evaluate(WIDTHS))
    assert list(whole) == ["all", "main", "right", "left</b>"]
    assert whole["left</b>"] == pytest.approx(0.75 * whole["main"], abs=2)
    tab.evaluate("[...document.querySelectorAll('button')].find(b => b.textContent == 'right').click()")
    widened = dict(tab.evaluate(WIDTHS))
    assert widened == {name: pytest.approx(whole["all"], abs=2) for name in ("all", "main", "right")}
    tab.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))")
    assert dict(tab.evaluate(WIDTHS)) == whole
    tab.evaluate("document.querySelectorAll('button')[3].focus()")
    assert tab.evaluate("document.querySelector('output').textContent") == "left</b>  a.py:2: 3.000 s, 75.0 %"
    assert tab.complaints() == []
    assert tab.requested() == [path.as_uri()]
