"""Convert states from and to optax, inside whatever chain or wrapper they are.

The classes of states are optax's wherever optax has the optimiser; moments differ in dtype. What
differs in more than that is carried over by `_optax_chains.py`, which is told the optimiser.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import DTypeLike

from adam_optax._core.numerics import compute_dtype, real_dtype
from adam_optax._engine.states import holds_moments, log_decays_of, repack, unpack
from adam_optax._engine.tree import Engine
from adam_optax._optax_interop import find_engines
from adam_optax.convert._checks import ConversionError
from adam_optax.convert._optax_chains import CENTERED, Source, carry
from adam_optax.convert._state_nodes import join_traces, split_traces
from adam_optax.convert._storage import dense_template, encode_state

_SIGNED = frozenset({"mu", "mu_slow", "delta", "g", "trace"})
"""The moments that can be negative; of a complex parameter the others are real here."""
_OTHERS = (*CENTERED, optax.FactoredState)
"""What optax keeps in another form than this library."""


def from_optax(
    state: optax.OptState,
    tx: optax.GradientTransformation | None = None,
    params: optax.Params | None = None,
    mu_dtype: DTypeLike | None = None,
) -> optax.OptState:
    """Convert a state of optax's, so that this library goes on.

    Use it to continue an optax run here. For real float32 and float64 parameters the state of every
    optimiser that optax has, but for centred RMSProp and Adafactor, is the same in both libraries,
    and needs no conversion. With `tx` and `params`, every state is brought to what `tx` keeps:
    these two as well, a learning rate that became a schedule or was one, weight decay where there
    was none. Without them only dtypes change: moments of bfloat16 and float16 parameters are
    widened to float32, and squares of complex parameters lose their imaginary part, which is zero.

    Args:
        state: any tree with states of optax's optimisers in it.
        tx: the transformation that goes on, in the chain and wrappers in which optax's was, and in
            whatever storage.
        params: the parameters; shapes and dtypes are enough where the storage of `tx` is dense.
        mu_dtype: without `tx`, the dtype of the moments that can be negative. None stands for the
            compute dtype: at least float32, complex for complex parameters.

    Returns:
        The state that `tx.update` takes.

    Raises:
        ConversionError: if `tx` keeps something for which there is nothing in the state, or the
            state cannot be converted without `tx`. The message says where and what to do.
        ValueError: if one of `tx` and `params` is given without the other, or with `mu_dtype`.
        TypeError: if `mu_dtype` is real and a moment is complex.

    >>> import jax.numpy as jnp, optax, adam_optax as ao
    >>> params = {"w": jnp.ones(3, jnp.bfloat16)}
    >>> tx = ao.rmsprop(1e-3, centered=True)
    >>> state = optax.rmsprop(1e-3, centered=True).init(params)
    >>> sorted(ao.read_moments(ao.convert.from_optax(state, tx, params)))
    ['mu', 'variance']
    >>> state = ao.convert.from_optax(optax.adam(1e-3).init(params))
    >>> state[0].nu["w"].dtype
    dtype('float32')
    """
    if _is_given(tx, params, mu_dtype):
        return _carried(state, tx, params)

    def convert(name: str, tree: Any) -> Any:
        if name in _SIGNED:
            return jax.tree.map(lambda m: _cast(m, mu_dtype or compute_dtype(m)), tree)
        return jax.tree.map(_to_real, tree)

    return _map_moments(convert, state)


def to_optax(
    state: optax.OptState,
    params: optax.Params,
    mu_dtype: DTypeLike | None = None,
    *,
    tx: optax.GradientTransformation | None = None,
) -> optax.OptState:
    """Convert a state to one of optax's own optimisers, so that optax goes on.

    Use it to hand a run back to optax. As with `from_optax`, most states of real float32 or float64
    parameters are the same in both libraries; `tx` brings the others across.

    Args:
        state: a state of an optimiser that optax has, in whatever chain or wrapper, with dense
            storage.
        params: the parameters: optax gives their dtypes to the moments.
        mu_dtype: without `tx`, the `mu_dtype` given to optax. None stands for the parameters'
            dtypes.
        tx: optax's transformation that goes on.

    Returns:
        The state that optax's `update` takes.

    Raises:
        ConversionError: as `from_optax` does.
        ValueError: if both `tx` and `mu_dtype` are given.
        TypeError: if `mu_dtype` is real and a moment is complex.

    >>> import jax.numpy as jnp, optax, adam_optax as ao
    >>> params = {"w": jnp.ones(3, jnp.bfloat16)}
    >>> state = ao.convert.to_optax(ao.adam(1e-3).init(params), params)
    >>> state[0].nu["w"].dtype
    dtype(bfloat16)
    >>> tx, state = optax.adafactor(1e-3), ao.adafactor(1e-3).init(params)
    >>> type(ao.convert.to_optax(state, params, tx=tx)[0]).__name__
    'FactoredState'
    """
    if tx is not None and _is_given(tx, params, mu_dtype):
        return _carried(state, tx, params)

    def convert(name: str, tree: Any) -> Any:
        dtype = mu_dtype if name in _SIGNED else None

        def cast(m: Array | optax.MaskedNode, p: Array) -> Array | optax.MaskedNode:
            return m if _is_masked(m) else _cast(m, dtype or jnp.result_type(p))

        return jax.tree.map(cast, tree, params, is_leaf=_is_masked)

    return _map_moments(convert, state)


def _is_given(tx: Any, params: Any, mu_dtype: DTypeLike | None) -> bool:
    if (tx is None) != (params is None):
        raise ValueError("tx and params go together: from_optax(state, tx, params)")
    if tx is not None and mu_dtype is not None:
        raise ValueError("tx says in which dtypes moments are kept; leave out mu_dtype")
    return tx is not None


def _carried(state: Any, tx: Any, params: Any) -> Any:
    made = jax.eval_shape(tx.init, params)
    try:
        return carry(state, made, Source(tx))
    except ConversionError:  # it may be that tx keeps codes: carry to dense moments, and encode
        if not any(_keeps_codes(engine) for engine in find_engines(tx, made)):
            raise
    dense = split_traces(dense_template(made, tx, params), made)
    return encode_state(join_traces(carry(state, dense, Source(tx))), tx, params)


def _keeps_codes(engine: Engine) -> bool:
    alike = engine.grouping.plan.uniform
    return alike is None or {*alike.entries} != {*engine.rule.moments}


def _is_masked(x: object) -> bool:
    """Return whether `x` takes another group's place in `optax.masked` or `optax.partition`."""
    return isinstance(x, optax.MaskedNode)


def _map_moments(f: Callable[[str, Any], Any], state: optax.OptState) -> optax.OptState:
    """Apply a function of a moment's name and tree to all moments in the states of a tree."""

    def replace(entry: Any) -> Any:
        if isinstance(entry, _OTHERS):
            raise ConversionError(
                f"{type(entry).__name__} holds other moments than this library's optimiser; pass "
                "what goes on, too: from_optax(state, tx, params)"
            )
        if not holds_moments(entry):
            return entry
        if log_decays_of(entry):
            raise ConversionError(
                "decay rates follow a schedule here, whose past this library keeps and optax does "
                "not: optax would correct by the present rate alone; go on with adam_optax"
            )
        return repack(entry, {n: f(n, tree) for n, tree in unpack(entry).items()})

    is_leaf = lambda x: holds_moments(x) or isinstance(x, _OTHERS)  # noqa: E731
    return jax.tree.map(replace, state, is_leaf=is_leaf)


def _cast(m: Array, dtype: DTypeLike) -> Array:
    """Cast a moment to a dtype, but never a complex moment to a real dtype."""
    if jnp.iscomplexobj(m) and not jnp.issubdtype(dtype, jnp.complexfloating):
        raise TypeError(f"a complex moment does not fit {jnp.dtype(dtype)}; use complex64, or None")
    return m.astype(dtype)


def _to_real(m: Array) -> Array:
    """Return a moment's real part, in at least float32."""
    return m.real.astype(real_dtype(compute_dtype(m)))
