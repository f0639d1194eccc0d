"""Kahan summation: what a parameter's rounding dropped is added to its next step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from adam_optax._engine.tree import tag_update
from adam_optax._transform import Transformation
from adam_optax.precision._common import accept, beside, is_low, present, walk
from adam_optax.precision._rounding import in_place_of, land, rounded

LINK = "kahan"


class KahanState(NamedTuple):
    """The state of `kahan`.

    Attributes:
        compensation: a tree over the parameters: what is still to be added to each, and
            `optax.MaskedNode()` beside a parameter that passes through.
    """

    compensation: Any


def kahan(dtype: Any = None) -> Transformation:
    r"""Add to each step what rounding dropped from those before.

    :math:`y = u_t + c_t`, :math:`p_{t+1} = round(p_t + y)`,
    :math:`c_{t+1} = round(y - (p_{t+1} - p_t))`, computed in float32. In bfloat16, parameter and
    compensation together hold sixteen significant bits or more: steps down to 2^-18 of the
    parameter add up.

    A compensation belongs to its parameter. It is at most half of the parameter's unit, so that
    parameters that are set from outside are off by less than that at the next step;
    `optax.tree.set(state, compensation=...)` clears it.

    Args:
        dtype: of the compensation; None: the parameter's own, two bytes. float32 keeps all that
            was dropped, for four.

    Returns:
        The last link of a chain. Its update needs `params`; the updates it emits for bfloat16 and
        float16 parameters are float32, of the shape of the parameter, those of others pass
        through. An update of None keeps the compensation. The derivative is that of adding
        without rounding.

    Raises:
        TypeError: if `dtype` is not a floating dtype of 16 bits or more; at `init`, naming the tree
            path, if a parameter is an integer or of eight bits.
        ValueError: at `update`, without `params` or with trees or shapes that differ.

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
    kind = None if dtype is None else _floating(dtype)

    def init(params: Any) -> KahanState:
        accept(params, LINK)
        return KahanState(beside(lambda p: jnp.zeros_like(p, kind), params))

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        del extra_args

        def leaf(path: Any, u: Array, p: Array, c: Any) -> tuple[Array, Array]:
            del path
            present(c, LINK, u)
            return _step(u, p, c)  # type: ignore[no-any-return]

        updates, kept = walk(LINK, leaf, updates, params, compensation=state.compensation)
        return updates, KahanState(kept)

    return Transformation(init, tag_update(update, LINK))


def _floating(dtype: Any) -> Any:
    kind = jnp.dtype(dtype)
    if not jnp.issubdtype(kind, jnp.floating) or jnp.finfo(kind).bits < 16:
        raise TypeError(f"kahan({kind}): a compensation needs a floating dtype of 16 bits or more")
    return kind


@jax.jit
def _step(u: Array, p: Array, c: Array) -> tuple[Array, Array]:
    given = u.astype(jnp.float32)
    p, y = lax.stop_gradient((p, given + c.astype(jnp.float32)))
    wide = p.astype(jnp.float32)
    update, landed = land(p, rounded(wide + y, p.dtype))
    dropped = y - (landed - wide)
    dropped = jnp.where(jnp.isfinite(dropped), dropped, 0)  # nothing makes up for an overflow
    if is_low(c):
        dropped = rounded(dropped, c.dtype)
    return in_place_of(given, update), dropped.astype(c.dtype)
