"""What frameworks do around their optimisers."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax
from jax import Array

from adam_optax._core.types import ScalarOrSchedule
from adam_optax._transform import Transformation


def time_decay(learning_rate: float, decay: float) -> Callable[[Array], Array]:
    r"""The schedule :math:`\alpha / (1 + d\,t)`, `t` from 0: Keras 2's and Lua Torch's.

    Args:
        learning_rate: alpha.
        decay: d; Keras 2's `decay`, Lua Torch's `learningRateDecay`.

    >>> schedule = time_decay(0.1, decay=0.5)
    >>> [round(float(schedule(count)), 6) for count in (0, 2)]
    [0.1, 0.05]
    """
    return lambda count: learning_rate / (1 + decay * jnp.asarray(count, float))


def l2(weight_decay: ScalarOrSchedule, tx: Transformation, mask: Any = None) -> Any:
    r"""Coupled weight decay: the optimiser sees :math:`g + \lambda p`.

    PyTorch's `Adam(weight_decay=...)`, where `ao.adamw` is its `AdamW`.

    Args:
        weight_decay: lambda.
        tx: any optimiser.
        mask: which parameters decay, as in `ao.adamw`.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = l2(0.1, ao.sgd(1.0))
    >>> p = jnp.array([2.0])
    >>> tx.update(jnp.array([1.0]), tx.init(p), p)[0]
    Array([-1.2], dtype=float32)
    """
    return optax.chain(optax.add_decayed_weights(weight_decay, mask), tx)


def maximize(tx: Transformation) -> Any:
    r"""Climb: the optimiser sees :math:`-g`, as under PyTorch's `maximize=True`.

    Weight decay still shrinks the parameters: `maximize(l2(1e-2, tx))` is PyTorch's order.

    Args:
        tx: any optimiser.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = maximize(ao.sgd(1.0))
    >>> p = jnp.array([2.0])
    >>> tx.update(jnp.array([1.0]), tx.init(p), p)[0]
    Array([1.], dtype=float32)
    """
    return optax.chain(optax.scale(-1.0), tx)
