"""Group the names of the top level into pages: optimisers, links, tools, classes."""

from docs._reference import pages, tables, types
from docs._reference.inventory import symbols


def group_pages() -> dict[str, str]:
    """Write the pages of the groups, by file name."""
    top = [each for each in symbols() if not each.module]
    optimizers, links = tables.optimizers(), tables.transformations()
    classes = [each for each in top if each.kind == "class"]
    rest = [each for each in top if each not in optimizers + links + classes]
    return {
        "optimizers": pages.group_page(
            "Optimisers",
            "A learning rate in, a transformation of gradients out. Every optimiser also takes the "
            "options of `ao.MomentOptions` or `ao.DecayOptions`: how moments are stored, and how "
            "weight decay goes with the learning rate. `bytes` are those of the state for each "
            "float32 parameter, by default; the last column is the name of optax's own.",
            tables.compared(),
            optimizers,
        ),
        "links": pages.group_page(
            "Links of a chain",
            "These rescale or limit gradients and leave the learning rate and its sign to another "
            "link of `optax.chain`.",
            tables.summary(links),
            links,
        ),
        "tools": pages.group_page(
            "Functions around an optimiser",
            "They build an optimiser of a rule, take a step, give hyper-parameters by path, count "
            "bytes, move the state to the host's memory, read moments and record what happens.",
            tables.summary(rest),
            rest,
        ),
        "classes": pages.group_page(
            "Classes",
            "What the functions take and return.",
            tables.summary(classes),
            classes,
        ),
        "types": types.page(),
    }
