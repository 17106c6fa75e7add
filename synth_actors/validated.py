"""How does wrong input become one clear error?

Every model that users fill in derives from `Validated`: pydantic checks, and what it finds wrong becomes a
`ConfigError` that names the field, the value and the remedy.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from synth_actors.errors import ConfigError


class Validated(BaseModel):
    """A frozen model that refuses unknown fields and raises `ConfigError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)

    if not TYPE_CHECKING:  # the type checker keeps the signature that pydantic synthesises

        def __init__(self, /, **data: Any) -> None:
            try:
                self.__pydantic_validator__.validate_python(data, self_instance=self)
            except ValidationError as exc:
                raise explain(type(self), exc) from None
            if (problem := self._check()) is not None:
                raise ConfigError(f"{type(self).__name__}: {problem}")

    def _check(self) -> str | None:
        """What is wrong between fields that are right each by itself; None when nothing is."""
        return None


def explain(model: type[BaseModel], exc: ValidationError, prefix: str = "") -> ConfigError:
    """The first finding of pydantic as a `ConfigError`; secrets are never shown."""
    findings = exc.errors(include_url=False)
    # A misspelt name is unknown and another one missing: say the first.
    finding = next((each for each in findings if each["type"] == "extra_forbidden"), findings[0])
    path = ".".join(str(part) for part in finding["loc"]) or model.__name__
    field = f"{prefix or model.__name__}.{path}"
    if finding["type"] == "extra_forbidden":
        name = str(finding["loc"][-1])
        known = sorted(model.model_fields)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return ConfigError(f"{field}: unknown field; {hint}known fields are {', '.join(known)}")
    message = finding["msg"].removeprefix("Value error, ")
    return ConfigError(f"{field}: {_shown(path, finding['input'])}{message}")


def _shown(path: str, value: object) -> str:
    if "key" in path or isinstance(value, (SecretStr, dict)):
        return ""
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} is not valid: "
