"""Is every way to end an answer understood, and is a connection kept exactly when it may be?

Both transports against a scripted server, plain and over TLS; each answer comes in one piece and then byte by byte.
"""

from __future__ import annotations

import httpx2
import pytest
import trio

from tests.wire.framings import FRAMINGS, Framing, with_length
from tests.wire.scripted import Peer, Script
from tests.wire.transports import PATIENCE_S, Name, Wire

each_framing = pytest.mark.parametrize("framing", FRAMINGS, ids=lambda framing: framing.name)

NEVER_KEPT: dict[Name, set[str]] = {
    "httpx2": {"HTTP/1.0 that stays open"},  # h11 ends every connection of HTTP/1.0
    "lean": {framing.name for framing in FRAMINGS if framing.method == "HEAD"},  # llhttp cannot tell that it has ended
}
REFUSED: dict[Name, set[str]] = {
    "httpx2": set(),
    "lean": {"the same length twice"},  # RFC 9110, section 8.6, lets a client refuse it
}


def answers(framing: Framing) -> Script:
    """The framing at `/whole` and, byte by byte, at `/bytewise`; a plain answer anywhere else."""

    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            if request.target not in ("/whole", "/bytewise"):
                peer.send(with_length(b"next"))
                continue
            (peer.send if request.target == "/whole" else peer.send_bytewise)(framing.sent)
            if framing.ends == "fin":
                peer.end()
            if framing.ends == "closes":
                return

    return script


@each_framing
async def test_an_answer_is_whole_and_its_connection_kept_where_it_may_be(wire: Wire, framing: Framing) -> None:
    if framing.name in REFUSED[wire.name]:
        await is_refused(wire, framing)
        return
    with wire.serve(answers(framing)) as server, trio.fail_after(PATIENCE_S):
        async with wire.client(timeout=None) as client:  # as the engine has it: its own deadline is all there is
            for target in ("/whole", "/bytewise"):
                answer = await client.request(framing.method, server.url + target)
                assert (answer.status_code, answer.content) == (framing.status, framing.body)
                assert (await client.post(server.url + "/next")).content == b"next"
    kept = framing.reusable and framing.name not in NEVER_KEPT[wire.name]
    assert [request.target for request in server.requests] == ["/whole", "/next", "/bytewise", "/next"]
    assert server.connections == (1 if kept else 3), "one more for each answer after which none may follow"


async def is_refused(wire: Wire, framing: Framing) -> None:
    with wire.serve(answers(framing)) as server:
        async with wire.client() as client:
            with pytest.raises(httpx2.RemoteProtocolError):
                await client.request(framing.method, server.url + "/whole")
