"""Add to each step of a 16-bit parameter the part that rounding dropped before (Kahan)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.tree_util import KeyPath
from jax.typing import DTypeLike

from adam_optax._core.numerics import number_dtype
from adam_optax._engine.tree import tag_update
from adam_optax._transform import Transformation, named
from adam_optax.precision._common import (
    check_entry,
    check_params,
    init_entries,
    is_16bit,
    map_leaves,
)
from adam_optax.precision._rounding import round_to_dtype, straight_through, update_to_reach

_LINK = "kahan"


class KahanState(NamedTuple):
    """Hold the state of `kahan`.

    Attributes:
        compensation: a tree over the parameters: what is still to be added to each 16-bit
            parameter, and `optax.MaskedNode()` for a parameter that passes through.
    """

    compensation: Any


def kahan(dtype: DTypeLike | None = None) -> Transformation:
    r"""Add to each step the part that rounding dropped from the steps before (Kahan summation).

    Take it to train bfloat16 or float16 parameters for two bytes a parameter, on any optimiser.

    :math:`y = u_t + c_t`, :math:`p_{t+1} = round(p_t + y)`,
    :math:`c_{t+1} = round(y - (p_{t+1} - p_t))`, where :math:`u_t` is the update, :math:`p_t` the
    parameter and :math:`c_t` the compensation, computed in float32.

    The compensation is rounded, too, to the nearest number of its dtype. In bfloat16 that is up to
    2^-17 of the parameter at each step, and equal steps are rounded alike: steps of 2^-13 of the
    parameter add up to within 3 %, steps of 2^-16 to within 20 %, and less than 2^-17 may be lost.
    In float16 each of these bounds is six bits lower, but not for parameters below 1: float16 ends
    at 2^-24, and a step below half of that is lost. There `dtype="bfloat16"`, whose bounds beside
    float16 are three bits lower, is better for parameters below 2^-5. `dtype="float32"` adds up
    whatever float32 does.

    A compensation belongs to its parameter. It is at most half of the parameter's unit, so that
    parameters that are set from outside are off by less than that at the next step;
    `optax.tree.set(state, compensation=...)` clears it. Only at the dtype's largest number, 65504
    in float16, is it more: a finite sum stays finite there, and what is beyond is kept.

    Args:
        dtype: the dtype of the compensation. None: the parameter's own, two bytes. float32 keeps
            all that was dropped, for four bytes.

    Returns:
        The last link of a chain. Its update needs `params`; the updates that it emits for bfloat16
        and float16 parameters are float32, of the shape of the parameter, and the updates of other
        parameters pass through. An update of None keeps the compensation. The derivative is that
        of adding without rounding.

    Raises:
        TypeError: if `dtype` is not a floating dtype of 16 bits or more; at `init`, naming the tree
            path, if a parameter is an integer or has eight bits.
        ValueError: at `update`, without `params`, if a link that changes updates follows in a
            chain, or if trees or shapes differ.

    >>> import jax.numpy as jnp, optax, adam_optax as ao
    >>> tx = optax.chain(optax.sgd(1.0), ao.precision.kahan())
    >>> params = jnp.ones((), jnp.bfloat16)
    >>> state = tx.init(params)
    >>> for _ in range(1000):
    ...     updates, state = tx.update(jnp.float32(-1e-3), state, params)
    ...     params = optax.apply_updates(params, updates)
    >>> print(params)  # without compensation: 1
    2

    References: Kahan 1965, "Further remarks on reducing truncation errors"; Zamirai et al. 2020,
    "Revisiting BFloat16 Training"; optimi (github.com/warner-benjamin/optimi).
    """
    kind = None if dtype is None else _floating_dtype(dtype)

    def init(params: Any) -> KahanState:
        check_params(params, _LINK)
        return KahanState(init_entries(lambda p: jnp.zeros_like(p, kind), params))

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        del extra_args
        updates, compensation = map_leaves(
            _LINK, _update_leaf, updates, params, compensation=state.compensation
        )
        return updates, KahanState(compensation)

    tx = Transformation(init, tag_update(update, _LINK))
    return named(tx, "kahan", dtype=None if kind is None else kind.name)


def _floating_dtype(dtype: DTypeLike) -> jnp.dtype:
    """Return a dtype of a compensation, or refuse it."""
    kind = number_dtype(dtype)
    if kind is None or not jnp.issubdtype(kind, jnp.floating) or jnp.finfo(kind).bits < 16:
        name = getattr(dtype, "__name__", dtype)
        raise TypeError(f"kahan({name}): a compensation needs a floating dtype of 16 bits or more")
    return kind


def _update_leaf(path: KeyPath[Any], u: Array, p: Array, compensation: Any) -> tuple[Array, Array]:
    del path
    check_entry(compensation, _LINK, u)
    update, dropped = _step(u, p, compensation)
    return update, dropped


@jax.jit
def _step(u: Array, p: Array, compensation: Array) -> tuple[Array, Array]:
    """Return the update to emit for one parameter, and its new compensation."""
    given = u.astype(jnp.float32)
    p, y = lax.stop_gradient((p, given + compensation.astype(jnp.float32)))
    wide = p.astype(jnp.float32)
    update, reached = update_to_reach(p, round_to_dtype(wide + y, p.dtype))
    dropped = y - (reached - wide)
    dropped = jnp.where(jnp.isfinite(dropped), dropped, 0)  # nothing makes up for an overflow
    if is_16bit(compensation):
        dropped = round_to_dtype(dropped, compensation.dtype)
    return straight_through(given, update), dropped.astype(compensation.dtype)
