"""Which schema does a text name: a file, or a model in a module?"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
from pydantic import BaseModel

from synth_actors.datasets.imports import NAME, Kind, as_name, named
from synth_actors.datasets.schema_typos import slips
from synth_actors.errors import ConfigError

Warn = Callable[[str], None]
MOST_WARNINGS = 10


def load_schema(
    text: str, warn: Warn, *, label: str = "SCHEMA", folder: Path | None = None
) -> type[BaseModel] | dict[str, Any]:
    """The JSON Schema in the file `text`, or the pydantic model that `text` names as `package.module:Model`.

    Files are looked for in `folder` (None: the current one), modules also in the current one.  Messages begin with
    `label` and `text`; `warn` is told what is valid and yet looks wrong.

    Raises:
        ConfigError: it is neither; the message says what was found instead.
    """
    where = f"{label} {text}"
    path = (folder or Path()) / text
    if NAME.fullmatch(text) is None or path.exists():
        return _from_file(text, path, where, warn)
    return _from_module(text, where, folder)


def warn_of_slips(content: bytes, document: dict[str, Any], where: str, warn: Warn) -> None:
    """Tell `warn` what looks like a slip of the pen in `content`, the JSON text of `document`."""
    for slip in islice(slips(content, document), MOST_WARNINGS):
        warn(f"{where}: {slip}")


def _from_file(text: str, path: Path, where: str, warn: Warn) -> dict[str, Any]:
    try:
        content = path.read_bytes().removeprefix(BOM_UTF8)
    except FileNotFoundError:
        meant = as_name(text, _MODELS.example)
        raise ConfigError(f"{where}: no such file; give a JSON Schema file or {meant}") from None
    except OSError as exc:
        raise ConfigError(f"{where}: cannot be read ({exc.strerror}); give a JSON Schema file") from None
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as exc:
        raise ConfigError(f"{where}: is no JSON: {exc}; give a JSON Schema file") from None
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise ConfigError(f'{where}: holds a {kind}, not an object; a JSON Schema looks like {{"type": "object", ...}}')
    warn_of_slips(content, document, where, warn)
    return document


def _from_module(text: str, where: str, folder: Path | None) -> type[BaseModel]:
    folders = dict.fromkeys([Path.cwd() if folder is None else folder.absolute(), Path.cwd()])
    found = named(text, _MODELS, where=where, folders=folders)
    if isinstance(found, type) and issubclass(found, BaseModel):
        return found
    kind = "an instance" if isinstance(found, BaseModel) else f"a {type(found).__name__}"
    attribute = text.rpartition(":")[2]
    raise ConfigError(f"{where}: {attribute} is {kind}, not a pydantic model class; derive it from BaseModel")


def _models_in(module: ModuleType) -> str:
    models = [name for name, value in vars(module).items() if _is_model(value)]
    return f"its models are {', '.join(sorted(models))}" if models else "it holds no pydantic model"


def _is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel


_MODELS = Kind("package.module:PydanticModel", _models_in)
