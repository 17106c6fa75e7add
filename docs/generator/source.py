"""What stands in the source: signatures, docstrings, fields and the comments behind them?"""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import griffe

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "synth_actors"
BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "min_length": "length >=", "max_length": "length <="}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a dataclass or model: `type` and `default` as a reader writes them, `comment` behind it."""

    name: str
    type: str
    default: str
    bounds: tuple[str, ...]
    comment: str


@cache
def package() -> griffe.Module:
    """The whole package, read and not run, with its names resolved."""
    loader = griffe.GriffeLoader(search_paths=[ROOT], docstring_parser=griffe.Parser.google)
    loaded = loader.load(PACKAGE, submodules=True)
    loader.resolve_aliases(implicit=True)
    assert isinstance(loaded, griffe.Module)
    return loaded


def named(path: str) -> griffe.Object:
    """What stands under the dotted `path` within the package, where it is defined."""
    found: griffe.Object | griffe.Alias = package()[path] if path else package()
    while isinstance(found, griffe.Alias):
        found = found.final_target
    return named(f"{path}.{found.name}") if _is_hidden_module(found) else found


def _is_hidden_module(found: griffe.Object) -> bool:
    """Whether the package above it shows a function of the same name in its place."""
    parent = found.parent
    if not (isinstance(found, griffe.Module) and isinstance(parent, griffe.Module)):
        return False
    return parent.imports.get(found.name) == f"{found.path}.{found.name}"


def module_names(path: str) -> list[str]:
    """The public names of a module: `__all__`, else the classes, functions and documented values it defines."""
    module = named(path)
    if module.exports is not None:
        return [str(name) for name in module.exports]
    return [
        name
        for name, member in module.members.items()
        if not name.startswith("_")
        and not member.is_alias
        and (member.is_class or member.is_function or (member.is_attribute and member.docstring is not None))
    ]


def submodules(path: str) -> list[str]:
    """The names of the modules in a package, in their order."""
    return sorted(name for name, member in named(path).members.items() if member.is_module and not member.is_alias)


def source_of(found: griffe.Object) -> str:
    """The lines of what was found."""
    text = Path(str(found.filepath)).read_text(encoding="utf-8").splitlines()
    return textwrap.dedent("\n".join(text[(found.lineno or 1) - 1 : found.endlineno]))


def fields_of(cls: griffe.Object) -> list[Field]:
    """The public annotated fields of a class, those of its bases in the package first."""
    fields = {field.name: field for base in _bases(cls) for field in fields_of(base)}
    for name, member in cls.members.items():
        if isinstance(member, griffe.Attribute) and _is_field(name, member):
            fields[name] = _field(name, member)
        elif isinstance(member, griffe.Attribute) and name in fields and member.value is not None:
            fields[name] = replace(fields[name], default=quoted(str(member.value)))
    return list(fields.values())


def enum_members(cls: griffe.Object) -> list[Field]:
    """The members of an Enum, with what stands behind them; none of any other class."""
    assert isinstance(cls, griffe.Class)
    if not any(str(base).rpartition(".")[2] in ("Enum", "StrEnum", "IntEnum") for base in cls.bases):
        return []
    return [
        Field(name=name, type="", default=quoted(str(member.value)), bounds=(), comment=comment_of(member))
        for name, member in cls.members.items()
        if isinstance(member, griffe.Attribute) and member.value is not None and not name.startswith("_")
    ]


def _is_field(name: str, member: griffe.Attribute) -> bool:
    is_public = not name.startswith("_") and name != "model_config"
    return is_public and member.annotation is not None and not {"property", "instance-attribute-only"} & member.labels


def _bases(cls: griffe.Object) -> Iterator[griffe.Object]:
    assert isinstance(cls, griffe.Class)
    for base in cls.resolved_bases:
        if base.canonical_path.startswith(PACKAGE):
            yield named(base.canonical_path.removeprefix(f"{PACKAGE}."))


def _field(name: str, member: griffe.Attribute) -> Field:
    kind, bounds = plain_type(str(member.annotation), member.module)
    default, own = ("", ()) if member.value is None else _default(str(member.value), member.module)
    return Field(name=name, type=kind, default=default, bounds=own or bounds, comment=comment_of(member))


def comment_of(member: griffe.Object) -> str:
    """The comments within the lines of `member`, and what its docstring says."""
    tokens = tokenize.generate_tokens(io.StringIO(source_of(member)).readline)
    said = [token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT]
    said = [text for text in said if not text.startswith(("noqa", "type: ignore"))]
    return " ".join([*said, *([] if member.docstring is None else [one_line(member.docstring.value)])])


def one_line(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split())


def first_sentence(text: str) -> str:
    """The first line of a docstring, without what follows it."""
    return one_line(text.split("\n\n", 1)[0])


# ------------------------------------------------------------------------------------------------------ types, values


def plain_type(written: str, module: griffe.Module) -> tuple[str, tuple[str, ...]]:
    """A type without the names that only the module knows, and the bounds that stood in them."""
    tree = ast.parse(written, mode="eval").body
    unfolded = _Plain(module)
    plain = ast.unparse(unfolded.visit(tree))
    return quoted(plain), tuple(dict.fromkeys(unfolded.bounds))


class _Values(ast.NodeTransformer):
    """Puts the value of a constant in place of its name, where that is a number or a text."""

    def __init__(self, module: griffe.Module) -> None:
        self._module = module

    def visit_Name(self, node: ast.Name) -> ast.AST:
        member = defined_in(self._module, node.id)
        if isinstance(member, griffe.Attribute) and node.id.isupper() and "(" not in str(member.value):
            return ast.parse(str(member.value), mode="eval").body
        return node


def defined_in(module: griffe.Module, name: str) -> griffe.Object | None:
    """What a module means by a name, if that is of the package."""
    member = module.members.get(name)
    if isinstance(member, griffe.Alias):
        return named(member.target_path.removeprefix(f"{PACKAGE}.")) if member.target_path.startswith(PACKAGE) else None
    return member


class _Plain(ast.NodeTransformer):
    """Puts `Annotated[int, ...]` as int, `Routing` as its literals, `type X` as what it stands for."""

    def __init__(self, module: griffe.Module) -> None:
        self.bounds: list[str] = []
        self._module = module

    def visit_Name(self, node: ast.Name) -> ast.AST:
        member = defined_in(self._module, node.id)
        if isinstance(member, griffe.Attribute) and str(member.value).startswith(("Annotated[", "Literal[")):
            return self.visit(ast.parse(str(member.value), mode="eval").body)  # type: ignore[no-any-return]
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id == "Literal":
            return _either(node.slice)
        if isinstance(node.value, ast.Name) and node.value.id == "Annotated" and isinstance(node.slice, ast.Tuple):
            kind, *notes = node.slice.elts
            for note in notes:
                self._note(note)
            return self.visit(kind)  # type: ignore[no-any-return]
        return self.generic_visit(node)

    def _note(self, note: ast.expr) -> None:
        if isinstance(note, ast.Call) and isinstance(note.func, ast.Name) and note.func.id == "Field":
            self.bounds += _bounds(note)


def _either(choices: ast.expr) -> ast.expr:
    each = choices.elts if isinstance(choices, ast.Tuple) else [choices]
    joined = each[0]
    for choice in each[1:]:
        joined = ast.BinOp(joined, ast.BitOr(), choice)
    return joined


def _bounds(call: ast.Call) -> list[str]:
    return [f"{BOUNDS[word.arg]} {ast.unparse(word.value)}" for word in call.keywords if word.arg in BOUNDS]


def _default(written: str, module: griffe.Module) -> tuple[str, tuple[str, ...]]:
    """A default as a reader writes it, "" where a value must be given; and the bounds that stood beside it."""
    tree = _Values(module).visit(ast.parse(written, mode="eval").body)
    if not (isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id in ("Field", "field")):
        return quoted(ast.unparse(tree)), ()
    words = {word.arg: word.value for word in tree.keywords}
    default = words.get("default", tree.args[0] if tree.args else None)
    shown = _made_by(words.get("default_factory")) if default is None else ast.unparse(default)
    return quoted(shown), tuple(_bounds(tree))


def _made_by(factory: ast.expr | None) -> str:
    if factory is None:
        return ""
    if isinstance(factory, ast.Lambda):
        return ast.unparse(factory.body)
    name = ast.unparse(factory)
    return {"dict": "{}", "list": "[]"}.get(name, f"{name}()")


def quoted(code: str) -> str:
    """`ast.unparse` writes single quotes and wide powers; this code base does not."""
    return re.sub(r"'([^'\"]*)'", r'"\1"', code).replace(" ** ", "**")
