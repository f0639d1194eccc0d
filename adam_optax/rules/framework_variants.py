"""Define what a framework computes under a known name and no paper does.

`adam_optax.conventions` has the optimisers of these rules.
"""

import math

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import (
    Number,
    is_python_number,
    one_minus_power,
    safe_divide,
    update_ema,
)
from adam_optax.directions import denominator, eps_hat_scale, ratio, ratio_eps_hat
from adam_optax.moments import Leaf, Moment, ema, grad, square
from adam_optax.rules._look_ahead import look_ahead
from adam_optax.rules.adafactor import clipped_ratio, mean_square
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("eps",))
def scheduled_nadam(
    b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-8, momentum_decay: Number = 4e-3
) -> Rule:
    """Build NAdam's rule as PyTorch and Keras write it: with Dozat's schedule of the momentum.

    Take this form to go on with a run of `torch.optim.NAdam` or `keras.optimizers.Nadam`; else take
    `adam` with `nesterov`, whose momentum is constant.

    Moments: `mu`, the mean gradient; `nu`, the mean squared gradient; and `product`, the product of
    the momentum rates `m_t` so far, one number for a parameter array.

    Step: `((1-m_t) / (1-Πm) g + m_{t+1} / (1-Πm m_{t+1}) μ) / (√ν̂ + eps)`,
    with `m_t = b1 (1 - 0.5 0.96^(t momentum_decay))`, `Πm` their product up to `t` and Adam's μ and
    ν̂ (see `adam`) for the gradient `g` and the step `t`, 1 at the first.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1), and the momentum's limit; default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.999.
        eps: added to the root in the denominator, in units of the gradient; default 1e-8.
        momentum_decay: how slowly the momentum warms up: the exponent of 0.96 grows by
            `momentum_decay` at each step. Keras has 1.0, PyTorch the default; default 4e-3.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.scheduled_nadam(momentum_decay=1.0), 1e-3)  # as in Keras

    References:
        Dozat, [Incorporating Nesterov Momentum into
        Adam](https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ), ICLR 2016 workshop,
        Algorithm 2.
    """

    def momentum_at(t: Array) -> Array:
        return b1 * (1 - 0.5 * jnp.exp(math.log(0.96) * momentum_decay * t))

    def look_ahead(x: Leaf) -> Array:
        (current, following), product = x.scalars, x.current["product"]
        newest = (1 - current) / (1 - product) * x.g
        ahead: Array = newest + following / (1 - product * following) * x.current["mu"]
        return ahead

    def update(m: Array, x: Array, t: Array) -> Array:
        return m * momentum_at(t)

    product = Moment(lambda x: x.t, update, init=1.0, signed=False, over="all")
    moments = {"mu": ema(b1), "nu": ema(b2, square, signed=False), "product": product}
    momenta = lambda t, ages: (momentum_at(t), momentum_at(t + 1))  # noqa: E731
    return Rule(moments, ratio(eps, num=look_ahead), momenta)


@variant(decay_rates=("b1", "b2"), non_negative=("eps",))
def constant_adam(b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-8) -> Rule:
    """Build Adam's rule as ODL writes it: with the first step's bias factors at every step.

    Take this form to reproduce a run of ODL; else take `adam`.

    Moments: `mu`, the mean gradient, and `nu`, the mean squared gradient.

    Step: `√(1-b2) / (1-b1) μ / (√ν + eps)`,
    with `μ = b1 μ + (1-b1) g` and `ν = b2 ν + (1-b2) |g|²` for the gradient `g`.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1); default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.999.
        eps: added to the root in the denominator, in units of the gradient; default 1e-8.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.constant_adam(), 1e-3)

    References:
        Kingma & Ba, [Adam: A Method for Stochastic Optimization](https://arxiv.org/abs/1412.6980),
        ICLR 2015, Algorithm 1.
    """
    factor = (1 - b2) ** 0.5 / (1 - b1)

    def direction(x: Leaf) -> Array:
        root = denominator(x.current["nu"], eps)
        return factor * safe_divide(x.current["mu"], root, least=eps)

    return Rule({"mu": ema(b1), "nu": ema(b2, square, signed=False)}, direction)


@variant(decay_rates=("b1", "b2"), non_negative=("eps",))
def fading_adam(
    b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-8, decay_factor: Number = 1 - 1e-8
) -> Rule:
    """Build Adam's rule as Blocks writes it: with epsilon-hat and a b1 that decays.

    Take this form to reproduce a run of Blocks; else take `adam`.

    Moments: `mu`, the mean gradient, and `nu`, the mean squared gradient.

    Step: `√(1-b2^t) / (1-b^t) μ / (√ν + eps), b = b1 decay_factor^(t-1)`,
    with `μ = b μ + (1-b) g` and `ν = b2 ν + (1-b2) |g|²` for the gradient `g` and the step `t`, 1
    at the first.

    Args:
        b1: decay rate of the first moment `mu` at the first step, in [0, 1); default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.999.
        eps: the paper's epsilon-hat: added to the root of the uncorrected second moment;
            default 1e-8.
        decay_factor: factor by which `b1` shrinks at each step; default 1 - 1e-8.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.fading_adam(), 1e-3)

    References:
        Kingma & Ba, [Adam: A Method for Stochastic Optimization](https://arxiv.org/abs/1412.6980),
        ICLR 2015, Algorithm 1.
    """
    slope = math.log(decay_factor) if is_python_number(decay_factor) else jnp.log(decay_factor)

    def b1_at(t: Array) -> Array:
        return b1 * jnp.exp(slope * (t - 1))

    def update(m: Array, x: Array, t: Array) -> Array:
        return update_ema(b1_at(t), m, x)

    def read(m: Array, x: Leaf, bias_correction: Array) -> Array:
        return m / bias_correction

    # The correction is Blocks's, with the present rate alone: nothing here needs an age.
    correction = lambda t: one_minus_power(b1_at(t), t)  # noqa: E731
    mu = Moment(grad, update, read, correction, decay=b1, uses_age=False)
    moments = {"mu": mu, "nu": ema(b2, square, signed=False)}
    return Rule(moments, ratio_eps_hat(eps), eps_hat_scale(b2))


@variant(decay_rates=("b1", "b2"), non_negative=("eps",))
def uncorrected_adam(
    b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-6, correct_nu: bool = False
) -> Rule:
    """Build Adam's rule as BERT writes it: without bias correction; or as AdamD does, with half.

    Take this form to go on with a run of BERT's `AdamWeightDecayOptimizer`; else take `adam`. With
    b2 of 0.999, the first step is 3.2 times as long as Adam's, and the tenth 6.5 times. AdamD,
    `correct_nu`, begins with steps of 0.1 and grows to Adam's.

    Moments: `mu`, the mean gradient, and `nu`, the mean squared gradient.

    Step: `μ / (√ν + eps)`,
    with `μ = b1 μ + (1-b1) g` and `ν = b2 ν + (1-b2) |g|²` for the gradient `g`; with `correct_nu`
    times `√(1-b2^t)` at the step `t`, 1 at the first.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1); default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.999.
        eps: added to the root of the uncorrected second moment, in units of the gradient;
            default 1e-6.
        correct_nu: whether the second moment, and it alone, is corrected for its bias (AdamD);
            default False.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.uncorrected_adam(), 1e-4, decay=ao.Decay(0.01))

    References:
        Devlin et al., [BERT: Pre-training of Deep Bidirectional Transformers for Language
        Understanding](https://arxiv.org/abs/1810.04805), NAACL 2019.
        St John, [AdamD: Improved bias-correction in Adam](https://arxiv.org/abs/2110.10828), 2021,
        for `correct_nu`.
    """
    mu, nu = ema(b1, corrected=False), ema(b2, square, signed=False, corrected=correct_nu)
    moments = {"mu": mu, "nu": nu}
    if correct_nu:
        return Rule(moments, ratio_eps_hat(eps), eps_hat_scale(b2))
    return Rule(moments, ratio(eps))


@variant(decay_rates=("b1", "b2"), non_negative=("eps",))
def simplified_nadam(b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-8) -> Rule:
    """Build NAdam's rule as timm and MLCommons write it: with one bias correction for both terms.

    Take this form to go on with a run of timm's `NAdamW` or of MLCommons' baseline; else take
    `adam` with `nesterov`, whose mean is corrected as it will be at the next step. At the first
    step this one is 1.9 times Adam's, that one 1.47 times.

    Moments: `mu`, the mean gradient, and `nu`, the mean squared gradient.

    Step: `(b1 μ + (1-b1) g) / (1-b1^t) / (√ν̂ + eps)`,
    with `μ = b1 μ + (1-b1) g` and Adam's ν̂ (see `adam`) for the gradient `g` and the step `t`, 1 at
    the first.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1); default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.999.
        eps: added to the root in the denominator, in units of the gradient; default 1e-8.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.simplified_nadam(), 1e-3, decay=ao.Decay(0.01))

    References:
        Choi et al., [On Empirical Comparisons of Optimizers for Deep
        Learning](https://arxiv.org/abs/1910.05446), 2019, Table 1.
    """
    ahead, seen = look_ahead(b1)
    moments = {"mu": ema(b1), "nu": ema(b2, square, signed=False)}
    return Rule(moments, ratio(eps, num=ahead), seen)


@variant(
    decay_rates=("b2_cap", "momentum"),
    non_negative=("clipping_threshold", "eps"),
    optional=("clipping_threshold", "momentum"),
)
def capped_adafactor(
    decay_rate: Number = 0.8,
    decay_offset: int = 0,
    b2_cap: Number = 0.999,
    clipping_threshold: Number | None = None,
    momentum: Number | None = 0.9,
    eps: Number = 1e-30,
) -> Rule:
    """Build Adafactor's rule as big_vision writes it: with a bound on the second moment's rate.

    Take this form to go on with a run of big_vision's or timm's; else take `adafactor`. The bound
    lets the second moment forget, where Adafactor's averages over ever more steps; the mean of the
    steps is taken before the learning rate, and steps do not depend on the parameter's size.

    Moments: `nu`, the mean squared gradient, and, with momentum, `mu`, the mean step.

    Step: `momentum μ + (1-momentum) d / max(1, rms(d) / threshold), d = g / √ν`,
    with `ν = b ν + (1-b) (|g|² + eps)`, `b = min(b2_cap, 1 - t^-decay_rate)` for the gradient `g`
    and the step `t`, 1 at the first.

    Args:
        decay_rate: exponent of the second moment's decay rate, `1 - t^-decay_rate`; default 0.8.
        decay_offset: the step from which `t` counts; default 0.
        b2_cap: the largest decay rate of the second moment, in [0, 1); default 0.999.
        clipping_threshold: the largest root mean square of `d`; None stands for no bound;
            default None.
        momentum: decay rate of the average `mu` of the steps, in [0, 1); None stands for no
            average; default 0.9.
        eps: added to the squared gradients, in units of the squared gradient; default 1e-30.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> rule = ao.rules.capped_adafactor()
        >>> tx = ao.optimizer(rule, 1e-3, storage={"nu": ao.storage.factored(32)})

    References:
        Zhai et al., [Scaling Vision Transformers](https://arxiv.org/abs/2106.04560), CVPR 2022,
        section 3.4.
        Shazeer & Stern, [Adafactor: Adaptive Learning Rates with Sublinear Memory
        Cost](https://arxiv.org/abs/1804.04235), ICML 2018, Algorithm 4.
    """
    step = clipped_ratio(clipping_threshold)
    nu = mean_square(decay_rate, decay_offset, eps, b2_cap)
    if momentum is None:
        return Rule({"nu": nu}, step)
    mu = ema(momentum, step, corrected=False)
    return Rule({"nu": nu, "mu": mu}, lambda x: x.current["mu"])
