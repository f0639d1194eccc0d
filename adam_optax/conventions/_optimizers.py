"""Minimise with Adam's forms that frameworks compute and no paper writes."""

from __future__ import annotations  # so that `help` shows the names of types

from typing import Unpack

from adam_optax import rules
from adam_optax._alias._build import Transformation, known, optimizer_function, optimizer_with_decay
from adam_optax._alias.options import DecayOptions
from adam_optax._core.types import DTypeLike, Mask, ScalarOrSchedule


@optimizer_function
def scheduled_nadam(
    learning_rate: ScalarOrSchedule | None,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    momentum_decay: ScalarOrSchedule = 4e-3,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Mask = None,
    *,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with NAdam as PyTorch and Keras write it: with Dozat's schedule of the momentum.

    Take this form to go on with a run of `torch.optim.NAdam` or `keras.optimizers.Nadam`; else take
    `ao.nadam`, whose momentum is constant.

    Step: `((1-m_t) / (1-Πm) g + m_{t+1} / (1-Πm m_{t+1}) μ) / (√ν̂ + eps)`, times `-learning_rate`,
    with `m_t = b1 (1 - 0.5 0.96^(t momentum_decay))`, `Πm` their product up to `t` and Adam's μ and
    ν̂ (see `ao.adam`) for the gradient `g` and the step `t`, 1 at the first. With decay, `λ p` is
    added to the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        momentum_decay: how slowly the momentum warms up: the exponent of 0.96 grows by
            `momentum_decay` at each step. PyTorch's default is 4e-3; Keras has 1.
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise; None: no decay.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `mu`, `nu` and `product`, of which
        `product` is one number for each parameter array.

    Raises:
        ValueError: if a number is out of range, or if `mask` or `coupling` is given without
            `weight_decay`.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.conventions.scheduled_nadam(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.106

    References:
        Dozat, [Incorporating Nesterov Momentum into
        Adam](https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ), ICLR 2016 workshop, Algorithm
        2.
    """
    rule = rules.scheduled_nadam(b1, b2, eps, momentum_decay)
    return optimizer_with_decay(
        rule,
        learning_rate,
        weight_decay,
        mask,
        mu_dtype=mu_dtype,
        **known(scheduled_nadam, options),
    )


@optimizer_function
def fading_adam(
    learning_rate: ScalarOrSchedule | None,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    decay_factor: ScalarOrSchedule = 1 - 1e-8,
    *,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Mask = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with Adam as Blocks writes it: with epsilon-hat and a b1 that fades.

    Take this form to reproduce a run of Blocks; else take `ao.adam`.

    Step: `√(1-b2^t) / (1-b^t) μ / (√ν + eps), b = b1 decay_factor^(t-1)`, times `-learning_rate`,
    with `μ = b μ + (1-b) g` and `ν = b2 ν + (1-b2) |g|²` for the gradient `g` and the step `t`, 1
    at the first. With decay, `λ p` is added to the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: the paper's epsilon-hat: added to the root of the uncorrected second moment.
        decay_factor: factor by which `b1` shrinks at each step.
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise; None: no decay.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `mu` and `nu`.

    Raises:
        ValueError: if a number is out of range, or if `mask` or `coupling` is given without
            `weight_decay`.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.conventions.fading_adam(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.100

    References:
        Kingma & Ba, [Adam: A Method for Stochastic Optimization](https://arxiv.org/abs/1412.6980),
        ICLR 2015, Algorithm 1.
    """
    rule = rules.fading_adam(b1, b2, eps, decay_factor)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(fading_adam, options)
    )


@optimizer_function
def constant_adam(
    learning_rate: ScalarOrSchedule | None,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    *,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Mask = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with Adam as ODL writes it: with the first step's bias factors at every step.

    Take this form to reproduce a run of ODL; else take `ao.adam`.

    Step: `√(1-b2) / (1-b1) μ / (√ν + eps)`, times `-learning_rate`, with `μ = b1 μ + (1-b1) g` and
    `ν = b2 ν + (1-b2) |g|²` for the gradient `g`. With decay, `λ p` is added to the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise; None: no decay.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `mu` and `nu`.

    Raises:
        ValueError: if a number is out of range, or if `mask` or `coupling` is given without
            `weight_decay`.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.conventions.constant_adam(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.100

    References:
        Kingma & Ba, [Adam: A Method for Stochastic Optimization](https://arxiv.org/abs/1412.6980),
        ICLR 2015, Algorithm 1.
    """
    rule = rules.constant_adam(b1, b2, eps)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(constant_adam, options)
    )


@optimizer_function
def uncorrected_adam(
    learning_rate: ScalarOrSchedule | None,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-6,
    *,
    correct_nu: bool = False,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Mask = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with Adam as BERT writes it: without bias correction; or as AdamD does, with half.

    Take this form to go on with a run of BERT's `AdamWeightDecayOptimizer`; else take `ao.adamw`.
    With b2 of 0.999, the first step is 3.2 times as long as Adam's, and the tenth 6.5 times, so
    that BERT's schedules begin at a rate of 0. AdamD, `correct_nu`, begins with steps of 0.1 and
    grows to Adam's: a warm-up of its own.

    Step: `μ / (√ν + eps)`, times `-learning_rate`, with `μ = b1 μ + (1-b1) g` and
    `ν = b2 ν + (1-b2) |g|²` for the gradient `g`; with `correct_nu` times `√(1-b2^t)` at the step
    `t`, 1 at the first. With decay, `λ p` is added to the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root of the uncorrected second moment, in units of the gradient.
        correct_nu: whether the second moment, and it alone, is corrected for its bias (AdamD).
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise; None: no decay.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `mu` and `nu`.

    Raises:
        ValueError: if a number is out of range, or if `mask` or `coupling` is given without
            `weight_decay`.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.conventions.uncorrected_adam(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.316

    References:
        Devlin et al., [BERT: Pre-training of Deep Bidirectional Transformers for Language
        Understanding](https://arxiv.org/abs/1810.04805), NAACL 2019.
        St John, [AdamD: Improved bias-correction in Adam](https://arxiv.org/abs/2110.10828), 2021,
        for `correct_nu`.
    """
    return optimizer_with_decay(
        rules.uncorrected_adam(b1, b2, eps, correct_nu),
        learning_rate,
        weight_decay,
        mask,
        mu_dtype=mu_dtype,
        **known(uncorrected_adam, options),
    )


@optimizer_function
def simplified_nadam(
    learning_rate: ScalarOrSchedule | None,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    *,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Mask = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with NAdam as timm and MLCommons write it: with one bias correction for both terms.

    Take this form to go on with a run of timm's `NAdamW` or of MLCommons' baseline; else take
    `ao.nadamw`, whose mean is corrected as it will be at the next step. At the first step this one
    is 1.9 times Adam's, that one 1.47 times.

    Step: `(b1 μ + (1-b1) g) / (1-b1^t) / (√ν̂ + eps)`, times `-learning_rate`, with
    `μ = b1 μ + (1-b1) g` and Adam's ν̂ (see `ao.adam`) for the gradient `g` and the step `t`, 1 at
    the first. With decay, `λ p` is added to the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise; None: no decay.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `mu` and `nu`.

    Raises:
        ValueError: if a number is out of range, or if `mask` or `coupling` is given without
            `weight_decay`.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.conventions.simplified_nadam(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.190

    References:
        Choi et al., [On Empirical Comparisons of Optimizers for Deep
        Learning](https://arxiv.org/abs/1910.05446), 2019, Table 1.
    """
    return optimizer_with_decay(
        rules.simplified_nadam(b1, b2, eps),
        learning_rate,
        weight_decay,
        mask,
        mu_dtype=mu_dtype,
        **known(simplified_nadam, options),
    )
