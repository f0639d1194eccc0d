"""Define Adam-atan2 (Everett et al. 2024)."""

import math

from adam_optax._core.numerics import Number
from adam_optax.directions import atan2
from adam_optax.rules.adam import adam
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("a", "b"))
def adam_atan2(
    b1: Number = 0.9,
    b2: Number = 0.999,
    a: Number = 4 / math.pi,
    b: Number = 1.0,
    nesterov: bool = False,
) -> Rule:
    """Build Adam-atan2's rule: Adam whose quotient is an angle, which needs no epsilon.

    Take Adam-atan2 where gradients are so small that Adam's epsilon would be felt, as in wide
    networks under muP, or where steps must be bounded: it costs what Adam costs.

    Moments: `mu`, the mean gradient, and `nu`, the mean squared gradient.

    Step: `a atan2(μ̂, b √ν̂)`,
    with Adam's μ̂ and ν̂ (see `adam`). Multiplying all gradients by a number changes no step. Where
    `μ̂` is small beside `√ν̂`, the step is `a / b` times Adam's, and it is never above `a π/2`.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1); default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.999.
        a: factor of the angle, with which a first step is 1 by default; default 1.2732395447351628.
        b: factor of the root of the second moment; default 1.0.
        nesterov: whether the first moment is read one step ahead (Dozat 2016); default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.adam_atan2(), 1e-3, decay=ao.Decay(0.1))

    References:
        Everett et al., [Scaling Exponents Across Parameterizations and
        Optimizers](https://arxiv.org/abs/2407.05872), ICML 2024.
    """
    return Rule(adam(b1, b2, nesterov=nesterov).moments, atan2(a, b))
