"""Keep the float32 master of a bfloat16 parameter as the parameter and sixteen bits beside it.

`split_master` is the link; `read_master` and `write_master` read and set the masters.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jax.tree_util import KeyPath

from adam_optax._core.numerics import compute_dtype
from adam_optax._engine.tree import tag_update
from adam_optax._transform import Transformation, named
from adam_optax.precision._common import check_entry, check_params, init_entries, map_leaves
from adam_optax.precision._rounding import straight_through, update_to_reach
from adam_optax.storage._quant.bits import bits_of, float_of

_LINK = "split_master"
_HALF = np.uint32(16)
"""The number of bits in each half of a master."""
_NAN = np.uint32(0x7FC00000)
"""The bits of a NaN whose lower half is zero, so that the upper half alone is a NaN."""


class SplitMasterState(NamedTuple):
    """Hold the state of `split_master`.

    Attributes:
        remainder: a tree over the parameters: the lower sixteen bits of each master, uint16, and
            `optax.MaskedNode()` for a parameter that passes through.
    """

    remainder: Any


def split_master() -> Transformation:
    r"""Train the float32 master of each bfloat16 parameter, kept as the parameter and 16 bits.

    Take it where training with bfloat16 parameters must equal training with float32 master weights,
    for two bytes a parameter instead of four.

    :math:`m_{t+1} = m_t + u_t` in float32, bit for bit, given the same updates. The parameter is
    the master rounded to nearest, halves away from zero; the remainder is the master's lower half.
    Where the remainder's highest bit is set, the parameter was rounded up, and the upper half of
    the master is one less than the parameter. (Halves to even, as a cast rounds them, could not be
    undone. A truncated parameter would be too small by 0.3 % on average.)

    Exceptions, in which `p + u` in float32 cannot reach the master's upper half: a step from just
    below a power of two across zero to within 2^-16 of that power (the master is then off by one
    last place of the old master), parameters below 2^-118, whose differences float32 flushes to
    zero, and masters that round to infinity. A zero has the parameter's sign.

    The optimiser before this link reads the parameters, not the master: weight decay and trust
    ratios are those of the rounded parameters. Parameters that are set from outside (a checkpoint
    of another run, an average) keep the old remainder: the master is then off by at most half of
    their unit, and `params, state = write_master(state, params)` makes it exact.

    Returns:
        The last link of a chain. Its update needs `params`; the updates that it emits for bfloat16
        parameters are float32, of the shape of the parameter, and the updates of wider parameters
        pass through. An update of None keeps the remainder. The derivative is that of adding
        without rounding.

    Raises:
        TypeError: at `init`, naming the tree path, if a parameter is an integer, float16 (its
            exponent is shorter than float32's) or has eight bits.
        ValueError: at `update`, without `params`, if a link that changes updates follows in a
            chain, or if trees or shapes differ.

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
        check_params(params, _LINK, ("bfloat16",), "complete to float32")
        return SplitMasterState(init_entries(lambda p: jnp.zeros_like(p, jnp.uint16), params))

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        del extra_args
        updates, remainder = map_leaves(
            _LINK, _update_leaf, updates, params, remainder=state.remainder
        )
        return updates, SplitMasterState(remainder)

    return named(Transformation(init, tag_update(update, _LINK)), "split_master")


def _update_leaf(path: KeyPath[Any], u: Array, p: Array, remainder: Any) -> tuple[Array, Array]:
    del path
    check_entry(remainder, _LINK, u)
    update, rest = _step(u, p, remainder)
    return update, rest


@jax.jit
def _step(u: Array, p: Array, remainder: Array) -> tuple[Array, Array]:
    """Return the update to emit for one parameter, and its new remainder."""
    given = u.astype(jnp.float32)
    p = lax.stop_gradient(p)
    upper, rest = _split_wide(join_halves(p, remainder) + lax.stop_gradient(given))
    update, _ = update_to_reach(p, upper)
    return straight_through(given, update), rest


@jax.jit
def join_halves(p: Array, remainder: Array) -> Array:
    """Return the float32 master of a bfloat16 parameter and its remainder."""
    upper, lower = lax.bitcast_convert_type(p, jnp.uint16).astype(jnp.uint32), remainder
    lower = lower.astype(jnp.uint32)
    nonzero = (upper & np.uint32(0x7FFF)) != 0  # what is set to zero from outside stays zero
    upper = upper - jnp.where(nonzero, lower >> np.uint32(15), 0)
    return jnp.where(jnp.isfinite(p), float_of(upper << _HALF | lower), p.astype(jnp.float32))


@jax.jit
def split_halves(master: Array) -> tuple[Array, Array]:
    """Split a master into the parameter, to nearest with halves away from zero, and remainder."""
    upper, remainder = _split_wide(master.astype(jnp.float32))
    return upper.astype(jnp.bfloat16), remainder


def _split_wide(master: Array) -> tuple[Array, Array]:
    """Split a float32 master into the parameter's value in float32, and the remainder."""
    bits = jnp.where(jnp.isnan(master), _NAN, bits_of(master))
    upper = (bits + np.uint32(1 << 15)) >> _HALF << _HALF
    return float_of(upper), bits.astype(jnp.uint16)


# --- Reading and setting the masters -----------------------------------------------------------


def read_master(state: Any, params: Any) -> Any:
    """Return the float32 masters that `split_master` keeps, as a tree like the parameters.

    Take it to evaluate or to export the weights in full precision. A parameter without a remainder
    is its own master, in at least float32.

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

    def read(p: Array, remainder: Any) -> Array:
        if _passes_through(remainder):
            return p.astype(compute_dtype(p))
        master: Array = join_halves(p, remainder)
        return master

    return jax.tree.map(read, params, _find_state(state).remainder)


def write_master(state: Any, master: Any) -> tuple[Any, Any]:
    """Return the parameters, and the state, whose masters are the given ones.

    Take it to start from float32 weights, or to make the masters exact after parameters were set
    from outside.

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
    remainder = _find_state(state).remainder
    params = jax.tree.map(
        lambda m, rest: m if _passes_through(rest) else split_halves(m)[0], master, remainder
    )
    new = SplitMasterState(
        jax.tree.map(
            lambda m, rest: rest if _passes_through(rest) else split_halves(m)[1], master, remainder
        )
    )
    return params, jax.tree.map(lambda s: new if _is_state(s) else s, state, is_leaf=_is_state)


def _passes_through(remainder: Any) -> bool:
    return isinstance(remainder, optax.MaskedNode)


def _is_state(x: Any) -> bool:
    return isinstance(x, SplitMasterState)


def _find_state(state: Any) -> SplitMasterState:
    """Return the one state of `split_master` in a tree."""
    found = [s for s in jax.tree.leaves(state, is_leaf=_is_state) if _is_state(s)]
    if len(found) != 1:
        raise ValueError(
            f"expected one state of split_master, found {len(found)}; make the optimiser as "
            "optax.chain(..., adam_optax.precision.split_master()), or pass the state of one group"
        )
    return found[0]  # type: ignore[no-any-return]
