"""Minimise with AdamP, which leaves the length of scale-invariant weights alone."""

from __future__ import annotations  # so that `help` shows the names of types

from typing import Unpack

from adam_optax import rules
from adam_optax._alias._build import (
    Transformation,
    known,
    optimizer_function,
    optimizer_with_decay,
)
from adam_optax._alias.options import DecayOptions
from adam_optax._core.by_path import ByPath, Hyperparameter
from adam_optax._core.types import DTypeLike, Mask


@optimizer_function
def adamp(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    weight_decay: Hyperparameter | None = 0.0,
    mask: Mask = None,
    *,
    delta: Hyperparameter = 0.1,
    wd_ratio: Hyperparameter = 0.1,
    channel_axis: int | ByPath = -1,
    nesterov: bool = False,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with AdamP: Adam whose step leaves the length of scale-invariant weights alone.

    Take AdamP for weights that a normalisation follows. The loss does not depend on the length of
    such weights; momentum makes them longer all the same, and steps then turn them less. It costs
    norms and inner products of each parameter with its gradient and its step: two further passes
    over memory.

    Step: `d - w Σ(w d) / |w|² + wd_ratio λ p if c < delta / √n, else d + λ p`, times
    `-learning_rate`, with `d = μ̂ / (√ν̂ + eps)`, `μ = b1 μ + (1-b1) g`, `ν = b2 ν + (1-b2) |g|²`,
    `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g`, the parameter `p` and the
    step `t`, 1 at the first; `c` is the largest `|cos(g, w)|`. The vectors `w` of length `n` are
    first those of the channels of the parameter, then, if not all of these are nearly orthogonal to
    their gradient, the whole parameter as one vector. Parameters of one axis take `d + λ p`.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient, and to the length of a
            vector by which is divided.
        weight_decay: strength λ of the weight decay, times the learning rate.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        delta: how near to orthogonal a gradient is taken for orthogonal.
        wd_ratio: the share of the weight decay that is left where the step is projected.
        channel_axis: the axis that counts the channels: -1 for Flax's kernels, 0 for PyTorch's
            weights and for embeddings; also `by_path`.
        nesterov: whether the first moment is read one step ahead, as
            `(b1 μ + (1-b1) g) / (1 - b1^t)`, the authors' form.
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        **options: `coupling`, how the decay goes with the learning rate (neither independent nor
            cautious), and `nu_dtype`, `storage` and `stacked`, how the moments are kept; see
            `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `mu` and `nu`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = jnp.ones((2, 2)), jnp.array([[2.0, 2.0], [-2.0, -2.0]])
        >>> tx = ao.adamp(0.1)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates[0, 0]:.3f} {updates[1, 0]:.3f}")
        -0.100 0.100

    References:
        Heo et al., [AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant
        Weights](https://arxiv.org/abs/2006.08217), ICLR 2021, Algorithm 2.
    """
    rule = rules.adamp(b1, b2, eps, delta, wd_ratio, nesterov, channel_axis)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(adamp, options)
    )
