"""Make, carry and read what is kept of a leaf, outside a step.

All of it is compiled, since op by op a format of few bits would compile in a hundred parts.
"""

import functools as ft
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array

from adam_optax._engine.leaf import COMPILED, LogDecays, decode, encode
from adam_optax._engine.stacked import over_layers
from adam_optax.rules.base import Recipe
from adam_optax.storage._base import Entry, LeafContext, Moments
from adam_optax.storage._plan import LeafStorage


@ft.lru_cache(maxsize=COMPILED)
def compile_encode(
    recipe: Recipe, storage: LeafStorage, layers: int = 0
) -> Callable[..., dict[str, Entry]]:
    """Compile the function from a leaf's moments after some steps to the encoded moments."""

    def write(
        values: dict[str, Array],
        hyperparams: Mapping[str, Array],
        count: Array,
        log_decays: LogDecays,
        shape: tuple[int, ...],
    ) -> dict[str, Entry]:
        context = LeafContext((), shape[layers:], count, 0, log_decays=log_decays)
        moments = _moments(recipe, hyperparams)
        kept: dict[str, Entry] = over_layers(
            lambda own: encode(storage, own, moments, context), layers if values else 0, 1
        )(values)
        return kept

    return jax.jit(write, static_argnames="shape")


@ft.lru_cache(maxsize=COMPILED)
def compile_skip(
    recipe: Recipe, storage: LeafStorage, layers: int = 0
) -> Callable[..., dict[str, Entry]]:
    """Compile the function that carries a leaf without gradient over a step.

    The moments stay the same. Codes that belong to the step at which they were written are written
    anew, which rounds them.
    """

    def skip(
        encoded: dict[str, Entry],
        hyperparams: Mapping[str, Array],
        count: Array,
        past_decays: LogDecays,
        log_decays: LogDecays,
    ) -> dict[str, Entry]:
        moments, kept = _moments(recipe, hyperparams), dict(encoded)

        def rewrite(own: dict[str, Entry], alone: LeafStorage) -> dict[str, Entry]:
            shape = jnp.shape(own[alone.entries[0]])  # the leaf's shape is that of the codes
            past = LeafContext((), shape, count - 1, 0, log_decays=past_decays)
            values = decode(alone, own, moments, past)
            here = past._replace(count=count, log_decays=log_decays)
            return encode(alone, values, moments, here)

        for slot in storage.slots:
            if slot.format.step_dependent:
                alone = LeafStorage((slot,))
                own = {entry: encoded[entry] for entry in alone.entries}
                kept |= over_layers(rewrite, layers, 1)(own, alone)
        return kept

    return jax.jit(skip)


@ft.lru_cache(maxsize=COMPILED)
def compile_decode(
    recipe: Recipe, storage: LeafStorage, layers: int = 0
) -> Callable[..., dict[str, Array]]:
    """Compile the function from a leaf's encoded moments to the moments."""

    def read(
        encoded: dict[str, Entry],
        hyperparams: Mapping[str, Array],
        count: Array,
        log_decays: LogDecays,
        shape: tuple[int, ...],
    ) -> dict[str, Array]:
        context = LeafContext((), shape[layers:], count, 0, log_decays=log_decays)
        moments = _moments(recipe, hyperparams)
        values: dict[str, Array] = over_layers(
            lambda own: decode(storage, own, moments, context), layers if encoded else 0, 1
        )(encoded)
        return values

    return jax.jit(read, static_argnames="shape")


def _moments(recipe: Recipe, hyperparams: Mapping[str, Array]) -> Moments:
    numbers = recipe.in_precision(hyperparams, jnp.float32)
    return recipe.factory(**recipe.constants, **numbers).moments
