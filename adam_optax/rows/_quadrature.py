"""Long sums of `a_j f(y_j)` by a few nodes, for an `f` that is smooth in `y`.

The sums of `gap.py` have hundreds of terms in every element of every row, and all rows share the
`a_j` and `y_j`. Interpolating `f` at Chebyshev nodes turns them into one sum of about twelve.
"""

import functools as ft
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

WIDEST = 4.5
"""Beyond, the weights of the far end would drown in the rounding of those of the near end."""


class Plan(NamedTuple):
    """How an interval is covered: so many panels, so many nodes in each."""

    panels: int
    nodes: int


@ft.cache
def plan(length: float, reach: float, tolerance: float) -> Plan:
    """The fewest nodes that interpolate to a tolerance.

    On a panel of half-length h the error falls by `r = d + sqrt(1 + d^2)` a node, `d = reach / h`
    (Trefethen 2013, "Approximation Theory and Approximation Practice", theorem 8.2).

    Args:
        length: of the interval.
        reach: the distance of the nearest pole of `f` from the real axis.
        tolerance: relative to `f`.
    """

    def nodes(panels: int) -> int:
        return math.ceil(-math.log(tolerance) / math.asinh(reach / (length / panels / 2)))

    least = math.ceil(length / WIDEST)
    panels = min(range(least, least + 16), key=lambda n: n * nodes(n))
    return Plan(panels, nodes(panels))


def compress(y: Array, a: Array, plan: Plan) -> tuple[Array, Array]:
    """Nodes and weights with `sum_j a_j f(y_j) ~ sum_i weight_i f(node_i)`.

    Args:
        y: where the terms are, shape `(K,)`, falling.
        a: their factors, shape `(K,)`.
        plan: how many panels and nodes.

    Returns:
        Nodes and weights, each of shape `(panels * nodes,)`.
    """
    panels, size = plan
    width = (y[0] - y[-1]) / panels
    along = (y[0] - y) / width
    panel = jnp.clip(jnp.floor(along).astype(jnp.int32), 0, panels - 1)
    # From the panel's upper end, where the largest terms are and `arccos` would round most.
    depth = jnp.clip(along - panel.astype(y.dtype), 0, 1)
    angle = 2 * jnp.arcsin(jnp.sqrt(depth))
    own = jnp.where(panel[None] == np.arange(panels, dtype=np.int32)[:, None], a[None], 0)

    angles = np.pi * (np.arange(size) + 0.5) / size
    basis = np.cos(np.arange(size)[:, None] * angles) * 2 / size  # (degree, node)
    basis[0] /= 2
    # The Chebyshev moments of the terms, (degree, panels).
    moments = jnp.stack([jnp.sum(own * jnp.cos(n * angle)[None], 1) for n in range(size)])
    # Not a product of matrices: accelerators would round its factors to eleven bits or fewer.
    weights = jnp.sum(moments[:, :, None] * basis.astype(y.dtype)[:, None, :], 0)
    below = np.arange(panels)[:, None] + np.sin(angles / 2) ** 2
    nodes = y[0] - width * below.astype(y.dtype)
    return nodes.ravel(), weights.ravel()
