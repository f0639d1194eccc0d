"""Define an average of the parameters beside an optimiser (Kingma & Ba 2015, section 7.2)."""

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, one_minus_power
from adam_optax.moments import Leaf, Moment, grad
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b2",))
def temporal_average(b2: Number = 0.999, warmup: bool = False) -> Rule:
    """Build a rule that averages the parameters along the way and passes the updates on.

    Take the average as the last link of a chain, and read it with `adam_optax.read_average` for
    evaluation: averaged parameters are less noisy than the last ones.

    Moments: `average`, the exponential average of the parameters, corrected for its start.

    Step: `average += (1-b2) / (1-b2^t) (p + u - average)`,
    for the update `u`, the parameter `p` and the step `t`, 1 at the first. That is the paper's
    `m_t / (1 - b2^t)` of `m = b2 m + (1-b2) (p + u)`, kept corrected. With `warmup`,
    `average = b average + (1-b) (p + u)` with `b = min(b2, (1+t) / (10+t))`, from the parameters
    before the first step.

    Args:
        b2: decay rate of the average, in [0, 1): the average looks back some `1 / (1 - b2)` steps;
            default 0.999.
        warmup: whether the average looks back on a tenth of the steps at first (TensorFlow's
            `num_updates`), instead of a mean of all of them; default False.

    Returns:
        The rule, for `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import optax, adam_optax as ao
        >>> average = ao.scale_by(ao.rules.temporal_average(0.99))
        >>> tx = optax.chain(ao.adam(1e-3), average)

    References:
        Kingma & Ba, [Adam: A Method for Stochastic Optimization](https://arxiv.org/abs/1412.6980),
        ICLR 2015, section 7.2. The warm-up is that of TensorFlow's
        [ExponentialMovingAverage](https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage).
    """
    if warmup:
        return Rule({"average": _warming(b2)}, grad)

    def update(m: Array, x: Array, age: Array) -> Array:
        # The quotient is 1 at the first step, but for a rounding.
        weight = jnp.where(age > 1, (1 - b2) / one_minus_power(b2, age), 1.0)
        return m + weight * (x - m)

    return Rule({"average": Moment(_next_params, update, decay=b2)}, grad)


def _warming(b2: Number) -> Moment:
    """Return the average that starts at the parameters before the first step."""

    def weight(t: Array) -> Array:
        return jnp.maximum(1 - b2, 9 / (10 + t))  # of the newest: 1 - (1+t) / (10+t)

    def observe(x: Leaf) -> Array:
        return x.p + x.g * jnp.where(x.t > 1, 1.0, weight(x.t))

    def update(m: Array, x: Array, t: Array) -> Array:
        return m + jnp.where(t > 1, weight(t), 1.0) * (x - m)

    return Moment(observe, update, decay=b2, uses_age=False)


def _next_params(x: Leaf) -> Array:
    """Observe the parameter after the step; the gradient of the last link is the update."""
    return x.p + x.g
