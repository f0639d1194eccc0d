"""Define AdaGrad (Duchi et al. 2011)."""

from jax import Array

from adam_optax._core.numerics import Number, safe_divide, safe_sqrt
from adam_optax.moments import Leaf, square, trace
from adam_optax.rules.base import Rule, variant


@variant(non_negative=("eps",), constant=("initial_accumulator_value",))
def adagrad(initial_accumulator_value: float = 0.1, eps: Number = 1e-7) -> Rule:
    """Build AdaGrad's rule: the gradient over the root of the sum of all squares.

    Take AdaGrad for convex problems and for sparse features, as in embeddings: frequent features
    get short steps, rare ones long steps. Its steps shrink by themselves, for the sum only grows.

    Moments: `sum_of_squares`, the sum of all squared gradients.

    Step: `g / √(Σ_t |g|² + eps)`,
    for the gradient `g`. The sum's start and the place of `eps`, under the root, are optax's; the
    paper starts at 0 and adds its constant to the root.

    Args:
        initial_accumulator_value: where the sum of squares starts; a number, no schedule;
            default 0.1.
        eps: added to the sum of squares under the root, in units of the squared gradient;
            default 1e-7.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if `initial_accumulator_value` is a schedule.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.adagrad(), 0.1)

    References:
        Duchi et al., [Adaptive Subgradient Methods for Online Learning and Stochastic
        Optimization](https://jmlr.org/papers/v12/duchi11a.html), JMLR 2011, Figure 1.
    """

    def direction(x: Leaf) -> Array:
        return safe_divide(x.g, safe_sqrt(x.current["sum_of_squares"] + eps), eps)

    sum_of_squares = trace(square, init=initial_accumulator_value, signed=False)
    return Rule({"sum_of_squares": sum_of_squares}, direction)
