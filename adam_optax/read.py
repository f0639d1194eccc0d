"""Reading moments out of a state, whatever chain or wrapper it is in."""

from typing import Any

import jax

from adam_optax.numerics import compute_dtype
from adam_optax.transform import STATES, unpack


def read_moments(state: Any) -> dict[str, Any]:
    """The moments in a state, by name, each a tree over the parameters in at least float32.

    Args:
        state: any tree with exactly one state of this library's rules in it.

    Raises:
        ValueError: if there is none, or more than one (partitioned or masked groups: pass the
            inner state of one of them).

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.adam(1e-3, mu_dtype="bfloat16")
    >>> sorted(ao.read_moments(tx.init({"w": jnp.ones(3)})))
    ['mu', 'nu']
    """
    is_state = lambda x: isinstance(x, STATES)  # noqa: E731
    found = [s for s in jax.tree.leaves(state, is_leaf=is_state) if is_state(s)]
    if len(found) != 1:
        raise ValueError(f"expected one state with moments, found {len(found)} in the tree")
    moments = unpack(found[0])
    return {n: jax.tree.map(lambda m: m.astype(compute_dtype(m)), m) for n, m in moments.items()}
