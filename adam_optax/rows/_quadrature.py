"""Condense long sums `sum_j a_j f(y_j)`, for an `f` that is smooth in `y`, to a few nodes.

The sums of `_closed_form.py` have hundreds of terms for every element of every row, and rows share
the `a_j` and `y_j`. Interpolating `f` at Chebyshev nodes replaces a sum by one of some fifteen
terms. The nodes are constants: they cover every place that a term can have.
"""

import functools as ft
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

MAX_PANEL_LENGTH = 5.0
"""On a longer panel the weights at one end would drown in the rounding of those at the other."""


class Panels(NamedTuple):
    """Cover the interval `[0, number * width]` by panels of equal length.

    Attributes:
        number: the number of panels.
        size: the number of Chebyshev nodes in each panel.
        width: the length of a panel.
    """

    number: int
    size: int
    width: float

    @property
    def nodes(self) -> NDArray[np.float64]:
        """Return the places of all nodes, shape `(number * size,)`, rising."""
        within = np.sin(self._angles / 2) ** 2
        places: NDArray[np.float64] = self.width * (np.arange(self.number)[:, None] + within)
        return places.ravel()

    def interpolate(self, y: NDArray[np.float64], shift: Array) -> Array:
        """Return what each node adds to `f(y + shift)`, shape `(len(y), number * size)`.

        Args:
            y: the places of the terms, as far as they are constants: in double, since a place far
                from 0 would round the distance from the nodes.
            shift: what moves each place up, not negative, shape `(len(y),)`.
        """
        along = y / self.width
        whole = np.minimum(np.floor(along), self.number - 1)
        part = jnp.asarray(along - whole, shift.dtype) + shift / self.width
        carry = jnp.minimum(jnp.floor(part), (self.number - 1 - whole).astype(shift.dtype))
        panel = jnp.asarray(whole, shift.dtype) + carry
        # Zero is at the lower end of a panel: most terms are there, and `arcsin` rounds them least.
        angle = 2 * jnp.arcsin(jnp.sqrt(jnp.clip(part - carry, 0, 1)))
        degree = np.arange(self.size)[:, None]
        basis = np.cos(degree * self._angles) * 2 / self.size  # (degree, node)
        basis[0] /= 2
        each = basis.astype(shift.dtype)[:, None, :]
        # A product of matrices is avoided: accelerators round its factors to eleven bits or fewer.
        own = sum(
            (jnp.cos(n * angle)[:, None] * row for n, row in enumerate(each)),
            jnp.zeros((len(y), self.size), shift.dtype),
        )
        own = own / jnp.sum(own, 1, keepdims=True)  # without rounding, weights add up to 1
        is_own = panel[:, None] == np.arange(self.number, dtype=shift.dtype)[None]
        return jnp.where(is_own[:, :, None], own[:, None, :], 0).reshape(len(y), -1)

    @property
    def _angles(self) -> NDArray[np.float64]:
        return np.pi * (np.arange(self.size) + 0.5) / self.size


@ft.cache
def plan_panels(length: float, pole_distance: float, tolerance: float) -> Panels:
    """Return the panels with the fewest nodes that interpolate to a tolerance.

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
    return Panels(panels, nodes(panels), length / panels)
