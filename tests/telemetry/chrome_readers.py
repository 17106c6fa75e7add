"""What is a Chrome trace that viewers accept?  Its shape as a JSON Schema, and what no schema says: that spans nest."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from itertools import accumulate
from pathlib import Path
from typing import Any

import jsonschema

_TIME = {"type": "integer", "minimum": 0}
_COMMON = {"name": {"type": "string", "minLength": 1}, "pid": {"type": "integer", "minimum": 1}, "ts": _TIME}
_TID = {"tid": {"type": "integer", "minimum": 1}}
_ARGS = {"args": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}}
_CAT = {"cat": {"type": "string", "minLength": 1}}


def _event(phase: str, **fields: Any) -> dict[str, Any]:
    properties = {"ph": {"const": phase}, **_COMMON, **fields}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_ID = {"id": {"type": "string", "pattern": "^0x[0-9a-f]+$"}}
_VALUES = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "number"}}
_NAMES = {
    "process_name": {"name": {"type": "string"}},
    "thread_name": {"name": {"type": "string"}},
    "process_sort_index": {"sort_index": {"type": "integer"}},
    "thread_sort_index": {"sort_index": {"type": "integer"}},
}
SCHEMA = {
    "type": "object",
    "required": ["traceEvents", "displayTimeUnit", "otherData"],
    "additionalProperties": False,
    "properties": {
        "displayTimeUnit": {"enum": ["ms", "ns"]},
        "otherData": {"type": "object"},
        "traceEvents": {
            "type": "array",
            "minItems": 1,
            "items": {
                "oneOf": [
                    _event("X", **_TID, **_CAT, **_ARGS, dur=_TIME),
                    *(_event(phase, **_TID, **_CAT, **_ID, **_ARGS) for phase in "ben"),
                    _event("i", **_TID, **_ARGS, s={"enum": ["t", "p", "g"]}),
                    _event("C", args=_VALUES),
                    *(
                        _event(
                            "M",
                            **_TID,
                            name={"const": name},
                            args={"properties": args, "required": list(args), "additionalProperties": False},
                        )
                        for name, args in _NAMES.items()
                    ),
                ]
            },
        },
    },
}
"""Of the Trace Event Format, those events that are written here; fields that others have are wrong."""
_VALIDATOR = jsonschema.validators.validator_for(SCHEMA)(SCHEMA)


class Trace:
    """A file, checked when it is read."""

    def __init__(self, path: Path) -> None:
        self.text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
        self.document = json.loads(self.text)
        self.events: list[dict[str, Any]] = self.document["traceEvents"]
        for wrong in _VALIDATOR.iter_errors(self.document):
            raise AssertionError(f"{wrong.json_path}: {min((wrong, *(wrong.context or ())), key=len_of).message}")
        assert self.problems() == []

    def problems(self) -> list[str]:
        """What a viewer would draw wrongly."""
        return [*self._not_nested(), *self._not_balanced(), *self._not_named()]

    def _not_nested(self) -> list[str]:
        found, lanes = [], defaultdict(list)
        for event in self.named(phase="X"):
            lanes[event["pid"], event["tid"]].append((event["ts"], -event["dur"], event["name"]))
        for lane, spans in lanes.items():
            open_until: list[int] = []
            for start, negative, name in sorted(spans):
                while open_until and open_until[-1] <= start:
                    open_until.pop()
                if open_until and start - negative > open_until[-1]:
                    found.append(f"{name} at {start} in {lane} ends after what it is in")
                open_until.append(start - negative)
        return found

    def _not_balanced(self) -> list[str]:
        pairs: dict[Any, list[tuple[int, int]]] = defaultdict(list)
        for event in self.events:
            if event["ph"] in "ben":
                key = (event["pid"], event["cat"], event["id"])
                pairs[key].append((event["ts"], {"b": 1, "n": 0, "e": -1}[event["ph"]]))
        found = []
        for key, steps in pairs.items():
            ordered = sorted(steps, key=lambda step: (step[0], -step[1]))
            depths = list(accumulate(step for _, step in ordered))
            if depths[-1] != 0 or min(depths) < 0 or ordered[0][1] != 1:
                found.append(f"{key}: {steps}")
        return found

    def _not_named(self) -> list[str]:
        groups = {event["pid"] for event in self.named("process_name")}
        lanes = {(event["pid"], event["tid"]) for event in self.named("thread_name")}
        unknown = {(event["pid"], event["tid"]) for event in self.events if "tid" in event} - lanes
        tids = Counter(tid for _, tid in lanes)
        return [
            *(f"group {event['pid']} has no name" for event in self.events if event["pid"] not in groups),
            *(f"lane {lane} has no name" for lane in unknown),
            *(f"tid {tid} is there twice" for tid, times in tids.items() if times > 1),
        ]

    def named(self, name: str | None = None, *, phase: str | None = None, group: str | None = None) -> list[Any]:
        """The events of this name, phase and group."""
        return [
            event
            for event in self.events
            if (name is None or event["name"] == name)
            and (phase is None or event["ph"] == phase)
            and (group is None or self.groups[event["pid"]] == group)
        ]

    @property
    def groups(self) -> dict[int, str]:
        """Their names."""
        return {event["pid"]: event["args"]["name"] for event in self.events if event["name"] == "process_name"}

    def spans(self, name: str, group: str | None = None) -> list[tuple[int, int, dict[str, Any]]]:
        """Start and duration in microseconds, and the arguments, in order of the start."""
        found = [(event["ts"], event["dur"], event["args"]) for event in self.named(name, phase="X", group=group)]
        return sorted(found, key=lambda span: (*span[:2], str(span[2].get("request"))))


def len_of(error: Any) -> int:
    return len(str(error.message))
