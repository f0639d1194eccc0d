"""A bfloat16 parameter and sixteen bits beside it: together the float32 master."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from adam_optax._engine.tree import tag_update
from adam_optax._transform import Transformation
from adam_optax.precision._common import accept, beside, present, walk
from adam_optax.precision._rounding import bits, floats, in_place_of, land

LINK = "split_master"
HALF = np.uint32(16)
NAN = np.uint32(0x7FC00000)  # of all NaNs one whose lower half is empty


class SplitMasterState(NamedTuple):
    """The state of `split_master`.

    Attributes:
        remainder: a tree over the parameters: the lower sixteen bits of each master, uint16, and
            `optax.MaskedNode()` beside a parameter that passes through.
    """

    remainder: Any


def split_master() -> Transformation:
    r"""Train the float32 master of each bfloat16 parameter, kept as the parameter and 16 bits.

    :math:`m_{t+1} = m_t + u_t` in float32, bit for bit, given the same updates. The parameter is
    the master rounded to nearest, halves away from zero; the remainder is the master's lower half.
    Where its highest bit is set, the parameter was rounded up and the upper half is one less.
    (Halves to even, as a cast rounds them, could not be undone. A truncated parameter would be too
    small by 0.3 % on average.)

    Exceptions, in which `p + u` in float32 cannot reach the master's upper half: a step from just
    below a power of two across zero to within 2^-16 of that power (the master is then off by one
    last place of the old one), parameters below 2^-118, whose differences float32 flushes to zero,
    and masters that round to infinity. A zero has the parameter's sign.

    The optimiser before this link reads the parameters, not the master: weight decay and trust
    ratios are those of the rounded parameters. Parameters that are set from outside (a checkpoint
    of another run, an average) keep the old remainder: the master is then off by at most half of
    their unit, and `params, state = write_master(state, params)` makes it exact.

    Returns:
        The last link of a chain. Its update needs `params`; the updates it emits for bfloat16
        parameters are float32, of the shape of the parameter, those of wider ones pass through. An
        update of None keeps the remainder. The derivative is that of adding without rounding.

    Raises:
        TypeError: at `init`, naming the tree path, if a parameter is an integer, float16 (its
            exponent is shorter than float32's) or of eight bits.
        ValueError: at `update`, without `params` or with trees or shapes that differ.

    >>> import jax.numpy as jnp, optax, adam_optax as ao
    >>> tx = optax.chain(optax.sgd(1.0), ao.precision.split_master())
    >>> params = jnp.ones((), jnp.bfloat16)
    >>> updates, state = tx.update(jnp.float32(-1e-3), tx.init(params), params)
    >>> params = optax.apply_updates(params, updates)
    >>> print(params, ao.precision.read_master(state, params))
    1 1.001

    References: Micikevicius et al. 2018, "Mixed Precision Training"; the split is that of
    TransformerEngine's `FusedAdam(store_param_remainders=True)`.
    """

    def init(params: Any) -> SplitMasterState:
        accept(params, LINK, ("bfloat16",), "complete to float32")
        return SplitMasterState(beside(lambda p: jnp.zeros_like(p, jnp.uint16), params))

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        del extra_args

        def leaf(path: Any, u: Array, p: Array, low: Any) -> tuple[Array, Array]:
            del path
            present(low, LINK, u)
            return _step(u, p, low)  # type: ignore[no-any-return]

        updates, kept = walk(LINK, leaf, updates, params, remainder=state.remainder)
        return updates, SplitMasterState(kept)

    return Transformation(init, tag_update(update, LINK))


@jax.jit
def _step(u: Array, p: Array, low: Array) -> tuple[Array, Array]:
    given = u.astype(jnp.float32)
    p = lax.stop_gradient(p)
    upper, rest = _halves(joined(p, low) + lax.stop_gradient(given))
    update, _ = land(p, upper)
    return in_place_of(given, update), rest


@jax.jit
def joined(p: Array, low: Array) -> Array:
    """The float32 master of a parameter and its remainder."""
    high, rest = (x.astype(jnp.uint32) for x in (bits(p), low))
    moved = (high & np.uint32(0x7FFF)) != 0  # what is set to zero from outside stays zero
    high = high - jnp.where(moved, rest >> np.uint32(15), 0)
    return jnp.where(jnp.isfinite(p), floats(high << HALF | rest), p.astype(jnp.float32))


@jax.jit
def split(m: Array) -> tuple[Array, Array]:
    """The parameter, to nearest with halves away from zero, and the remainder of a master."""
    upper, rest = _halves(m.astype(jnp.float32))
    return upper.astype(jnp.bfloat16), rest


def _halves(m: Array) -> tuple[Array, Array]:
    """The parameter in float32, and the remainder."""
    whole = jnp.where(jnp.isnan(m), NAN, bits(m))
    upper = (whole + np.uint32(1 << 15)) >> HALF << HALF
    return floats(upper), whole.astype(jnp.uint16)
