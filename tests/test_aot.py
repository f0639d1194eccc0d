"""The update as compiled for accelerators: one pass over memory, in place, without scratch."""

import functools
from typing import Any

import jax.numpy as jnp
import optax
import pytest

import adam_optax as ao
from tests.aot import targets
from tests.aot.compiled import Compiled, compiled

pytestmark = pytest.mark.heavy

# Reading parameter, gradient and state once, and writing parameter and state, in bytes.
LEAST: dict[str, tuple[Any, float]] = {
    "float32": (None, 28.0),
    "stochastic": (ao.storage.stochastic(), 20.0),
    "pair(4)": (ao.storage.pair(4), 20.0),
    "pair": (ao.storage.pair(), 16.0),
}
SPLIT = {"v5e", "v6e"}
"""Where XLA computes a pair's code and the step in two kernels: 22 bytes instead of 16."""


@functools.cache
def _compiled(target: str, name: str) -> Compiled:
    if absent := targets.missing(target):
        pytest.skip(f"pip install 'adam-optax[aot]' ({', '.join(absent)})")
    return compiled(target, ao.adam(1e-3, storage=LEAST[name][0]))


@pytest.mark.parametrize("target", [*targets.GPUS, "v5e"])
@pytest.mark.parametrize("name", LEAST)
def test_every_byte_is_moved_once(target: str, name: str) -> None:
    found, least = _compiled(target, name), LEAST[name][1]
    again = 8.0 if name.startswith("pair") and target in SPLIT else 0.0  # gradient and state
    assert least <= found.moved <= least + again + 0.3  # of scalars, counts and the leaf of 4096
    assert found.copied < 4096
    assert found.scratch < 2**18


def test_a_step_in_two_passes_would_be_seen() -> None:
    if absent := targets.missing("h100"):
        pytest.skip(f"pip install 'adam-optax[aot]' ({', '.join(absent)})")
    twice = optax.chain(ao.clip_by_global_norm(1.0), ao.adam(1e-3))
    assert compiled("h100", twice).moved > 31.0  # the gradients once more


def test_sixteen_bit_parameters_move_ten_bytes() -> None:
    if absent := targets.missing("h100"):
        pytest.skip(f"pip install 'adam-optax[aot]' ({', '.join(absent)})")
    tx = ao.adam(1e-3, storage=ao.storage.pair())
    assert 10.0 <= compiled("h100", tx, jnp.bfloat16).moved <= 10.3
