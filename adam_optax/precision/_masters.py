"""Reading and setting the float32 masters that `split_master` keeps."""

from typing import Any

import jax
import optax

from adam_optax._core.numerics import compute_dtype
from adam_optax.precision._split_master import SplitMasterState, joined, split


def read_master(state: Any, params: Any) -> Any:
    """The float32 masters; a parameter without a remainder is its own, in at least float32.

    Args:
        state: any tree with exactly one state of `split_master` in it.
        params: the parameters that belong to it.

    Raises:
        ValueError: if there is no such state, or more than one (partitioned groups: pass the inner
            state of one of them).

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> params = jnp.ones(2, jnp.bfloat16)
    >>> ao.precision.read_master(ao.precision.split_master().init(params), params)
    Array([1., 1.], dtype=float32)
    """
    read = lambda p, low: p.astype(compute_dtype(p)) if _empty(low) else joined(p, low)  # noqa: E731
    return jax.tree.map(read, params, _found(state).remainder)


def write_master(state: Any, master: Any) -> tuple[Any, Any]:
    """Parameters and the state whose master is the given one: to start from float32, say.

    Args:
        state: any tree with exactly one state of `split_master` in it.
        master: a tree of floating arrays; the parameters themselves clear the remainder.

    Returns:
        The parameters, bfloat16 where the state has a remainder, and the state.

    Raises:
        ValueError: if there is no such state, or more than one.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> state = ao.precision.split_master().init(jnp.zeros((), jnp.bfloat16))
    >>> params, state = ao.precision.write_master(state, jnp.float32(1.001))
    >>> print(params, ao.precision.read_master(state, params))
    1 1.001
    """
    remainder = _found(state).remainder
    params = jax.tree.map(lambda m, low: m if _empty(low) else split(m)[0], master, remainder)
    new = SplitMasterState(
        jax.tree.map(lambda m, low: low if _empty(low) else split(m)[1], master, remainder)
    )
    return params, jax.tree.map(lambda s: new if _is_state(s) else s, state, is_leaf=_is_state)


def _empty(low: Any) -> bool:
    return isinstance(low, optax.MaskedNode)


def _is_state(x: Any) -> bool:
    return isinstance(x, SplitMasterState)


def _found(state: Any) -> SplitMasterState:
    found = [s for s in jax.tree.leaves(state, is_leaf=_is_state) if _is_state(s)]
    if len(found) != 1:
        raise ValueError(
            f"expected one state of split_master, found {len(found)}; make the optimiser as "
            "optax.chain(..., adam_optax.precision.split_master()), or pass the state of one group"
        )
    return found[0]  # type: ignore[no-any-return]
