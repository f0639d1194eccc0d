"""Take a step of an optimiser: new parameters in the pass in which an update is made."""

import functools as ft
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from adam_optax import _optax_interop
from adam_optax._core.types import PyTree, UpdateFn
from adam_optax._engine.leaf import select
from adam_optax._engine.tree import APPLY, FACTOR, TAKES_FACTOR, UPDATE_IF


def step(
    tx: optax.GradientTransformation,
    grads: PyTree,
    state: PyTree,
    params: PyTree,
    *,
    shardings: PyTree = None,
    **extra_args: object,
) -> tuple[PyTree, PyTree]:
    """Return the parameters after a step, and the state: `tx.update`, then `optax.apply_updates`.

    The result is what the two compute. Where the last link of the chain is an optimiser of this
    library, the new parameters leave the kernel or the loop in which the update is made, and no
    update is written and read again: with storage in blocks, and with `pair()` on TPUs, a third
    fewer bytes are moved (measured: `docs/measured/accelerators.md`); for other storage XLA finds
    that pass by itself.

    Under `jax.jit` donate the parameters and the state, and let the step take them in the order in
    which it returns them, as below: JAX gives donated buffers to results of the same shape and
    dtype in order. A step of `(grads, state, params)` that donates the last two has its new
    parameters written over `mu`, and XLA copies what it still has to read: on a CPU four times as
    long, for optax's optimisers, too. `adam_optax.aot.donation` names what a compiled step copies.

    Args:
        tx: any optax transformation.
        grads: the gradients.
        state: the state of `tx`.
        params: the parameters.
        shardings: where the parameters are, if `jax.jit` runs the step over several devices: a tree
            of `jax.sharding.NamedSharding`s like the parameters (or of `PartitionSpec`s of the mesh
            that is set), or a prefix of such a tree; None where a sharding is not known. Under
            automatic sharding JAX does not tell, and for TPUs XLA then runs no kernel. The
            gradients and the state must be on the same devices. Default: nothing is known.
        extra_args: further arguments of `tx.update`.

    Raises:
        TypeError: without parameters; if `shardings` holds something else.
        ValueError: if `shardings` do not fit the parameters, or are given to a chain whose last
            link is no optimiser of this library.

    Returns:
        The new parameters, in their own dtypes, and the new state.

    >>> import jax, jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.adam(0.1, storage=ao.storage.pair())
    >>> params = jnp.ones(3)
    >>> params, state = ao.step(tx, params, tx.init(params), params)
    >>> params
    Array([0.9, 0.9, 0.9], dtype=float32)
    >>> def train_step(params, state, grads):
    ...     return ao.step(tx, grads, state, params)
    >>> train_step = jax.jit(train_step, donate_argnums=(0, 1))
    >>> params, state = train_step(params, state, jnp.ones(3))
    """
    if params is None:
        raise TypeError("ao.step needs the parameters: ao.step(tx, grads, state, params)")
    return run_step(shardings, None, tx.update, grads, state, params, extra_args)


def run_step(
    shardings: PyTree,
    taken: Array | None,
    update: UpdateFn,
    grads: PyTree,
    state: PyTree,
    params: PyTree,
    extra: Mapping[str, object],
) -> tuple[PyTree, PyTree]:
    """Return the parameters and the state after a step, as `step` does.

    Args:
        shardings: see `step`.
        taken: 1 if the step is taken, 0 if parameters and state shall stay; None: it is taken.
        update: the transformation's.
        grads: the gradients.
        state: the state.
        params: the parameters.
        extra: further arguments of `update`.
    """
    if (apply := getattr(update, APPLY, None)) is not None:
        if taken is not None and hasattr(update, TAKES_FACTOR):
            extra = {**extra, "taken": taken}
            taken = None
        new = apply(grads, state, params, shardings=shardings, **extra)
        params, state = _if_taken(taken, new, (params, state))
        return params, state
    links = _optax_interop.chain_links(update)
    if not links or len(links) != len(state):
        if shardings is not None:
            raise ValueError(
                "ao.step takes shardings where tx, or the last link of its chain, is an optimiser "
                "of adam_optax; leave them out, or chain the other links before it"
            )
        updates, after = _updated(taken, update)(grads, state, params, **extra)
        return optax.apply_updates(params, updates), after
    scale = getattr(links[-2], FACTOR, None) if len(links) > 1 else None
    links = [*(_updated(taken, link) for link in links[:-1]), links[-1]]
    if scale is None or not hasattr(links[-1], TAKES_FACTOR):
        last = ft.partial(run_step, shardings, taken)
        return _optax_interop.run_chain(links, last, grads, state, params, extra)

    def last_two(
        update: UpdateFn,
        grads: PyTree,
        kept: PyTree,
        params: PyTree,
        extra: Mapping[str, object],
    ) -> tuple[PyTree, PyTree]:
        """Scale in the optimiser's step, so that no scaled gradient is written."""
        factor, new_kept = scale(grads, kept)
        kept = _if_taken(taken, new_kept, kept)
        how = {} if taken is None else {"taken": taken}
        params, new = getattr(links[-1], APPLY)(
            grads, state[-1], params, shardings=shardings, factor=factor, **how, **extra
        )
        return params, (kept, new)

    params, (*first, (kept, new)) = _optax_interop.run_chain(
        links[:-1], last_two, grads, state[:-1], params, extra
    )
    return params, (*first, kept, new)


def run_update(
    taken: Array,
    update: UpdateFn,
    grads: PyTree,
    state: PyTree,
    params: PyTree,
    extra: Mapping[str, object],
) -> tuple[PyTree, PyTree]:
    """Return updates and state as `update` does, or zeros and the same state.

    The zeros are -0.0, which change no bit of a parameter, and XLA has not to select a second time.

    Args:
        taken: 1 if the step is taken, 0 if not.
        update: the transformation's.
        grads: the gradients.
        state: the state.
        params: the parameters, or None.
        extra: further arguments of `update`.
    """
    if (own := getattr(update, UPDATE_IF, None)) is not None:
        updates, new = own(taken, grads, state, params, **extra)
        return updates, new
    links = _optax_interop.chain_links(update)
    if links and len(links) == len(state):
        links = [_updated(taken, link) for link in links]
        last = lambda fn, g, kept, p, extra: fn(g, kept, p, **extra)  # noqa: E731
        return _optax_interop.run_chain(links, last, grads, state, params, extra)
    updates, new = update(grads, state, params, **extra)
    zeros = jax.tree.map(lambda u: -jnp.zeros_like(u), updates)
    updates, state = _if_taken(taken, (updates, new), (zeros, state))
    return updates, state


def _updated(taken: Array | None, update: UpdateFn) -> UpdateFn:
    """Return a link's `update`, after which all stays as it is where `taken` is 0."""
    if taken is None:
        return update

    def update_if(
        grads: PyTree, state: PyTree, params: PyTree = None, **extra: object
    ) -> tuple[PyTree, PyTree]:
        return run_update(taken, update, grads, state, params, extra)

    return update_if


def _if_taken(taken: Array | None, new: PyTree, old: PyTree) -> Any:
    return new if taken is None else select(taken, new, old)
