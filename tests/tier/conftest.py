"""What is every connection to a tier's file made of, where a disk is to fail?"""

from __future__ import annotations

import sqlite3

import pytest

from tests.tier.support import Broken


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> type[Broken]:
    """Every connection is one of these."""
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, **options, factory=Broken))
    monkeypatch.setattr(Broken, "failing", None)
    monkeypatch.setattr(Broken, "times", 0)
    return Broken
