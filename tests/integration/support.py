"""How does a test run the real command, and ask a server what it saw?"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import jsonschema

from synth_actors.config import Endpoint

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [str(Path(sys.executable).with_name("synth-actors")), "generate"]
ENDS_WITHIN_S = 60.0

SHOP: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 12},
        "score": {"type": "integer", "minimum": 0, "maximum": 999},
        "plan": {"enum": ["free", "team"]},
    },
    "required": ["name", "score", "plan"],
    "additionalProperties": False,
}

LLMOCK_PATHS = {"anthropic": "/anthropic", "openai": "/v1"}
PLAIN_PATHS = {"anthropic": "", "openai": "/v1"}
"""Of llama.cpp and of our own server."""


def endpoint(kind: str, model: str, url: str, *, streamed: bool = False) -> Endpoint:
    stream: Any = "always" if streamed else "never"
    return Endpoint(provider=kind, model=model, base_url=url, stream=stream)


def llmock_endpoint(kind: str, url: str, *, streamed: bool = False) -> Endpoint:
    return endpoint(kind, "mock", url + LLMOCK_PATHS[kind], streamed=streamed)


def llama_endpoint(kind: str, url: str, *, streamed: bool = False) -> Endpoint:
    return endpoint(kind, "noise", url + PLAIN_PATHS[kind], streamed=streamed)


# The command.


class Run:
    """A run of the command that has ended."""

    def __init__(self, folder: Path, status: int, out: str, err: str) -> None:
        self.folder = folder
        self.status = status
        self.out = out
        self.err = err

    def __repr__(self) -> str:
        return f"<Run exit {self.status}: {self.err}>"

    @property
    def tokens(self) -> tuple[int, int]:
        """The tokens that the summary says were used: all that went in, and all that came out."""
        found = re.search(r"tokens +([\d,]+) in(?: and ([\d,]+) from the server's cache)?, ([\d,]+) out", self.err)
        assert found is not None, self.err
        plain, cached, written = (int((number or "0").replace(",", "")) for number in found.groups())
        return plain + cached, written

    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()} - {"schema.json", "config.toml"}


def start(folder: Path, *arguments: object, schema: object = SHOP) -> subprocess.Popen[str]:
    """Start `synth-actors generate schema.json ARGUMENTS` in `folder`."""
    (folder / "schema.json").write_text(schema if isinstance(schema, str) else json.dumps(schema))
    return subprocess.Popen(
        [*COMMAND, "schema.json", *map(str, arguments)],
        cwd=folder,
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def generate(folder: Path, *arguments: object, schema: object = SHOP) -> Run:
    """Run it to its end."""
    with start(folder, *arguments, schema=schema) as process:
        try:
            out, err = process.communicate(timeout=ENDS_WITHIN_S)
        finally:
            process.kill()
    assert "Traceback" not in err
    return Run(folder, process.returncode, out, err)


def rows_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_valid(rows: list[Any], schema: dict[str, Any] = SHOP) -> None:
    """By a validator that the package does not use, formats included."""
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    for row in rows:
        validator.validate(row)


def distinct(rows: list[Any]) -> int:
    return len({json.dumps(row, sort_keys=True) for row in rows})


# The servers.


class LLMock:
    """The control side of an llmock."""

    def __init__(self, url: str, client: httpx2.Client) -> None:
        self.url = url
        self._client = client

    def script(self, *behaviors: dict[str, Any]) -> None:
        """Put behaviours into its queue; one with `times: None` stays for ever."""
        self._client.post("/_llmock/scenario", json={"behaviors": list(behaviors)}).raise_for_status()

    def answer_rows(self, count: int) -> None:
        """Answer every call with the same `count` valid rows, whatever it asks for."""
        rows = [{"name": "Otter", "score": number, "plan": "team"} for number in range(count)]
        self.script({"type": "reply", "text": json.dumps({"rows": rows}), "times": None})

    def requests(self) -> list[dict[str, Any]]:
        """What it was asked, in order: path, status, fault, body, ..."""
        found: list[dict[str, Any]] = self._client.get("/_llmock/requests").json()["requests"]
        return found

    def usage_of_all(self) -> tuple[int, int]:
        """The tokens that it says the answered calls took, from sending each of them again without our code.

        Its counts are a function of the call and of the reply in force.
        """
        seen = [request for request in self.requests() if request["status"] == 200]
        counts = [self._usage(request["path"], {**request["body"], "stream": False}) for request in seen]
        return sum(tokens_in for tokens_in, _ in counts), sum(tokens_out for _, tokens_out in counts)

    def _usage(self, path: str, body: dict[str, Any]) -> tuple[int, int]:
        body = {name: value for name, value in body.items() if name != "stream_options"}
        usage = self._client.post(path, json=body).raise_for_status().json()["usage"]
        if "prompt_tokens" in usage:
            return usage["prompt_tokens"], usage["completion_tokens"]
        return usage["input_tokens"], usage["output_tokens"]


class PromptServer:
    """What the server of `prompt_server.py` did since this was made."""

    def __init__(self, url: str, client: httpx2.Client) -> None:
        self.url = url
        self._client = client
        self._before = self._all()

    def figures(self) -> dict[str, int]:
        now = self._all()
        return {name: now[name] - self._before[name] for name in now}

    def _all(self) -> dict[str, int]:
        found: dict[str, int] = self._client.get("/figures").json()
        return found


class LimitedServer:
    """The server of `limited_server.py`, started for one test."""

    def __init__(self, url: str) -> None:
        self.url = url

    def figures(self) -> dict[str, int]:
        found: dict[str, int] = httpx2.get(f"{self.url}/figures", timeout=10).json()
        return found


class Llama:
    """The counters of llama.cpp's server since this was made."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._before = self._all()

    def tokens(self) -> tuple[int, int]:
        """Tokens of prompts, read from its cache or not, and tokens written."""
        now = self._all()
        new = {name: now[name] - self._before[name] for name in now}
        read = new["prompt_tokens_total"] + new["prompt_tokens_cached_total"]
        return int(read), int(new["tokens_predicted_total"])

    def processing(self) -> int:
        """Calls that it works at or has put off."""
        now = self._all()
        return int(now["requests_processing"] + now["requests_deferred"])

    def _all(self) -> dict[str, float]:
        text = httpx2.get(f"{self.url}/metrics", timeout=10).text
        return {name: float(value) for name, value in re.findall(r"^llamacpp:(\w+) (\S+)$", text, re.MULTILINE)}
