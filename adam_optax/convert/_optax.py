"""Convert states from and to optax, inside whatever chain or wrapper they are.

The classes of states are the same; only the dtypes of the moments differ.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import DTypeLike

from adam_optax._core.numerics import compute_dtype, real_dtype
from adam_optax._engine.tree import OPTAX_STATES, pack, unpack


def from_optax(state: optax.OptState, mu_dtype: DTypeLike | None = None) -> optax.OptState:
    """Convert optax's state of an Adam to the dtypes of this library, so that this library goes on.

    Use it to continue an optax run here if parameters are bfloat16, float16 or complex; a state of
    real float32 or float64 parameters is the same in both libraries. Moments of bfloat16 and
    float16 parameters are widened to float32, and a complex `nu` loses its imaginary part, which
    is zero. Everything else in the state, such as a schedule's count, stays as it is.

    Args:
        state: any tree with optax's states of Adam, AdamW, NAdam, AdaMax or AMSGrad in it.
        mu_dtype: the `mu_dtype` with which the run goes on here. None stands for the compute dtype:
            at least float32, complex for complex parameters.

    Returns:
        The state with converted moments.

    Raises:
        TypeError: if `mu_dtype` is real and `mu` complex.

    >>> import jax.numpy as jnp, optax, adam_optax as ao
    >>> params = {"w": jnp.ones(3, jnp.bfloat16)}
    >>> state = ao.convert.from_optax(optax.adam(1e-3).init(params))
    >>> state[0].nu["w"].dtype
    dtype('float32')
    """

    def convert(name: str, tree: Any) -> Any:
        if name == "mu":
            return jax.tree.map(lambda m: _cast(m, mu_dtype or compute_dtype(m)), tree)
        return jax.tree.map(_to_real, tree)

    return _map_moments(convert, state)


def to_optax(
    state: optax.OptState, params: optax.Params, mu_dtype: DTypeLike | None = None
) -> optax.OptState:
    """Convert a state to the dtypes of optax's own optimisers, so that optax goes on.

    Use it to hand a run back to optax; as with `from_optax`, a state of real float32 or
    float64 parameters is the same in both libraries.

    Args:
        state: a state of `adam`, `adamw`, `nadam`, `nadamw`, `adamax`, `adamaxw` or `amsgrad`, in
            whatever chain or wrapper, with dense storage.
        params: the parameters: optax gives their dtypes to the moments.
        mu_dtype: the `mu_dtype` given to optax. None stands for the parameters' dtypes.

    Returns:
        The state with converted moments.

    Raises:
        TypeError: if `mu_dtype` is real and `mu` complex.

    >>> import jax.numpy as jnp, optax, adam_optax as ao
    >>> params = {"w": jnp.ones(3, jnp.bfloat16)}
    >>> state = ao.convert.to_optax(ao.adam(1e-3).init(params), params)
    >>> state[0].nu["w"].dtype
    dtype(bfloat16)
    """

    def convert(name: str, tree: Any) -> Any:
        dtype = mu_dtype if name == "mu" else None

        def cast(m: Array | optax.MaskedNode, p: Array) -> Array | optax.MaskedNode:
            return m if _is_masked(m) else _cast(m, dtype or jnp.result_type(p))

        return jax.tree.map(cast, tree, params, is_leaf=_is_masked)

    return _map_moments(convert, state)


def _is_masked(x: object) -> bool:
    """Return whether `x` takes another group's place in `optax.masked` or `optax.partition`."""
    return isinstance(x, optax.MaskedNode)


def _map_moments(f: Callable[[str, Any], Any], state: optax.OptState) -> optax.OptState:
    """Apply a function of a moment's name and tree to all moments in optax's states of a tree."""
    kinds = tuple(OPTAX_STATES.values())

    def replace(entry: Any) -> Any:
        if not isinstance(entry, kinds):
            return entry
        return pack(entry.count, {n: f(n, tree) for n, tree in unpack(entry).items()})

    return jax.tree.map(replace, state, is_leaf=lambda x: isinstance(x, kinds))


def _cast(m: Array, dtype: DTypeLike) -> Array:
    """Cast a moment to a dtype, but never a complex moment to a real dtype."""
    if jnp.iscomplexobj(m) and not jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(f"a complex moment does not fit {jnp.dtype(dtype)}; use complex64, or None")
    return m.astype(dtype)


def _to_real(m: Array) -> Array:
    """Return a moment's real part, in at least float32."""
    return m.real.astype(real_dtype(compute_dtype(m)))
