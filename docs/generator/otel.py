"""Which spans, attributes and instruments does OpenTelemetry get?"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import griffe

from docs.generator.markdown import code, table
from docs.generator.source import first_sentence, named, source_of
from synth_actors.telemetry.otel import OpenTelemetryTracing
from synth_actors.telemetry.otel_attributes import SAMPLING

_NAME = re.compile(r"(gen_ai|synth_actors|server|http|error)(\.[a-z_]+)+")


def blocks() -> Iterator[str]:
    """The part of the page about OpenTelemetry."""
    said = _doc(named("telemetry.otel"))
    yield "## OpenTelemetry"
    yield "How to use it: [OpenTelemetry](../how-to/opentelemetry.md)."
    yield re.sub(r"((?:^ {4}.*\n?)+)", _fenced, said.partition("\n\n")[2], flags=re.MULTILINE)
    yield "### Attributes"
    yield _said_after(_doc(named("telemetry.otel_attributes")))
    yield table(("where, and what they say", "attributes"), list(_attributes()))
    yield "### Instruments"
    yield table(("name", "kind", "unit", "what it says"), _instruments())


def _fenced(lines: re.Match[str]) -> str:
    return f"```text\n{textwrap.dedent(lines[0]).rstrip()}\n```\n"


def _attributes() -> Iterator[tuple[str, str]]:
    known = set(_told())
    for member in named("telemetry.otel_attributes").members.values():
        if isinstance(member, griffe.Function) and (found := names_in(source_of(member))):
            known.update(found)
            yield first_sentence(_doc(member)), ", ".join(map(code, found))
    others = [name for name in names_in(source_of(named("telemetry.otel"))) if name not in known]
    yield "Set while a span is open, or on a link.", ", ".join(map(code, others))


def names_in(source: str) -> list[str]:
    """The names of attributes in a piece of code, each once."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
            start = str(node.values[0].value)
            found += [f"{start}{each}" for each in SAMPLING] if start == "gen_ai.request." else []
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _NAME.fullmatch(node.value):
            found.append(node.value)
    return list(dict.fromkeys(found))


def _told() -> list[str]:
    """Names of instruments and of spans: no attributes."""
    return [row[0].strip("`") for row in _instruments()] + ["synth_actors.generate", "synth_actors.stream"]


class _Meter:
    """Notes which instruments are made of it."""

    def __init__(self) -> None:
        self.made: list[tuple[str, ...]] = []

    def get_meter(self, *_args: object, **_named: object) -> _Meter:
        """What a provider of meters gives."""
        return self

    def __getattr__(self, name: str) -> Callable[..., Any]:
        kind = name.removeprefix("create_").removeprefix("observable_").replace("_", "-")

        def create(name: str, *_args: object, unit: str, description: str, **_named: object) -> None:
            self.made.append((code(name), kind, code(unit), description))

        return create


def _instruments() -> list[tuple[str, ...]]:
    meter: Any = _Meter()
    OpenTelemetryTracing(meter_provider=meter)
    made: list[tuple[str, ...]] = meter.made
    return made


def _said_after(docstring: str) -> str:
    """A module's docstring without its question."""
    return " ".join(docstring.partition("\n\n")[2].split())


def _doc(found: griffe.Object) -> str:
    if found.docstring is None:
        raise ValueError(f"{found.path} has no docstring, which the page of metrics shows")
    return found.docstring.value
