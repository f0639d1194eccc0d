"""Stochastic rounding whose dither is spread evenly over the steps."""

import operator
import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from adam_optax._core import checks
from adam_optax._core.dither import dither
from adam_optax._core.numerics import safe_increment
from adam_optax._engine.tree import tag_update
from adam_optax._transform import Transformation
from adam_optax.precision._common import accept, walk
from adam_optax.precision._rounding import in_place_of, land, rounded

LINK = "stochastic_rounding"


class StochasticRoundingState(NamedTuple):
    """The state of `stochastic_rounding`.

    Attributes:
        count: steps taken, an int32 scalar.
    """

    count: Array  # type: ignore[assignment]  # tuple.count: the field's name is optax's


def stochastic_rounding(seed: int = 0) -> Transformation:
    r"""Round each new parameter up or down at random, so that it is right on average.

    :math:`p_{t+1} = \lfloor p_t + u_t + d_t \rfloor`, in units of the parameter's dtype at
    :math:`|p_t + u_t|`, with the dither :math:`d_t = (hash(place, seed, path) + t \phi) \bmod 1`,
    :math:`\phi = 0.618\ldots`: uniform over places and seeds, and over the steps of one parameter
    evenly spread, so that errors do not walk at random. The place is the element's in the whole
    parameter: sharded by `jax.jit` over any devices, the run has the same bits. Inside `shard_map`
    a shard is a parameter of its own, under `vmap` all examples share the dither.

    Args:
        seed: any integer; another one gives other bits.

    Returns:
        The last link of a chain. Its update needs `params`; the updates it emits for bfloat16 and
        float16 parameters are float32, of the shape of the parameter, those of others pass
        through. A step of zero changes nothing. The derivative is that of adding without rounding.

    Raises:
        TypeError: if `seed` is not an integer; at `init`, naming the tree path, if a parameter is
            an integer or of eight bits.
        ValueError: at `update`, without `params` or with trees or shapes that differ.

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
    key = _integer(seed)

    def init(params: Any) -> StochasticRoundingState:
        accept(params, LINK)
        return StochasticRoundingState(jnp.zeros((), jnp.int32))

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        del extra_args
        checks.check_count(state.count)

        def leaf(path: Any, u: Any, p: Any, old: Any) -> tuple[Array, Any]:
            salt = zlib.crc32(jax.tree_util.keystr(path).encode())
            return _step(u, p, np.uint32((key + salt) % 2**32), state.count), old

        updates, _ = walk(LINK, leaf, updates, params)
        return updates, StochasticRoundingState(safe_increment(state.count))

    return Transformation(init, tag_update(update, LINK))


def _integer(seed: Any) -> int:
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or isinstance(seed, Array):
        raise TypeError(f"seed must be an integer, not {seed!r}")
    return operator.index(seed) * 0x9E3779B1  # odd: seeds next to each other are far apart


@jax.jit
def _step(u: Array, p: Array, key: Array, count: Array) -> Array:
    given = u.astype(jnp.float32)
    p = lax.stop_gradient(p)
    wanted = p.astype(jnp.float32) + lax.stop_gradient(given)
    target = rounded(wanted, p.dtype, dither(p.shape, count, key))
    return in_place_of(given, land(p, target)[0])
