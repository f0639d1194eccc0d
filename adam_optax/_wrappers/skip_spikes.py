"""Skip the steps of a transformation at which the gradient or the loss is out of all proportion."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from adam_optax._core import checks
from adam_optax._core.checks import Kind, hyperparameter
from adam_optax._core.numerics import safe_increment
from adam_optax._engine.tree import APPLY, INNER
from adam_optax._step import run_step, run_update
from adam_optax._transform import Transformation, named
from adam_optax._wrappers.clip import global_norm

LEAST = 1e-6
"""The least deviation, in units of the largest value: a rounding is no spike."""


class History(NamedTuple):
    """Hold the last values of what is judged.

    Attributes:
        values: the last finite values, a ring of float32 of shape `(window,)`.
        seen: how many finite values there were, an int32 scalar.
    """

    values: Array
    seen: Array


class SkipSpikesState(NamedTuple):
    """Hold the state of `adam_optax.skip_spikes(tx)`.

    Attributes:
        inner_state: the state of `tx`, whose counts are those of the steps that were taken.
        norms: the last gradients' norms.
        losses: the last losses; none where `loss=` is not passed.
        steps: the steps seen, an int32 scalar.
        skipped: how many of them were not taken, an int32 scalar.
        nonfinite: how many of those had a norm or a loss that was inf or NaN, an int32 scalar.
        last_skipped: whether the last step was not taken, a bool scalar.
    """

    inner_state: Any
    norms: History
    losses: History
    steps: Array
    skipped: Array
    nonfinite: Array
    last_skipped: Array


def skip_spikes(
    tx: optax.GradientTransformation, window: int = 128, sigma: float | Array = 6.0
) -> Transformation:
    """Take the steps of a transformation, except those at which the gradient or the loss spikes.

    Take it for long runs in which single batches (damaged data, a fault of the hardware) would
    spoil the moments for thousands of steps. Clipping makes such a step shorter; here it is not
    taken: parameters, moments and counts stay as they are, bit by bit, and so does what the
    learning rate's schedule has counted. With `ao.clip_by_global_norm` put the clip inside:
    `ao.skip_spikes(optax.chain(ao.clip_by_global_norm(1.0), ao.adamw(1e-3)))` judges gradients as
    they come.

    A step is a spike if the norm of its gradient over all leaves, or the loss, is above
    `mean + sigma * deviation` of its last `window` values, those of skipped steps among them: a
    level that stays high is the new level after a few steps. The deviation is that of a sample
    (divided by `n - 1`), and at least a millionth of the largest value. Smaller values are no
    spikes. Until `max(2, window // 2)` values are there, none is a spike.

    A norm or loss that is inf or NaN always skips the step, from the first on, and never enters the
    window. (In OLMo-core, Levanter and MaxText one NaN makes all of the next `window` steps be
    skipped, since nothing compares with NaN.)

    `tx.update(grads, state, params, loss=loss)` and `ao.step(tx, grads, state, params, loss=loss)`
    judge the loss, too; without `loss` the gradient alone is judged. The state is selected element
    by element in the pass in which the step is computed: there is no branch, and nothing is copied.

    Args:
        tx: any optax transformation. What is outside of it in a chain sees zeros at a skipped step.
        window: how many values are looked back on, at least 2.
        sigma: how many deviations above the mean a value may be, positive.

    Returns:
        A transformation whose state is a `SkipSpikesState` around the state of `tx`:
        `state.skipped` counts the steps that were not taken, and `optax.tree.get(state, "skipped")`
        finds it in a chain.

    Raises:
        TypeError: if `tx` is no transformation, or `window` no integer; at `update`, if the loss is
            no real scalar.
        ValueError: if a number is out of range.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> tx = ao.skip_spikes(ao.adamw(1e-3), window=4)
        >>> params = jnp.ones(3)
        >>> state = tx.init(params)
        >>> for size in (1.0, 1.1, 0.9, 1000.0, 1.0):
        ...     params, state = ao.step(tx, jnp.full(3, size), state, params)
        >>> print(state.skipped, state.inner_state[0].count)
        1 4

    References:
        OLMo team, [OLMo-core: SkipStepOptimizer](https://github.com/allenai/OLMo-core), 2024.
    """
    checks.check_transformation(tx)
    if isinstance(window, bool) or not isinstance(window, int):
        raise TypeError(f"window must be an integer, not {window!r}")
    if window < 2:
        raise ValueError(f"window must be at least 2, not {window}: one value has no deviation")
    limit = hyperparameter("sigma", sigma, Kind.POSITIVE, schedule=False)
    inner = optax.with_extra_args_support(tx)

    def init(params: Any) -> SkipSpikesState:
        zero = lambda: jnp.zeros((), jnp.int32)  # noqa: E731  (each can be donated)
        empty = lambda: History(jnp.zeros(window, jnp.float32), zero())  # noqa: E731
        none = jnp.zeros((), bool)
        return SkipSpikesState(inner.init(params), empty(), empty(), zero(), zero(), zero(), none)

    def judged(updates: Any, state: SkipSpikesState, loss: Any) -> tuple[Array, SkipSpikesState]:
        """Return whether the step is taken, and the state but for the inner one."""
        spike, finite, norms = _judge(state.norms, global_norm(updates), limit)
        losses = state.losses
        if loss is not None:
            value = checks.scalar("loss", loss)
            loss_spikes, loss_finite, losses = _judge(losses, value, limit)
            spike, finite = spike | loss_spikes, finite & loss_finite
        skipped = spike | ~finite
        count = lambda n, more: jnp.where(more, safe_increment(n), n)  # noqa: E731
        return ~skipped, SkipSpikesState(
            state.inner_state,
            norms,
            losses,
            safe_increment(state.steps),
            count(state.skipped, skipped),
            count(state.nonfinite, ~finite),
            skipped,
        )

    def update(
        updates: Any, state: SkipSpikesState, params: Any = None, **extra_args: Any
    ) -> tuple[Any, SkipSpikesState]:
        taken, new = judged(updates, state, extra_args.get("loss"))
        updates, inner_state = run_update(
            taken.astype(jnp.float32), inner.update, updates, state.inner_state, params, extra_args
        )
        return updates, new._replace(inner_state=inner_state)

    def apply(
        updates: Any, state: SkipSpikesState, params: Any, shardings: Any = None, **extra_args: Any
    ) -> tuple[Any, SkipSpikesState]:
        taken, new = judged(updates, state, extra_args.get("loss"))
        one = taken.astype(jnp.float32)
        params, inner_state = run_step(
            shardings, one, inner.update, updates, state.inner_state, params, extra_args
        )
        return params, new._replace(inner_state=inner_state)

    setattr(update, APPLY, apply)
    setattr(update, INNER, inner.update)
    made = Transformation(init, update)
    return named(made, "skip_spikes", tx=tx, window=window, sigma=sigma)


@jax.jit
def _judge(history: History, value: Array, sigma: Array | float) -> tuple[Array, Array, History]:
    """Return whether a value is a spike, whether it is finite, and the history with it."""
    window = history.values.shape[0]
    value = value.astype(jnp.float32)
    finite = jnp.isfinite(value)
    known = jnp.arange(window) < history.seen
    n = jnp.minimum(history.seen, window).astype(jnp.float32)
    # In units of the largest value, so that no square overflows or vanishes.
    largest = jnp.max(jnp.where(known, abs(history.values), 0.0))
    unit = jnp.where(largest > 0, largest, 1.0)
    scaled = jnp.where(known, history.values / unit, 0.0)
    mean = jnp.sum(scaled) / jnp.maximum(n, 1)
    squares = jnp.where(known, jnp.square(scaled - mean), 0.0)
    deviation = jnp.sqrt(jnp.sum(squares) / jnp.maximum(n - 1, 1))
    bound = mean + jnp.asarray(sigma, jnp.float32) * jnp.maximum(deviation, LEAST)
    above = jnp.where(finite, value, 0.0) / unit > bound
    spike = finite & above & (history.seen >= max(2, window // 2))
    place = history.seen % window
    entered = jnp.where(finite, value, history.values[place])
    seen = jnp.where(finite, safe_increment(history.seen), history.seen)
    return spike, finite, History(history.values.at[place].set(entered), seen)
