"""Which schema does the argument SCHEMA name?"""

from __future__ import annotations

import importlib
import re
import sys
from codecs import BOM_UTF8
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
from pydantic import BaseModel

from synth_actors.cli.schema_typos import slips
from synth_actors.errors import ConfigError

Warn = Callable[[str], None]
MOST_WARNINGS = 10

_MODEL = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*(\.[^\W\d]\w*)*)")
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


def load_schema(text: str, warn: Warn) -> type[BaseModel] | dict[str, Any]:
    """The JSON Schema in the file `text`, or the pydantic model that `text` names as `package.module:Model`.

    `warn` is told what is valid and yet looks wrong.

    Raises:
        ConfigError: it is neither; the message says what was found instead.
    """
    found = _MODEL.fullmatch(text)
    if found is None or Path(text).exists():
        return _from_file(text, warn)
    return _from_module(text, found["module"], found["attribute"])


def _from_file(text: str, warn: Warn) -> dict[str, Any]:
    try:
        content = Path(text).read_bytes().removeprefix(BOM_UTF8)
    except FileNotFoundError:
        raise ConfigError(f"SCHEMA {text}: no such file; give a JSON Schema file or {_as_module(text)}") from None
    except OSError as exc:
        raise ConfigError(f"SCHEMA {text}: cannot be read ({exc.strerror}); give a JSON Schema file") from None
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as exc:
        raise ConfigError(f"SCHEMA {text}: is no JSON: {exc}; give a JSON Schema file") from None
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise ConfigError(
            f'SCHEMA {text}: holds a {kind}, not an object; a JSON Schema looks like {{"type": "object", ...}}'
        )
    for slip in islice(slips(content, document), MOST_WARNINGS):
        warn(f"SCHEMA {text}: {slip}")
    return document


def _as_module(text: str) -> str:
    """How to write the model that is meant: `./shop/models.py:Order` as `shop.models:Order`."""
    file, _, model = text.rpartition(":")
    found = f"{file.removeprefix('./').removesuffix('.py').replace('/', '.')}:{model}"
    return found if file.endswith(".py") and _MODEL.fullmatch(found) else "package.module:PydanticModel"


def _from_module(text: str, module: str, attribute: str) -> type[BaseModel]:
    found: Any = _imported(text, module)
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise ConfigError(f"SCHEMA {text}: {module} has no {attribute!r}; {_models_in(found)}")
        found = getattr(found, name)
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        kind = "an instance" if isinstance(found, BaseModel) else f"a {type(found).__name__}"
        raise ConfigError(f"SCHEMA {text}: {attribute} is {kind}, not a pydantic model class; derive it from BaseModel")
    return found


def _imported(text: str, module: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))  # it stays, since the module may import its neighbours later
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise ConfigError(f"SCHEMA {text}: {module} needs {exc.name!r}, which is not installed") from exc
        where = f"looked in {Path.cwd()} and among the installed packages"
        hint = f"; give {_as_module(text)}" if module.endswith(".py") else ""
        raise ConfigError(f"SCHEMA {text}: there is no module {exc.name!r}; {where}{hint}") from None
    except (*_MODULE_FAULTS, SystemExit) as exc:
        reason = f"{type(exc).__name__}: {exc}"
        raise ConfigError(f"SCHEMA {text}: {module} cannot be imported: {reason}; correct it and try again") from exc


def _models_in(module: Any) -> str:
    models = [name for name, value in getattr(module, "__dict__", {}).items() if _is_model(value)]
    return f"its models are {', '.join(sorted(models))}" if models else "it holds no pydantic model"


def _is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel
