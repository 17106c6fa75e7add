"""What do the tests share that run a whole suite?"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture
def frozen_heap() -> Iterator[None]:
    """What is there already stays out of the collections that come before each figure: they would look at all of it."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
