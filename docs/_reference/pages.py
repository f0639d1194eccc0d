"""Write a page of Markdown for a public name."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from docs._reference import inventory, signature, tables
from docs._reference.docstring import Docstring, parse
from docs._reference.inventory import Symbol, public_names, symbol_of, symbols

TITLES = {
    "Args": "Arguments",
    "Attributes": "Attributes",
    "Raises": "What is refused",
    "Warns": "Warnings",
    "Returns": "Result",
    "Yields": "Result",
    "Example": "Example",
    "References": "Paper",
}


def page(symbol: Symbol) -> str:
    """Write the page of a function, a class or a constant."""
    doc = parse(symbol.doc)
    parts = [f"# {symbol.short}", _described(symbol, doc.summary)]
    if symbol.kind == "function" and not inspect.isroutine(symbol.thing):
        call = parse(symbol.thing.__call__.__doc__ or "")
        parts += [doc.body, *_sections(call, "## {}", _types(symbol))]
        parts += _items(doc, "Attributes", "## {}")
        parts += _members(symbol.qualified, type(symbol.thing))
        return _joined(parts)
    parts.append(doc.body)
    if doc.step:
        parts += ["## Step", _display(doc.step), doc.step_words]
    if symbol.kind == "data":
        parts += _value(symbol.thing)
    parts += _sections(doc, "## {}", _types(symbol))
    if table := tables.state(symbol):
        above_papers = len(parts) - 2 * bool(doc.references)
        parts[above_papers:above_papers] = ["## State", table]
    if symbol.kind == "class":
        parts += _members(symbol.qualified, symbol.thing)
    return _joined(parts)


def module_page(name: str) -> str:
    """Write the page of a module: what it is for, and a table of its names."""
    module = inventory.module(name)
    doc = parse(module.__doc__ or "")
    listed = {each: symbol_of(name, each) for each in public_names(module)}
    own = [each for each in dict.fromkeys(listed.values()) if each.module == name]
    short = f"adam_optax.{name}" if name in ("aot", "lab") else f"ao.{name}"
    parts = [
        f"# {short}",
        f"```{{py:module}} adam_optax.{name}\n```",
        doc.summary,
        doc.body,
        *_sections(doc, "## {}"),
        "## Names",
        tables.summary({f"{name}.{each}": symbol for each, symbol in listed.items()}),
    ]
    if name == "storage":
        parts += ["## Bytes a parameter", tables.BYTES_WORDS, tables.bytes_by_format()]
    parts.append(_toctree([each.page for each in own]))
    return _joined(parts)


def group_page(title: str, words: str, table: str, members: list[Symbol]) -> str:
    """Write the page of a group of the top level's names."""
    return _joined([f"# {title}", words, table, _toctree([each.page for each in members])])


def _described(symbol: Symbol, summary: str) -> str:
    name, thing = symbol.qualified, symbol.thing
    if symbol.kind == "data":
        return f"```{{py:data}} {name}\n{summary or _name_of(thing)}\n```"
    directive = "class" if symbol.kind == "class" else "function"
    if not inspect.isroutine(thing) and directive == "function":
        return f"```{{py:function}} {_signature(name, thing.__call__)}\n{summary}\n```"
    return f"```{{py:{directive}}} {_signature(name, thing)}\n{summary}\n```"


def _name_of(thing: Any) -> str:
    """Say of what a constant is the record, if no text stands below it."""
    return (
        f"The arguments that make an optimiser that of {thing.name}."
        if hasattr(thing, "name")
        else ""
    )


def _signature(name: str, thing: Any) -> str:
    try:
        return signature.signature(name, thing)
    except (TypeError, ValueError):  # a dictionary's type, an exception
        return name


def _types(symbol: Symbol) -> dict[str, tuple[str, str]]:
    """Return type and default of each parameter as text."""
    try:
        found = signature.parameters(symbol.thing)
    except (TypeError, ValueError):
        return {}
    empty = inspect.Parameter.empty
    return {p.name: (p.annotation, "" if p.default is empty else p.default) for p in found}


def _sections(
    doc: Docstring, heading: str, types: dict[str, tuple[str, str]] | None = None
) -> list[str]:
    parts: list[str] = []
    for name in ("Args", "Attributes", "Returns", "Yields", "Raises", "Warns", "Example"):
        parts += _items(doc, name, heading, types or {})
        if text := doc.texts.get(name):
            parts += [heading.format(TITLES[name]), text]
    if doc.references:
        title = "Paper" if len(doc.references) == 1 else "Papers"
        parts += [heading.format(title), "\n".join(f"- {each}" for each in doc.references)]
    return parts


def _items(
    doc: Docstring, name: str, heading: str, types: dict[str, tuple[str, str]] | None = None
) -> list[str]:
    if not doc.items.get(name):
        return []
    entries = [_entry(key, text, types or {}) for key, text in doc.items[name]]
    return [heading.format(TITLES[name]), "\n\n".join(entries)]


def _entry(key: str, text: str, types: dict[str, tuple[str, str]]) -> str:
    if not key:
        return text
    term = ", ".join(f"`{each.strip()}`" for each in key.split(","))
    annotation, default = types.get(key.lstrip("*"), ("", ""))
    if annotation:
        term += f" : `{annotation}`" + (f", default `{default}`" if default else "")
    body = text.replace("\n", "\n  ")
    return f"{term}\n: {body}"


def _members(owner: str, cls: type) -> list[str]:
    """Describe the methods and properties that a class defines and documents."""
    parts: list[str] = []
    for name, member in vars(cls).items():
        thing = member.__func__ if isinstance(member, staticmethod | classmethod) else member
        is_property = isinstance(thing, property)
        if name.startswith("_") or not (is_property or inspect.isfunction(thing)):
            continue
        doc = parse(thing.__doc__ or "")
        call = name if is_property else _signature(name, thing)
        kind = "property" if is_property else "method"
        inner = [doc.summary, doc.body, *_sections(doc, "**{}**")]
        text = "\n\n".join(each for each in inner if each)
        parts.append(f"````{{py:{kind}}} {owner}.{call}\n{text}\n````")
    return ["## Methods and properties", *parts] if parts else []


def _value(thing: Any) -> list[str]:
    """Show what a constant holds, if it is a record."""
    if not dataclasses.is_dataclass(thing) or isinstance(thing, type):
        return []
    rows = [(f.name, getattr(thing, f.name)) for f in dataclasses.fields(thing) if f.repr]
    entries = [f"`{name}`\n: {_shown(value)}" for name, value in rows]
    return ["## Value", "\n\n".join(entries)]


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value or "an empty text"
    if isinstance(value, Mapping):
        return "<br>".join(f"`{name}`: {_call(each)}" for name, each in value.items()) or "none"
    return f"`{value!r}`"


def _call(value: Any) -> str:
    """Write a mapping of arguments as they stand in a call."""
    if not isinstance(value, Mapping):
        return f"`{value!r}`"
    return f"`{', '.join(f'{name}={each!r}' for name, each in value.items())}`"


def _display(step: list[str]) -> str:
    if len(step) == 1:
        return f"$$\n{step[0]}\n$$"
    lines = " \\\\[0.6em]\n".join(step)
    return f"$$\n\\begin{{gathered}}\n{lines}\n\\end{{gathered}}\n$$"


def _toctree(pages: list[str]) -> str:
    lines = "\n".join(pages)
    return f"```{{toctree}}\n:hidden:\n:titlesonly:\n\n{lines}\n```" if pages else ""


def _joined(parts: list[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def all_pages() -> dict[str, str]:
    """Write every page of the reference, by the name of its file without suffix."""
    from docs._reference.groups import group_pages

    return {
        **{each.page: page(each) for each in symbols()},
        **{f"adam_optax.{name}": module_page(name) for name in inventory.MODULES},
        **group_pages(),
    }
