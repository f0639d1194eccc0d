"""Addresses of other hosts are well formed, and a paper has the same identifier everywhere.

Whether an address still answers is for Sphinx's linkcheck, which a job in docs.yml runs.
"""

import re
import urllib.parse
from collections import defaultdict
from collections.abc import Iterable, Iterator

import pytest

from adam_optax._wrappers.citation import bibtex_entries
from tests.docs import markdown, prose
from tests.docs.test_spelling import readers_files

pytestmark = pytest.mark.quick
OPENED = re.compile(
    r"\]\(\s*<?(?=[a-z][a-z0-9+.-]*:|//|www\.)(?P<target>(?:[^()>\n]|\([^()\n]*\))*)>?\)"
)
BARE = re.compile(r"(?<!\]\()(?<!\]\(<)\bhttps?:[^\s<>`\"')\]|]+")
HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}")
REST = re.compile(r"(?:[A-Za-z0-9/._~!$&'()*+,;=:@?-]|%[0-9A-Fa-f]{2})*")
IDENTIFIER = r"https?://(?:arxiv\.org/(?:abs|pdf)/|doi\.org/)(\d{4}\.\d{4,5}|10\.\d{4,}/[^\s>]+?)"
NAMED = re.compile(
    rf"\[([^\[\]]+)\]\(<?{IDENTIFIER}>?\)(?!\d)|\"([^\"]+)\",\s{IDENTIFIER}(?=\.?\s)"
)


def _texts() -> dict[str, str]:
    """Return what readers read, with its addresses: of modules, the docstrings."""
    found = {}
    for path in readers_files():
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            text = "\n\n".join(said for _, said in prose.docstrings(text))
        elif path.suffix == ".md":
            text = markdown.prose(text)
        found[str(path.relative_to(markdown.ROOT))] = text
    return found


def addresses(text: str) -> Iterator[str]:
    """Yield what a text says of other hosts: targets of links, and addresses that stand bare."""
    text = re.sub(r"(?<!`)`[^`\n]+`(?!`)", "`code`", text)
    yield from (match["target"] for match in OPENED.finditer(text))
    yield from (address.rstrip(".,;:") for address in BARE.findall(text))


def is_address(text: str) -> bool:
    """Tell whether a text can be the address of a page: scheme, host and path as they must be."""
    try:
        parts = urllib.parse.urlsplit(text)
    except ValueError:
        return False
    if parts.scheme == "mailto":
        return "@" in parts.path
    rest = f"{parts.path}?{parts.query}?{parts.fragment}"
    return (
        parts.scheme in ("http", "https")
        and HOST.fullmatch(parts.netloc) is not None
        and REST.fullmatch(rest) is not None
        and "//" not in parts.path
        and text.count("(") == text.count(")")
    )


def identifiers(texts: Iterable[str]) -> dict[str, set[str]]:
    """Return the arXiv numbers and DOIs of each title in texts, by the title without its case."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for match in (match for text in texts for match in NAMED.finditer(text)):
        title, identifier = (match[1], match[2]) if match[1] else (match[3], match[4])
        found[_bare(title)].add(identifier)
    return found


def of_citations() -> dict[str, set[str]]:
    """Return the identifiers in the entries of `ao.citation`, by title."""
    found = {}
    for entry in bibtex_entries().values():
        title = re.search(r"title = \{+(.*?)\}+,?\n", entry)
        number = re.search(r"arXiv:(\d{4}\.\d{4,5})|doi = \{(.*?)\}", entry)
        if title and number:
            found[_bare(title[1])] = {number[1] or number[2]}
    return found


def _bare(title: str) -> str:
    return " ".join(title.split()).casefold()


def test_addresses_are_well_formed() -> None:
    found = {
        name: bad
        for name, text in _texts().items()
        if (bad := [address for address in addresses(text) if not is_address(address)])
    }
    assert not found


def test_what_is_no_address_is_seen() -> None:
    text = (
        "[a](https://a.org/b_(c)) [b](htps://b.org) [c](https://c) [d](https:/d.org) [e](www.e.org)"
        " [f](https://f.org/a b) [g](https://g.org/https://h.org) `[h](x:y)` https://i.org/j,"
        " [k](l.md) <https://l..org> [m](https://m.org/(64)9-5) [n](//n.org)"
    )
    assert [each for each in addresses(text) if not is_address(each)] == [
        "htps://b.org",
        "https://c",
        "https:/d.org",
        "www.e.org",
        "https://f.org/a b",
        "https://g.org/https://h.org",
        "//n.org",
        "https://l..org",
    ]


def test_a_paper_has_one_identifier() -> None:
    linked, cited = identifiers(_texts().values()), of_citations()
    assert len(linked) > 30
    assert len(cited.keys() & linked.keys()) >= 5
    apart = {
        title: numbers
        for title in linked
        if len(numbers := linked[title] | cited.get(title, set())) != 1
    }
    assert not apart


def test_another_identifier_of_a_paper_is_seen() -> None:
    one = (
        "[A\n    Title](https://arxiv.org/abs/1412.6980) [B](https://doi.org/10.1016/0041(64)9-5)."
    )
    two = '"A title", https://arxiv.org/abs/1412.6981.\n'
    assert identifiers([one, two]) == {
        "a title": {"1412.6980", "1412.6981"},
        "b": {"10.1016/0041(64)9-5"},
    }
