"""Round 16-bit parameters stochastically, each step by a dither of its own."""

import operator
import zlib
from typing import Any, NamedTuple, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import KeyPath

from adam_optax._core import checks
from adam_optax._core.dither import at_base, dither
from adam_optax._core.numerics import safe_increment
from adam_optax._engine import parts
from adam_optax._engine.tree import tag_update
from adam_optax._transform import Transformation, named
from adam_optax.precision._common import check_params, map_leaves
from adam_optax.precision._rounding import round_to_dtype, straight_through, update_to_reach

_LINK = "stochastic_rounding"
_SEED_FACTOR = 0x9E3779B1
"""An odd factor, by which seeds next to each other are taken far apart."""


class StochasticRoundingState(NamedTuple):
    """Hold the state of `stochastic_rounding`.

    Attributes:
        count: steps taken, an int32 scalar.
    """

    count: Array  # type: ignore[assignment]  # tuple.count: the field's name is optax's


def stochastic_rounding(seed: SupportsIndex = 0) -> Transformation:
    r"""Round each new parameter up or down at random, so that the parameter is right on average.

    Take it to train bfloat16 or float16 parameters without any memory beside them.

    :math:`p_{t+1} = \lfloor p_t + u_t + d_t \rfloor`, in units of the parameter's dtype at
    :math:`|p_t + u_t|`, with the dither :math:`d_t = hash(place, seed, path, t)` in [0, 1). The
    dither has nothing to do with those of other steps, so that each sum :math:`p_t + u_t` in
    float32 is rounded right on average whatever was rounded before: at powers of two, where steps
    are periodic, and where they depend on the parameter, as on the way to a minimum.

    The price is that errors add up as independent ones do: after `n` equal steps of a share `f` of
    a unit, one parameter is off by `sqrt(n f (1 - f))` units. A dither that cancels errors of steps
    before depends on them, as the parameter does, and is then biased. `kahan` and `split_master`
    are more exact, for two bytes.

    A finite sum stays finite: beyond the dtype's range it becomes the largest number, 65504 in
    float16. What float32 cannot add, and updates that are not finite, become infinite or NaN.

    The place is the element's in the whole parameter: sharded by `jax.jit` over any devices, the
    run has the same bits. Inside `shard_map` a shard is a parameter of its own, and under `vmap`
    all examples share the dither. A state that is made anew in the middle of training repeats the
    dithers of the first steps: give the link another seed there.

    Args:
        seed: any integer; another integer gives other bits.

    Returns:
        The last link of a chain. Its update needs `params`; the updates that it emits for bfloat16
        and float16 parameters are float32, of the shape of the parameter, and the updates of other
        parameters pass through. A step of zero changes nothing. The derivative is that of adding
        without rounding.

    Raises:
        TypeError: if `seed` is not an integer; at `init`, naming the tree path, if a parameter is
            an integer or has eight bits.
        ValueError: at `update`, without `params`, if a link that changes updates follows in a
            chain, or if trees or shapes differ.

    >>> import jax.numpy as jnp, optax, adam_optax as ao
    >>> tx = optax.chain(optax.sgd(1.0), ao.precision.stochastic_rounding())
    >>> params = jnp.ones(10_000, jnp.bfloat16)
    >>> grads = jnp.full(10_000, -1e-3)  # 1.001 is not in bfloat16
    >>> updates, state = tx.update(grads, tx.init(params), params)
    >>> params = optax.apply_updates(params, updates)
    >>> print(set(params.tolist()), round(params.astype("float32").mean().item(), 5))
    {1.0, 1.0078125} 1.00101

    Reference: Zamirai et al. 2020, "Revisiting BFloat16 Training".
    """
    number = _check_integer(seed)

    def init(params: Any) -> StochasticRoundingState:
        check_params(params, _LINK)
        return StochasticRoundingState(jnp.zeros((), jnp.int32))

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        del extra_args
        checks.check_count(state.count)
        here = parts.current.get()  # None but where a part of the whole tree takes its step

        def update_leaf(path: KeyPath[Any], u: Array, p: Array, entry: Any) -> tuple[Array, Any]:
            path_hash = zlib.crc32(jax.tree_util.keystr(path).encode())
            key = np.uint32((number * _SEED_FACTOR + path_hash) % 2**32)
            base = None if here is None else here.base(path)
            return _step(u, p, key, state.count, base), entry

        updates, _ = map_leaves(_LINK, update_leaf, updates, params)
        return updates, StochasticRoundingState(safe_increment(state.count))

    tx = Transformation(init, tag_update(update, _LINK))
    return named(tx, "stochastic_rounding", seed=number or None)


def _check_integer(seed: SupportsIndex) -> int:
    """Return a seed as a Python int, or refuse it."""
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or isinstance(seed, Array):
        raise TypeError(f"seed must be an integer, not {seed!r}")
    return operator.index(seed)


@jax.jit
def _step(u: Array, p: Array, key: Array | np.uint32, count: Array, base: Array | None) -> Array:
    """Return the update to emit for one parameter, or for the slice of one at a base."""
    given = u.astype(jnp.float32)
    p = lax.stop_gradient(p)
    at = None if base is None else at_base(p.shape, base)
    wanted = p.astype(jnp.float32) + lax.stop_gradient(given)
    target = round_to_dtype(wanted, p.dtype, dither(p.shape, count, key, at))
    return straight_through(given, update_to_reach(p, target)[0])
