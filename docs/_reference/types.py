"""Write the page of the types that stand in signatures and that no module exports."""

import ast
import inspect
import itertools
import pathlib
import re
from typing import Any

import adam_optax
from docs._reference import signature
from docs._reference.inventory import symbols

WORDS = (
    "Signatures name these types, so that they can be read. They are no names to import: what an "
    "argument takes is said here and at the argument."
)

OTHERS = {"Path"}
"""Names that signatures take from elsewhere: `pathlib.Path`."""


def page(title: str) -> str:
    """Write the page: each alias that a signature names, what it stands for, and its text."""
    named = _named_in_signatures() - {each.name for each in symbols()} - OTHERS
    found = {name: (value, doc) for name, value, doc in _aliases() if name in named and doc}
    entries = [
        f"```{{py:type}} adam_optax.{name}\n:canonical: {value}\n\n{doc}\n```"
        for name, (value, doc) in sorted(found.items())
    ]
    return "\n\n".join([f"# {title}", WORDS, *entries]) + "\n"


def _named_in_signatures() -> set[str]:
    text = " ".join(_signature(each.thing) for each in symbols() if each.kind != "data")
    return set(re.findall(r"\w+", text))


def _signature(thing: Any) -> str:
    try:
        return signature.signature("", thing if isinstance(thing, type) else inspect.unwrap(thing))
    except (TypeError, ValueError):
        return ""


def _aliases() -> list[tuple[str, str, str]]:
    """Return name, value and text of each documented type alias in the package's source."""
    found = []
    for file in sorted(pathlib.Path(adam_optax.__path__[0]).rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if "TypeAlias =" not in text:
            continue
        body = ast.parse(text).body
        for node, after in itertools.pairwise(body):
            if not (
                isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias"
            ):
                continue
            doc = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                doc = inspect.cleandoc(str(after.value.value))
            found.append((ast.unparse(node.target), ast.unparse(node.value or node.target), doc))
    return found
