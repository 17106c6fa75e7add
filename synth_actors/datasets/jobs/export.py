"""How do the blocks of a job become its file, its report and its manifest?

The file is written beside and renamed when all rows are there.  Its digests are noted in the journal before that, so a
run that is killed in between is recognised as complete.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import trio

from synth_actors.datasets.jobs.judge import Judged
from synth_actors.datasets.outputs.sinks import FileInfo, Sink
from synth_actors.datasets.quality.quality import Quality
from synth_actors.datasets.row_schema import plain_value
from synth_actors.errors import SynthActorsError
from synth_actors.storage.errors import os_error

MANIFEST = "manifest.json"
WHICH = ("digest", "schema", "count", "seed", "job", "columns", "dedup", "limits")
"""The facts that say which job it was, and which rows."""


class Export:
    """Writes blocks to a sink, looks at their rows, and sends the rows to whoever reads them."""

    def __init__(
        self, sink: Sink | None, quality: Quality, readers: trio.MemorySendChannel[Any] | None, *, in_pipe: bool
    ) -> None:
        self._sink = sink
        self._in_pipe = in_pipe  # which may be full for ever
        self._quality = quality
        self._readers = readers

    async def hand_on(self, judged: Judged) -> None:
        """Write the rows of a block."""
        block = judged.block
        rows = [(row, block.made[row]) for row in block.rows if row in block.made]
        for number, row in rows:
            self._quality.add(plain_value(row), number + 1)
            if self._sink is not None:
                self._sink.write(row)
        if self._sink is not None and self._sink.full:
            await self.flush()
        await self._send([row for _, row in rows])

    async def _send(self, rows: list[Any]) -> None:
        if self._readers is None:
            return
        try:
            for row in rows:  # whoever reads may change what they get, and the report looks at it later
                await self._readers.send(deepcopy(row))
        except trio.BrokenResourceError:  # nobody reads any more
            self._readers = None

    async def idle(self) -> None:
        """The next block may take a while: let everybody see what is there."""
        if self._sink is not None and self._sink.held_bytes:
            await self.flush()

    async def flush(self) -> None:
        """Hand what is held to the system; in a thread, for a pipe may be full and a disk slow."""
        assert self._sink is not None
        await trio.to_thread.run_sync(self._sink.flush, abandon_on_cancel=self._in_pipe)


def manifest_of(output: Path) -> Path:
    """Where the manifest of `output` stands: manifest.json beside it.

    A file of that name that is about something else is left alone: then OUTPUT.manifest.json.
    """
    usual = output.with_name(MANIFEST)
    return usual if _is_about(usual, output) else output.with_name(f"{output.name}.{MANIFEST}")


def _is_about(manifest: Path, output: Path) -> bool:
    found = _read(manifest)
    return not manifest.exists() or ("synth_actors" in found and found.get("output") == output.name)


def tells_of(manifest: Path, facts: Mapping[str, Any]) -> bool:
    """Whether a manifest is there that tells of this job and these files, and not of what stood there before."""
    found = _read(manifest)
    return all(name in found and found[name] == facts[name] for name in WHICH)


def _read(manifest: Path) -> Mapping[str, Any]:
    """What stands in it; nothing when it is not there or no manifest."""
    try:
        found = orjson.loads(manifest.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def manifest_text(output: Path, files: tuple[FileInfo, ...], facts: Mapping[str, Any]) -> bytes:
    """What the manifest says: the program's version, the output with its files and digests, and `facts`."""
    document = {
        "synth_actors": version("synth-actors"),
        "output": output.name,
        "files": [{"name": each.name, "rows": each.rows, "bytes": each.bytes, "sha256": each.sha256} for each in files],
        **facts,
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"


def output_error(exc: OSError, output: Path | None) -> SynthActorsError | OSError:
    """What `exc` means for the output, with its name and what helps; itself for a pipe."""
    return exc if output is None or isinstance(exc, BrokenPipeError) else os_error(exc, "output", output)


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file beside and rename it, so that it is never seen half-written."""
    beside = path.with_name(path.name + ".partial")
    beside.write_bytes(content)
    os.replace(beside, path)
