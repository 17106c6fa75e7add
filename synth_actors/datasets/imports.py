"""What does `package.module:name` name?"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from synth_actors.errors import ConfigError

NAME = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*(\.[^\W\d]\w*)*)")
_MODULE_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What a module of the user may raise while it is imported, as far as one line can say it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is looked for: `example` shows how to name one, `others` says which of them a module holds."""

    example: str
    others: Callable[[ModuleType], str]


def named(text: str, kind: Kind, *, where: str, folders: Iterable[Path]) -> Any:
    """The object that `text` names, in a module that stands in one of `folders` or is installed.

    Raises:
        ConfigError: it cannot be had; the message begins with `where`.
    """
    found = NAME.fullmatch(text)
    if found is None:
        raise ConfigError(f"{where}: is no name of an object; give {as_name(text, kind.example)}")
    module = _imported(found["module"], text, kind, where, list(folders))
    value: Any = module
    for name in found["attribute"].split("."):
        if not hasattr(value, name):
            missing = f"{found['module']} has no {found['attribute']!r}"
            raise ConfigError(f"{where}: {missing}; {kind.others(value if isinstance(value, ModuleType) else module)}")
        value = getattr(value, name)
    return value


def as_name(text: str, example: str) -> str:
    """How to write what is meant: `./shop/models.py:Order` as `shop.models:Order`; `example` when that is unknown."""
    file, _, attribute = text.rpartition(":")
    found = f"{file.removeprefix('./').removesuffix('.py').replace('/', '.')}:{attribute}"
    return found if file.endswith(".py") and NAME.fullmatch(found) else example


def _imported(module: str, text: str, kind: Kind, where: str, folders: list[Path]) -> ModuleType:
    for folder in map(str, reversed(folders)):  # they stay, since the module may import its neighbours later
        if folder not in sys.path:
            sys.path.insert(0, folder)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise ConfigError(f"{where}: {module} needs {exc.name!r}, which is not installed") from exc
        looked = f"looked in {' and '.join(map(str, folders))} and among the installed packages"
        hint = f"; give {as_name(text, kind.example)}" if module.endswith(".py") else ""
        raise ConfigError(f"{where}: there is no module {exc.name!r}; {looked}{hint}") from None
    except (*_MODULE_FAULTS, SystemExit) as exc:
        reason = f"{type(exc).__name__}: {exc}"
        raise ConfigError(f"{where}: {module} cannot be imported: {reason}; correct it and try again") from exc
