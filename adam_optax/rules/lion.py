"""Define Lion (Chen et al. 2023)."""

import jax.numpy as jnp

from adam_optax._core.numerics import Number, update_ema
from adam_optax.moments import ema
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"))
def lion(b1: Number = 0.9, b2: Number = 0.99) -> Rule:
    """Build Lion's rule: the sign of a mean of gradients.

    Take Lion to save memory, for it keeps one moment: with a learning rate 3 to 10 times smaller
    than AdamW's, and a weight decay as much larger. All parameters move by the learning rate.

    Moments: `mu`, the mean gradient.

    Step: `sign(b1 μ_{t-1} + (1-b1) g), μ = b2 μ + (1-b2) g`,
    for the gradient `g`.

    Args:
        b1: share of the mean in the direction, in [0, 1); default 0.9.
        b2: decay rate of the mean `mu`, in [0, 1); default 0.99.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.lion(), 1e-4, decay=ao.Decay(1e-3))

    References:
        Chen et al., [Symbolic Discovery of Optimization
        Algorithms](https://arxiv.org/abs/2302.06675), NeurIPS 2023, Algorithm 2.
    """
    return Rule({"mu": ema(b2)}, lambda x: jnp.sign(update_ema(b1, x.previous["mu"], x.g)))
