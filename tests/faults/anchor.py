"""Find where a fault goes: a node of the syntax tree in a symbol, whatever its file and layout."""

import ast
import builtins
import copy
import dataclasses
import functools
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

PACKAGE = pathlib.Path(__file__).parents[2] / "adam_optax"


@dataclasses.dataclass(frozen=True)
class Fault:
    """Change one place in the package, which breaks a promise.

    Attributes:
        name: what is wrong.
        symbol: the function, class, method or constant that holds the place, as `Coupling.term`;
            where several modules have one, after the end of a module's dotted name, as
            `tail:update` or `precision.stochastic:_step`. With a slash, a file beside the package,
            as `docs/index.md`.
        right: an expression or a statement that is in the symbol exactly once; of a file, a text.
        wrong: what stands there instead. Statements take the place of a statement, and an empty
            string takes it out.
        caught_by: a quick test that fails, without its file: `test_it_is_so[case]`. It is tried
            first; nothing else depends on it.
        needs: a package without which no test can catch it; the tests then skip it.
    """

    name: str
    symbol: str
    right: str
    wrong: str
    caught_by: str = ""
    needs: str = ""


class Symbol(NamedTuple):
    """Say where a name is defined."""

    path: pathlib.Path
    module: ast.Module
    node: ast.AST


def planted(fault: Fault, package: pathlib.Path = PACKAGE) -> tuple[pathlib.Path, str]:
    """Return the one file that a fault changes, and what it then says.

    Raises:
        ValueError: if the symbol, or the place in it, is not there exactly once, or what is wrong
            has a name that the module does not: any test would catch that.
    """
    if "/" in fault.symbol:
        return _in_a_text(fault, package.parent / fault.symbol)
    path, module, symbol = _found(fault, package)
    old, new = _change(fault)
    places = [node for node in ast.walk(symbol) if _same(node, old)]
    if len(places) != 1:
        where = _lines((path, node) for node in places)
        raise ValueError(
            f"{fault.name}: {fault.right!r} is {len(places)} times in {fault.symbol}: "
            f"{where or path}"
        )
    wrong = ast.parse(fault.wrong)
    known = _names(module, ast.expr_context) | _names(wrong, ast.Store) | set(dir(builtins))
    if unknown := _names(wrong, ast.Load) - known:
        raise ValueError(f"{fault.name}: {path} has no {', '.join(sorted(unknown))}")
    module, place = copy.deepcopy((module, places[0]))  # the node stays one of the tree
    _Swap(place, new).visit(module)
    return path, ast.unparse(module) + "\n"


def _in_a_text(fault: Fault, path: pathlib.Path) -> tuple[pathlib.Path, str]:
    text = path.read_text(encoding="utf-8")
    if (times := text.count(fault.right)) != 1:
        raise ValueError(f"{fault.name}: {fault.right!r} is {times} times in {path}")
    return path, text.replace(fault.right, fault.wrong)


def _found(fault: Fault, package: pathlib.Path) -> Symbol:
    """Return the symbol that a fault names."""
    end, _, name = fault.symbol.rpartition(":")
    symbols = [
        symbol
        for symbol in _symbols(package).get(name, [])
        if f".{_dotted(symbol.path, package)}".endswith(f".{end}" if end else "")
    ]
    if len(symbols) != 1:
        where = _lines((s.path, s.node) for s in symbols)
        raise ValueError(
            f"{fault.name}: there are {len(symbols)} {fault.symbol}: {where or package}"
        )
    return symbols[0]


@functools.cache
def _symbols(package: pathlib.Path) -> dict[str, list[Symbol]]:
    """Return all that the modules of a package define, by name."""
    found: dict[str, list[Symbol]] = {}
    for path in sorted(package.rglob("*.py")):
        module = ast.parse(path.read_text())
        for name, node in _defined(module):
            if not _is_overload(node):
                found.setdefault(name, []).append(Symbol(path, module, node))
    return found


def _defined(node: ast.AST, within: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield what a module, class or function defines, by the names that lead there."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield within + child.name, child
            yield from _defined(child, f"{within}{child.name}.")
        elif isinstance(child, ast.Assign | ast.AnnAssign):
            targets = child.targets if isinstance(child, ast.Assign) else [child.target]
            for name in set().union(*(_names(target, ast.Store) for target in targets)):
                yield within + name, child
        elif isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield from _defined(child, within)


def _is_overload(node: ast.AST) -> bool:
    """Tell whether a definition is of types alone, beside the one that runs."""
    decorators = getattr(node, "decorator_list", [])
    return any(isinstance(x, ast.Name) and x.id == "overload" for x in decorators)


def _dotted(path: pathlib.Path, package: pathlib.Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def _lines(places: Iterator[tuple[pathlib.Path, ast.AST]]) -> str:
    return ", ".join(f"{path}:{getattr(node, 'lineno', '?')}" for path, node in places)


def _change(fault: Fault) -> tuple[ast.AST, ast.AST | list[ast.stmt]]:
    """Return the node to look for and what replaces it: expressions where both are."""
    (old,), new = ast.parse(fault.right).body, ast.parse(fault.wrong or "pass").body
    if isinstance(old, ast.Expr) and len(new) == 1 and isinstance(new[0], ast.Expr):
        return old.value, new[0].value
    return old, new


def _same(one: ast.AST, other: ast.AST) -> bool:
    """Tell whether two nodes say the same, however they are written."""
    return type(one) is type(other) and ast.dump(one) == ast.dump(other)


def _names(tree: ast.AST, context: type[ast.expr_context]) -> set[str]:
    """Collect the names that are read (`ast.Load`) or given (`ast.Store`, and parameters)."""
    nodes = list(ast.walk(tree))
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, context)}
    parameters = {n.arg for n in nodes if isinstance(n, ast.arg)}
    return names | parameters if issubclass(ast.Store, context) else names


class _Swap(ast.NodeTransformer):
    """Put other nodes in the place of one."""

    def __init__(self, old: ast.AST, new: ast.AST | list[ast.stmt]) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST | list[ast.stmt]:
        return self.new if node is self.old else self.generic_visit(node)
