"""What is no optimiser: an average of the parameters beside one."""

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, one_minus_power
from adam_optax.moments import Leaf, Moment, grad
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b2",))
def temporal_average(b2: Number = 0.999) -> Rule:
    """The average of the parameters along the way (Kingma & Ba 2015, section 7.2).

    `average += (1 - b2) / (1 - b2^t) (p + u - average)`: the paper's `m_t / (1 - b2^t)` of
    `m = b2 m + (1 - b2) (p + u)`, kept corrected. The last link of a chain: the updates `u` go
    through as they are.
    """

    def update(m: Array, x: Array, t: Array) -> Array:
        share = jnp.where(
            t > 1, (1 - b2) / one_minus_power(b2, t), 1.0
        )  # 1 but for rounding at first
        return m + share * (x - m)

    return Rule({"average": Moment(_after, update, decay=b2)}, grad)


def _after(x: Leaf) -> Array:
    return x.p + x.g
