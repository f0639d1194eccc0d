"""Hold the line styles that the figures of `adam_optax.watch` and of the lab share."""

DPI = 200
"""Pixels an inch: a figure 8 inches wide has twice the pixels of a README's column."""

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9")
"""Okabe and Ito's colours for all kinds of colour vision, without the pale yellow."""

# Eight styles beside seven colours: a pair repeats only after 56 lines.
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = (
    "-",
    (0, (5, 3)),
    (0, (1, 2)),
    (0, (6, 2, 1, 2)),
    (0, (3, 3)),
    (0, (9, 4)),
    (0, (4, 2, 1, 2, 1, 2)),
    (0, (2, 5)),
)
"""Line styles of matplotlib."""

OPTIMIZERS: dict[str, tuple[str, str | tuple[int, tuple[int, ...]]]] = {
    "Adam": (COLORS[0], DASHES[0]),
    "Adam, uncorrected": (COLORS[5], DASHES[1]),
    "SGD Nesterov": (COLORS[1], DASHES[1]),
    "AdaGrad": (COLORS[2], DASHES[2]),
    "AdaGrad, constant rate": (COLORS[2], DASHES[3]),
    "RMSProp": (COLORS[5], DASHES[4]),
    "AdaDelta": (COLORS[3], DASHES[5]),
}
"""Colour and dash of the optimisers of the Adam paper: the same in every panel and figure."""
