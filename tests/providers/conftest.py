"""Which fixtures do the tests of the providers share?"""

from __future__ import annotations

from tests.servers import llama_server_url, llmock_url

__all__ = ["llama_server_url", "llmock_url"]
