"""How does what the sources say look as Markdown?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import griffe

from docs.generator.source import quoted

WIDEST_SIGNATURE = 100
_FENCED_OR_QUOTED = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table without the columns that are empty throughout."""
    cells = [list(row) for row in rows]
    used = [column for column in range(len(heads)) if any(row[column] for row in cells)]
    lines = [[heads[column] for column in used], ["---"] * len(used)]
    lines += [[_cell(row[column]) for column in used] for row in cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", r"\|")


def code(text: str) -> str:
    """`text` in backticks; nothing for nothing."""
    return f"`{text}`" if text else ""


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    kept = "".join(letter for letter in heading.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def prose(docstring: griffe.Docstring | None, errors: str = "errors.md") -> Iterator[str]:
    """A docstring in paragraphs; errors of the package are links into the page `errors`.

    Raises:
        ValueError: it has a section that is not known here.
    """
    for section in [] if docstring is None else docstring.parsed:
        match section:
            case griffe.DocstringSectionText():
                yield _escaped(section.value)
            case griffe.DocstringSectionRaises():
                yield "Raises:\n\n" + "\n".join(_raised(each, errors) for each in section.value)
            case griffe.DocstringSectionAdmonition() if section.value.kind in ("example", "source", "note"):
                yield from _aside(section.value.kind, section.value.description)
            case _:
                where = None if docstring is None or docstring.parent is None else docstring.parent.path
                raise ValueError(f"{where}: a section {section.kind.value!r} is not rendered")


def _aside(kind: str, text: str) -> Iterator[str]:
    if kind == "example":
        yield f"```python\n{text.strip()}\n```"
    else:
        yield f"{kind.capitalize()}: {_escaped(text)}"


def _raised(each: griffe.DocstringRaise, errors: str) -> str:
    names = str(each.annotation).strip("()").split(", ")
    shown = ", ".join(f"[`{name}`]({errors}#{slug(name)})" if _is_ours(name) else f"`{name}`" for name in names)
    return f"- {shown}: {' '.join(_escaped(each.description).split())}"


def _is_ours(name: str) -> bool:
    from synth_actors import errors

    return isinstance(getattr(errors, name, None), type)


def _escaped(text: str) -> str:
    """What a reader must see as it stands: outside backticks `<` begins no tag."""
    parts, at = [], 0
    for span in _FENCED_OR_QUOTED.finditer(text):
        parts += [text[at : span.start()].replace("<", r"\<"), span[0]]
        at = span.end()
    return "".join([*parts, text[at:].replace("<", r"\<")])


# --------------------------------------------------------------------------------------------------------- signatures


def signature(function: griffe.Function, name: str) -> str:
    """How `name` is called; a function that is made into a context manager as one that returns it."""
    given = "" if function.returns is None else str(function.returns)
    manager = _manager(function)
    if manager is not None:
        given = re.sub(r"^(Async)?(Iterator|Generator)\[(.*)\]$", rf"{manager}[\3]", given)
    word = "async def" if "async" in function.labels and manager is None else "def"
    arrow = f" -> {given}" if given else ""
    parameters = list(_parameters(function))
    line = f"{word} {name}({', '.join(parameters)}){arrow}"
    if len(line) > WIDEST_SIGNATURE:
        line = f"{word} {name}(\n" + "".join(f"    {each},\n" for each in parameters) + f"){arrow}"
    return quoted(line)


def _manager(function: griffe.Function) -> str | None:
    decorators = {str(each.value).rpartition(".")[2] for each in function.decorators}
    if decorators & {"whole_context", "asynccontextmanager"}:
        return "AbstractAsyncContextManager"
    return "AbstractContextManager" if "contextmanager" in decorators else None


def _parameters(function: griffe.Function) -> Iterator[str]:
    kinds = griffe.ParameterKind
    parameters = [each for each in function.parameters if each.name not in ("self", "cls")]
    has_star = False
    for place, each in enumerate(parameters):
        if each.kind is kinds.keyword_only and not has_star:
            has_star = True
            yield "*"
        stars = {kinds.var_positional: "*", kinds.var_keyword: "**"}.get(each.kind or kinds.keyword_only, "")
        has_star = has_star or stars == "*"
        text = stars + each.name + ("" if each.annotation is None else f": {each.annotation}")
        if each.default is not None and not stars:
            text += f" = {each.default}" if each.annotation is not None else f"={each.default}"
        yield text
        follows = parameters[place + 1].kind if place + 1 < len(parameters) else None
        if each.kind is kinds.positional_only and follows is not kinds.positional_only:
            yield "/"
