"""Minimise with AMSGrad and AdaMax: Adam with a maximum in its second moment."""

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
def amsgrad(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: DTypeLike | None = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    nesterov: bool = False,
    raw_max: bool = False,
    eps_hat: bool = False,
    weight_decay: Hyperparameter | None = None,
    mask: Mask = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with AMSGrad: Adam whose second moment never falls.

    Take AMSGrad where Adam oscillates or diverges late in training because rare large gradients are
    forgotten: AMSGrad's effective learning rate never rises. AMSGrad keeps a third moment.

    Step: `μ̂ / (√(max ν̂ + eps_root) + eps)`, times `-learning_rate`, with `μ = b1 μ + (1-b1) g`,
    `ν = b2 ν + (1-b2) |g|²`, `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g`
    and the step `t`, 1 at the first. With decay, `λ p` is added to the step.

    Three forms differ in where the bias of ν is corrected:

    * optax's, the default: the maximum of `ν / (1 - b2^s)` over the steps `s`;
    * PyTorch's, TensorFlow's and Keras's, `raw_max=True`: the maximum of `ν`, over `1 - b2^t`;
    * the paper's, `bias_correction_mu=bias_correction_nu=False`: the maximum of `ν`.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1); `nu_max` does not decay.
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        bias_correction_mu: whether the first moment is corrected for its start at 0.
        bias_correction_nu: whether the second moment is corrected for its start at 0.
        nesterov: whether the first moment is read one step ahead (Dozat 2016).
        raw_max: whether the maximum is taken over the uncorrected second moment, and corrected
            afterwards.
        eps_hat: whether `eps` is the paper's epsilon-hat, added to the root of the uncorrected
            second moment as in TensorFlow and Keras: it then acts like `eps / sqrt(1 - b2^t)`.
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise; None: no decay.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `mu`, `nu` and `nu_max`.

    Raises:
        ValueError: if a number is out of range, or if `mask` or `coupling` is given without
            `weight_decay`.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.amsgrad(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.100

    References:
        Reddi et al., [On the Convergence of Adam and Beyond](https://arxiv.org/abs/1904.09237),
        ICLR 2018, Algorithm 2.
    """
    rule = rules.amsgrad(
        b1, b2, eps, eps_root, bias_correction_mu, bias_correction_nu, nesterov, raw_max, eps_hat
    )
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(amsgrad, options)
    )


@optimizer_function
def scale_by_amsgrad(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    mu_dtype: DTypeLike | None = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    nesterov: bool = False,
    raw_max: bool = False,
    eps_hat: bool = False,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Rescale gradients by AMSGrad.

    Take a `scale_by_*` transformation to put something between the rescaling and the learning rate,
    as in `optax.chain(ao.scale_by_amsgrad(), ..., optax.scale_by_learning_rate(1e-3))`; else take
    `amsgrad`, which does both in one pass over memory.

    Step: `μ̂ / (√(max ν̂ + eps_root) + eps)`, with `μ = b1 μ + (1-b1) g`, `ν = b2 ν + (1-b2) |g|²`,
    `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g` and the step `t`, 1 at the
    first. The forms are those of `amsgrad`.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1); `nu_max` does not decay.
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        bias_correction_mu: whether the first moment is corrected for its start at 0.
        bias_correction_nu: whether the second moment is corrected for its start at 0.
        nesterov: whether the first moment is read one step ahead (Dozat 2016).
        raw_max: whether the maximum is taken over the uncorrected second moment, and corrected
            afterwards.
        eps_hat: whether `eps` is the paper's epsilon-hat, added to the root of the uncorrected
            second moment as in TensorFlow and Keras: it then acts like `eps / sqrt(1 - b2^t)`.
        **options: `nu_dtype`, `storage` and `stacked`, how the moments are kept; see
            `ao.MomentOptions`.

    Returns:
        A transformation that rescales gradients, before learning rate and sign; its state holds
        `count` and the moments `mu`, `nu` and `nu_max`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.scale_by_amsgrad()
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        1.000

    References:
        Reddi et al., [On the Convergence of Adam and Beyond](https://arxiv.org/abs/1904.09237),
        ICLR 2018, Algorithm 2.
    """
    rule = rules.amsgrad(
        b1, b2, eps, eps_root, bias_correction_mu, bias_correction_nu, nesterov, raw_max, eps_hat
    )
    return scale_by(rule, mu_dtype=mu_dtype, **known(scale_by_amsgrad, options))


@optimizer_function
def adamax(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    *,
    nesterov: bool = False,
    eps_outside: bool = False,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Minimise with AdaMax: Adam on the infinity norm.

    Take AdaMax where gradients are sparse, as of embeddings: zeros do not pull down a decaying
    maximum of magnitudes as much as a mean of squares, and the maximum needs no bias correction.

    Step: `μ̂ / ν, ν = max(b2 ν, |g| + eps)`, times `-learning_rate`, with `μ = b1 μ + (1-b1) g` and
    `μ̂ = μ / (1 - b1^t)` for the gradient `g` and the step `t`, 1 at the first.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the infinity norm `nu`, in [0, 1).
        eps: added to the gradient's magnitude, in its units.
        nesterov: whether the first moment is read one step ahead (Dozat 2016).
        eps_outside: whether `eps` is added where `nu` divides, as in Keras and Lasagne, instead of
            to the gradient's magnitude before the maximum.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
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
        >>> tx = ao.adamax(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.100

    References:
        Kingma & Ba, [Adam: A Method for Stochastic Optimization](https://arxiv.org/abs/1412.6980),
        ICLR 2015, Algorithm 2.
    """
    rule = rules.adamax(b1, b2, eps, nesterov, eps_outside)
    return optimizer(rule, learning_rate, mu_dtype=mu_dtype, **known(adamax, options))


@optimizer_function
def adamaxw(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter | None = 1e-4,
    mask: Mask = None,
    *,
    nesterov: bool = False,
    eps_outside: bool = False,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with AdaMaxW: AdaMax with decoupled weight decay.

    Take AdaMaxW where AdaMax is right and the network should be regularised.

    Step: `μ̂ / ν + λ p, ν = max(b2 ν, |g| + eps)`, times `-learning_rate`, with
    `μ = b1 μ + (1-b1) g` and `μ̂ = μ / (1 - b1^t)` for the gradient `g`, the parameter `p` and the
    step `t`, 1 at the first.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the infinity norm `nu`, in [0, 1).
        eps: added to the gradient's magnitude, in its units.
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        nesterov: whether the first moment is read one step ahead (Dozat 2016).
        eps_outside: whether `eps` is added where `nu` divides, as in Keras and Lasagne, instead of
            to the gradient's magnitude before the maximum.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
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
        >>> tx = ao.adamaxw(0.1, weight_decay=0.01)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.101

    References:
        Kingma & Ba, [Adam: A Method for Stochastic Optimization](https://arxiv.org/abs/1412.6980),
        ICLR 2015, Algorithm 2.
        Loshchilov & Hutter, [Decoupled Weight Decay
        Regularization](https://arxiv.org/abs/1711.05101), ICLR 2019, Algorithm 2.
    """
    rule = rules.adamax(b1, b2, eps, nesterov, eps_outside)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(adamaxw, options)
    )


@optimizer_function
def scale_by_adamax(
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    *,
    nesterov: bool = False,
    eps_outside: bool = False,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Rescale gradients by AdaMax.

    Take a `scale_by_*` transformation to put something between the rescaling and the learning rate,
    as in `optax.chain(ao.scale_by_adamax(), ..., optax.scale_by_learning_rate(1e-3))`; else take
    `adamax`, which does both in one pass over memory.

    Step: `μ̂ / ν, ν = max(b2 ν, |g| + eps)`, with `μ = b1 μ + (1-b1) g` and `μ̂ = μ / (1 - b1^t)`
    for the gradient `g` and the step `t`, 1 at the first.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the infinity norm `nu`, in [0, 1).
        eps: added to the gradient's magnitude, in its units.
        nesterov: whether the first moment is read one step ahead (Dozat 2016).
        eps_outside: whether `eps` is added where `nu` divides, as in Keras and Lasagne, instead of
            to the gradient's magnitude before the maximum.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
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
        >>> tx = ao.scale_by_adamax()
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        1.000

    References:
        Kingma & Ba, [Adam: A Method for Stochastic Optimization](https://arxiv.org/abs/1412.6980),
        ICLR 2015, Algorithm 2.
    """
    rule = rules.adamax(b1, b2, eps, nesterov, eps_outside)
    return scale_by(rule, mu_dtype=mu_dtype, **known(scale_by_adamax, options))
