"""How much more memory does a process take to stream a large body?

`python tests/wire/large_body_client.py URL AUTHORITIES.pem BYTES` reads `URL/download` and writes as many bytes to
`URL/upload`, piece by piece, and prints as one line of JSON what passed and by how many bytes the highest resident
memory of the process grew.  What is loaded and opened once is loaded and opened before, by a small request each.
"""

from __future__ import annotations

import json
import resource
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx2
import trio

from synth_actors.wire.transport import LeanTransport

PIECE = bytes(64 * 1024)


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield PIECE


async def download(client: httpx2.AsyncClient, url: str, size_bytes: int) -> int:
    """The bytes that came."""
    came_bytes = 0
    async with client.stream("GET", f"{url}/download/{size_bytes}") as answer:
        async for piece in answer.aiter_raw():
            came_bytes += len(piece)
    return came_bytes


async def upload(client: httpx2.AsyncClient, url: str, size_bytes: int) -> int:
    """The bytes that the server says it got."""
    return int((await client.post(f"{url}/upload", content=pieces(size_bytes // len(PIECE)))).text)


def forget_highest() -> None:
    """Loading takes some megabytes more than what is loaded: count from what is resident now, where Linux lets us."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def highest_bytes() -> int:
    """Of resident memory, so far."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, whose `ru_maxrss` begins with that of the process that started this one
        (peak,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(peak.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: in bytes


async def main(url: str, authorities: str, size: str) -> None:
    context = ssl.create_default_context(cafile=authorities)
    async with httpx2.AsyncClient(transport=LeanTransport(verify=context), timeout=60) as client:
        for pass_each in (download, upload):
            await pass_each(client, url, len(PIECE))
        forget_highest()
        before_bytes = highest_bytes()
        came = {pass_each.__name__: await pass_each(client, url, int(size)) for pass_each in (download, upload)}
    sys.stdout.write(json.dumps({**came, "grown_bytes": highest_bytes() - before_bytes}) + "\n")


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3])
