"""What is kept of a leaf, outside its step: made, carried over and read, compiled once per shape.

Op by op, as JAX runs what is in no jit, a format of few bits would be compiled in a hundred parts.
Each function takes the rule's numbers of the step, which are arrays, beside what it works on.
"""

import functools as ft
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from adam_optax._engine.execute import Constants, Maker, values
from adam_optax.rules.base import in_compute_precision
from adam_optax.storage import Codec, Place, rested
from adam_optax.storage._base import Moments


@ft.lru_cache(maxsize=64)
def started(make: Maker, constants: Constants, codec: Codec) -> Callable[..., dict[str, Any]]:
    """The function from a leaf's moments before the first step to what is kept of them."""

    def run(
        moments: dict[str, Array], numbers: Mapping[str, Array], shape: tuple[int, ...]
    ) -> dict[str, Any]:
        place = Place(shape, jnp.zeros((), jnp.int32))
        return codec.encode(moments, _moments(make, constants, numbers), place)

    return jax.jit(run, static_argnames="shape")


@ft.lru_cache(maxsize=64)
def carried(make: Maker, constants: Constants, codec: Codec) -> Callable[..., dict[str, Any]]:
    """The function from what is kept to what is kept after a step without a gradient."""

    def run(kept: dict[str, Any], numbers: Mapping[str, Array], count: Array) -> dict[str, Any]:
        place = Place((), count)  # of its shape, `rested` asks the codes
        return rested(codec, kept, _moments(make, constants, numbers), place)

    return jax.jit(run)


@ft.lru_cache(maxsize=64)
def decoded(make: Maker, constants: Constants, codec: Codec) -> Callable[..., dict[str, Array]]:
    """The function from what is kept to the moments."""

    def run(
        kept: dict[str, Any], numbers: Mapping[str, Array], count: Array, shape: tuple[int, ...]
    ) -> dict[str, Array]:
        return codec.decode(kept, _moments(make, constants, numbers), Place(shape, count))

    return jax.jit(run, static_argnames="shape")


def _moments(make: Maker, constants: Constants, numbers: Mapping[str, Array]) -> Moments:
    numbers = in_compute_precision(numbers, jnp.float32)
    return make(**values(constants), **numbers).moments
