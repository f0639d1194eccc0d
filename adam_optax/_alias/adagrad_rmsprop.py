"""Minimise with what Adam grew out of: SGD, AdaGrad, RMSProp and AdaDelta."""

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
    with_gradient_decay,
)
from adam_optax._alias.options import DecayOptions, MomentOptions
from adam_optax._core.by_path import Hyperparameter
from adam_optax._core.types import DTypeLike, Mask


@optimizer_function
def sgd(
    learning_rate: Hyperparameter | None,
    momentum: Hyperparameter | None = None,
    nesterov: bool = False,
    accumulator_dtype: DTypeLike | None = None,
    *,
    weight_decay: Hyperparameter | None = None,
    mask: Mask = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with SGD: the gradient, or a decaying sum of gradients.

    Take SGD with momentum where the scale of the gradients is known and memory is short, and as the
    baseline: on image classifiers it often generalises best.

    Step: `trace = momentum trace + g`, times `-learning_rate`, for the gradient `g`;
    `g + momentum trace` with `nesterov`, and `g` without momentum. With decay, `λ p` is added to
    the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        momentum: share of the last step that is kept, in [0, 1); None: no momentum and no moment.
        nesterov: whether the trace is read one step ahead.
        accumulator_dtype: dtype in which `trace` is kept; None: float32 (float64 for float64
            parameters).
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise; None: no decay.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        mu_dtype: the same as `accumulator_dtype`, by the name that it has in the other optimisers.
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moment `trace`, with momentum.

    Raises:
        ValueError: if a number is out of range, if `mask` or `coupling` is given without
            `weight_decay`, or a dtype is given twice or without momentum.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.sgd(0.1, momentum=0.9)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.200

    References:
        Polyak, [Some Methods of Speeding up the Convergence of Iteration
        Methods](https://doi.org/10.1016/0041-5553(64)90137-5), 1964.
        Sutskever et al., [On the Importance of Initialization and Momentum in Deep
        Learning](https://proceedings.mlr.press/v28/sutskever13.html), ICML 2013, for `nesterov`.
    """
    if None not in (accumulator_dtype, mu_dtype):
        raise ValueError(
            "accumulator_dtype and mu_dtype both say how trace is kept; give one of them"
        )
    if momentum is None and accumulator_dtype is not None:
        raise ValueError("accumulator_dtype: without momentum there is no trace to be kept in it")
    rule = rules.momentum(momentum, nesterov)
    dtype = mu_dtype if accumulator_dtype is None else accumulator_dtype
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=dtype, **known(sgd, options)
    )


@optimizer_function
def adagrad(
    learning_rate: Hyperparameter | None,
    initial_accumulator_value: float = 0.1,
    eps: Hyperparameter = 1e-7,
    *,
    weight_decay: Hyperparameter | None = None,
    mask: Mask = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with AdaGrad: the gradient over the root of the sum of all squares.

    Take AdaGrad for convex problems and for sparse features, as in embeddings: frequent features
    get short steps, rare ones long steps. The steps shrink by themselves, because the sum only
    grows.

    Step: `g / √(Σ_t |g|² + eps)`, times `-learning_rate`, for the gradient `g`; the sum starts at
    `initial_accumulator_value`. With decay, `λ p` is added to the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        initial_accumulator_value: where the sum of squares starts.
        eps: added to the sum of squares under the root, in units of the squared gradient.
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise; None: no decay.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        mu_dtype: must be None, because no moment is kept that can be negative.
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moment `sum_of_squares`.

    Raises:
        ValueError: if a number is out of range, if `mask` or `coupling` is given without
            `weight_decay`, or if `mu_dtype` is given.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.adagrad(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.099

    References:
        Duchi et al., [Adaptive Subgradient Methods for Online Learning and Stochastic
        Optimization](https://jmlr.org/papers/v12/duchi11a.html), JMLR 2011, Figure 1.
    """
    rule = rules.adagrad(initial_accumulator_value, eps)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(adagrad, options)
    )


@optimizer_function
def scale_by_rss(
    initial_accumulator_value: float = 0.1,
    eps: Hyperparameter = 1e-7,
    *,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Rescale gradients by the root of the sum of their squares: AdaGrad.

    Take a `scale_by_*` transformation to put something between the rescaling and the learning rate,
    as in `optax.chain(ao.scale_by_rss(), ..., optax.scale_by_learning_rate(1e-3))`; else take
    `adagrad`, which does both in one pass over memory.

    Step: `g / √(Σ_t |g|² + eps)` for the gradient `g`; the sum starts at
    `initial_accumulator_value`.

    Args:
        initial_accumulator_value: where the sum of squares starts.
        eps: added to the sum of squares under the root, in units of the squared gradient.
        mu_dtype: must be None, because no moment is kept that can be negative.
        **options: `nu_dtype`, `storage` and `stacked`, how the moments are kept; see
            `ao.MomentOptions`.

    Returns:
        A transformation that rescales gradients, before learning rate and sign; its state holds
        `count` and the moment `sum_of_squares`.

    Raises:
        ValueError: if a number is out of range, or if `mu_dtype` is given.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.scale_by_rss()
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        0.988

    References:
        Duchi et al., [Adaptive Subgradient Methods for Online Learning and Stochastic
        Optimization](https://jmlr.org/papers/v12/duchi11a.html), JMLR 2011, Figure 1.
    """
    rule = rules.adagrad(initial_accumulator_value, eps)
    return scale_by(rule, mu_dtype=mu_dtype, **known(scale_by_rss, options))


@optimizer_function
def rmsprop(
    learning_rate: Hyperparameter | None,
    decay: Hyperparameter = 0.9,
    eps: Hyperparameter = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Hyperparameter | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
    *,
    weight_decay: Hyperparameter | None = None,
    mask: Mask = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with RMSProp: the gradient over the root of the mean squared gradient.

    Take RMSProp for recurrent networks and reinforcement learning, where RMSProp is the custom.
    RMSProp is AdaGrad that forgets, or Adam without its first moment.

    Step: `g / √(ν + eps), ν = decay ν + (1-decay) |g|²`, times `-learning_rate`, for the gradient
    `g`. With `centered`, `E|g|² - |E g|²` stands for ν. This variance is kept by itself, as
    `variance`, because the difference of two averages cancels. Momentum sums steps that have the
    learning rate in them. With decay, `λ p` is added to the step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        decay: decay rate of the averages, in [0, 1).
        eps: added to the mean square, under the root or, without `eps_in_sqrt`, beside it.
        initial_scale: where `nu` or `variance` starts.
        eps_in_sqrt: whether `eps` is added under the root, in units of the squared gradient; if
            not, in units of the gradient.
        centered: whether to divide by the deviation from the mean gradient.
        momentum: share of the last step that is kept, in [0, 1); None: no momentum.
        nesterov: whether the momentum is read one step ahead.
        bias_correction: whether the averages are corrected for their start.
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise; None: no decay.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        mu_dtype: dtype in which `mu` and `trace`, if there are some, are kept; None: float32
            (float64 for float64 parameters).
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments: `nu`, or `variance` and `mu` if
        centred, and `trace` with momentum.

    Raises:
        ValueError: if a number is out of range, or if `mask` or `coupling` is given without
            `weight_decay`.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.rmsprop(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.316

    References:
        Tieleman & Hinton, [Lecture 6.5:
        RMSProp](https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf),
        COURSERA: Neural Networks for Machine Learning, 2012.
        Graves, [Generating Sequences With Recurrent Neural
        Networks](https://arxiv.org/abs/1308.0850), 2013, for `centered`.
    """
    rule = rules.rmsprop(
        decay, eps, initial_scale, eps_in_sqrt, centered, momentum, nesterov, bias_correction
    )
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(rmsprop, options)
    )


@optimizer_function
def adadelta(
    learning_rate: Hyperparameter | None = None,
    rho: Hyperparameter = 0.9,
    eps: Hyperparameter = 1e-6,
    weight_decay: Hyperparameter = 0.0,
    weight_decay_mask: Mask = None,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Minimise with AdaDelta: gradients in units of the steps before.

    Take AdaDelta where no learning rate is to be tuned: AdaDelta's steps have the unit of the
    parameters, and start small. The weight decay is added to the gradient, as in optax.

    Step: `d = g √(e_x + eps) / √(e_g + eps)`, times `-learning_rate`, with `e_g` the average by rho
    of `|g|²` for the gradient `g`, and `e_x` that of `|d|²` up to the step before.

    Args:
        learning_rate: step size, a number, a scalar array or a schedule, of which Zeiler's is 1;
            None, the default: steps that point uphill, as in optax.
        rho: decay rate of both averages, in [0, 1).
        eps: added under both roots, in units of the squared gradient and of the squared step.
        weight_decay: times the parameter, added to the gradient (L2).
        weight_decay_mask: which parameters decay: a tree of bools, a prefix of such a tree, or a
            function from the parameters to one; None: all parameters.
        **options: `nu_dtype`, `storage` and `stacked`, how the moments are kept; see
            `ao.MomentOptions`.

    Returns:
        The optimiser; as in optax, `state[0]` is the weight decay's, and `state[1]` holds the
        moments `e_g` and `e_x`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.adadelta(1.0)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        -0.003

    References:
        Zeiler, [ADADELTA: An Adaptive Learning Rate Method](https://arxiv.org/abs/1212.5701), 2012,
        Algorithm 1.
    """
    rule = rules.adadelta(rho, eps)
    tx = optimizer(rule, learning_rate, **known(adadelta, options))
    return with_gradient_decay(tx, weight_decay, weight_decay_mask)


@optimizer_function
def scale_by_adadelta(
    rho: Hyperparameter = 0.9,
    eps: Hyperparameter = 1e-6,
    *,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Rescale gradients by AdaDelta.

    Take a `scale_by_*` transformation to put something between the rescaling and the learning rate,
    as in `optax.chain(ao.scale_by_adadelta(), ..., optax.scale_by_learning_rate(1e-3))`; else take
    `adadelta`, which does both in one pass over memory.

    Step: `d = g √(e_x + eps) / √(e_g + eps)`, with `e_g` the average by rho of `|g|²` for the
    gradient `g`, and `e_x` that of `|d|²` up to the step before.

    Args:
        rho: decay rate of both averages, in [0, 1).
        eps: added under both roots, in units of the squared gradient and of the squared step.
        mu_dtype: must be None, because no moment is kept that can be negative.
        **options: `nu_dtype`, `storage` and `stacked`, how the moments are kept; see
            `ao.MomentOptions`.

    Returns:
        A transformation that rescales gradients, before learning rate and sign; its state holds
        `count` and the moments `e_g` and `e_x`.

    Raises:
        ValueError: if a number is out of range, or if `mu_dtype` is given.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones(3), jnp.full(3, 2.0)
        >>> tx = ao.scale_by_adadelta()
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0]:.3f}")
        0.003

    References:
        Zeiler, [ADADELTA: An Adaptive Learning Rate Method](https://arxiv.org/abs/1212.5701), 2012,
        Algorithm 1.
    """
    rule = rules.adadelta(rho, eps)
    return scale_by(rule, mu_dtype=mu_dtype, **known(scale_by_adadelta, options))
