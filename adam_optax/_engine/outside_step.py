"""Make, carry and read what is kept of a leaf, outside a step.

All of it is compiled, since op by op a format of few bits would compile in a hundred parts.
"""

import dataclasses
import functools as ft
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from adam_optax._core import checks
from adam_optax._core.log_decay import no_decay
from adam_optax._core.numerics import compute_dtype, real_dtype
from adam_optax._engine import sharding
from adam_optax._engine.groups import Group
from adam_optax._engine.leaf import COMPILED, decode, encode, storage_frames, storage_scalars
from adam_optax._engine.stacked import over_layers
from adam_optax._engine.step_scalars import Frames, LogDecays
from adam_optax.moments import Moment
from adam_optax.rules.base import Recipe, dynamic_hyperparams
from adam_optax.storage._base import Entry, Frame, LeafContext, Moments
from adam_optax.storage._plan import LeafStorage


def init_leaf(p: ArrayLike, group: Group, count: Array) -> dict[str, Entry]:
    """Return what is kept of a leaf before the first step."""
    checks.check_layers(p, group.layers)
    first = {n: _first(p, moment, group.layers) for n, moment in group.rule.moments.items()}
    run, shape = compile_encode(group.recipe, group.storage, group.layers), jnp.shape(p)
    hyperparams = dynamic_hyperparams(group.rule, count)
    frames = group.own_frames(init_frames(group, count))
    kept: dict[str, Entry] = sharding.encode_sharded(
        lambda *args: run(*args, shape=shape), p, first, hyperparams, count, frames
    )
    return kept


def init_frames(group: Group, count: Array) -> dict[str, Frame]:
    """Return the frames of a group's codes before the first step, by their names in the state."""
    if not group.frames:
        return {}
    log_decays = {n: no_decay() for n in group.scheduled}
    make = compile_frames(group.recipe, group.storage)
    made = make(dynamic_hyperparams(group.rule, count), count, log_decays)
    return {kept: made[name] for name, kept in group.frames.items()}


def rest_leaf(
    group: Group,
    own: dict[str, Entry],
    past_count: Array,
    count: Array,
    frames: Frames,
    new_frames: Frames,
) -> dict[str, Entry]:
    """Return what is kept of a leaf after a step without a gradient."""
    rest = compile_rest(group.recipe, group.storage, group.layers)
    return rest(own, dynamic_hyperparams(group.rule, past_count), count, frames, new_frames)


def _first(p: ArrayLike, moment: Moment, layers: int) -> Array:
    """Return a leaf's moment before the first step, in compute precision, beside the leaf."""
    dtype = compute_dtype(p) if moment.signed else real_dtype(compute_dtype(p))
    # XLA would encode a constant while it compiles, one number after the other, for minutes.
    first = jax.lax.optimization_barrier(jnp.full((), moment.init, dtype))
    if moment.over is not None:
        shape = jnp.shape(p)
        return jnp.broadcast_to(first, (*shape[:layers], *moment.kept_shape(shape[layers:])))
    return sharding.with_sharding_like(jnp.full_like(p, first, dtype), p)


@ft.lru_cache(maxsize=COMPILED)
def compile_frames(recipe: Recipe, storage: LeafStorage) -> Callable[..., dict[str, Frame]]:
    """Compile the function from a count to the frames of codes that are written then."""

    def frames(
        hyperparams: Mapping[str, Array], count: Array, log_decays: LogDecays
    ) -> dict[str, Frame]:
        return storage_frames(storage, _moments(recipe, hyperparams), count, log_decays)

    return jax.jit(frames)


@ft.lru_cache(maxsize=COMPILED)
def compile_encode(
    recipe: Recipe, storage: LeafStorage, layers: int = 0
) -> Callable[..., dict[str, Entry]]:
    """Compile the function from a leaf's moments after some steps to the encoded moments."""

    def write(
        values: dict[str, Array],
        hyperparams: Mapping[str, Array],
        count: Array,
        frames: Frames,
        shape: tuple[int, ...],
    ) -> dict[str, Entry]:
        context = LeafContext((), shape[layers:], count, 0)
        moments, (scalars,) = _moments(recipe, hyperparams), storage_scalars(storage, frames)
        kept: dict[str, Entry] = over_layers(
            lambda own: encode(storage, own, moments, context, scalars), layers if values else 0, 1
        )(values)
        return kept

    return jax.jit(write, static_argnames="shape")


@ft.lru_cache(maxsize=COMPILED)
def compile_rest(
    recipe: Recipe, storage: LeafStorage, layers: int = 0
) -> Callable[..., dict[str, Entry]]:
    """Compile the function that carries a leaf without gradient over a step.

    The moments stay the same. Codes that are read with a frame are moved to the frame of the step,
    as those of elements that rest are in a step.
    """

    def rest(
        encoded: dict[str, Entry],
        hyperparams: Mapping[str, Array],
        count: Array,
        frames: Frames,
        new_frames: Frames,
    ) -> dict[str, Entry]:
        kept = dict(encoded)
        moments = {
            n: dataclasses.replace(m, over=None) for n, m in _moments(recipe, hyperparams).items()
        }

        def move(own: dict[str, Entry], alone: LeafStorage) -> dict[str, Entry]:
            shape = jnp.shape(own[alone.entries[0]])  # the shape of the codes, shared or not
            context = LeafContext((), shape, count, 0)
            before, now = storage_scalars(alone, frames, new_frames)
            values = decode(alone, own, moments, context, before)
            resting = jnp.ones(shape, jnp.bool), own, before
            return encode(alone, values, moments, context, now, resting)

        for slot in storage.slots:
            if slot.format.has_frame:
                alone = LeafStorage((slot,))
                own = {entry: encoded[entry] for entry in alone.entries}
                kept |= over_layers(move, layers, 1)(own, alone)
        return kept

    return jax.jit(rest)


@ft.lru_cache(maxsize=COMPILED)
def compile_decode(
    recipe: Recipe, storage: LeafStorage, layers: int = 0
) -> Callable[..., dict[str, Array]]:
    """Compile the function from a leaf's encoded moments to the moments."""

    def read(
        encoded: dict[str, Entry],
        hyperparams: Mapping[str, Array],
        frames: Frames,
        shape: tuple[int, ...],
    ) -> dict[str, Array]:
        context = LeafContext((), shape[layers:], jnp.zeros((), jnp.int32), 0)
        moments, (scalars,) = _moments(recipe, hyperparams), storage_scalars(storage, frames)
        encoded = jax.tree.map(in_memory, encoded)
        values: dict[str, Array] = over_layers(
            lambda own: decode(storage, own, moments, context, scalars), layers if encoded else 0, 1
        )(encoded)
        return values

    return jax.jit(read, static_argnames="shape")


def is_on_host(x: object) -> bool:
    """Tell whether an array is in the host's memory, where no sums can be made."""
    return isinstance(x, Array) and jax.typeof(x).memory_space == jax.memory.Space.Host


def in_memory(x: Array, like: object = None) -> Array:
    """Return an array in the memory of another one; by default in the device's."""
    if is_on_host(x) == is_on_host(like):
        return x
    spaces = jax.memory.Space
    moved: Array = jax.device_put(x, spaces.Host if is_on_host(like) else spaces.Device)
    return moved


def _moments(recipe: Recipe, hyperparams: Mapping[str, Array]) -> Moments:
    numbers = recipe.in_precision(hyperparams, jnp.float32)
    return recipe.factory(**recipe.constants, **numbers).moments
