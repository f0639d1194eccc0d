"""Define RMSProp (Tieleman & Hinton 2012), also centred (Graves 2013)."""

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, abs_sq, one_minus_power, safe_divide, safe_sqrt
from adam_optax.moments import Leaf, Moment, Read, ema, square, trace
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("decay", "momentum"), non_negative=("eps",), constant=("initial_scale",))
def rmsprop(
    decay: Number = 0.9,
    eps: Number = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Number | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> Rule:
    """Build RMSProp's rule: the gradient over the root of the mean squared gradient.

    Take RMSProp for recurrent networks and reinforcement learning, where it is the custom: RMSProp
    is AdaGrad that forgets, and Adam without its first moment.

    Moments: `nu`, the mean squared gradient, or, centred, `variance` and `mu`, the gradient's
    variance and mean; and, with momentum, `trace`, the decaying sum of steps with their sign, as in
    optax: downhill.

    Step: `g / √(ν + eps), ν = decay ν + (1-decay) |g|²`,
    for the gradient `g`. Centred, `E|g|² - |E g|²` stands for ν: it is kept by itself, as
    `variance`, since the difference of two averages cancels. Momentum sums steps that have the
    learning rate in them, as in optax.

    Args:
        decay: decay rate of the averages, in [0, 1); default 0.9.
        eps: added to the mean square, under the root or, without `eps_in_sqrt`, beside it;
            default 1e-8.
        initial_scale: where `nu` or `variance` starts; a number, no schedule; default 0.0.
        eps_in_sqrt: whether `eps` is added under the root, in units of the squared gradient; if
            not, in units of the gradient; default True.
        centered: whether to divide by the deviation from the mean gradient; default False.
        momentum: share of the last step that is kept, in [0, 1); None stands for no momentum;
            default None.
        nesterov: whether the momentum is read one step ahead; default False.
        bias_correction: whether the averages are corrected for their start; default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`. With momentum, it applies the
        learning rate itself.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if `initial_scale` is a schedule.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.rmsprop(centered=True, momentum=0.9), 1e-3)

    References:
        Tieleman & Hinton, [Lecture 6.5:
        RMSProp](https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf),
        COURSERA: Neural Networks for Machine Learning, 2012.
        Graves, [Generating Sequences With Recurrent Neural
        Networks](https://arxiv.org/abs/1308.0850), 2013, for `centered`.
    """

    def mean_of(observe: Read) -> Moment:
        return ema(decay, observe, corrected=bias_correction, signed=False, init=initial_scale)

    def normalized_grad(x: Leaf) -> Array:
        v = x.hat["variance" if centered else "nu"]
        return safe_divide(x.g, safe_sqrt(v + eps) if eps_in_sqrt else safe_sqrt(v) + eps, eps)

    if centered:
        variance = mean_of(_squared_deviation(decay, corrected=bias_correction))
        moments = {"variance": variance, "mu": ema(decay)}
    else:
        moments = {"nu": mean_of(square)}
    if momentum is None:
        return Rule(moments, normalized_grad)
    steps = trace(lambda x: -x.learning_rate * normalized_grad(x), momentum, nesterov=nesterov)
    return Rule({**moments, "trace": steps}, lambda x: -x.hat["trace"], handles=("learning_rate",))


def _squared_deviation(b: Number, *, corrected: bool) -> Read:
    """Observe what the variance averages, given the mean `mu` before the step (West 1979).

    `E[g^2] - E[g]^2` cancels; with `d` the gradient's distance from the mean so far, the variance
    is the average of `b |d|^2`. Corrected for the start, the mean is `mu / (1 - b^{t-1})`, and the
    weight of the past is `b (1 - b^{t-1}) / (1 - b^t)` instead of `b`: 0 at first.
    """

    def observe(x: Leaf) -> Array:
        if not corrected:
            return b * abs_sq(x.g - x.previous["mu"])
        age = x.ages["mu"]
        past = one_minus_power(b, age - 1)
        mean = x.previous["mu"] / jnp.where(past > 0, past, 1.0)
        return b * past / one_minus_power(b, age) * abs_sq(x.g - mean)

    return observe
