"""What does a remedy in terms of Python mean on the command line?"""

from __future__ import annotations

import re

_FLAGS = {"EngineConfig.max_concurrency": "--concurrency", "Request.max_tokens": "--max-tokens"}
_TABLES = {"EngineConfig": "[engine]", "CacheConfig": "[engine.cache]"}
_SETTING = re.compile(
    r"(?P<model>EngineConfig|CacheConfig|Endpoint|Request)"
    r"\((name='(?P<name>[^']*)', )?(?P<field>\w+)=([^()>]+ -> )?(?P<value>[^()>]+)\)"
)
"""As `findings.Setting` shows itself."""
_IN_A_FILE = {"True": "true", "False": "false", "None": "1e9"}
"""What Python and TOML write otherwise.  TOML has no nothing; a time to live without end is one of thirty years."""


_OF_FLAGS = (
    (r"^-o ", "job.output: "),
    (r"\[\[endpoints\]\]( of '[^']*')? in --config", r"[[job.endpoints]]\1"),
    (r"\[engine(\.cache)?\] in --config", "[limits]"),
    (r"--concurrency (\d+)", r"concurrency = \1 under [job]"),
    (r"--max-tokens (\d+)", r"max_tokens = \1 under [limits]"),
    (r"--temperature", "temperature under [limits]"),
    (r"--instructions", "instructions under [job]"),
    (r"Endpoint\(api_key=\.\.\.\) or Endpoint\(api_key_env=\.\.\.\)", "api_key_env under [[job.endpoints]]"),
    (r"Endpoint\(price=Price\(\.\.\.\)\)", "price = {...} under [[job.endpoints]]"),
    (r"raise the budget or lower max_tokens", "raise budget_usd under [job]"),
)


def in_words_of_a_file(text: str) -> str:
    """`text` that names flags of `generate`, with the keys of a job file instead."""
    for flag, key in _OF_FLAGS:
        text = re.sub(flag, key, text)
    return text


def on_command_line(remedy: str) -> str:
    """`remedy` with `EngineConfig(max_concurrency=100 -> 200)` as `--concurrency 200`, and so on."""
    return _SETTING.sub(_setting, remedy)


def _setting(found: re.Match[str]) -> str:
    model, field, value = found["model"], found["field"], found["value"]
    if flag := _FLAGS.get(f"{model}.{field}"):
        return f"{flag} {value}"
    where = f"the [[endpoints]] of {found['name']!r}" if model == "Endpoint" else _TABLES[model]
    if value.startswith("{"):
        return f"{field}={value} in Python, which no file can say, for {where}"
    return f"{field} = {_IN_A_FILE.get(value, value)} under {where} in --config"
