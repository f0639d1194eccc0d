"""Clip gradients by the norms that they have had: ZClip over all leaves, AdaGC leaf by leaf."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from adam_optax._core.checks import Kind, hyperparameter, steps
from adam_optax._core.numerics import safe_increment, scaled
from adam_optax._engine.stacked import Stacked, layers_by_path
from adam_optax._engine.tree import FACTOR, tag_update
from adam_optax._transform import Transformation, named
from adam_optax._wrappers.clip import global_norm, layer_norm, map_with_layers, scale_layers


class ZClipState(NamedTuple):
    """Hold the state of `adam_optax.zclip`.

    Attributes:
        count: the finite norms seen, an int32 scalar.
        mean: the average of the norms as they were clipped, a float32 scalar.
        variance: the average of the squared distances from it, a float32 scalar.
    """

    count: Array  # type: ignore[assignment]  # tuple.count: the field's name is optax's
    mean: Array
    variance: Array


def zclip(
    alpha: float | Array = 0.97, z_threshold: float | Array = 2.5, warmup_steps: int = 25
) -> Transformation:
    """Scale all gradients where their norm is far above its average: ZClip.

    Use it before an optimiser, in `optax.chain`, in place of `ao.clip_by_global_norm`, where the
    size of gradients changes along the run, so that no fixed limit fits for long.

    Formula: with `z = (norm - mean) / std`, and where `z > z_threshold`, gradients get the norm
    `mean + z_threshold^2 / z std`: the further away, the shorter. Then
    `mean = alpha mean + (1-alpha) norm` and
    `variance = alpha variance + (1-alpha) (norm - mean)^2`, of the norm as it was clipped. The
    first `warmup_steps` norms are not clipped; mean and variance begin as theirs.

    A gradient whose norm is not finite becomes zero and enters no average. In `adam_optax.step`,
    right before an optimiser of this library, no clipped gradient is written.

    Args:
        alpha: decay rate of mean and variance, in [0, 1).
        z_threshold: from how many standard deviations on a norm is clipped, positive.
        warmup_steps: how many norms are only looked at, at least 2.

    Returns:
        A transformation whose state is a `ZClipState`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument is no number.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.zclip(warmup_steps=4)
    >>> state = tx.init(None)
    >>> for size in (1.0, 1.2, 0.8, 1.0, 10.0):
    ...     updates, state = tx.update(jnp.array([size]), state)
    >>> print(f"{updates[0]:.4f}")  # z is 63, so that little more than the mean is left
    1.0139

    Reference: Kumar et al. 2025, "ZClip: Adaptive Spike Mitigation for LLM Pre-Training",
    https://arxiv.org/abs/2504.02507.
    """
    decay = hyperparameter("alpha", alpha, Kind.DECAY_RATE, schedule=False)
    limit = hyperparameter("z_threshold", z_threshold, Kind.POSITIVE, schedule=False)
    first = steps("warmup_steps", warmup_steps, 2)

    def init(params: Any) -> ZClipState:
        del params
        zero = lambda dtype: jnp.zeros((), dtype)  # noqa: E731  (each can be donated)
        return ZClipState(zero(jnp.int32), zero(jnp.float32), zero(jnp.float32))

    def factor(updates: Any, state: ZClipState) -> tuple[Array, ZClipState]:
        by, new = _zclip_factor(global_norm(updates), state, decay, limit, first)
        return by, new

    def update(
        updates: Any, state: ZClipState, params: Any = None, **extra_args: Any
    ) -> tuple[Any, ZClipState]:
        del params, extra_args
        by, state = factor(updates, state)
        return jax.tree.map(lambda g: _scaled(g, by), updates), state

    setattr(tag_update(update, "zclip"), FACTOR, factor)
    tx = Transformation(init, update)
    return named(tx, "zclip", alpha=alpha, z_threshold=z_threshold, warmup_steps=warmup_steps)


_scaled = jax.jit(scaled)


@jax.jit
def _zclip_factor(
    norm: Array, state: ZClipState, alpha: Array | float, limit: Array | float, first: int
) -> tuple[Array, ZClipState]:
    """Return what gradients are multiplied by, and the new state."""
    norm, mean, variance = norm.astype(jnp.float32), state.mean, state.variance
    alpha, limit = (jnp.asarray(x, jnp.float32) for x in (alpha, limit))
    finite, warm = jnp.isfinite(norm), state.count < first
    seen = jnp.where(finite, norm, mean)
    std, above = jnp.sqrt(variance), seen - mean
    spikes = ~warm & (above > limit * std)
    # z_threshold^2 / z std, without a quotient by a deviation of 0.
    target = mean + jnp.square(limit * std) / jnp.where(spikes, above, 1.0)
    clipped = jnp.where(spikes, target, seen)
    # The mean and variance of a sample while it grows, and averages afterwards.
    share = jnp.where(warm, 1 / (state.count + 1).astype(jnp.float32), 1 - alpha)
    new_mean = mean + share * (clipped - mean)
    other = jnp.where(warm, mean, new_mean)
    square = (clipped - new_mean) * (clipped - other)
    new = ZClipState(safe_increment(state.count), new_mean, variance + share * (square - variance))
    by = jnp.where(spikes, target / jnp.where(seen > 0, seen, 1.0), 1.0)
    kept = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, state)
    return jnp.where(finite, by, 0.0), kept


class AdaGCState(NamedTuple):
    """Hold the state of `adam_optax.adagc`.

    Attributes:
        count: the steps seen, an int32 scalar.
        norms: a tree over the gradients of float32: the average of each leaf's norm as it was
            clipped, for each layer.
    """

    count: Array  # type: ignore[assignment]  # tuple.count: the field's name is optax's
    norms: Any


def adagc(
    beta: float | Array = 0.98,
    relative: float | Array = 1.05,
    absolute: float | Array = 1.0,
    warmup_steps: int = 100,
    *,
    stacked: Stacked | None = None,
) -> Transformation:
    """Clip each leaf's gradient at a little above the average of its own norms: AdaGC.

    Use it before an optimiser, in `optax.chain`, where spikes begin in single layers: the gradients
    of the other layers stay as they are. `ao.rules.clip_step_by_history` clips steps by their
    history instead of gradients.

    Formula: the gradient of a leaf is multiplied by `min(1, relative average / norm)`; then
    `average = beta average + (1-beta) norm`, of the norm as it was clipped. In the steps before
    `warmup_steps`, all leaves are clipped together, as `ao.clip_by_global_norm(absolute)` does, and
    the average is the least norm of the leaf so far.

    A leaf whose norm is not finite becomes zero, and its average stays. A leaf whose average is 0
    (never a gradient) is not clipped.

    Args:
        beta: decay rate of the averages, in [0, 1).
        relative: how many times its average a norm may be, positive.
        absolute: the largest global norm while the averages begin, positive.
        warmup_steps: the step, counted from 1, from which leaves are clipped by their averages.
        stacked: how many leading axes are layers, each of which is clipped by itself; see
            `ao.scale_by`.

    Returns:
        A transformation whose state is an `AdaGCState`.

    Raises:
        ValueError: if a number is out of range.
        TypeError: if an argument is no number.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.adagc(warmup_steps=2)
    >>> state = tx.init({"a": jnp.zeros(1), "b": jnp.zeros(1)})
    >>> for size in (0.5, 5.0):
    ...     grads = {"a": jnp.array([size]), "b": jnp.array([0.5])}
    ...     updates, state = tx.update(grads, state)
    >>> print(updates["a"], updates["b"])
    [0.525] [0.5]

    Reference: Wang et al. 2025, "AdaGC: Improving Training Stability for Large Language Model
    Pretraining", https://arxiv.org/abs/2502.11034, Algorithm 1; its third version takes
    `beta=0.99` and `relative=1.04`.
    """
    decay = hyperparameter("beta", beta, Kind.DECAY_RATE, schedule=False)
    of_average = hyperparameter("relative", relative, Kind.POSITIVE, schedule=False)
    limit = hyperparameter("absolute", absolute, Kind.POSITIVE, schedule=False)
    first = steps("warmup_steps", warmup_steps)
    layers = layers_by_path(stacked)

    def init(params: Any) -> AdaGCState:
        zeros = lambda p, n: jnp.zeros(jnp.shape(p)[:n], jnp.float32)  # noqa: E731
        return AdaGCState(jnp.zeros((), jnp.int32), map_with_layers("adagc", zeros, params, layers))

    def update(
        updates: Any, state: AdaGCState, params: Any = None, **extra_args: Any
    ) -> tuple[Any, AdaGCState]:
        del params, extra_args
        step, whole = safe_increment(state.count), global_norm(updates)
        clip = lambda g, n, average: _adagc_leaf(  # noqa: E731
            g, layer_norm(g, n), average, step, whole, decay, of_average, limit, first
        )
        both = map_with_layers("adagc", clip, updates, layers, state.norms)
        is_pair = lambda x: isinstance(x, _Clipped)  # noqa: E731
        grads, norms = (
            jax.tree.map(lambda pair, i=i: pair[i], both, is_leaf=is_pair) for i in range(2)
        )
        return grads, AdaGCState(step, norms)

    tx = Transformation(init, tag_update(update, "adagc"))
    given = {"beta": beta, "relative": relative, "absolute": absolute, "stacked": stacked}
    return named(tx, "adagc", **given, warmup_steps=warmup_steps)


class _Clipped(NamedTuple):
    g: Array
    norm: Array


@jax.jit
def _adagc_leaf(
    g: Array,
    norm: Array,
    average: Array,
    step: Array,
    whole: Array,
    decay: Array | float,
    relative: Array | float,
    absolute: Array | float,
    first: int,
) -> _Clipped:
    """Return a leaf's gradient as it is clipped, and its new average, layer by layer."""
    norm, whole = norm.astype(jnp.float32), whole.astype(jnp.float32)
    decay, relative, absolute = (jnp.asarray(x, jnp.float32) for x in (decay, relative, absolute))
    warm = step < first
    finite = jnp.isfinite(norm) & (jnp.isfinite(whole) | ~warm)
    bound = jnp.where(average > 0, relative * average, norm)
    by_average = jnp.where(norm > bound, bound / jnp.where(norm > 0, norm, 1.0), 1.0)
    together = jnp.broadcast_to(absolute / jnp.maximum(whole, absolute), norm.shape)
    by = jnp.where(finite, jnp.where(warm, together, by_average), 0.0)
    clipped = jnp.where(finite, norm, 0.0) * by
    least = jnp.where(step > 1, jnp.minimum(average, clipped), clipped)
    begun = jnp.where(average > 0, average, clipped)
    moved = begun + (1 - decay) * (clipped - begun)
    new = jnp.where(finite, jnp.where(warm, least, moved), average)
    return _Clipped(scale_layers(g, by), new)
