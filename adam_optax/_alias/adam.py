"""Minimise with Adam, NAdam and their forms with decoupled weight decay."""

from __future__ import annotations  # so that `help` shows the names of types

from typing import Unpack

from adam_optax import rules
from adam_optax._alias._build import (
    Transformation,
    known,
    optimizer,
    optimizer_function,
    optimizer_with_decay,
    scale_by,
)
from adam_optax._alias.options import DecayOptions, MomentOptions
from adam_optax._core.by_path import Hyperparameter
from adam_optax._core.types import DTypeLike, Mask


@optimizer_function
def adam(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    eps_hat: bool = False,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Minimise with Adam: the mean gradient over the root of the mean squared gradient.

    Take Adam as the first choice for a deep network: the size of its steps hardly depends on the
    scale of the gradients, and its defaults seldom need tuning. Take `adamw` for weight decay.

    Step: `μ̂ / (√(ν̂ + eps_root) + eps)`, times `-learning_rate`, with `μ = b1 μ + (1-b1) g`,
    `ν = b2 ν + (1-b2) |g|²`, `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g`
    and the step `t`, 1 at the first.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        nesterov: whether the first moment is read one step ahead (Dozat 2016).
        eps_hat: whether `eps` is the paper's epsilon-hat, added to the root of the uncorrected
            second moment as in TensorFlow and Keras: it then acts like `eps / sqrt(1 - b2^t)`.
        **options: `nu_dtype`, `storage` and `stacked`, how the moments are kept; see
            `ao.MomentOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `mu` and `nu`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.adam(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.100

    References:
        Kingma & Ba, [Adam: A Method for Stochastic Optimization](https://arxiv.org/abs/1412.6980),
        ICLR 2015, Algorithm 1.
    """
    rule = rules.adam(b1, b2, eps, eps_root, nesterov, eps_hat)
    return optimizer(rule, learning_rate, mu_dtype=mu_dtype, **known(adam, options))


@optimizer_function
def adamw(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: Hyperparameter | None = 1e-4,
    mask: Mask = None,
    *,
    nesterov: bool = False,
    eps_hat: bool = False,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with AdamW: Adam with decoupled weight decay.

    Take AdamW for transformers, and wherever a network should be regularised: decay beside the
    step, instead of an L2 penalty in the loss, shrinks all parameters alike, whatever their
    gradients. Biases and the scales of normalisation are usually left out by `mask`.

    Step: `μ̂ / (√(ν̂ + eps_root) + eps) + λ p`, times `-learning_rate`, with `μ = b1 μ + (1-b1) g`,
    `ν = b2 ν + (1-b2) |g|²`, `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g`,
    the parameter `p` and the step `t`, 1 at the first.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        nesterov: whether the first moment is read one step ahead (Dozat 2016).
        eps_hat: whether `eps` is the paper's epsilon-hat, added to the root of the uncorrected
            second moment as in TensorFlow and Keras: it then acts like `eps / sqrt(1 - b2^t)`.
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `mu` and `nu`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.adamw(0.1, weight_decay=0.01)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.101

    References:
        Loshchilov & Hutter, [Decoupled Weight Decay
        Regularization](https://arxiv.org/abs/1711.05101), ICLR 2019, Algorithm 2.
        Kingma & Ba, [Adam: A Method for Stochastic Optimization](https://arxiv.org/abs/1412.6980),
        ICLR 2015, Algorithm 1.
    """
    rule = rules.adam(b1, b2, eps, eps_root, nesterov, eps_hat)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(adamw, options)
    )


@optimizer_function
def nadam(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = True,
    eps_hat: bool = False,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Minimise with NAdam: Adam with Nesterov's look-ahead.

    Take NAdam where Adam is right and the gradients are not very noisy: reading the mean one step
    ahead answers a change of direction sooner. `conventions.scheduled_nadam` has PyTorch's and
    Keras's schedule of the momentum.

    Step: `(b1 μ / (1-b1^{t+1}) + (1-b1) g / (1-b1^t)) / (√(ν̂ + eps_root) + eps)`, times
    `-learning_rate`, with `μ = b1 μ + (1-b1) g`, `ν = b2 ν + (1-b2) |g|²`, `μ̂ = μ / (1 - b1^t)`
    and `ν̂ = ν / (1 - b2^t)` for the gradient `g` and the step `t`, 1 at the first. The numerator
    is the first moment as it will be read at the next step: Dozat's, without his factor b2 on ν.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        nesterov: whether the first moment is read one step ahead; False: Adam.
        eps_hat: whether `eps` is the paper's epsilon-hat, added to the root of the uncorrected
            second moment as in TensorFlow and Keras: it then acts like `eps / sqrt(1 - b2^t)`.
        **options: `nu_dtype`, `storage` and `stacked`, how the moments are kept; see
            `ao.MomentOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `mu` and `nu`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.nadam(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.147

    References:
        Dozat, [Incorporating Nesterov Momentum into
        Adam](https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ), ICLR 2016 workshop, Algorithm
        2.
        Kingma & Ba, [Adam: A Method for Stochastic Optimization](https://arxiv.org/abs/1412.6980),
        ICLR 2015, Algorithm 1.
    """
    rule = rules.adam(b1, b2, eps, eps_root, nesterov, eps_hat)
    return optimizer(rule, learning_rate, mu_dtype=mu_dtype, **known(nadam, options))


@optimizer_function
def nadamw(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: Hyperparameter | None = 1e-4,
    mask: Mask = None,
    *,
    nesterov: bool = True,
    eps_hat: bool = False,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with NAdamW: Adam with Nesterov's look-ahead and decoupled weight decay.

    Take NAdamW where AdamW is right and the gradients are not very noisy: reading the mean one step
    ahead answers a change of direction sooner.

    Step: `(b1 μ / (1-b1^{t+1}) + (1-b1) g / (1-b1^t)) / (√(ν̂ + eps_root) + eps) + λ p`, times
    `-learning_rate`, with `μ = b1 μ + (1-b1) g`, `ν = b2 ν + (1-b2) |g|²`, `μ̂ = μ / (1 - b1^t)`
    and `ν̂ = ν / (1 - b2^t)` for the gradient `g`, the parameter `p` and the step `t`, 1 at the
    first. The numerator is the first moment as it will be read at the next step: Dozat's, without
    his factor b2 on ν.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        nesterov: whether the first moment is read one step ahead; False: AdamW.
        eps_hat: whether `eps` is the paper's epsilon-hat, added to the root of the uncorrected
            second moment as in TensorFlow and Keras: it then acts like `eps / sqrt(1 - b2^t)`.
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `mu` and `nu`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.nadamw(0.1, weight_decay=0.01)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.148

    References:
        Dozat, [Incorporating Nesterov Momentum into
        Adam](https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ), ICLR 2016 workshop, Algorithm
        2.
        Loshchilov & Hutter, [Decoupled Weight Decay
        Regularization](https://arxiv.org/abs/1711.05101), ICLR 2019, Algorithm 2.
    """
    rule = rules.adam(b1, b2, eps, eps_root, nesterov, eps_hat)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(nadamw, options)
    )


@optimizer_function
def scale_by_adam(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    eps_hat: bool = False,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Rescale gradients by Adam.

    Take a `scale_by_*` transformation to put something between the rescaling and the learning rate,
    as in `optax.chain(ao.scale_by_adam(), ..., optax.scale_by_learning_rate(1e-3))`; else take
    `adam`, which does both in one pass over memory.

    Step: `μ̂ / (√(ν̂ + eps_root) + eps)`, with `μ = b1 μ + (1-b1) g`, `ν = b2 ν + (1-b2) |g|²`,
    `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g` and the step `t`, 1 at the
    first.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        nesterov: whether the first moment is read one step ahead (Dozat 2016).
        eps_hat: whether `eps` is the paper's epsilon-hat, added to the root of the uncorrected
            second moment as in TensorFlow and Keras: it then acts like `eps / sqrt(1 - b2^t)`.
        **options: `nu_dtype`, `storage` and `stacked`, how the moments are kept; see
            `ao.MomentOptions`.

    Returns:
        A transformation that rescales gradients, before learning rate and sign; its state holds
        `count` and the moments `mu` and `nu`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.scale_by_adam()
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        1.000

    References:
        Kingma & Ba, [Adam: A Method for Stochastic Optimization](https://arxiv.org/abs/1412.6980),
        ICLR 2015, Algorithm 1.
    """
    rule = rules.adam(b1, b2, eps, eps_root, nesterov, eps_hat)
    return scale_by(rule, mu_dtype=mu_dtype, **known(scale_by_adam, options))


@optimizer_function
def temporal_average(
    b2: Hyperparameter = 0.999,
    *,
    warmup: bool = False,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Average the parameters along the way, beside any optimiser.

    Take the average as the last link of a chain, and read it with `ao.read_average` for evaluation:
    averaged parameters are less noisy than the last ones. The updates go through as they are.
    `ao.swap_average` exchanges parameters and average, without a copy.

    Step: `average += (1-b2) / (1-b2^t) (p + u - average)` for the update `u`, the parameter `p` and
    the step `t`, 1 at the first. That is the paper's `m_t / (1 - b2^t)` of
    `m = b2 m + (1-b2) (p + u)`, kept corrected. With `warmup`, it is
    `average = b average + (1-b) (p + u)` with `b = min(b2, (1+t) / (10+t))`, from the parameters
    before the first step.

    Args:
        b2: decay rate of the average, in [0, 1): it looks back some `1 / (1 - b2)` steps.
        warmup: whether the average looks back on a tenth of the steps at first, as TensorFlow's
            with `num_updates` and that of most diffusion models do, instead of on all of them.
        mu_dtype: dtype in which the average is kept; None: float32 (float64 for float64
            parameters).
        **options: `nu_dtype`, `storage` and `stacked`, how the moments are kept; see
            `ao.MomentOptions`.

    Returns:
        A transformation that returns the updates as they are; its state holds `count` and
        `average`.

    Raises:
        ValueError: if a number is out of range; at `update`, if a link that changes updates follows
            in a chain.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, optax, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = optax.chain(ao.adam(0.1), ao.temporal_average(0.99))
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{ao.read_average(state, params)[0]:.3f}")
        0.900

    References:
        Kingma & Ba, [Adam: A Method for Stochastic Optimization](https://arxiv.org/abs/1412.6980),
        ICLR 2015, section 7.2.
    """
    rule = rules.temporal_average(b2, warmup)
    return scale_by(rule, mu_dtype=mu_dtype, **known(temporal_average, options))
