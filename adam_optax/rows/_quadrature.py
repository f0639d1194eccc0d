"""Condense long sums `sum_j a_j f(y_j)`, for an `f` that is smooth in `y`, to a few nodes.

The drift of `_closed_form.py` has hundreds of terms for every element of every row, and all rows
share the `a_j` and `y_j`. Interpolating `f` at Chebyshev nodes replaces the sum by one of about
twelve terms.
"""

import functools as ft
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

MAX_PANEL_LENGTH = 4.5
"""On a longer panel the weights at its lower end would drown in the rounding of the others."""


class PanelPlan(NamedTuple):
    """Say how an interval is covered.

    Attributes:
        panels: the number of panels of equal length.
        nodes: the number of Chebyshev nodes in each panel.
    """

    panels: int
    nodes: int


@ft.cache
def plan_panels(length: float, pole_distance: float, tolerance: float) -> PanelPlan:
    """Return the fewest nodes that interpolate to a tolerance.

    On a panel of half-length h each node divides the error by `r = d + sqrt(1 + d^2)`, with
    `d = pole_distance / h` (Trefethen 2013, "Approximation Theory and Approximation Practice",
    theorem 8.2).

    Args:
        length: the length of the interval.
        pole_distance: the distance of the nearest pole of `f` from the real axis.
        tolerance: the error allowed, relative to `f`.
    """

    def nodes(panels: int) -> int:
        return math.ceil(-math.log(tolerance) / math.asinh(pole_distance / (length / panels / 2)))

    least = math.ceil(length / MAX_PANEL_LENGTH)
    panels = min(range(least, least + 16), key=lambda n: n * nodes(n))
    return PanelPlan(panels, nodes(panels))


def condense(y: Array, a: Array, plan: PanelPlan) -> tuple[Array, Array]:
    """Return nodes and weights with `sum_j a_j f(y_j) ~ sum_i weight_i f(node_i)`.

    Args:
        y: the places of the terms, shape `(K,)`, falling.
        a: the factors of the terms, shape `(K,)`.
        plan: the numbers of panels and nodes.

    Returns:
        Nodes and weights, each of shape `(panels * nodes,)`.
    """
    panels, size = plan
    width = (y[0] - y[-1]) / panels
    along = (y[0] - y) / width
    panel = jnp.clip(jnp.floor(along).astype(jnp.int32), 0, panels - 1)
    # Measured from the panel's upper end: the largest terms are there, and `arccos` would round
    # them most.
    depth = jnp.clip(along - panel.astype(y.dtype), 0, 1)
    angle = 2 * jnp.arcsin(jnp.sqrt(depth))
    own = jnp.where(panel[None] == np.arange(panels, dtype=np.int32)[:, None], a[None], 0)

    angles = np.pi * (np.arange(size) + 0.5) / size
    basis = np.cos(np.arange(size)[:, None] * angles) * 2 / size  # (degree, node)
    basis[0] /= 2
    # The Chebyshev moments of the terms, (degree, panels).
    moments = jnp.stack([jnp.sum(own * jnp.cos(n * angle)[None], 1) for n in range(size)])
    # A product of matrices is avoided: accelerators round its factors to eleven bits or fewer.
    weights = jnp.sum(moments[:, :, None] * basis.astype(y.dtype)[:, None, :], 0)
    below = np.arange(panels)[:, None] + np.sin(angles / 2) ** 2
    nodes = y[0] - width * below.astype(y.dtype)
    return nodes.ravel(), weights.ravel()
