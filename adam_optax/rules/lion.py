"""Define Lion (Chen et al. 2023)."""

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, update_ema
from adam_optax.moments import Leaf, ema
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("smooth_beta",))
def lion(
    b1: Number = 0.9, b2: Number = 0.99, mode: str = "hard", smooth_beta: Number = 1.0
) -> Rule:
    """Build Lion's rule: the sign of a mean of gradients.

    Take Lion to save memory, for it keeps one moment: with a learning rate 3 to 10 times smaller
    than AdamW's, and a weight decay as much larger. All parameters move by the learning rate.

    Moments: `mu`, the mean gradient.

    Step: `sign(b1 μ_{t-1} + (1-b1) g), μ = b2 μ + (1-b2) g`,
    for the gradient `g`. With `mode`, as in optax, another function of
    `c = b1 μ_{t-1} + (1-b1) g` stands for its sign.

    Args:
        b1: share of the mean in the direction, in [0, 1); default 0.9.
        b2: decay rate of the mean `mu`, in [0, 1); default 0.99.
        mode: "hard" for the sign of `c`, "smooth" for `tanh(smooth_beta c)` of real gradients, or
            "refined" for `c` itself where `|c| < 1` and the sign elsewhere; default "hard".
        smooth_beta: the slope of the smooth sign at 0, in units of 1 over the gradient;
            default 1.0.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range, or `mode` is none of the three.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.lion(), 1e-4, decay=ao.Decay(1e-3))

    References:
        Chen et al., [Symbolic Discovery of Optimization
        Algorithms](https://arxiv.org/abs/2302.06675), NeurIPS 2023, Algorithm 2.
    """
    if mode not in ("hard", "smooth", "refined"):
        raise ValueError(f"mode must be 'hard', 'smooth' or 'refined', not {mode!r}")

    def direction(x: Leaf) -> Array:
        c = update_ema(b1, x.previous["mu"], x.g)
        if mode == "smooth":
            if jnp.iscomplexobj(c):
                raise TypeError("lion cannot smooth complex numbers; set mode='refined' or 'hard'")
            return jnp.tanh(smooth_beta * c)
        return jnp.sign(c) if mode == "hard" else jnp.where(abs(c) < 1, c, jnp.sign(c))

    return Rule({"mu": ema(b2)}, direction)
