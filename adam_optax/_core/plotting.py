"""Give every optimiser one colour and one dash in all figures of the library.

Readers look for a curve by its colour, and those who see few colours by its dash. So `STYLES` names
both for each optimiser of the library; names that are not there get a pair that follows from the
name alone, and no two curves of a figure get the same pair.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

from adam_optax._core.extras import needs_extra

DPI = 200
"""Pixels an inch: a figure 8 inches wide has twice the pixels of a README's column."""

BLUE, VERMILION, GREEN, PINK = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
ORANGE, SKY, BLACK, GREY = "#e69f00", "#56b4e9", "#000000", "#5a5a5a"
COLORS = (BLUE, VERMILION, GREEN, PINK, BLACK, ORANGE, SKY, GREY)
"""Okabe and Ito's colours for all kinds of colour vision, with a grey for their pale yellow."""
GUIDE, BAD, WORDS, EMPTY = "#888888", "#b00020", "#555555", "#dddddd"
"""The colours of what is no curve: guide lines, marks of runs that diverged, words below and in a
figure, and the ground of a map where nothing is known."""

Dashes: TypeAlias = str | tuple[int, tuple[float, ...]]
"""A line style of matplotlib."""
DASHES: tuple[Dashes, ...] = (
    "-",
    (0, (5, 2)),
    (0, (1, 1.5)),
    (0, (6, 2, 1, 2)),
    (0, (2, 2)),
    (0, (10, 3)),
    (0, (4, 2, 1, 2, 1, 2)),
    (0, (2, 4)),
)
"""Line styles that are told apart without colours; with `COLORS` they make 64 pairs."""


class Style(NamedTuple):
    """Describe the line of an optimiser.

    Attributes:
        color: The colour, as `#rrggbb`.
        dashes: The line style of matplotlib.
    """

    color: str
    dashes: Dashes

    def line(self) -> dict[str, Any]:
        """Return the style as keyword arguments of `Axes.plot`."""
        return {"color": self.color, "ls": self.dashes}


SOLID, DASHED, DOTTED, DASH_DOT, SHORT, LONG, DASH_DOT_DOT, _ = DASHES
STYLES = {
    "adam": Style(BLUE, SOLID),
    "adamw": Style(VERMILION, DASHED),
    "nadam": Style(GREEN, LONG),
    "amsgrad": Style(PINK, DASH_DOT),
    "adamax": Style(ORANGE, SHORT),
    "optax.adam": Style(BLACK, DOTTED),
    "sgd": Style(GREY, LONG),
    "momentum": Style(SKY, SHORT),
    "optax.sgd": Style(GREY, DASH_DOT_DOT),
    "sgd nesterov": Style(VERMILION, DASH_DOT_DOT),
    "adagrad": Style(GREEN, DASHED),
    "adagrad, constant rate": Style(GREEN, DOTTED),
    "rmsprop": Style(ORANGE, DASH_DOT),
    "adadelta": Style(PINK, SHORT),
    "adam, uncorrected": Style(VERMILION, DOTTED),
    "lion": Style(SKY, LONG),
    "lamb": Style(SKY, SOLID),
    "yogi": Style(PINK, DASHED),
    "radam": Style(BLACK, DASH_DOT),
    "adabelief": Style(VERMILION, DASH_DOT),
    "adafactor": Style(GREEN, SOLID),
    "adan": Style(ORANGE, SOLID),
    "ademamix": Style(PINK, SOLID),
    "simplified_ademamix": Style(PINK, DOTTED),
    "adopt": Style(BLACK, DASHED),
    "laprop": Style(SKY, DASHED),
    "novograd": Style(GREEN, DASH_DOT),
    "stable_adamw": Style(VERMILION, LONG),
    "nadamw": Style(GREEN, SHORT),
    "adamaxw": Style(ORANGE, LONG),
    "rows.adam, exact": Style(VERMILION, SHORT),
    "rows.adam, lazy": Style(SKY, DOTTED),
    "adabound": Style(BLACK, LONG),
    "amsbound": Style(BLACK, SHORT),
    "mars": Style(ORANGE, DASHED),
    "mars_lion": Style(SKY, DASH_DOT),
    "adamh": Style(BLUE, LONG),
    "adam_atan2": Style(BLUE, DASHED),
    "adam_mini": Style(BLUE, DOTTED),
    "acprop": Style(PINK, LONG),
    "qhadam": Style(GREEN, DASH_DOT_DOT),
    "grams": Style(ORANGE, DOTTED),
    "adamp": Style(BLACK, SOLID),
    "came": Style(VERMILION, SOLID),
}
"""The optimisers' lines by name, in lower case: those of the library, two of optax, four of the
Adam paper, the lessons' SGD with momentum, and the two ways to update the rows of a table."""
_TAKEN = set(STYLES.values())


def optimizer_styles(names: Iterable[str]) -> dict[str, Style]:
    """Return the lines of a figure's optimisers, no two of which are alike.

    An optimiser of `STYLES` always has the same line. So has any other alone in a figure; beside
    one that its name leads to as well, it gets the next free line. An optimiser with a storage
    format, `adam pair(3)` say, has the colour of the optimiser without it.

    Args:
        names: Names of the optimisers, as the legend has them.

    Raises:
        ValueError: If there are more optimisers than pairs of a colour and a dash.

    Example:
        >>> optimizer_styles(["adam", "mine"])["adam"]
        Style(color='#0072b2', dashes='-')
    """
    asked = list(dict.fromkeys(names))
    styles = {name: STYLES[name.casefold()] for name in asked if name.casefold() in STYLES}
    for name in asked:
        if name not in styles:
            used = set(styles.values())
            free = (style for style in _candidates(name) if style not in used)
            if (style := next(free, None)) is None:
                raise ValueError(f"{len(asked)} lines are too many for a figure; draw fewer")
            styles[name] = style
    return {name: styles[name] for name in asked}


def _candidates(name: str) -> Iterator[Style]:
    """Yield the lines of a name that is not in `STYLES`, the preferred ones first."""
    start = zlib.crc32(name.encode())
    base = STYLES.get(name.casefold().split(" ")[0])
    if base is not None:  # an optimiser of the table, with a storage format
        others = [Style(base.color, dashes) for dashes in DASHES if dashes != base.dashes]
        yield from _rotated(others, start)
    every = [Style(color, dashes) for dashes in DASHES for color in COLORS]
    yield from _rotated([style for style in every if style not in _TAKEN], start)
    yield from every


def _rotated(styles: list[Style], start: int) -> Iterator[Style]:
    first = start % len(styles)
    yield from styles[first:]
    yield from styles[:first]


def ordered_styles(count: int) -> list[Style]:
    """Return lines for values in an order, layers or numbers: from dark to bright, dashes in turn.

    Args:
        count: Number of lines.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    with needs_extra("the figure", "lab"):
        from matplotlib import colormaps
        from matplotlib.colors import to_hex
    shades = colormaps["viridis"]
    ends = max(count - 1, 1)  # the brightest fifth is too pale for a line on white
    return [
        Style(to_hex(shades(0.8 * place / ends)), DASHES[place % len(DASHES)])
        for place in range(count)
    ]


def plain(text: str) -> str:
    """Return a text that matplotlib shows as it is: a dollar sign would begin a formula."""
    return text.replace("$", r"\$")
