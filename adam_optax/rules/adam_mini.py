"""Define Adam-mini (Zhang et al. 2024)."""

from adam_optax._core.numerics import Number
from adam_optax._core.sharing import Over
from adam_optax.directions import ratio
from adam_optax.moments import ema, square
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "eps_root"), functions=("over",))
def adam_mini(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    nesterov: bool = False,
    over: Over = "all",
) -> Rule:
    """Build Adam-mini's rule: Adam whose second moment is one number for each block.

    Take Adam-mini for half of Adam's memory where the parameters of a block, such as the weights
    of a neuron or of an attention head, may have one learning rate together.

    Moments: `mu`, the mean gradient, and `nu`, the mean squared gradient of a block, of which the
    state keeps one number for each block.

    Step: `μ̂ / (√(ν̂ + eps_root) + eps), ν = b2 ν + (1-b2) mean(|g|²)`,
    with `μ = b1 μ + (1-b1) g`, `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g`
    and the step `t`, 1 at the first; the mean runs over a block.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1); default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.999.
        eps: added to the root in the denominator, in units of the gradient; default 1e-8.
        eps_root: added to the second moment under the root, in units of the squared gradient;
            default 0.0.
        nesterov: whether the first moment is read one step ahead (Dozat 2016); default False.
        over: the axes that are in one block: `"all"`, or a tuple of axes and of pairs
            `(axis, block)` for blocks of so many neighbours, or None for Adam, or these
            `by_path`; `adam_optax.moments.adam_mini_axes` is the paper's choice; default "all".

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range; where the rule meets a parameter, if the parameter
            lacks an axis, or blocks do not divide one.
        TypeError: if `over` is none of what it can be.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.adam_mini(over=(-2,)), 1e-3, decay=ao.Decay(0.1))

    References:
        Zhang et al., [Adam-mini: Use Fewer Learning Rates To Gain
        More](https://arxiv.org/abs/2406.16793), 2024, Algorithm 2.
    """
    moments = {"mu": ema(b1, nesterov=nesterov), "nu": ema(b2, square, signed=False, over=over)}
    return Rule(moments, ratio(eps, eps_root))
