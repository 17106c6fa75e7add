"""Which servers that we did not write does the wire speak to?

`python tests/wire/real_servers.py CERTIFICATE.pem` (key and chain in one file) serves one application by uvicorn (with
httptools) and by hypercorn (with h11), plain and over TLS; it prints the four addresses as one line of JSON and runs
until it is ended.  A request asks by its path for what it wants; the framing is the server's choice but where the
application names a length.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import signal
import socket
import sys
import threading
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, cast

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

TEXT = b"One sentence about otters. " * 40
PIECES = [b"piece %d " % number for number in range(50)]
ENCODED = {b"gzip": gzip.compress(TEXT, mtime=0), b"deflate": zlib.compress(TEXT)}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """One request; ASGI 3, without `lifespan`."""
    assert scope["type"] == "http"
    match scope["path"].split("/")[1:]:
        case ["echo"]:
            await _answer(send, 200, json.dumps(await _what_came(scope, receive)).encode())
        case ["pieces"]:
            await _whole(receive)
            await _pieces(send)
        case ["encoded", encoding]:
            await _whole(receive)
            name = encoding.encode()
            await _answer(send, 200, ENCODED[name], (b"content-encoding", name))
        case ["closing"]:
            await _whole(receive)
            await _answer(send, 200, TEXT, (b"connection", b"close"))
        case ["status", status]:
            await _whole(receive)
            await _answer(send, int(status), b"" if status in ("204", "304") else TEXT)
        case ["refused"]:  # before anything of the body was asked for
            await _answer(send, 413, b"too large")
        case path:
            raise ValueError(f"no such path: {path}")


async def _whole(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            return bytes(body)


async def _what_came(scope: Scope, receive: Receive) -> dict[str, object]:
    body = await _whole(receive)
    return {
        "method": scope["method"],
        "query": scope["query_string"].decode(),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "body_bytes": len(body),
        "body_sha256": hashlib.sha256(body).hexdigest(),
        "client_port": scope["client"][1],
    }


async def _pieces(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for piece in PIECES:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _answer(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    fields = list(headers) if status in (204, 304) else [(b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def run_uvicorn(listener: socket.socket, pem: str | None) -> None:
    """Until the process ends."""
    import uvicorn

    config = uvicorn.Config(
        cast("Any", application), http="httptools", lifespan="off", log_level="warning", ssl_certfile=pem
    )
    await uvicorn.Server(config).serve(sockets=[listener])


async def run_hypercorn(plain: socket.socket, secured: socket.socket, pem: str) -> None:
    """Until the process ends."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.insecure_bind, config.bind = [f"fd://{plain.detach()}"], [f"fd://{secured.detach()}"]
    config.certfile = config.keyfile = pem
    config.graceful_timeout = 0.1
    await serve(cast("Any", application), config, shutdown_trigger=asyncio.Event().wait)


async def run_all(listeners: list[socket.socket], pem: str) -> None:
    """The two servers, each of them twice."""
    plain, secured, *others = listeners
    await asyncio.gather(run_uvicorn(plain, None), run_uvicorn(secured, pem), run_hypercorn(others[0], others[1], pem))


def listen() -> socket.socket:
    """A socket on a port of the kernel's choice."""
    # Said to be TCP: asyncio turns Nagle's algorithm off only where it is said, and each answer takes 40 ms with it.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    return listener


def main(pem: str) -> None:
    """Serve until SIGTERM."""
    names = ("uvicorn-plain", "uvicorn-tls", "hypercorn-plain", "hypercorn-tls")
    listeners = [listen() for _ in names]
    schemes = {name: "https" if name.endswith("tls") else "http" for name in names}
    ports = [listener.getsockname()[1] for listener in listeners]
    urls = {name: f"{schemes[name]}://127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)}
    serving = threading.Thread(target=asyncio.run, args=(run_all(listeners, pem),), daemon=True)  # leaves signals to us
    serving.start()
    sys.stdout.write(json.dumps(urls) + "\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main(sys.argv[1])
