"""Which servers, and which command, do the tests of the main job share?"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests.integration.support import LimitedServer, LLMock, PromptServer
from tests.servers import first_line, llama_server_url, llmock_url, running

__all__ = ["llama_server_url", "llmock_url"]


@pytest.fixture
def llmock(llmock_url: str) -> Iterator[LLMock]:
    """An llmock that remembers nothing of the tests before."""
    with httpx2.Client(base_url=llmock_url, timeout=10) as client:
        client.post("/_llmock/reset").raise_for_status()
        yield LLMock(llmock_url, client)
        client.post("/_llmock/reset").raise_for_status()


@pytest.fixture(scope="session")
def prompt_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The root of a server whose answers are a function of the prompt alone; see `prompt_server.py`."""
    folder = tmp_path_factory.mktemp("prompt_server")
    with running([sys.executable, str(Path(__file__).with_name("prompt_server.py"))], folder) as process:
        yield first_line(process, folder)


@pytest.fixture
def prompt_server(prompt_server_url: str) -> Iterator[PromptServer]:
    """The same, with its figures counted from here."""
    with httpx2.Client(base_url=prompt_server_url, timeout=10) as client:
        yield PromptServer(prompt_server_url, client)


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., LimitedServer]]:
    """Starts a server of `limited_server.py` with the options given, until the test has ended."""
    command = [sys.executable, str(Path(__file__).with_name("limited_server.py")), "--parent", str(os.getpid())]
    with ExitStack() as stack:

        def start(*options: str) -> LimitedServer:
            folder = tmp_path_factory.mktemp("limited_server")
            process = stack.enter_context(running([*command, *options], folder))
            return LimitedServer(first_line(process, folder))

        yield start
