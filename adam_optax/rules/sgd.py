"""Define gradient descent with momentum (Polyak 1964), and without."""

from adam_optax._core.numerics import Number
from adam_optax.moments import grad, trace
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("momentum",), optional=("momentum",))
def momentum(momentum: Number | None = 0.9, nesterov: bool = False) -> Rule:
    """Build the rule of SGD with momentum: a decaying sum of gradients, or the gradient.

    Take SGD with momentum where the scale of the gradients is known and memory is short, and as the
    baseline: on image classifiers it often generalises best.

    Moments: `trace`, the decaying sum of gradients; none without momentum.

    Step: `trace = momentum trace + g`,
    for the gradient `g`; `g + momentum trace` with `nesterov`, and `g` without momentum. The sum is
    undamped: at momentum 0.9 it is some ten times the mean gradient.

    Args:
        momentum: share of the last step that is kept, in [0, 1); None stands for no momentum and no
            moment; default 0.9.
        nesterov: whether the sum is read one step ahead (Sutskever et al. 2013); default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.momentum(0.9, nesterov=True), 0.1)

    References:
        Polyak, [Some Methods of Speeding up the Convergence of Iteration
        Methods](https://doi.org/10.1016/0041-5553(64)90137-5), 1964.
        Sutskever et al., [On the Importance of Initialization and Momentum in Deep
        Learning](https://proceedings.mlr.press/v28/sutskever13.html), ICML 2013, for `nesterov`.
    """
    if momentum is None:
        return Rule({}, grad)
    return Rule({"trace": trace(grad, momentum, nesterov=nesterov)}, lambda x: x.hat["trace"])
