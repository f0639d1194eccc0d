"""Read the mean gradient one step ahead, with the bias correction of the present step."""

from collections.abc import Callable, Mapping

from jax import Array

from adam_optax._core.numerics import Number, one_minus_power
from adam_optax.directions import Direction
from adam_optax.moments import Leaf

Precompute = Callable[[Array, Mapping[str, Array]], Array]
"""A rule's `precompute` that returns one scalar."""


def look_ahead(b1: Number) -> tuple[Direction, Precompute]:
    """Return the numerator `(b1 mu + (1-b1) g) / (1 - b1^t)`, and the rule's `precompute` for it.

    Args:
        b1: decay rate of the moment `mu`, whose reading is corrected.
    """

    def ahead(x: Leaf) -> Array:
        above: Array = b1 * x.hat["mu"] + (1 - b1) * x.g / x.scalars
        return above

    def seen(t: Array, ages: Mapping[str, Array]) -> Array:
        """Return the weight that `mu` has seen, by which both terms are over."""
        return one_minus_power(b1, ages["mu"])

    return ahead, seen
