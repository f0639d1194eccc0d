"""Adam's temporal average of the parameters (Kingma & Ba 2015, section 7.2)."""

from typing import Any

import jax
from jax import Array

from adam_optax._engine.tree import ScaleByState


def read_average(state: Any, params: Any) -> Any:
    """The averaged parameters in a state that `temporal_average` is part of.

    Args:
        state: any tree with exactly one state of `temporal_average` in it, kept dense.
        params: the parameters, in whose dtypes the average is returned.

    Raises:
        ValueError: if there is no such state, or more than one.

    >>> import jax.numpy as jnp, optax, adam_optax as ao
    >>> tx = optax.chain(ao.sgd(0.25), ao.temporal_average(b2=0.9))
    >>> params = jnp.array([1.0])
    >>> updates, state = tx.update(jnp.array([2.0]), tx.init(params), params)
    >>> ao.read_average(state, params)  # of one step: where it led
    Array([0.5], dtype=float32)
    """
    leaves = jax.tree.leaves(state, is_leaf=_averages)
    found = [s.moments["average"] for s in leaves if _averages(s)]
    if len(found) != 1:
        raise ValueError(
            f"expected one state of temporal_average, found {len(found)}; make the optimiser as "
            "optax.chain(..., adam_optax.temporal_average())"
        )
    return jax.tree.map(_like, found[0], params)


def _averages(x: Any) -> bool:
    return isinstance(x, ScaleByState) and "average" in x.moments


def _like(m: Array, p: Array) -> Array:
    return m.astype(p.dtype)
