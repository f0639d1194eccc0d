"""Group the names of the top level into pages: optimisers, links, tools, classes."""

from docs._reference import command_line, pages, tables, types
from docs._reference.inventory import Symbol, symbols

GROUPS: dict[str, tuple[str, str]] = {
    "optimizers": (
        "Optimisers",
        "A learning rate in, a transformation of gradients out. Every optimiser also takes the "
        "options of `ao.MomentOptions` or `ao.DecayOptions`: how moments are stored, and how "
        "weight decay goes with the learning rate. `bytes` are those of the state for each float32 "
        "parameter, by default; the last column is the name of optax's own.",
    ),
    "links": (
        "Links of a chain",
        "These rescale or limit gradients and leave the learning rate and its sign to another link "
        "of `optax.chain`.",
    ),
    "tools": (
        "Functions around an optimiser",
        "They build an optimiser of a rule, take a step, give hyper-parameters by path, count "
        "bytes, move the state to the host's memory, read moments and record what happens.",
    ),
    "classes": ("Classes", "What the functions take and return."),
    "types": ("Types in signatures", types.WORDS),
    "command_line": (command_line.TITLE, command_line.WORDS),
}
"""Title and first words of each page that is no module's."""


def members() -> dict[str, list[Symbol]]:
    """Return the top level's names by the page that lists them."""
    top = [each for each in symbols() if not each.module]
    optimizers, links = tables.optimizers(), tables.transformations()
    classes = [each for each in top if each.kind == "class"]
    rest = [each for each in top if each not in optimizers + links + classes]
    return {"optimizers": optimizers, "links": links, "tools": rest, "classes": classes}


def group_pages() -> dict[str, str]:
    """Write the pages of the groups, by file name."""
    written = {}
    for name, listed in members().items():
        table = tables.summary({each.short: each for each in listed})
        if name == "optimizers":
            table = tables.compared()
        written[name] = pages.group_page(*GROUPS[name], table, listed)
    types_page = types.page(GROUPS["types"][0])
    return {**written, "types": types_page, "command_line": command_line.page()}
