"""Is a connection kept alive through the minutes that a model may think?"""

from __future__ import annotations

import socket

import pytest
import trio

from synth_actors.wire.connecting import Origin, connect


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="the system has no such options")
async def test_a_silent_connection_is_probed_before_a_translator_of_addresses_forgets_it() -> None:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, trio.abc.AsyncResource.aclose, listeners)
        port = listeners[0].socket.getsockname()[1]
        connection = await connect(Origin(is_tls=False, host="127.0.0.1", port=port, server_name=""), None, 10.0)
        raw = connection._wire._socket
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1, "trio's, which its owner keeps"
        connection.close()
        nursery.cancel_scope.cancel()
