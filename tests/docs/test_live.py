"""The page `learn/live`: small files, with the colours of the figures and Python's numbers."""

import ast
import json
import re
from typing import Any

import numpy as np
import pytest

from tests.docs import live, markdown

pytestmark = pytest.mark.quick
OWN = [*live.FOLDER.iterdir(), markdown.DOCS / "learn" / "live.html"]


def _figures(*wanted: str) -> dict[str, Any]:
    """Return constants of docs/learn/figures.py, without matplotlib."""
    tree = ast.parse((markdown.DOCS / "learn" / "figures.py").read_text(encoding="utf-8"))
    plain = (ast.Constant, ast.Tuple, ast.Dict)
    scope: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, plain):
            exec(compile(ast.Module([_untyped(node)], []), "figures.py", "exec"), scope)
    return {name: scope[name] for name in wanted}


def _untyped(node: ast.Assign | ast.AnnAssign) -> ast.stmt:
    if isinstance(node, ast.Assign) or node.value is None:
        return node
    return ast.fix_missing_locations(ast.copy_location(ast.Assign([node.target], node.value), node))


def test_colours_and_dashes_are_those_of_the_figures() -> None:
    text = (live.FOLDER / "palette.js").read_text(encoding="utf-8")
    palette = json.loads(re.sub(r"(?s).*export const PALETTE = (.*);\n", r"\1", text))
    figures = _figures("COLORS", "DASHES")
    assert tuple(palette) == live.NAMES
    for name, style in palette.items():
        assert style == {
            "color": figures["COLORS"][name],
            "dash": list(figures["DASHES"][name]),
        }
    assert len({tuple(style["dash"]) for style in palette.values()}) == len(palette)


def test_the_page_is_small_and_needs_no_other_host() -> None:
    sizes = {path.name: path.stat().st_size for path in OWN}
    assert sum(sizes.values()) < 45_000, sizes  # a figure or two of a lesson
    for path in OWN:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?:|//\w+\.|@import", text), path
        assert len(text.splitlines()) < 450, path


def test_noise_is_normal_and_the_same_for_a_seed() -> None:
    noise = live.normals(1, 4000)
    assert np.array_equal(noise[:10], live.normals(1, 10))
    # Four standard errors: 1/sqrt(8,000) of the mean, less of the deviation; 1/sqrt(4,000).
    assert abs(noise.mean()) < 0.045
    assert abs(noise.std() - 1) < 0.045
    assert abs((noise[:, 0] * noise[:, 1]).mean()) < 0.065
