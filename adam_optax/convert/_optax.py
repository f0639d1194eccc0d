"""States to and from optax's, inside whatever chain or wrapper they are.

The classes are the same; what differs is the precision in which moments are kept.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from adam_optax._core.numerics import compute_dtype, real_dtype
from adam_optax._engine.tree import OPTAX_STATES, pack, unpack


def from_optax(state: Any, mu_dtype: Any = None) -> Any:
    """The state of an optax run, so that this library can continue it.

    Needed only where optax's state differs: its moments of bfloat16 and float16 parameters are
    widened to float32, and its complex `nu` loses its zero imaginary part. Everything else in the
    state, such as a schedule's count, is kept as it is.

    Args:
        state: any tree with optax's states of Adam, AdamW, NAdam, AdaMax or AMSGrad in it.
        mu_dtype: the `mu_dtype` with which the run goes on here; float32 if None.

    Raises:
        TypeError: if `mu_dtype` is real and `mu` complex.

    >>> import jax.numpy as jnp, optax, adam_optax as ao
    >>> params = {"w": jnp.ones(3, jnp.bfloat16)}
    >>> state = ao.convert.from_optax(optax.adam(1e-3).init(params))
    >>> state[0].nu["w"].dtype
    dtype('float32')
    """

    def ours(name: str, tree: Any) -> Any:
        if name == "mu":
            return jax.tree.map(lambda m: _in(m, mu_dtype or compute_dtype(m)), tree)
        return jax.tree.map(_real, tree)

    return _map_moments(ours, state)


def to_optax(state: Any, params: Any, mu_dtype: Any = None) -> Any:
    """The state as optax would hold it, so that optax can continue the run.

    Args:
        state: a state of `adam`, `adamw`, `nadam`, `nadamw`, `adamax`, `adamaxw` or `amsgrad`, in
            whatever chain or wrapper, with dense storage.
        params: the parameters, whose dtypes optax gives to its moments.
        mu_dtype: the `mu_dtype` given to optax.

    Raises:
        TypeError: if `mu_dtype` is real and `mu` complex.

    >>> import jax.numpy as jnp, optax, adam_optax as ao
    >>> params = {"w": jnp.ones(3, jnp.bfloat16)}
    >>> state = ao.convert.to_optax(ao.adam(1e-3).init(params), params)
    >>> state[0].nu["w"].dtype
    dtype(bfloat16)
    """

    def theirs(name: str, tree: Any) -> Any:
        dtype = mu_dtype if name == "mu" else None

        def cast(m: Any, p: Any) -> Any:
            return m if _is_masked(m) else _in(m, dtype or jnp.result_type(p))

        return jax.tree.map(cast, tree, params, is_leaf=_is_masked)

    return _map_moments(theirs, state)


def _is_masked(x: Any) -> bool:
    """What `optax.masked` and `optax.partition` put in the place of another group's leaf."""
    return isinstance(x, optax.MaskedNode)


def _map_moments(f: Callable[[str, Any], Any], state: Any) -> Any:
    kinds = tuple(OPTAX_STATES.values())

    def replace(entry: Any) -> Any:
        if not isinstance(entry, kinds):
            return entry
        return pack(entry.count, {n: f(n, tree) for n, tree in unpack(entry).items()})

    return jax.tree.map(replace, state, is_leaf=lambda x: isinstance(x, kinds))


def _in(m: Array, dtype: Any) -> Array:
    if jnp.iscomplexobj(m) and not jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(f"a complex moment does not fit {jnp.dtype(dtype)}; use complex64, or None")
    return m.astype(dtype)


def _real(m: Array) -> Array:
    return m.real.astype(real_dtype(compute_dtype(m)))
