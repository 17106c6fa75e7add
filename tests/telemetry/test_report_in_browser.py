"""What does somebody see who opens the page: in light, in dark, on a phone, on paper, without JavaScript?

Skipped where no Chromium is installed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from synth_actors.telemetry.report import Table, page_of, units
from synth_actors.telemetry.report.assets import asset
from tests.browser import Browser, Tab, browser_or_skip
from tests.telemetry.report_samples import NASTY, long_one, nasty, sample

PHONE = 390
DRAWN = "[...document.querySelectorAll('.plot')].filter(plot => plot.querySelector('canvas')).length"
PAST_THE_EDGE = """
[...document.querySelectorAll("body *")].filter(one => !one.closest(".scroll") && !one.closest(".unseen, .said")
  && one.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
  .map(one => one.outerHTML.slice(0, 80))
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browser_or_skip() as started:
        yield started


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page on which whatever can be somebody's text is `NASTY`."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    table = Table(caption=NASTY, head=("who", NASTY), rows=[(NASTY, NASTY * 3)])
    path.write_text(page_of([nasty()], title=NASTY, facts={"command": NASTY * 5}, tables=[table]), encoding="utf-8")
    return path


def look_at_all(tab: Tab) -> int:
    """Scroll to each picture, as somebody who reads does; how many there are."""
    tab.evaluate(
        "(async () => { for (const one of document.querySelectorAll('figure')) { one.scrollIntoView();"
        " await new Promise(requestAnimationFrame); } })()"
    )
    tab.settle()
    count: int = tab.evaluate("document.querySelectorAll('.plot').length")
    return count


def lines_of(tab: Tab) -> list[str]:
    """The colours of the first chart's lines, as its legend has them."""
    colours: list[str] = tab.evaluate(
        "[...document.querySelector('.plot').querySelectorAll('.u-marker')]"
        ".map(one => getComputedStyle(one).borderColor)"
    )
    return colours


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (PHONE, "light"), (PHONE, "dark")])
def test_it_opens_without_a_complaint_asks_nobody_and_stays_in_its_width(
    browser: Browser, written: Path, width: int, scheme: str
) -> None:
    tab = browser.open(written, width=width, scheme="dark" if scheme == "dark" else "light")
    assert look_at_all(tab) == tab.evaluate(DRAWN) >= 8
    assert tab.complaints() == []
    assert tab.requested() == [written.as_uri()]
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.evaluate(PAST_THE_EDGE) == []
    tab.close()


def test_what_somebody_wrote_is_seen_as_text_and_does_nothing(browser: Browser, written: Path) -> None:
    tab = browser.open(written)
    look_at_all(tab)
    seen = NASTY.replace("\x00", "\u2400")
    assert tab.evaluate("document.images.length") == 0
    assert tab.evaluate("document.title") == seen.strip()
    assert tab.evaluate("document.querySelector('h1').textContent") == seen
    legends = tab.evaluate("[...document.querySelectorAll('.u-legend .u-label')].map(one => one.textContent)")
    assert NASTY in legends
    tab.close()


def test_whoever_smuggles_a_program_in_is_refused_by_the_policy(
    browser: Browser, written: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.html"
    attack = "<img src=x onerror='document.title=1'><script>document.title = 'hurt'</script><b style='color:red'>x</b>"
    page = written.read_text(encoding="utf-8")
    broken.write_text(page.replace("<main>", f"<main>{attack}"), encoding="utf-8")
    tab = browser.open(broken)
    assert tab.evaluate("document.title") not in ("hurt", "1")
    assert tab.evaluate("getComputedStyle(document.querySelector('b')).color") != "rgb(255, 0, 0)"
    refused = " ".join(tab.complaints())
    for directive in ("script-src", "style-src", "img-src"):
        assert directive in refused
    tab.close()


def test_the_colours_follow_the_scheme_while_it_is_open(browser: Browser, written: Path) -> None:
    tab = browser.open(written)
    look_at_all(tab)
    background = "getComputedStyle(document.body).backgroundColor"
    light = (tab.evaluate(background), lines_of(tab))
    tab.prefer("dark")
    tab.settle()
    dark = (tab.evaluate(background), lines_of(tab))
    assert light[0] != dark[0]
    assert not set(light[1]) & set(dark[1])
    tab.prefer("light")
    tab.settle()
    assert (tab.evaluate(background), lines_of(tab)) == light
    tab.close()


def test_text_can_be_read_on_its_background_in_both_schemes(browser: Browser, written: Path) -> None:
    contrast = """
    (() => {
      const canvas = document.createElement("canvas").getContext("2d");
      const light = (name) => {
        canvas.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
        const parts = canvas.fillStyle.match(/[0-9a-f]{2}/g).map((part) => parseInt(part, 16) / 255);
        const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const ratio = (one, other) => (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
      const texts = ["ink", "quiet", "accent", "good", "bad", "low", "medium", "high", "critical"];
      const lines = Array.from({ length: 8 }, (_, at) => `line-${at}`);
      const on = (name) => ["--back", "--card"].map((other) => ratio(light(`--${name}`), light(other)));
      const least = (names) => Math.min(...names.flatMap(on));
      return [least(texts), least(lines)];
    })()
    """
    for scheme in ("light", "dark"):
        tab = browser.open(written, scheme="dark" if scheme == "dark" else "light")
        text, lines = tab.evaluate(contrast)
        assert text >= 4.5, "WCAG AA"
        assert lines >= 2.9, "of graphics WCAG asks 3 to 1"
        tab.close()


def test_a_narrower_window_redraws_the_pictures(browser: Browser, written: Path) -> None:
    tab = browser.open(written)
    look_at_all(tab)
    tab.resize(700)
    tab.settle()
    tab.settle()
    assert tab.evaluate("document.documentElement.scrollWidth") == 700
    assert tab.evaluate(PAST_THE_EDGE) == []
    tab.close()


def test_hovering_shows_the_values_with_their_units(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "long.html"
    path.write_text(page_of([long_one()], title="long"), encoding="utf-8")
    tab = browser.open(path)
    look_at_all(tab)
    titles = tab.evaluate("[...document.querySelectorAll('figcaption')].map(one => one.textContent)")
    at = titles.index("Response time")
    tab.evaluate(f"document.querySelectorAll('figure')[{at}].id = 'here'")
    tab.hover("#here .u-over")
    time, p50, p99 = tab.evaluate("[...document.querySelectorAll('#here .u-value')].map(one => one.textContent)")
    number = round(float(time.removesuffix(" s")))
    point = long_one().points[number - 1]
    assert 250 < number < 350
    assert (p50, p99) == (units.duration(point.p50_s), units.duration(point.p99_s))
    beside = titles.index("Requests per second")
    assert tab.evaluate(f"document.querySelectorAll('figure')[{beside}].querySelector('.u-value').textContent") == time
    tab.hover("figure.wide .u-over", across=0.35)
    share, first = tab.evaluate(
        "[...document.querySelectorAll('figure.wide .u-value')].slice(0, 2).map(one => one.textContent)"
    )
    assert re.fullmatch(r"\d\d(\.\d)? %", share)
    assert re.fullmatch(r"[\d.]+ (ms|s)", first)
    tab.close()


def test_a_line_can_be_hidden_with_the_keyboard(browser: Browser, written: Path) -> None:
    tab = browser.open(written)
    look_at_all(tab)
    tab.evaluate("document.querySelector('.plot .u-series:nth-child(2) th').focus()")
    for kind in ("keyDown", "keyUp"):
        tab.call("Input.dispatchKeyEvent", type=kind, key="Enter")
    assert tab.evaluate("document.querySelector('.plot .u-series:nth-child(2)').classList.contains('u-off')")
    tab.close()


def test_without_javascript_tables_and_sentences_have_the_figures(browser: Browser, written: Path) -> None:
    tab = browser.open(written, scripts=False)
    tab.call("DOM.enable")
    root = tab.call("DOM.getDocument")["root"]["nodeId"]
    for selector in (".said", ".scroll table", ".tile .figure"):
        node = tab.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        box = tab.call("DOM.getBoxModel", nodeId=node)["model"]
        assert box["width"] > 50
        assert box["height"] > 10
    assert tab.call("DOM.querySelector", nodeId=root, selector="canvas")["nodeId"] == 0
    assert tab.complaints() == []
    tab.close()


def test_on_paper_everything_is_drawn_in_dark_on_white_and_open(
    browser: Browser, written: Path, tmp_path: Path
) -> None:
    tab = browser.open(written, scheme="dark")
    ink = "getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()"
    closed = "document.querySelectorAll('details:not([open])').length"
    tab.evaluate(f"addEventListener('beforeprint', () => {{ window.onPaper = [{DRAWN}, {closed}, {ink}]; }})")
    before = (tab.evaluate(closed), lines_of(tab))
    tab.print_to(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert tab.evaluate("window.onPaper") == [tab.evaluate("document.querySelectorAll('.plot').length"), 0, "#16202c"]
    tab.settle()
    assert (tab.evaluate(closed), lines_of(tab)) == before
    assert tab.complaints() == []
    tab.close()


# No ties: of two figures equally near, Python takes the even one and JavaScript the larger one.
FIGURES: dict[str, tuple[Callable[[float], str], list[float]]] = {
    "s": (units.duration, [0, 1e-6, 9.995e-5, 0.0009994, 0.0009996, 0.01, 0.0999, 0.9994, 0.9996, 9.99, 75.24, 4312.4]),
    "bytes": (units.size_of, [0, 1, 999, 1024, 1023 * 1024, 66.27 * 2**20, 999 * 2**20, 5 * 2**30, 2**52]),
    "1/s": (units.rate, [0, 0.25, 9.994, 9.996, 99.94, 99.96, 45388.2]),
    "": (units.count, [0, 7, 1234567, 2.5]),
    "USD": (units.dollars, [0, 1e-7, 0.00078, 0.0303, 0.5, 1, 1234.5]),
    "share": (units.share, [0, 0.0001, 0.3333, 0.99951, 1]),
}


def test_pictures_and_tables_write_figures_alike(browser: Browser, written: Path) -> None:
    _, _, rest = asset("page.js").partition("  // Figures:")
    writers, _, _ = rest.partition("  // Axes.")
    tab = browser.open(written)
    for unit, (by_python, values) in FIGURES.items():
        write = f"{json.dumps(values)}.map((value) => exact({json.dumps(unit)}, value))"
        program = f"(() => {{ //{writers}\nreturn {write}; }})()"
        assert tab.evaluate(program) == [by_python(value) for value in values]
    program = f"(() => {{ //{writers}\nreturn [1, 2, 10, 20, 100, 150, 1000, 1e4, 1e6].map(percentile); }})()"
    assert tab.evaluate(program) == ["0 %", "50 %", "90 %", "95 %", "99 %", "99.33 %", "99.9 %", "99.99 %", "99.9999 %"]
    tab.close()


def test_a_page_of_a_run_that_did_nothing_draws_nothing_and_complains_of_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "empty.html"
    path.write_text(page_of([], title="empty"), encoding="utf-8")
    tab = browser.open(path, width=PHONE)
    assert tab.evaluate(DRAWN) == 0
    assert tab.complaints() == []
    tab.close()


def test_one_point_alone_is_drawn(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "short.html"
    recording = sample()
    path.write_text(page_of([replace(recording, points=recording.points[:1])], title="short"), encoding="utf-8")
    tab = browser.open(path)
    assert look_at_all(tab) == tab.evaluate(DRAWN)
    assert tab.complaints() == []
    tab.close()
