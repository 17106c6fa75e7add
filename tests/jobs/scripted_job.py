"""What does a job meet, whose server does what a script says?

A script is a function of the question: which rows, for the how manieth time.  `Model` plays it in this process on
trio's clock, `Server` over HTTP for the real command line; both keep a ledger of what they were asked.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import trio

from synth_actors.cli.app import run_command
from synth_actors.config import Endpoint, Price
from synth_actors.datasets.jobs.job import JobSpec
from synth_actors.datasets.jobs.job_result import JobResult
from synth_actors.datasets.jobs.journal_file import Standing, read_standing
from synth_actors.datasets.jobs.open_job import open_job
from synth_actors.providers.base import Call, Completion, Emit, Fault, ProviderError
from synth_actors.types import StopReason, Usage

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"id": {"type": "integer", "minimum": 1}, "note": {"type": "string", "minLength": 3}},
    "required": ["id", "note"],
    "additionalProperties": False,
}
WORDS = ["".join(random.Random(n).choices("abdegiklmnoprstuvz", k=4 + n % 5)) for n in range(800)]
INPUT_TOKENS, OUTPUT_TOKENS = 1000, 200
USED = Usage(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS)
PRICE = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 5.0}
COST_USD = 0.002
"""Of one answer, at `PRICE`."""
THREADS_ANSWER_WITHIN_S = 0.002
"""For a `MockClock`: it jumps when nothing happened for so long, the journal's thread included."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question: the numbers of its rows, from 1, and how often one of them was asked for before."""

    rows: tuple[int, ...]
    sample: int

    @classmethod
    def read(cls, prompt: str) -> Asked:
        """What a prompt asks for."""
        again = re.search(r"try (\d+)\)", prompt)
        rows = re.findall(r"^Row (\d+)", prompt, re.MULTILINE)
        return cls(tuple(map(int, rows)), int(again[1]) - 1 if again else 0)

    @property
    def chance(self) -> random.Random:
        """A generator whose numbers are a function of the question."""
        return random.Random(f"{self.rows}/{self.sample}")


@dataclass(frozen=True, slots=True)
class Said:
    """A whole answer."""

    text: str
    stop_reason: StopReason = "end"


@dataclass(frozen=True, slots=True)
class Fails:
    """No answer, but a status of HTTP; 0: the connection is cut."""

    status: int
    message: str = "it is so"


Script = Callable[[Asked], Said | Fails]
FAULTS = {401: Fault.FATAL, 429: Fault.RATE_LIMITED, 503: Fault.OVERLOADED, 0: Fault.UNREACHABLE, 500: Fault.FAILED}


def row(number: int, sample: int = 0) -> dict[str, Any]:
    """A valid row that is like no other."""
    words = random.Random(f"{number}/{sample}").choices(WORDS, k=9)
    return {"id": number, "note": " ".join(words)}


def rows_text(asked: Asked) -> str:
    """The JSON that is asked for."""
    return json.dumps({"rows": [row(number, asked.sample) for number in asked.rows]})


def all_right(asked: Asked) -> Said:
    """What was asked for, at once."""
    return Said(rows_text(asked))


def no_delay(_asked: Asked) -> float:
    """At once."""
    return 0.0


class Model:
    """A provider that plays a script, each answer after `delay_s(asked)`; it keeps what it was asked, and answered."""

    def __init__(self, script: Script = all_right, *, delay_s: Callable[[Asked], float] = no_delay) -> None:
        self.name = self.model = self.identity = "model"
        self.script = script
        self.asked: list[Asked] = []
        self.answered: list[Asked] = []
        self.in_flight = self.most_in_flight = 0
        self._delay_s = delay_s

    async def generate(self, call: Call, emit: Emit | None) -> Completion:
        asked = Asked.read(call.request.prompt or "")
        self.asked.append(asked)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await trio.sleep(self._delay_s(asked))
        finally:
            self.in_flight -= 1
        answer = self.script(asked)
        if isinstance(answer, Fails):
            status = answer.status if answer.status != 500 else None  # 500: accepted, and then the connection breaks
            raise ProviderError(FAULTS[answer.status], answer.message, status=status or None)
        self.answered.append(asked)
        if emit is not None:
            emit(answer.text)
        return Completion(text=answer.text, stop_reason=answer.stop_reason, usage=USED)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def spec_of(folder: Path, model: Model, **changes: Any) -> JobSpec:
    """A job of 60 rows, 5 a request, 4 requests at once, from `model` at `PRICE` to `folder`/rows.jsonl."""
    endpoint = Endpoint(provider=model, price=Price.model_validate(PRICE))
    fields: dict[str, Any] = {"count": 60, "rows_per_request": 5, "concurrency": 4, "output": folder / "rows.jsonl"}
    return JobSpec(**{"schema": SCHEMA, "endpoints": [endpoint], **fields, **changes})


async def finish(spec: JobSpec, **wish: bool) -> JobResult:
    """Run a job as far as it comes."""
    async with open_job(spec, **wish) as job:
        return await job.finish()


def standing_of(folder: Path) -> Standing:
    """What the journal says."""
    return read_standing(folder / "rows.jsonl.journal")


def assert_whole(output: Path, count: int) -> None:
    """All rows are there, each valid, in order, and no two equal."""
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [each["id"] for each in rows] == list(range(1, count + 1))
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for each in rows:
        validator.validate(each)
    assert len({each["note"] for each in rows}) == count


# The command line.


class Server(ThreadingHTTPServer):
    """Plays a script over HTTP, as an OpenAI-compatible server does, whoever asks; `key` is the one it knows."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.asked: list[Asked] = []
        self.answered: list[Asked] = []
        self.keys: list[str] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked = Asked.read(body["messages"][-1]["content"])
        with self.server.lock:
            self.server.asked.append(asked)
            self.server.keys.append(self.headers.get("authorization", ""))
            answer = self.server.script(asked)
            if isinstance(answer, Said):
                self.server.answered.append(asked)
        match answer:
            case Fails(0):
                self.close_connection = True
            case Fails(status, message):
                self._reply(status, {"error": {"message": message, "type": "scripted"}})
            case Said(text, stop_reason):
                self._reply(200, _chat(text, stop_reason))

    def _reply(self, status: int, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(OSError):  # the client has left
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def _chat(text: str, stop_reason: StopReason) -> dict[str, Any]:
    ended = {"end": "stop", "max_tokens": "length"}[stop_reason]
    choice = {"index": 0, "finish_reason": ended, "message": {"role": "assistant", "content": text}}
    total = INPUT_TOKENS + OUTPUT_TOKENS
    usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": total}
    head = {"id": "1", "object": "chat.completion", "created": 0, "model": "scripted"}
    return {**head, "choices": [choice], "usage": usage}


@contextlib.contextmanager
def serving(script: Script = all_right) -> Iterator[Server]:
    """A server that plays `script` until the block ends."""
    with Server(script) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True, slots=True)
class Ran:
    """How the command ended, and what it said on stderr."""

    status: int
    err: str

    @property
    def last(self) -> str:
        """The last line."""
        return self.err.splitlines()[-1] if self.err else ""


class JobFolder:
    """A folder with a job file for the command line."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.file = folder / "job.toml"
        self.output = folder / "rows.jsonl"
        self.journal = folder / "rows.jsonl.journal"
        self.url = url
        self.write()

    def write(
        self,
        *,
        api_key: str = "right",
        limits: dict[str, Any] | None = None,
        dedup: dict[str, Any] | None = None,
        **changes: Any,
    ) -> None:
        """The job file: 60 rows, 5 a request, 4 requests at once, at `PRICE`; with these changes."""
        job: dict[str, Any] = {"count": 60, "rows_per_request": 5, "concurrency": 4, "output": "rows.jsonl"}
        job |= changes
        schema = self.folder / "schema.json"
        schema.write_text(json.dumps(job.pop("schema", SCHEMA)))
        lines = ["[job]", 'schema = "schema.json"', *_settings({k: v for k, v in job.items() if k != "columns"})]
        lines += ["[[job.endpoints]]", 'provider = "openai"', 'model = "scripted"', f'base_url = "{self.url}"']
        lines += [f'api_key = "{api_key}"', 'stream = "never"', "price = {" + ", ".join(_settings(PRICE)) + "}"]
        lines += ["[limits]", *_settings(limits or {}), "[dedup]", *_settings(dedup or {})]
        for name, column in job.get("columns", {}).items():
            lines += [f"[columns.{name}]", *_settings(column)]
        self.file.write_text("\n".join(lines) + "\n")

    def run(self, *flags: str, command: str = "run") -> Ran:
        """`synth-actors run job.toml FLAGS`, in this process: a start costs a second."""
        err = io.StringIO()
        with contextlib.redirect_stderr(err), contextlib.redirect_stdout(err):
            status = run_command([command, str(self.file), *flags])
        assert "Traceback" not in err.getvalue()
        return Ran(status, err.getvalue())

    def files(self) -> set[str]:
        """What stands beside the job file."""
        return {path.name for path in self.folder.iterdir()} - {"job.toml", "schema.json"}


def _settings(values: dict[str, Any]) -> list[str]:
    return [f"{name} = {json.dumps(value)}" for name, value in values.items()]
