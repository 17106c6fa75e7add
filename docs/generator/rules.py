"""Which rules does `analyze` apply, and by which thresholds?"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import griffe

from docs.generator.markdown import code, table
from docs.generator.source import fields_of, first_sentence, named, source_of
from synth_actors.findings import MORE_IS_BETTER, UNITS
from synth_actors.policy.bottlenecks import RULES
from synth_actors.policy.rules.thresholds import DEFAULT_THRESHOLDS, SEVERITIES

HOME = "synth_actors.policy.rules"


def blocks() -> Iterator[str]:
    """The part of the page about findings."""
    yield "## Rules and thresholds"
    yield (
        "What `analyze(snapshot)` looks for; how each works, and what its predictions rest on:"
        " [analysis](../explanation/analysis.md). A finding has the rule's name in `rule`, and its kind in `kind`."
    )
    yield table(("rule", "kind", "found when", "thresholds"), [_row(rule.__module__, rule.__name__) for rule in RULES])
    yield "### Thresholds"
    yield (
        "Fields of `Thresholds`, which `BottleneckAnalyzer` and `analyze` take. Four values are the levels from which a"
        f" finding is {', '.join(SEVERITIES[:-1])} and {SEVERITIES[-1]}."
    )
    rows = [
        (code(each.name), code(_value(each.name)), each.comment)
        for each in fields_of(named("policy.rules.thresholds.Thresholds"))
    ]
    yield table(("threshold", "default", "of what"), rows)
    yield "### Predictions"
    yield "What a finding's `prediction` may be about:"
    better = [(code(name), unit, "more" if name in MORE_IS_BETTER else "less") for name, unit in UNITS.items()]
    yield table(("metric", "unit", "better is"), better)


def _value(name: str) -> str:
    value = getattr(DEFAULT_THRESHOLDS, name)
    return ", ".join(f"{each:g}" for each in value) if isinstance(value, tuple) else f"{value:g}"


def _row(module: str, name: str) -> tuple[str, ...]:
    path = f"{module.removeprefix('synth_actors.')}.{name}"
    said = named(path).docstring
    if said is None:
        raise ValueError(f"{path}: a rule says in its docstring when it finds something")
    trees = list(_reached(path, set()))
    kinds = dict.fromkeys(kind for tree in trees for kind in _kinds(tree, name))
    used = dict.fromkeys(field for tree in trees for field in _thresholds(tree))
    return code(name), ", ".join(kinds), first_sentence(said.value), ", ".join(map(code, used))


def _reached(path: str, seen: set[str]) -> Iterator[ast.AST]:
    """The function at `path` and those of the rules' modules that it calls."""
    function = named(path)
    if function.path in seen or not isinstance(function, griffe.Function):
        return
    seen.add(function.path)
    tree = ast.parse(source_of(function))
    yield tree
    for called in _called(tree):
        member = function.module.members.get(called)
        where = "" if member is None else member.target_path if isinstance(member, griffe.Alias) else member.path
        if where.startswith(HOME):
            yield from _reached(where.removeprefix("synth_actors."), seen)


def _called(tree: ast.AST) -> list[str]:
    return [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]


def _thresholds(tree: ast.AST) -> list[str]:
    known = type(DEFAULT_THRESHOLDS).model_fields
    return [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "limits"
        and node.attr in known
    ]


def _kinds(tree: ast.AST, rule: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
            words = {word.arg: word.value for word in node.keywords}
            kind, named_rule = words["kind"], words["rule"]
            if isinstance(kind, ast.Constant) and isinstance(named_rule, ast.Constant) and named_rule.value == rule:
                yield str(kind.value)
