"""Show the runs of the Adam paper's experiments that were made for this library."""

import importlib.resources
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adam_optax.lab.errors import LabError
from adam_optax.lab.paper.claims import Claim, claims
from adam_optax.lab.paper.draw import figure
from adam_optax.lab.paper.figures import FIGURES
from adam_optax.lab.paper.report import read, sizes
from adam_optax.lab.paper.trials import Curve, Trial, at_the_edge

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class PaperResults:
    """Hold the runs behind a figure of the Adam paper, and what they say of the paper's claims.

    Attributes:
        figure: Name of the figure, `figure1` to `figure4`.
        size: Sizes of the experiments, panel by panel, beside those of the paper.
        curves: All runs: each optimiser at every rate that was tried, with the cost of each epoch.
        claims: The paper's claims, each with the measured numbers and whether they bear it out.
        at_the_edge: The best runs whose rate is an end of the rates tried, so that a rate beyond
            might be better.
    """

    figure: str
    size: str
    curves: tuple[Curve, ...]
    claims: tuple[Claim, ...]
    at_the_edge: tuple[Trial, ...]

    def draw(self) -> "Figure":
        """Draw the figure, each optimiser at its best rate.

        Raises:
            LabError: If matplotlib is not installed.
        """
        return figure(self.figure, self.curves, self.size)


def paper_results(figure: str) -> PaperResults:
    """Return the runs behind a figure of the Adam paper, without training anything.

    The runs are those that `adam-optax reproduce` made, at the sizes that two CPU cores can carry.
    Take this function to see the paper's claims judged; run the command, which needs the data, for
    other seeds or the paper's size.

    Args:
        figure: Name of the figure: `figure1` (logistic regression), `figure2` (a network with
            dropout), `figure3` (a convolutional network) or `figure4` (bias correction).

    Raises:
        LabError: If there is no such figure.

    Example:
        >>> from adam_optax import lab
        >>> results = lab.paper_results("figure2")
        >>> [claim.holds for claim in results.claims]
        [False]

    References:
        Kingma & Ba, [Adam: A Method for Stochastic Optimization](https://arxiv.org/abs/1412.6980),
        ICLR 2015, section 6.
    """
    if figure not in FIGURES:
        raise LabError(f"figure must be one of {', '.join(FIGURES)}, not {figure!r}")
    curves = read(RESULTS / f"reproduce-{figure}.csv")
    return PaperResults(
        figure,
        sizes(figure, full=False),
        tuple(curves),
        tuple(claims(figure, curves)),
        tuple(at_the_edge(curves)),
    )


RESULTS = Path(str(importlib.resources.files("adam_optax.lab.paper") / "results"))
"""The folder of the runs, a CSV file for each figure."""
