"""Whatever goes wrong in a test of faults: was a key seen anywhere?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.canary import FORMS, Watch, watching

UNTRACED = ("test_interrupts", "test_upstream_wire")
"""The first stops at each line that the package runs, the clock of the second is twenty times as fast as a real one."""


@pytest.fixture(autouse=True)
def canary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Watch]:
    """Every engine of every test here has canaries for keys, and nothing that it shows or writes may hold one."""
    traced = not any(name in request.node.nodeid for name in UNTRACED)
    with watching(monkeypatch, traced=traced) as watch:
        watch.folders.append(tmp_path)
        yield watch
    assert watch.leaks() == []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """What was printed, and what pytest shows of a failure, is looked at last."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if "canary" in getattr(item, "fixturenames", ()):
        shown = f"{report.capstdout}{report.capstderr}"
        if any(form in shown for form in FORMS):
            report.outcome = "failed"
            report.longrepr = f"a key was printed: {shown[-500:]}"
    return report  # type: ignore[return-value]
