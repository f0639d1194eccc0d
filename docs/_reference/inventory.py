"""List what is public: the names of `adam_optax.__all__` and of its public modules."""

import ast
import functools
import importlib
import inspect
import itertools
import pathlib
import types
from dataclasses import dataclass
from typing import Any

MODULES = (
    "rules",
    "moments",
    "directions",
    "couplings",
    "schedules",
    "storage",
    "precision",
    "rows",
    "release",
    "convert",
    "conventions",
    "adapters",
    "aot",
    "lab",
)
"""The public modules, in the order in which a reader meets them."""


@dataclass(frozen=True, eq=False)
class Symbol:
    """Describe a public name.

    Attributes:
        module: its module below the package, or an empty text for the top level.
        name: its name there.
        thing: what it is.
        page: the name of its page's file, without a suffix.
    """

    module: str
    name: str
    thing: Any
    page: str

    @property
    def qualified(self) -> str:
        """Return the name with its module: `adam_optax.rules.adam`."""
        return ".".join(part for part in ("adam_optax", self.module, self.name) if part)

    @property
    def short(self) -> str:
        """Return the name that a page bears as its title: `adamw`, `rules.adam`."""
        return f"{self.module}.{self.name}".lstrip(".")

    @property
    def kind(self) -> str:
        """Tell a class from a function and from a constant."""
        if isinstance(self.thing, type):
            return "class"
        callable_object = type(self.thing).__module__.startswith("adam_optax") and callable(
            self.thing
        )
        return "function" if inspect.isroutine(self.thing) or callable_object else "data"

    @property
    def doc(self) -> str:
        """Return the docstring; of a constant, the text that follows it in the source."""
        if self.kind == "data":
            return constant_doc(self.qualified.rpartition(".")[0], self.name)
        return self.thing.__doc__ or ""


def module(name: str) -> types.ModuleType:
    """Import a public module by its name below the package; an empty name: the package."""
    return importlib.import_module(f"adam_optax.{name}".rstrip("."))


def public_names(of: types.ModuleType) -> list[str]:
    """Return `__all__`, or what the module itself defines without an underscore."""
    listed = getattr(of, "__all__", None)
    if listed is not None:
        return list(listed)
    return [name for name in _definitions(of) if not name.startswith("_")]


@functools.cache
def symbols() -> tuple[Symbol, ...]:
    """Return each public thing once: under the top level's name where that has it, too."""
    found: list[tuple[str, str, Any]] = []
    seen: set[int] = set()
    for name in ("", *MODULES):
        here = module(name)
        for each in public_names(here):
            thing = getattr(here, each)
            if isinstance(thing, types.ModuleType) or id(thing) in seen:
                continue
            seen.add(id(thing))
            found.append((name, each, thing))
    names = [f"adam_optax.{where}.{each}".replace("..", ".") for where, each, _ in found]
    lower = [name.casefold() for name in names]
    pages = [  # `Memory` and `memory` are one file where the file system knows no case
        f"{name}-class" if isinstance(thing, type) and lower.count(name.casefold()) > 1 else name
        for name, (_, _, thing) in zip(names, found, strict=True)
    ]
    return tuple(Symbol(*each, page) for each, page in zip(found, pages, strict=True))


def symbol_of(where: str, name: str) -> Symbol:
    """Return the entry of a public name, which can be that of another name of the same thing.

    Args:
        where: the module below the package.
        name: the name there.
    """
    thing = getattr(module(where), name)
    return next(each for each in symbols() if each.thing is thing)


@functools.cache
def constant_doc(where: str, name: str) -> str:
    """Return the text that stands below an assignment in the source of a module or package."""
    source = pathlib.Path(inspect.getsourcefile(importlib.import_module(where)) or "")
    files = source.parent.rglob("*.py") if source.name == "__init__.py" else [source]
    for file in sorted(files):
        text = file.read_text(encoding="utf-8")
        if name in text and (doc := _docs_of_constants(text).get(name)):
            return doc
    return ""


@functools.cache
def _docs_of_constants(source: str) -> dict[str, str]:
    body = ast.parse(source).body
    found = {}
    for node, after in itertools.pairwise(body):
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        for name in _assigned(node) if is_text else ():
            found[name] = inspect.cleandoc(str(after.value.value))  # type: ignore[attr-defined]
    return found


def _assigned(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Try):  # `__version__`
        return [name for each in node.body for name in _assigned(each)]
    if isinstance(node, ast.AnnAssign):
        return [ast.unparse(node.target)]
    return [ast.unparse(t) for t in node.targets] if isinstance(node, ast.Assign) else []


def _definitions(of: types.ModuleType) -> list[str]:
    found = []
    for node in ast.parse(inspect.getsource(of)).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append(node.name)
        found += _assigned(node)
    return found
