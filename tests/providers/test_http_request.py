"""Is every request of an endpoint the same but for its body, and is nothing secret shown of it?"""

from __future__ import annotations

import httpx2
import pytest

from synth_actors.providers.build import build_provider
from synth_actors.providers.http_client import Transport
from synth_actors.providers.http_request import RequestForm
from tests.providers.dialects import CANARY, Dialect, call
from tests.providers.server import Server, json_reply


@pytest.mark.parametrize("transport", ["lean", "httpx2"])
async def test_the_tenth_request_has_the_headers_of_the_first_but_for_the_length_of_its_body(
    dialect: Dialect, server: Server, transport: Transport
) -> None:
    server.answer = lambda _: json_reply(dialect.whole(), headers={"set-cookie": "session=7"})
    provider = build_provider(dialect.endpoint(server.url, extra_headers={"x-team": "otters"}), transport)
    for number in range(10):
        await provider.generate(call(prompt="Otters?" * (number + 1)), None)
    await provider.aclose()
    lengths = [int(received.headers.pop("content-length")) for received in server.received]
    assert lengths == sorted(set(lengths)), "each has its own"
    first, *others = server.received
    assert (first.path, first.headers["x-team"]) == (dialect.path, "otters")
    assert any(CANARY in value for value in first.headers.values())
    assert all((received.path, received.headers) == (first.path, first.headers) for received in others)
    assert [received.body["messages"][-1]["content"].count("Otters?") for received in server.received] == [
        *range(1, 11)
    ]


def test_a_form_shows_the_names_of_its_headers_alone() -> None:
    one = httpx2.Request("POST", "http://host/v1?token=hidden", headers={"x-api-key": "secret"}, content=b"a")
    form = RequestForm.of(one)
    assert repr(form) == "<RequestForm <headers host, x-api-key>>"
    other = form.filled(b"four")
    assert (other.url, other.headers["content-length"], other.headers["x-api-key"]) == (one.url, "4", "secret")
