"""What does a user see who opens a page in Chromium?

A headless one is driven over two pipes with the DevTools protocol (messages of JSON, each ended by NUL), so that no
port is open and no package needed.  Everything that goes wrong in a page is kept: exceptions, errors of the console,
what its policy refused.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_S = 30.0  # a hang becomes a failure; nothing here takes more than a second or two
FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--proxy-server=127.0.0.1:9",  # nothing listens there: no page and no part of the browser reaches a network
)
# The browser reads commands from descriptor 3 and answers on 4; a process of our own cannot say so beforehand.
_WITH_PIPES = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execvp(sys.argv[3], sys.argv[3:])"
)
Json = dict[str, Any]


class BrowserError(AssertionError):
    """The browser refused what a test asked for, or did not answer."""


def installed() -> str | None:
    """The path of a Chromium; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name)) is not None), None)


@dataclass(slots=True)
class Browser:
    """A running Chromium: `call` is one command of the protocol, `events` what it told meanwhile."""

    process: subprocess.Popen[bytes]
    to: int
    back: int
    events: list[Json] = field(default_factory=list)
    _last: int = 0
    _rest: bytes = b""

    def call(self, method: str, session: str | None = None, **parameters: object) -> Json:
        """Ask, and wait for the answer."""
        self._last += 1
        message: Json = {"id": self._last, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") != self._last:
                self.events.append(answer)
            elif "error" in answer:
                raise BrowserError(f"{method}: {answer['error']['message']}")
            else:
                result: Json = answer["result"]
                return result

    def _next(self) -> Json:
        until = time.monotonic() + PATIENCE_S
        while b"\0" not in self._rest:
            if not select.select([self.back], [], [], max(0.0, until - time.monotonic()))[0]:
                raise BrowserError(f"no answer within {PATIENCE_S:g} s")
            if not (more := os.read(self.back, 1 << 20)):
                raise BrowserError("the browser has ended")
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        found: Json = json.loads(message)
        return found

    def open(
        self, path: Path, *, width: int = 1280, scheme: Literal["light", "dark"] = "light", scripts: bool = True
    ) -> Tab:
        """A new tab that shows a file, `width` CSS pixels wide, when it is loaded and was drawn."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(browser=self, target=target, session=session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.call(f"{domain}.enable")
        tab.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        tab.resize(width)
        tab.prefer(scheme)
        tab.call("Page.navigate", url=path.absolute().as_uri())
        tab.wait_for("Page.loadEventFired")
        if scripts:
            tab.settle()
        return tab


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    """One page."""

    browser: Browser
    target: str
    session: str

    def call(self, method: str, **parameters: object) -> Json:
        """One command for this page."""
        return self.browser.call(method, self.session, **parameters)

    def wait_for(self, event: str) -> None:
        """Until the page has told this."""
        while not any(self._told(event)):
            self.browser.events.append(self.browser._next())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, a promise's when it is kept.

        It runs beside the page's policy, which is for what the page itself brings.
        """
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise BrowserError(json.dumps(done["exceptionDetails"]))
        return done["result"].get("value")

    def settle(self) -> None:
        """Two frames later, what follows from a load or a change of size was drawn."""
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def resize(self, width: int, height: int = 900) -> None:
        """CSS pixels; below 600 as a phone has it."""
        is_phone = width < 600
        scale = 2 if is_phone else 1
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=is_phone
        )

    def prefer(self, scheme: Literal["light", "dark"]) -> None:
        """The colour scheme that the user has chosen."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def hover(self, selector: str, across: float = 0.5) -> None:
        """The mouse over an element, at this share of its width."""
        box = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            " return [b.x, b.y, b.width, b.height]; })()"
        )
        self.settle()
        x, y, width, height = box
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + width * across, y=y + height / 2)
        self.settle()

    def screenshot(self, path: Path) -> None:
        """The whole page, as a PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def print_to(self, path: Path) -> None:
        """As a PDF."""
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"]))

    def complaints(self) -> list[str]:
        """Exceptions, errors of the console, and what the page's policy refused."""
        self.call("Page.getFrameTree")  # whatever was told before is here then
        thrown = [json.dumps(event["exceptionDetails"]) for event in self._told("Runtime.exceptionThrown")]
        logged = [event["entry"]["text"] for event in self._told("Log.entryAdded")]
        said = [json.dumps(event["args"]) for event in self._told("Runtime.consoleAPICalled")]
        return thrown + logged + said

    def requested(self) -> list[str]:
        """What the page asked for, itself included."""
        return [event["request"]["url"] for event in self._told("Network.requestWillBeSent")]

    def close(self) -> None:
        """Gone."""
        self.browser.call("Target.closeTarget", targetId=self.target)

    def _told(self, method: str) -> Iterator[Json]:
        for event in self.browser.events:
            if event.get("sessionId") == self.session and event.get("method") == method:
                yield event["params"]


@contextmanager
def running(path: str) -> Iterator[Browser]:
    """A headless browser with an empty profile, gone afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        commands, to = _pipe()
        back, answers = _pipe()
        command = [sys.executable, "-ISc", _WITH_PIPES, str(commands), str(answers)]
        process = subprocess.Popen(
            [*command, path, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        try:
            browser = Browser(process=process, to=to, back=back)
            yield browser
            browser.call("Browser.close")
        finally:
            os.close(to)
            os.close(back)
            _end(process)


def _pipe() -> tuple[int, int]:
    """Both ends of a pipe, above the descriptors that the browser wants."""
    ends = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return high[0], high[1]


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def browser_or_skip() -> Iterator[Browser]:
    """For a fixture: a headless browser; whoever takes it is skipped where no Chromium is installed."""
    path = installed()
    if path is None:
        pytest.skip(f"no Chromium is installed: none of {', '.join(NAMES)} is on the PATH")
    with running(path) as started:
        yield started
