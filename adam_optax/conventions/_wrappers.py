"""Wrap optimisers as frameworks do: coupled weight decay, time-based decay, maximisation."""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jax import Array

from adam_optax._core.types import Mask, ScalarOrSchedule
from adam_optax._transform import Transformation, named


def time_decay(learning_rate: float, decay: float) -> Callable[[Array], Array]:
    r"""Return the schedule :math:`\alpha / (1 + d\,t)` of Keras 2 and Lua Torch, `t` from 0.

    Use it to repeat a run whose optimiser was given Keras 2's `decay` or Lua Torch's
    `learningRateDecay`.

    Args:
        learning_rate: :math:`\alpha`, the learning rate of the first step.
        decay: :math:`d`; after `1 / d` steps the learning rate has halved.

    Returns:
        A schedule `count -> learning rate`.

    >>> schedule = time_decay(0.1, decay=0.5)
    >>> [round(float(schedule(count)), 6) for count in (0, 2)]
    [0.1, 0.05]
    """
    return lambda count: learning_rate / (1 + decay * jnp.asarray(count, float))


def l2(
    weight_decay: ScalarOrSchedule, tx: optax.GradientTransformation, mask: Mask = None
) -> Transformation:
    r"""Add coupled weight decay (L2 regularisation): the optimiser sees :math:`g + \lambda p`.

    Use it where PyTorch's `Adam(weight_decay=...)` was used; `ao.adamw` is PyTorch's `AdamW`.

    Args:
        weight_decay: :math:`\lambda`, a number, a scalar array or a schedule.
        tx: any optimiser.
        mask: which parameters decay, as in `ao.adamw`. None: all.

    Returns:
        A chain of `optax.add_decayed_weights` and `tx`. Its update needs `params`.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = l2(0.1, ao.sgd(1.0))
    >>> p = jnp.array([2.0])
    >>> tx.update(jnp.array([1.0]), tx.init(p), p)[0]
    Array([-1.2], dtype=float32)
    """
    chain = optax.chain(optax.add_decayed_weights(weight_decay, mask), tx)
    return named(Transformation(*chain), "l2", weight_decay=weight_decay, tx=tx, mask=mask)


def maximize(tx: optax.GradientTransformation) -> Transformation:
    r"""Maximise instead of minimise: the optimiser sees :math:`-g`, as with `maximize=True`.

    Use it where PyTorch's `maximize=True` was used. Weight decay still shrinks the parameters:
    `maximize(l2(1e-2, tx))` is PyTorch's order.

    Args:
        tx: any optimiser.

    Returns:
        A chain of `optax.scale(-1.0)` and `tx`.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = maximize(ao.sgd(1.0))
    >>> p = jnp.array([2.0])
    >>> tx.update(jnp.array([1.0]), tx.init(p), p)[0]
    Array([1.], dtype=float32)
    """
    return named(Transformation(*optax.chain(optax.scale(-1.0), tx)), "maximize", tx=tx)
