"""What does a model answer that is nothing but a function of the prompt?

`python tests/integration/prompt_server.py` serves both wire formats in a process of its own, with nothing but the
standard library: it prints its address and runs until it is ended.  The name of the model decides how it behaves:

- `reader` writes the rows that the numbered lines ask for, from the values drawn for each line and nothing else
- `deaf` writes the same row on every line, whatever the prompt says
- `whole` is a `reader` that never streams: it answers in one piece also when a stream was asked for
- `holds` is a `reader` that keeps every call waiting in which a line above number 40 stands, until the client leaves

`GET /figures` says what it did: calls, tokens sent in `usage`, calls that wait now, calls whose client has left.
"""

from __future__ import annotations

import json
import re
import select
import sys
import threading
import time
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANSWERED_ROWS_OF_HOLDS = 40
LONGEST_WAIT_S = 60.0
LINE = re.compile(r"^Row (\d+)(?:: (.*))?$", re.MULTILINE)


@dataclass
class Figures:
    """What the server did since it started."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    waiting: int = 0
    left: int = 0


class PromptServer(ThreadingHTTPServer):
    """Answers each call in a thread."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.figures = Figures()
        self.lock = threading.Lock()

    def add(self, **more: int) -> None:
        with self.lock:
            for name, value in more.items():
                setattr(self.figures, name, getattr(self.figures, name) + value)


class Handler(BaseHTTPRequestHandler):
    server: PromptServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with self.server.lock:
            figures = asdict(self.server.figures)
        self.reply(figures)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        prompt = body["messages"][-1]["content"]
        self.server.add(calls=1)
        if body["model"] == "holds" and rows_in(prompt)[-1][0] > ANSWERED_ROWS_OF_HOLDS:
            self.hold()
            return
        text = json.dumps({"rows": [row_of(body["model"], line) for _, line in rows_in(prompt)]})
        used = len(json.dumps(body["messages"])) // 4, len(text) // 4
        self.server.add(input_tokens=used[0], output_tokens=used[1])
        chat = self.path.endswith("/chat/completions")
        answer = (as_chat if chat else as_message)(body["model"], text, *used)
        if body.get("stream") and body["model"] != "whole":
            self.send((chat_events if chat else message_events)(answer, text), "text/event-stream")
        else:
            self.reply(answer)

    def hold(self) -> None:
        """Wait until the client closes its connection; it is sent nothing."""
        self.server.add(waiting=1)
        ends = time.monotonic() + LONGEST_WAIT_S
        while time.monotonic() < ends:
            readable, _, _ = select.select([self.connection], [], [], 1.0)
            if readable:  # the client owes nothing more: this is the end of the connection
                break
        self.server.add(waiting=-1, left=1)
        self.close_connection = True

    def reply(self, document: dict[str, Any]) -> None:
        self.send(json.dumps(document).encode(), "application/json")

    def send(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def rows_in(prompt: str) -> list[tuple[int, str]]:
    """The numbers and the drawn values of the lines that ask for rows."""
    return [(int(number), drawn) for number, drawn in LINE.findall(prompt)]


def row_of(model: str, drawn: str) -> dict[str, Any]:
    """A row for the schema of tests/integration/support.py, of the values that were drawn for its line."""
    if model == "deaf":
        drawn = ""
    starts = re.search(r'name starts with "(\w*)"', drawn)
    near = re.search(r"score near (\d+)", drawn)
    plan = re.search(r'plan = "(\w+)"', drawn)
    return {
        "name": (starts[1] if starts else "") + "omas",
        "score": int(near[1]) if near else 7,
        "plan": plan[1] if plan else "free",
    }


def as_chat(model: str, text: str, tokens_in: int, tokens_out: int) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
    return {"id": "1", "object": "chat.completion", "model": model, "created": 0, "choices": [choice], "usage": usage}


def as_message(model: str, text: str, tokens_in: int, tokens_out: int) -> dict[str, Any]:
    return {
        "id": "1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": tokens_in, "output_tokens": tokens_out},
    }


def chat_events(answer: dict[str, Any], text: str) -> bytes:
    head = {name: answer[name] for name in ("id", "model", "created")} | {"object": "chat.completion.chunk"}
    deltas = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces_of(text)]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    events = [*deltas, end, {"choices": [], "usage": answer["usage"]}]
    return b"".join(b"data: %b\n\n" % json.dumps({**head, **event}).encode() for event in events) + b"data: [DONE]\n\n"


def message_events(answer: dict[str, Any], text: str) -> bytes:
    start = {**answer, "content": [], "stop_reason": None, "usage": {**answer["usage"], "output_tokens": 1}}
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces_of(text)]
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": answer["usage"]},
        {"type": "message_stop"},
    ]
    named = [(str(event["type"]).encode(), json.dumps(event).encode()) for event in events]
    return b"".join(b"event: %b\ndata: %b\n\n" % (kind, data) for kind, data in named)


def pieces_of(text: str, size: int = 200) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


if __name__ == "__main__":
    server = PromptServer()
    sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()
