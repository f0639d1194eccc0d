"""Make the reference's tables from the code: one line each, formulas, bytes, papers."""

import functools
import inspect
import re
from collections.abc import Mapping, Sequence

import jax
import optax

import adam_optax as ao
from docs._reference.docstring import parse
from docs._reference.inventory import Symbol, symbols

SIZE = (1024, 1024)
PARAMS = {"w": jax.ShapeDtypeStruct(SIZE, "float32")}
FORMATS = {
    "`dense()`": ao.storage.dense(),
    '`dense("bfloat16")`': ao.storage.dense("bfloat16"),
    "`stochastic()`": ao.storage.stochastic(),
    "`float8()`": ao.storage.float8(),
    "`int8()`": ao.storage.int8(),
    "`int4()`": ao.storage.int4(),
    "`pair()`": ao.storage.pair(),
    "`pair(1, block=64)`": ao.storage.pair(1, block=64),
    "`factored()`": ao.storage.factored(),
}
BYTES_WORDS = (
    "Bytes of state for each float32 parameter of a matrix of 1024 by 1024, as `ao.memory` counts "
    "them; a dash where the format refuses the rule's moments. Optimisers that take no format are "
    "left out."
)
LIMITS = ("adagc", "clip_by_block_rms", "clip_by_global_norm", "zclip")
"""The links that limit gradients."""
_OPTAX = {"": optax, "contrib.": getattr(optax, "contrib", None)}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def link(symbol: Symbol, shown: str | None = None) -> str:
    """Link to the page of a public name."""
    return f"[`{shown or symbol.short}`]({symbol.page}.md)"


def summary(listed: Mapping[str, Symbol]) -> str:
    """Make a table of names with the first sentence of each docstring."""
    rows = [[link(each, name), _cell(_sentence(name, each))] for name, each in listed.items()]
    return table(["name", "what it does"], rows)


def _sentence(name: str, symbol: Symbol) -> str:
    if symbol.short != name:
        return f"The same as `{symbol.qualified.replace('adam_optax.', 'ao.')}`."
    return parse(symbol.doc).summary or f"The arguments of {getattr(symbol.thing, 'name', '')}."


@functools.cache
def optimizers() -> list[Symbol]:
    """Return the functions of the top level that take a learning rate first."""
    return [each for each in symbols() if not each.module and _first(each) == "learning_rate"]


def transformations() -> list[Symbol]:
    """Return the functions of the top level that leave the learning rate to another link."""
    names = ("temporal_average", *LIMITS)
    return [
        each
        for each in symbols()
        if not each.module and (each.name.startswith("scale_by_") or each.name in names)
    ]


def compared() -> str:
    """Make the table of optimisers: idea, step, bytes, paper, optax's name."""
    rows = []
    for each in optimizers():
        doc = parse(each.doc)
        idea = doc.summary.removeprefix("Minimise with ").rstrip(".")
        theirs = [f"`{m}{each.name}`" for m, at in _OPTAX.items() if hasattr(at, each.name)]
        size = f"{_memory(each.name).per_parameter:.3g}"
        paper = _paper(doc.references[0]) if doc.references else ""
        step = _cell(f"${doc.step[0]}$")
        rows.append([link(each), _cell(idea), step, size, paper, (theirs or ["none"])[0]])
    header = ["name", "idea", "step, before the learning rate", "bytes", "paper", "in optax"]
    return table(header, rows)


def bytes_by_format() -> str:
    """Make the table of bytes a parameter, of every optimiser in every format."""
    sizes = {e: [bytes_of(e.name, f) for f in FORMATS.values()] for e in optimizers()}
    rows = [[link(e), *found] for e, found in sizes.items() if {*found} != {"–"}]
    return table(["optimiser", *FORMATS], rows)


def state(symbol: Symbol) -> str:
    """Make the table of what an optimiser keeps: entry, dtype, bytes a parameter."""
    if symbol not in optimizers() + transformations() or symbol.name in LIMITS:
        return ""
    memory = _memory(symbol.name)
    entries = {n: b for n, b in memory.by_entry.items() if b / memory.parameters > 1e-3}
    if not entries:
        return "The state holds no more than a count, whatever the parameters."
    rows = [
        [f"`{name}`", ", ".join(memory.dtypes[name]), f"{size / memory.parameters:.3g}"]
        for name, size in entries.items()
    ]
    words = "For float32 parameters, with storage as it is by default, a matrix of 1024 by 1024:"
    return f"{words}\n\n{table(['entry', 'dtype', 'bytes a parameter'], rows)}"


@functools.cache
def _memory(name: str, storage: ao.storage.Format | None = None) -> ao.Memory:
    function = getattr(ao, name)
    args = (1e-3,) if next(iter(inspect.signature(function).parameters)) == "learning_rate" else ()
    kwargs = {} if storage is None else {"storage": storage}
    return ao.memory(function(*args, **kwargs), PARAMS)


def bytes_of(name: str, storage: ao.storage.Format) -> str:
    """Count the bytes a parameter of an optimiser in a format; a dash if it is refused."""
    try:
        return f"{_memory(name, storage).per_parameter:.3g}"
    except ValueError:  # the format says why
        return "–"


def _first(symbol: Symbol) -> str:
    if symbol.kind != "function" or not inspect.isroutine(symbol.thing):
        return ""
    return next(iter(inspect.signature(symbol.thing).parameters), "")


def _paper(reference: str) -> str:
    found = re.match(r"(.+?), \[.*?\]\((https:.*?)\), .*?(\d{4})", reference)
    return f"[{found[1]} {found[3]}]({found[2]})" if found else reference


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
