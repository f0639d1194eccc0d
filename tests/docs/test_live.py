"""The page `learn/live`: small files, with the colours of the figures and Python's numbers."""

import json
import re

import numpy as np
import pytest

from adam_optax._core.plotting import STYLES
from tests.docs import live, markdown

pytestmark = pytest.mark.quick
OWN = [*live.FOLDER.iterdir(), markdown.DOCS / "learn" / "live.html"]


def test_colours_and_dashes_are_those_of_all_figures() -> None:
    text = (live.FOLDER / "palette.js").read_text(encoding="utf-8")
    palette = json.loads(re.sub(r"(?s).*export const PALETTE = (.*);\n", r"\1", text))
    assert tuple(palette) == live.NAMES
    for name, style in palette.items():
        color, dashes = STYLES[name.casefold()]
        assert style == {"color": color, "dash": [*dashes[1]] if dashes != "-" else []}
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
