"""What does every public name do, and how is it called?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import griffe

from docs.generator.markdown import code, prose, signature, slug, table
from docs.generator.source import (
    Field,
    enum_members,
    fields_of,
    first_sentence,
    module_names,
    named,
    plain_type,
    source_of,
    submodules,
)

FOLDER = "docs/reference/api"
GIVEN = frozenset(
    """
    Engine Job JobRows Outcomes PerformanceMetrics ResponseStream Rows
    DeadlineExceededError EngineClosedError GenerationError JobChangedError JobIncompleteError OutputInvalidError
    RateLimitedError
    """.split()
)
"""Classes that the engine makes and nobody else."""
INNER = frozenset(
    {
        "chrome_events",
        "chrome_figures",
        "chrome_spans",
        "hdr_encoding",
        "metric",
        "metric_names",
        "otel_attributes",
        "otel_figures",
    }
)
"""Modules of `telemetry` that only its others use."""
HIDDEN = frozenset(
    {"IntervalLog.close", "IntervalLog.open", "IntervalLog.run", "OpenTelemetryTracing.opened", "ResponseStream.open"}
)
"""What one part of the package calls of another."""
SPECIAL = frozenset({"__aenter__", "__aiter__", "__anext__", "__call__", "__enter__", "__iter__", "__next__"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Names of one module, under its own heading; without `names` all its public ones."""

    module: str
    names: tuple[str, ...] = ()
    leave_out: frozenset[str] = frozenset()
    with_values: bool = True  # constants, too

    def paths(self) -> Iterator[tuple[str, str]]:
        """(name, dotted path) of each."""
        for name in self.names or module_names(self.module):
            path = f"{self.module}.{name}" if self.module else name
            if name not in self.leave_out and (self.with_values or not named(path).is_attribute):
                yield name, path


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page: `parts` in their order."""

    file: str
    title: str
    says: str
    parts: tuple[Part, ...]


FIRST = ("open_engine", "Engine", "EngineConfig", "CacheConfig", "Endpoint", "Price", "Request", "Response")
"""What most readers look for; the others follow by their names."""
ERRORS = frozenset(module_names("errors"))
ELSEWHERE = frozenset({"BottleneckReport", "PerformanceMonitor", "Provider", "Snapshot"})
PAGES = (
    Page(
        file="engine.md",
        title="The package `synth_actors`",
        says="What `from synth_actors import …` gives, and the values that one holds by it."
        " The errors stand on [a page of their own](errors.md), what goes into a snapshot on [another](snapshot.md).",
        parts=(
            Part(module="", names=FIRST),
            Part(module="", leave_out=ERRORS | ELSEWHERE | set(FIRST)),
            Part(module="types", names=("Timings", "Answer", "OutputFormat")),
            Part(module="stream", names=("ResponseStream",)),
            Part(module="config", names=("TokenPrices", "LongPromptPrices")),
        ),
    ),
    Page(
        file="errors.md",
        title="Errors",
        says="Every exception that is raised on purpose. All of them can be imported from `synth_actors`.",
        parts=(Part(module="errors", leave_out=frozenset({"text_of", "without_password"})),),
    ),
    Page(
        file="snapshot.md",
        title="Snapshots, intervals, findings",
        says="What `engine.metrics()`, `PerformanceMonitor` and `analyze` give."
        " Units, and where else each figure is shown: [metrics](../metrics.md).",
        parts=(
            Part(module="snapshot"),
            Part(module="histogram", names=("LatencySummary", "Histogram")),
            Part(module="policy.interval", names=("PerformanceMetrics",)),
            Part(module="findings", leave_out=frozenset({"remedy_of", "predicted"})),
            Part(module="policy.bottlenecks"),
            Part(module="policy.rules.thresholds", names=("Thresholds",)),
        ),
    ),
    Page(
        file="telemetry.md",
        title="Monitors and exporters: `synth_actors.telemetry`",
        says="How they are used: [monitoring](../../how-to/monitoring.md),"
        " [OpenTelemetry](../../how-to/opentelemetry.md).",
        parts=tuple(
            Part(module=f"telemetry.{name}", with_values=False) for name in submodules("telemetry") if name not in INNER
        ),
    ),
    Page(
        file="datasets.md",
        title="Rows and jobs: `synth_actors.datasets`",
        says="How they are used: [rows](../rows.md), [jobs in Python](../jobs.md), [the job file](../job-file.md).",
        parts=(Part(module="datasets"),),
    ),
    Page(
        file="providers.md",
        title="Providers of your own: `synth_actors.providers.base`",
        says="How one is written: [providers](../provider.md).",
        parts=(
            Part(module="providers.base"),
            Part(module="attempt_log"),
            Part(module="tracing"),
        ),
    ),
    Page(
        file="testing.md",
        title="The test kit: `synth_actors.testing`",
        says="How it is used: [the simulated provider](../simulated-provider.md).",
        parts=(Part(module="testing"),),
    ),
)


def pages() -> Iterator[tuple[str, str]]:
    """(path, text) of every page of the folder."""
    yield f"{FOLDER}/README.md", _index()
    for page in PAGES:
        yield f"{FOLDER}/{page.file}", _page(page)


def documented() -> Iterator[tuple[str, griffe.Object]]:
    """(name, object) of everything that has a place on a page, the methods of classes too."""
    for page in PAGES:
        for part in page.parts:
            for name, path in part.paths():
                found = named(path)
                yield name, found
                for key, member in found.members.items() if isinstance(found, griffe.Class) else ():
                    if isinstance(member, griffe.Function) and _is_shown(name, key, member):
                        yield f"{name}.{key}", member


def _index() -> str:
    blocks = [
        "# The API",
        _MADE_BY,
        "Every public name, by the page that describes it. Signatures are as they stand in the code.",
    ]
    for page in PAGES:
        blocks.append(f"## [{page.title}]({page.file})")
        rows = [
            (f"[`{name}`]({page.file}#{slug(name)})", _summary(named(path)))
            for part in page.parts
            for name, path in part.paths()
        ]
        blocks.append(table(("name", "what it is"), rows))
    return "\n\n".join(blocks) + "\n"


_MADE_BY = "<!-- written by `make docs`: change the docstrings, not this page -->"


def _page(page: Page) -> str:
    blocks = [f"# {page.title}", _MADE_BY, page.says]
    for part in page.parts:
        if len(page.parts) > 1 and part.module:
            blocks.append("---")
            blocks.append(f"Of `synth_actors.{part.module}`: {_question(part.module)}")
        for name, path in part.paths():
            blocks += _described(name, named(path))
    return "\n\n".join(blocks) + "\n"


def _question(module: str) -> str:
    docstring = named(module).docstring
    return "" if docstring is None else first_sentence(docstring.value)


def _summary(found: griffe.Object) -> str:
    return "" if found.docstring is None else first_sentence(found.docstring.value)


def _described(name: str, found: griffe.Object) -> Iterable[str]:
    yield f"## {name}"
    match found:
        case griffe.Class():
            yield from _class(name, found)
        case griffe.Function():
            yield from _function(name, found)
        case griffe.Attribute():
            yield _fenced(source_of(found))
            yield from prose(found.docstring)
        case _:
            raise ValueError(f"{found.path}: a {found.kind.value} is not rendered")


def _fenced(*lines: str) -> str:
    text = "\n".join(lines)
    return f"```python\n{text}\n```"


def _function(name: str, function: griffe.Function) -> Iterable[str]:
    parent = function.parent
    overloads = parent.overloads.get(function.name) if isinstance(parent, griffe.Class | griffe.Module) else None
    yield _fenced(*(signature(each, name) for each in overloads or [function]))
    yield from prose(function.docstring)


def _class(name: str, cls: griffe.Class) -> Iterable[str]:
    yield _fenced(_head(name, cls))
    yield from prose(cls.docstring)
    if members := enum_members(cls):
        yield table(("member", "value", "meaning"), [(code(m.name), code(m.default), m.comment) for m in members])
    elif fields := fields_of(cls):
        yield _fields_table(fields)
    if rows := list(_properties(cls)):
        yield table(("property", "type", "meaning"), rows)
    for key, member in cls.members.items():
        if isinstance(member, griffe.Function) and _is_shown(name, key, member):
            yield f"### {name}.{key}"
            yield from _function(key, member)


def _is_shown(name: str, key: str, member: griffe.Function) -> bool:
    """Whether users call a method; `model_post_init` is pydantic's to call."""
    if key.startswith("_"):
        return key in SPECIAL and member.docstring is not None
    return f"{name}.{key}" not in HIDDEN and key != "model_post_init"


def _head(name: str, cls: griffe.Class) -> str:
    bases = [str(base) for base in cls.bases]
    head = f"class {name}({', '.join(bases)})" if bases else f"class {name}"
    init = cls.members.get("__init__")
    is_dataclass = any("dataclass" in str(each.value) for each in cls.decorators)
    if name in GIVEN or is_dataclass or not isinstance(init, griffe.Function):
        return head
    return f"{head}\n\n{signature(init, name).removeprefix('def ').removesuffix(' -> None')}"


def _fields_table(fields: list[Field]) -> str:
    rows = [
        (code(each.name), code(each.type), code(each.default), ", ".join(map(code, each.bounds)), each.comment)
        for each in fields
    ]
    return table(("field", "type", "default", "bounds", "meaning"), rows)


def _properties(cls: griffe.Class) -> Iterator[tuple[str, str, str]]:
    for key, member in cls.members.items():
        if isinstance(member, griffe.Attribute) and "property" in member.labels and not key.startswith("_"):
            yield code(key), code(plain_type(str(member.annotation), member.module)[0]), _summary(member)
