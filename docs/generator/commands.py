"""Which options has each command?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.main

from docs.generator.markdown import code, table
from synth_actors.cli.app import PROGRAM, app


def blocks() -> Iterator[str]:
    """The part of the page about the command line."""
    yield "## Options of the command line"
    yield "As `--help` has them; what they mean in full: [the command line](cli.md)."
    for name, command in _commands(PROGRAM, typer.main.get_command(app)):
        if rows := [_row(parameter) for parameter in command.params if parameter.name != "help"]:
            yield f"### {name}"
            yield table(("", "takes", "default", "what it does"), rows)


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for below, each in getattr(command, "commands", {}).items():
        yield from _commands(f"{name} {below}", each)


def _row(parameter: Any) -> tuple[str, ...]:
    is_option = parameter.opts[0].startswith("-")
    shown = ", ".join(map(code, parameter.opts)) if is_option else code(parameter.metavar or parameter.name.upper())
    is_flag = bool(getattr(parameter, "is_flag", False))
    has_default = not (is_flag or parameter.required or parameter.default is None)
    default = str(parameter.default) if has_default else ""
    takes = code(parameter.metavar or "") if is_option and not is_flag else ""
    return shown, takes, code(default), parameter.help or ""
