"""Define AdamP (Heo et al. 2021)."""

import math

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import Number, safe_divide, safe_sqrt
from adam_optax.directions import first_moment, ratio
from adam_optax.moments import Leaf, ema, square
from adam_optax.rules._look_ahead import look_ahead
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "delta", "wd_ratio"), reads_rank=True)
def adamp(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    delta: Number = 0.1,
    wd_ratio: Number = 0.1,
    nesterov: bool = False,
    channel_axis: int = -1,
) -> Rule:
    """Build AdamP's rule: Adam whose step leaves the length of scale-invariant weights alone.

    Take AdamP for weights that a normalisation follows. The loss does not depend on the length of
    such weights; momentum makes them longer all the same, and steps then turn them less. Whether
    weights are such is told by their gradient, which is then orthogonal to them.

    Moments: `mu`, the mean gradient, and `nu`, the mean squared gradient.

    Step: `d - w Σ(w d) / |w|² + wd_ratio λ p if c < delta / √n, else d + λ p`,
    with Adam's step `d` (see `adam`), the gradient `g`, the parameter `p`, the weight decay λ and
    the largest `|cos(g, w)|` for `c`. The vectors `w` of length `n` are first those of the channels
    of the parameter, then, if not all of these are nearly orthogonal to their gradient, the whole
    parameter as one vector. Parameters of one axis take `d + λ p`.

    Args:
        b1: decay rate of the first moment `mu`, in [0, 1); default 0.9.
        b2: decay rate of the second moment `nu`, in [0, 1); default 0.999.
        eps: added to the root in the denominator, in units of the gradient, and to the length of a
            vector by which is divided; default 1e-8.
        delta: how near to orthogonal a gradient is taken for orthogonal; default 0.1.
        wd_ratio: the share of the weight decay that is left where the step is projected;
            default 0.1.
        nesterov: whether the first moment is read one step ahead, as
            `(b1 μ + (1-b1) g) / (1 - b1^t)`, the authors' form; default False.
        channel_axis: the axis that counts the channels; -1 for Flax's kernels, 0 for PyTorch's
            weights and for embeddings; default -1.

    Returns:
        The rule, for `adam_optax.optimizer` or `adam_optax.scale_by`. It applies the weight decay
        of the optimiser itself.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> import adam_optax as ao
        >>> tx = ao.optimizer(ao.rules.adamp(), 1e-3, decay=ao.Decay(0.01))

    References:
        Heo et al., [AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant
        Weights](https://arxiv.org/abs/2006.08217), ICLR 2021, Algorithm 2.
    """
    ahead, seen = look_ahead(b1)
    adam = ratio(eps, num=ahead if nesterov else first_moment)

    def projected(x: Leaf, d: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
        """Return whether weights are scale-invariant, and the step without their direction."""
        length = _norm(x.p, axes)
        cosine = safe_divide(abs(_dot(x.g, x.p, axes)), jnp.maximum(_norm(x.g, axes), eps), 0.0)
        cosine = safe_divide(cosine, jnp.maximum(length, eps), 0.0)
        count = math.prod(x.p.shape[i] for i in axes)
        unit = safe_divide(x.p, length + eps, least=eps)
        flat = jnp.max(cosine, initial=0.0) < delta / math.sqrt(max(count, 1))
        return flat, d - unit * _dot(unit, d, axes)

    def direction(x: Leaf) -> Array:
        d, share = adam(x), jnp.ones_like(x.t)
        if x.g.ndim > 1:
            every = tuple(range(x.g.ndim))
            whole, along_layer = projected(x, d, every)
            channel = channel_axis % x.g.ndim
            each, along_channels = projected(x, d, tuple(i for i in every if i != channel))
            d = jnp.where(each, along_channels, jnp.where(whole, along_layer, d))
            share = jnp.where(each | whole, wd_ratio, share)
        return d if isinstance(x.weight_decay, float) else d + x.weight_decay * share * x.p

    moments = {"mu": ema(b1), "nu": ema(b2, square, signed=False)}
    return Rule(moments, direction, seen, handles=("weight_decay",))


def _dot(a: Array, b: Array, axes: tuple[int, ...]) -> Array:
    """Return the inner products of real vectors, and of complex ones as pairs of real ones."""
    return jnp.sum((a * jnp.conj(b)).real, axes, keepdims=True)


def _norm(a: Array, axes: tuple[int, ...]) -> Array:
    return safe_sqrt(_dot(a, a, axes))
