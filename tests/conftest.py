"""What do all tests share?  The soak's size and seed, hypothesis' settings, an environment without keys."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ("tests.servers",)  # real servers: llmock and llama.cpp

FULL_SOAK = 100_000
"""Operations of one soak test in `make soak`; `make test` does a twentieth."""

KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL")

# Shared machines are slow at random, so no example has a deadline; the same examples in every run, so that a red test
# stays red.  `make soak` tries a property marked `soak` twenty times as often, with examples that its seed decides on.
settings.register_profile("test", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("soak", parent=settings.get_profile("test"), max_examples=2000, derandomize=False)
settings.load_profile("test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """How long a soak test runs: about `count` operations, every choice drawn from `seed`."""

    count: int
    seed: int

    def random(self) -> random.Random:
        """A generator of its own for whoever asks, always the same one."""
        return random.Random(self.seed)


def _count(text: str) -> int:
    if text == "full":
        return FULL_SOAK
    if not text.isdecimal() or int(text) == 0:
        raise pytest.UsageError(f"--soak-count={text}: give a number of operations above 0, or full")
    return int(text)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("soak")
    group.addoption("--soak-count", type=_count, default=FULL_SOAK // 20, help="operations of a soak test, or `full`")
    group.addoption("--soak-seed", type=int, default=1, help="where its choices come from")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("soak_count") > FULL_SOAK // 20:
        settings.load_profile("soak")


def pytest_report_header(config: pytest.Config) -> str:
    return f"soak: --soak-count={config.getoption('soak_count')} --soak-seed={config.getoption('soak_seed')}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "soak" in getattr(item, "fixturenames", ()):
            item.add_marker("soak")


@pytest.fixture
def soak(pytestconfig: pytest.Config) -> Soak:
    """The size and the seed of this run; whoever takes it is marked `soak`."""
    return Soak(count=pytestconfig.getoption("soak_count"), seed=pytestconfig.getoption("soak_seed"))


@pytest.fixture(scope="session", autouse=True)
def _no_real_endpoint() -> Iterator[None]:
    """No test can reach a paid service by accident: the keys and addresses of this machine are hidden."""
    with pytest.MonkeyPatch.context() as patch:
        for name in KEYS:
            patch.delenv(name, raising=False)
        yield
