"""What was really asked and answered?  A server that writes it down, in a process of its own.

`python tests/jobs/ledger_server.py FOLDER --seed 1` speaks the Chat Completions API with nothing but the standard
library: it prints its address and ends with the process that started it.  The base URL of a job is `ADDRESS/NAME/v1`,
its ledger is `FOLDER/NAME.ledger`, a line for each event:

    begun HASH SAMPLE ROWS      a request with this body was read: the rows asked for (1,2,3), and how often before
    answered HASH               its answer begins to be sent

What it answers is a function of the rows and of the sample alone, see `reply`: mostly what was asked for, at times a
text that is cut, too short or followed by prose, a row that is not valid, or one that repeats another.  An answer takes
1 to 30 ms, and longer the more are asked for at once, so that those who may ask for many really have many in flight.
`GET /quiet` is answered when nobody else is connected any more: then the ledgers say all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import sys
from base64 import b64encode
from functools import partial
from hashlib import sha256
from pathlib import Path

MODEL = "ledger"
LOOKS_FOR_PARENT_S = 0.5
LEAST_DELAY_S, MORE_DELAY_S = 0.001, 0.029
ANSWERS_PER_S = 400.0
"""Fewer than a client can ask for."""
SURE_FROM = 2
"""From this sample on everything is in order, so that no row is ever given up."""
PLANS = ("free", "pro", "team")
WORD = 12
WORDS = 120

SCHEMA: dict[str, object] = {
    "type": "object",
    "required": ["id", "name", "plan", "age", "note"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "integer"},
        "name": {"type": "string"},
        "plan": {"enum": list(PLANS)},
        "age": {"type": "integer", "minimum": 18, "maximum": 90},
        "note": {"type": "string"},
    },
}


# The answers.


def fresh(row: int, sample: int) -> dict[str, object]:
    """A valid row unlike all others."""
    chance = random.Random(f"{row}/{sample}")
    text = b64encode(chance.randbytes(WORD * WORDS * 3 // 4)).decode()
    note = " ".join(text[first : first + WORD] for first in range(0, len(text), WORD))
    return {"id": row, "name": f"n{row}", "plan": chance.choice(PLANS), "age": chance.randint(18, 90), "note": note}


def row_of(row: int, sample: int) -> dict[str, object]:
    """What comes for a row: 3 % invalid, 3 % equal to an earlier one, 2 % nearly so, the others fresh."""
    fate = random.Random(f"fate {row}/{sample}").random() if sample < SURE_FROM else 1.0
    if fate < 0.03:
        return {**fresh(row, sample), "plan": "gold"}
    if fate < 0.06 and row > 1:
        return fresh(row // 2, 0)
    if fate < 0.08 and row > 1:
        return {**fresh(row // 2, 0), "age": 18}
    return fresh(row, sample)


def reply(rows: tuple[int, ...], sample: int) -> tuple[str, str]:
    """The text for a question and its `finish_reason`."""
    fate = random.Random(f"answer {rows}/{sample}").random() if sample < SURE_FROM else 1.0
    made = [row_of(row, sample) for row in rows]
    text = json.dumps({"rows": made})
    if fate < 0.06:
        return text[: int(len(text) * fate / 0.06)], "length"
    if fate < 0.09:
        return json.dumps({"rows": made[:-1]}), "stop"
    if fate < 0.12:
        return f"{text}\n```\nThat is all of them.", "stop"  # not before: then the provider asks in other words
    return text, "stop"


def question_in(prompt: str) -> tuple[tuple[int, ...], int]:
    """The numbers of the rows that a prompt asks for, and how often one of them was asked for before."""
    again = re.search(r", try (\d+)\)", prompt.partition("\n")[0])
    rows = tuple(int(number) for number in re.findall(r"^Row (\d+)", prompt, re.MULTILINE))
    return rows, int(again[1]) - 1 if again else 0


# The process.


class Server:
    """What all connections share."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.open = self.in_flight = 0
        self.chance = random.Random(seed)
        self._folder = folder
        self._ledgers: dict[str, int] = {}
        self._quiet: list[Connection] = []

    def write_down(self, name: str, line: str) -> None:
        """One event, in the hands of the system when this returns."""
        if name not in self._ledgers:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._ledgers[name] = os.open(self._folder / f"{name}.ledger", flags, 0o666)
        os.write(self._ledgers[name], line.encode())

    def delay_s(self) -> float:
        """How long the next answer takes."""
        chance = self.chance.random()
        return LEAST_DELAY_S + MORE_DELAY_S * chance**2 + (0.5 + chance) * self.in_flight / ANSWERS_PER_S

    def when_quiet(self, connection: Connection) -> None:
        """Answer `connection` as soon as no other one is open."""
        self._quiet.append(connection)
        self.look()

    def has_left(self, connection: Connection) -> None:
        """A connection is closed."""
        self.open -= 1
        if connection in self._quiet:
            self._quiet.remove(connection)
        self.look()

    def look(self) -> None:
        """Whether it is quiet."""
        if self.open == len(self._quiet):
            waiting, self._quiet = self._quiet, []
            for connection in waiting:
                connection.transport.write(answer({"quiet": True}))


class Connection(asyncio.Protocol):
    """One connection: one call after another."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.buffer = b""
        self.due: asyncio.TimerHandle | None = None
        self.busy = False  # a call is in flight

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        if self.due is not None:
            self.due.cancel()
        self.server.in_flight -= self.busy
        self.server.has_left(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = content_length(head)
        if len(rest) >= length:
            self.buffer = rest[length:]
            self.take(head.split(b" ", 2)[1].decode(), rest[:length])

    def take(self, path: str, body: bytes) -> None:
        if path == "/quiet":
            self.server.when_quiet(self)
            return
        name, document = path.split("/")[1], json.loads(body)
        rows, sample = question_in(document["messages"][-1]["content"])
        key = sha256(body).hexdigest()[:16]
        self.server.write_down(name, f"begun {key} {sample} {','.join(map(str, rows))}\n")
        text, reason = reply(rows, sample)
        pieces = streamed(text, reason) if document.get("stream") else whole(text, reason)
        delay_s = self.server.delay_s()
        self.busy = True
        self.server.in_flight += 1
        self.due = self.server.loop.call_later(delay_s, partial(self.send, f"answered {key}\n", name, pieces))

    def send(self, line: str, name: str, pieces: list[bytes]) -> None:
        self.server.write_down(name, line)
        self.go_on(pieces)

    def go_on(self, pieces: list[bytes]) -> None:
        """Piece after piece, with a turn for the others in between: a client may be killed in the middle."""
        self.transport.write(pieces[0])
        if pieces[1:]:
            self.due = self.server.loop.call_later(0, self.go_on, pieces[1:])
        else:
            self.busy, self.due = False, None
            self.server.in_flight -= 1


def content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    return 0


def answer(document: object) -> bytes:
    body = json.dumps(document).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def usage(text: str) -> dict[str, int]:
    tokens = len(text) // 30  # below any `max_tokens` that these rows get
    return {"prompt_tokens": 100, "completion_tokens": tokens, "total_tokens": 100 + tokens}


def whole(text: str, reason: str) -> list[bytes]:
    """An answer in one document, sent in two pieces."""
    choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": text}}
    data = answer({"id": "1", "object": "chat.completion", "model": MODEL, "choices": [choice], "usage": usage(text)})
    return [data[: len(data) // 2], data[len(data) // 2 :]]


def streamed(text: str, reason: str) -> list[bytes]:
    """An answer as a stream: its text in two events, its end in a third one."""
    middle = len(text) // 2
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    events = [chunk(piece, None) for piece in (text[:middle], text[middle:])]
    end = chunk("", reason, usage=usage(text)) + framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    return [head + events[0], events[1], end]


def chunk(piece: str, reason: str | None, **more: object) -> bytes:
    choice = {"index": 0, "delta": {"content": piece}, "finish_reason": reason}
    document = {"id": "1", "object": "chat.completion.chunk", "model": MODEL, "choices": [choice], **more}
    return framed(b"data: %b\n\n" % json.dumps(document).encode())


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def main(rules: argparse.Namespace) -> None:
    """Serve until the parent has ended."""
    server = Server(rules.folder, rules.seed)
    listening = await server.loop.create_server(partial(Connection, server), "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    while os.getppid() == rules.parent:  # noqa: ASYNC110 - another process: there is no event to wait for
        await asyncio.sleep(LOOKS_FOR_PARENT_S)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parent", type=int, default=os.getppid())  # may have ended already when this is read
    asyncio.run(main(parser.parse_args()))
