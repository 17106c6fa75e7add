"""What does a server answer that allows only so many calls at once?

`python tests/integration/limited_server.py --allow 30 --latency 0.1 --retry-after 1` speaks the Messages API and the
Chat Completions API in a process of its own, with nothing but the standard library: it prints its address and ends
with the process that started it.  At most `--allow` calls are in flight, each for `--latency` seconds; the others get
429 at once.  A streamed answer has `--chunks` pieces of text, `--gap` seconds apart (0: all in one write); one
that is not streamed takes as long and comes whole.  With
`--hold N` nobody is answered before N calls are in flight.

`--spread S` draws the latencies log-normally around `--latency`; `--per-token T` adds T seconds for each token that the
request allows (`max_tokens`).  The share `--fail` of the calls gets a 500, the share `--reject` a 429, both at once.
All is drawn from `--seed`.

It is cheap: about a tenth of the CPU of a client on an SDK, so that it is no limit of those who measure with it.

`GET /figures` says what it did: calls accepted, rejected, failed, left by their client, in flight now and at the most;
connections made, its own included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from random import Random

BACKLOG = 4096
PIECE = "otter "
LOOKS_FOR_PARENT_S = 0.5
MAX_TOKENS = re.compile(rb'"max(?:_completion)?_tokens": ?(\d+)')


@dataclass(slots=True)
class Figures:
    """What the server did since it started."""

    accepted: int = 0
    rejected: int = 0
    failed: int = 0
    left: int = 0
    connections: int = 0
    in_flight: int = 0
    most_in_flight: int = 0


class Server:
    """What all connections share: the rules, the figures, the answers, which are always the same."""

    def __init__(self, rules: argparse.Namespace) -> None:
        self.rules = rules
        self.figures = Figures()
        self.loop = asyncio.get_running_loop()
        self.whole = {chat: answer(200, whole_answer(chat, rules.chunks)) for chat in (False, True)}
        self.streamed = {chat: [chunk(event) for event in events(chat, rules.chunks)] for chat in (False, True)}
        self.held: list[Callable[[], None]] = []
        self.random = Random(rules.seed)
        self.failure = answer(500, {"error": {"type": "api_error", "message": "the dice said so", "code": "api_error"}})
        self.rejection = answer(429, {"error": rejection()}, f"retry-after: {rules.retry_after:g}\r\n")

    def admit(self) -> bool:
        """Whether one more may be in flight; counted either way."""
        figures = self.figures
        if figures.in_flight >= self.rules.allow or self.random.random() < self.rules.reject:
            figures.rejected += 1
            return False
        figures.accepted += 1
        figures.in_flight += 1
        figures.most_in_flight = max(figures.most_in_flight, figures.in_flight)
        return True

    def fails(self) -> bool:
        """Whether one goes wrong; counted."""
        failed: bool = self.random.random() < self.rules.fail
        self.figures.failed += failed
        return failed

    def latency_s(self, body: bytes) -> float:
        """How long one takes."""
        latency_s: float = self.rules.latency
        if self.rules.spread:
            latency_s *= self.random.lognormvariate(0.0, self.rules.spread)
        if self.rules.per_token and (found := MAX_TOKENS.search(body)):
            latency_s += self.rules.per_token * int(found[1])
        return latency_s

    def hold(self, reply: Callable[[], None]) -> None:
        """Reply when enough calls are here, and from then on at once."""
        self.held.append(reply)
        if self.figures.most_in_flight >= self.rules.hold:
            held, self.held = self.held, []
            for reply in held:
                reply()


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
        self.server.figures.connections += 1

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = content_length(head)
        if len(rest) >= length:
            self.buffer = rest[length:]
            self.take(head, rest[:length])

    def take(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET /figures"):
            self.transport.write(answer(200, asdict(self.server.figures)))
        elif self.server.fails():
            self.transport.write(self.server.failure)
        elif not self.server.admit():
            self.transport.write(self.server.rejection)
        else:
            chat = b"/chat/completions" in head[: head.index(b"\r\n")]
            streamed = b'"stream":true' in body or b'"stream": true' in body
            self.busy = True
            reply = partial(self.reply, chat=chat, streamed=streamed)
            self.server.hold(partial(self.later, self.server.latency_s(body), reply))

    def later(self, delay_s: float, what: Callable[[], None]) -> None:
        if self.busy:  # it may have left while it was held
            self.due = self.server.loop.call_later(delay_s, what)

    def reply(self, *, chat: bool, streamed: bool) -> None:
        rules = self.server.rules
        if not streamed:  # whoever writes a piece at a time needs as long when nobody looks on
            self.later(rules.chunks * rules.gap, partial(self.end, self.server.whole[chat]))
        elif rules.gap:
            self.transport.write(STREAM_HEAD)
            self.go_on(self.server.streamed[chat], 0)
        else:
            self.end(STREAM_HEAD + b"".join(self.server.streamed[chat]) + LAST_CHUNK)

    def go_on(self, chunks: list[bytes], number: int) -> None:
        if number == len(chunks):
            self.end(LAST_CHUNK)
            return
        self.transport.write(chunks[number])
        self.later(self.server.rules.gap, partial(self.go_on, chunks, number + 1))

    def end(self, data: bytes) -> None:
        self.busy = False
        self.server.figures.in_flight -= 1
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.due is not None:
            self.due.cancel()
        if self.busy:
            self.busy = False
            self.server.figures.in_flight -= 1
            self.server.figures.left += 1


def content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


# The bytes.

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def answer(status: int, document: object, more: str = "") -> bytes:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{more}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def rejection() -> dict[str, str]:
    return {"type": "rate_limit_error", "message": "too many calls at once", "code": "rate_limit_exceeded"}


def whole_answer(chat: bool, chunks: int) -> dict[str, object]:
    text = PIECE * chunks
    if chat:
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 10, "completion_tokens": chunks, "total_tokens": 10 + chunks}
        return {**HEAD_OF_CHAT, "object": "chat.completion", "choices": [choice], "usage": usage}
    return message([{"type": "text", "text": text}], "end_turn", chunks)


def message(content: list[dict[str, str]], stop_reason: str | None, tokens: int) -> dict[str, object]:
    usage = {"input_tokens": 10, "output_tokens": tokens}
    head = {"id": "1", "type": "message", "role": "assistant", "model": "otter"}
    return {**head, "content": content, "stop_reason": stop_reason, "stop_sequence": None, "usage": usage}


HEAD_OF_CHAT: dict[str, object] = {"id": "1", "created": 0, "model": "otter"}


def events(chat: bool, chunks: int) -> list[bytes]:
    """The events of a streamed answer, ready to be framed."""
    return chat_events(chunks) if chat else message_events(chunks)


def chat_events(chunks: int) -> list[bytes]:
    def event(choices: list[object], **more: object) -> bytes:
        document = {**HEAD_OF_CHAT, "object": "chat.completion.chunk", "choices": choices, **more}
        return b"data: %b\n\n" % json.dumps(document).encode()

    piece = event([{"index": 0, "delta": {"content": PIECE}, "finish_reason": None}])
    stop = event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    usage = {"prompt_tokens": 10, "completion_tokens": chunks, "total_tokens": 10 + chunks}
    return [*[piece] * chunks, stop, event([], usage=usage), b"data: [DONE]\n\n"]


def message_events(chunks: int) -> list[bytes]:
    def event(kind: str, **more: object) -> bytes:
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **more}).encode())

    piece = event("content_block_delta", index=0, delta={"type": "text_delta", "text": PIECE})
    stopped = {"stop_reason": "end_turn", "stop_sequence": None}
    return [
        event("message_start", message=message([], None, 1)),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *[piece] * chunks,
        event("content_block_stop", index=0),
        event("message_delta", delta=stopped, usage={"output_tokens": chunks}),
        event("message_stop"),
    ]


# The process.


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--allow", type=int, default=sys.maxsize)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--retry-after", type=float, default=1.0)
    parser.add_argument("--chunks", type=int, default=1)
    parser.add_argument("--gap", type=float, default=0.0)
    parser.add_argument("--hold", type=int, default=0)
    parser.add_argument("--spread", type=float, default=0.0)
    parser.add_argument("--per-token", type=float, default=0.0)
    parser.add_argument("--fail", type=float, default=0.0)
    parser.add_argument("--reject", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parent", type=int, default=os.getppid())  # may have ended already when this is read
    parser.add_argument("--backlog", type=int, default=BACKLOG)
    return parser.parse_args(argv)


async def main(rules: argparse.Namespace) -> None:
    """Serve until the parent has ended."""
    server = Server(rules)
    listening = await server.loop.create_server(partial(Connection, server), "127.0.0.1", 0, backlog=rules.backlog)
    sys.stdout.write(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    while os.getppid() == rules.parent:  # noqa: ASYNC110 - another process: there is no event to wait for
        await asyncio.sleep(LOOKS_FOR_PARENT_S)


if __name__ == "__main__":
    asyncio.run(main(parse(sys.argv[1:])))
