"""Extend Sphinx: write the reference, bring in the notebooks, and link names to their pages."""

import pathlib
import posixpath
import re
import shutil
from collections.abc import Callable, Iterable
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.directives.other import TocTree
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform

from docs import versions
from docs._reference import inventory
from docs._reference.pages import all_pages

NAME = re.compile(r"(?:ao\.|adam_optax\.)?([A-Za-z_][\w.]*)(?:\(.*\))?")
NUMBERS = re.compile(r"\d[-\d.,e+()± ]*")
"""What a cell of a measured table holds: `1.05 (0.93-1.22)`."""


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("builder-inited", _write)
    app.connect("env-updated", _add_second_names)
    app.connect("build-finished", _write_switcher)
    app.add_config_value("site_sections", {}, "env", dict)
    app.add_directive("sections", Sections)
    app.add_directive("pages", Pages)
    app.connect("source-read", _list_pages)
    app.add_post_transform(LinkNames)
    app.add_post_transform(KeepNumbers)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "version": "1"}


def _write(app: Sphinx) -> None:
    write_pages(pathlib.Path(app.srcdir) / "reference" / "generated")
    root = pathlib.Path(app.srcdir).parent
    copy_notebooks(root / "notebooks", pathlib.Path(app.srcdir) / "notebooks")


def _write_switcher(app: Sphinx, error: Exception | None) -> None:
    """Name this version alone; where the site is published, it learns of the others."""
    if error is None and app.builder.format == "html":
        version = app.config.release
        entry: dict[str, str | bool] = {"name": version, "version": version, "url": "/"}
        versions.write_switcher(pathlib.Path(app.outdir), [entry])


def _add_second_names(app: Sphinx, env: BuildEnvironment) -> None:
    """Let `adam_optax.rules.Rule` lead to the page of `adam_optax.Rule`."""
    objects = env.domains.python_domain.objects
    for module in inventory.MODULES:
        for name in inventory.public_names(inventory.module(module)):
            own = inventory.symbol_of(module, name).qualified
            if own in objects:
                objects.setdefault(
                    f"adam_optax.{module}.{name}", objects[own]._replace(aliased=True)
                )


def write_pages(folder: pathlib.Path) -> None:
    """Write the pages of the reference, only those that changed, and drop those of lost names."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {folder / f"{name}.md": text for name, text in all_pages().items()}
    for old in {*folder.glob("*.md")} - pages.keys():
        old.unlink()
    for path, text in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def copy_notebooks(source: pathlib.Path, folder: pathlib.Path) -> None:
    """Copy the notebooks and their figures, as they are committed, to where Sphinx reads."""
    found = [*source.glob("*.ipynb"), *source.glob("figures/*")]
    copies = {folder / path.relative_to(source): path for path in found}
    for old in {*folder.glob("*.ipynb"), *folder.glob("figures/*")} - copies.keys():
        old.unlink()
    for new, path in copies.items():
        new.parent.mkdir(parents=True, exist_ok=True)
        if not new.exists() or new.read_bytes() != path.read_bytes():
            shutil.copyfile(path, new)


class Sections(TocTree):  # type: ignore[misc]  # Sphinx need not be installed
    """List the site's sections: each its own page, or, where it has none yet, the pages in it."""

    content: Any

    def run(self) -> list[nodes.Node]:
        """Make the list."""
        there = self.env.found_docs
        found: list[str] = []
        for section, others in self.config.site_sections.items():
            own = [name for name in (f"{section}/index", section) if name in there]
            found += own[:1] or children(section, others.split(), there)
        return _listed(self, found, super().run)


class Pages(TocTree):  # type: ignore[misc]
    """List the pages of a section for the contents.

    The content names those that come first: all that the section's own page links to. A page that
    is not written yet is no error, and a new one appears without being named.
    """

    required_arguments = 1
    content: Any

    def run(self) -> list[nodes.Node]:
        """Make the list, or nothing if there is no page."""
        section = self.arguments[0]
        others = self.config.site_sections[section].split()
        found = children(section, [*self.content, *others], self.env.found_docs)
        return _listed(self, found, super().run)


def children(section: str, first: Iterable[str], there: Iterable[str]) -> list[str]:
    """Return the pages of a section but its own, in order.

    Args:
        section: the name of its folder.
        first: pages that come before the others, if they are there.
        there: all pages of the site.
    """
    inside = sorted(name for name in there if name.startswith(f"{section}/"))
    named = dict.fromkeys([*first, *inside])
    return [name for name in named if name in there and name != f"{section}/index"]


def _listed(
    directive: TocTree, pages: list[str], run: Callable[[], list[nodes.Node]]
) -> list[nodes.Node]:
    directive.content = StringList([f"/{page}" for page in pages], source="")
    directive.options |= {"hidden": None, "titlesonly": None}
    directive.env.note_reread()  # another page may be there the next time
    return run() if pages else []


def _list_pages(app: Sphinx, docname: str, source: list[str]) -> None:
    """Let a section's own page end with the list of its pages, in the order of the page's links."""
    section = docname.removesuffix("/index")
    (text,) = source
    if section not in app.config.site_sections or "```{toctree}" in text:
        return
    folder = docname.rpartition("/")[0]
    links = re.findall(r"\]\(([\w./-]+)\.(?:md|ipynb)[#)]", text)
    pages = [posixpath.normpath(posixpath.join(folder, link)) for link in links]
    own = [page for page in pages if page.startswith(f"{section}/")]
    source[0] = "\n".join([text, f"```{{pages}} {section}", "", *own, "```", ""])


def target(text: str) -> str | None:
    """Return the full name that a piece of code can name: `adam_optax.storage.pair`.

    Args:
        text: the code, such as `ao.storage.pair()`. A name without a module is no name of ours:
            `step`, `rows` and `storage` are arguments, too.
    """
    match = NAME.fullmatch(text)
    return f"adam_optax.{match[1]}" if match and (match[0] != match[1] or "." in match[1]) else None


class LinkNames(SphinxPostTransform):  # type: ignore[misc]
    """Turn `ao.adamw` in the prose of any page into a link to the name's page."""

    default_priority = 500

    def run(self, **kwargs: Any) -> None:
        """Replace literals of public names by links around them."""
        objects = self.env.domains.python_domain.objects
        builder = self.app.builder
        for literal in list(self.document.findall(nodes.literal)):
            name = target(literal.astext())
            if name not in objects or _inside(literal, nodes.reference, nodes.title):
                continue
            entry = objects[name]
            if entry.docname == self.env.current_document.docname:
                continue
            uri = builder.get_relative_uri(self.env.current_document.docname, entry.docname)
            link = nodes.reference("", "", internal=True, refuri=f"{uri}#{entry.node_id}")
            literal.replace_self(link)
            link += literal


class KeepNumbers(SphinxPostTransform):  # type: ignore[misc]
    """Mark the cells of numbers, which the style sheet does not break between two lines."""

    default_priority = 500

    def run(self, **kwargs: Any) -> None:
        """Give such cells the class `numbers`."""
        for cell in self.document.findall(nodes.entry):
            if NUMBERS.fullmatch(cell.astext()):
                cell["classes"].append("numbers")


def _inside(node: nodes.Node, *kinds: type[nodes.Node]) -> bool:
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kinds):
            return True
    return False
