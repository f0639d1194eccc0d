"""Write signatures as the source has them: types by their names, defaults as they are written."""

import ast
import functools
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any

FLAX = ("parent", "name")
"""The fields that Flax adds to every module."""


def parameters(thing: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return a function's parameters, with types and defaults as text."""
    written = _written(thing)
    return [
        p.replace(
            annotation=_annotation(p, written.get(p.name, ("", ""))[0]),
            default=_default(p, written.get(p.name, ("", ""))[1]),
        )
        for p in inspect.signature(thing).parameters.values()
        if p.name != "self" and not (hasattr(thing, "clone") and p.name in FLAX)
    ]


def signature(name: str, thing: Callable[..., Any]) -> str:
    """Write the call of a function or class on one line, as Python parses it."""
    parts: list[str] = []
    kinds = {p.kind for p in parameters(thing)}
    for p in parameters(thing):
        if p.kind is p.KEYWORD_ONLY and not {"*"} & {*parts} and p.VAR_POSITIONAL not in kinds:
            parts.append("*")
        stars = "*" * (p.kind is p.VAR_POSITIONAL) + "**" * (p.kind is p.VAR_KEYWORD)
        annotation = f": {p.annotation}" if p.annotation else ""
        default = "" if p.default is p.empty else f" = {p.default}"
        parts.append(f"{stars}{p.name}{annotation}{default}")
    if first := sum(p.kind is p.POSITIONAL_ONLY for p in parameters(thing)):
        parts.insert(first, "/")
    returned = _returned(thing)
    return f"{name}({', '.join(parts)}){f' -> {returned}' if returned else ''}"


@functools.cache
def _definition(thing: Any) -> ast.AST | None:
    """Return the syntax tree of a function or class."""
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(thing)))
        return ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return None


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, tuple[str, str]]:
    a = node.args
    positional = [*a.posonlyargs, *a.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(a.defaults))
    pairs = [*zip(positional, [*defaults, *a.defaults], strict=True)]
    pairs += [*zip(a.kwonlyargs, a.kw_defaults, strict=True)]
    pairs += [(each, None) for each in (a.vararg, a.kwarg) if each]
    return {arg.arg: (_text(arg.annotation), _text(default)) for arg, default in pairs}


def _written(thing: Any) -> dict[str, tuple[str, str]]:
    """Return the types and defaults of parameters, or of a record's fields, as they are written."""
    node = _definition(thing)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return _arguments(node)
    if not isinstance(node, ast.ClassDef):
        return {}
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            return _arguments(each)
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    return {_text(each.target): (_text(each.annotation), _text(each.value)) for each in fields}


def _text(node: ast.AST | None) -> str:
    return "" if node is None else ast.unparse(node)


def _annotation(p: inspect.Parameter, written: str) -> str:
    if written:
        return _unquoted(written)
    if isinstance(p.annotation, str):
        return _unquoted(p.annotation)
    return "" if p.annotation is p.empty else inspect.formatannotation(p.annotation)


def _unquoted(annotation: str) -> str:
    if annotation[:1] in "'\"" and annotation[:1] == annotation[-1:]:
        return annotation[1:-1]
    return annotation


def _default(p: inspect.Parameter, written: str) -> Any:
    if p.default is p.empty:
        return p.empty
    if written and not written.startswith("dataclasses.field"):
        return _as_in_papers(written)
    shown = repr(p.default)
    try:
        ast.parse(shown, mode="eval")
    except SyntaxError:
        return "..."
    return _as_in_papers(shown)


def _as_in_papers(default: str) -> str:
    """Write `1e-08` as `1e-8`, and `0.0001` as `1e-4`."""
    default = re.sub(r"^(\d+)e-0(\d)$", r"\1e-\2", default)
    return re.sub(r"^0\.(0{2,})1$", lambda m: f"1e-{len(m[1]) + 1}", default)


def _returned(thing: Any) -> str:
    node = _definition(thing)
    if isinstance(node, ast.FunctionDef):
        return _unquoted(_text(node.returns))
    return ""
