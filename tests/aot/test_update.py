"""Compile Adam for accelerators: one pass, in place, no scratch, no communication."""

import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
import pytest
from jax.sharding import PartitionSpec

import adam_optax as ao
from adam_optax.aot import Compiled, targets
from tests.aot.compiled import SHAPES, SMALL, measured, shapes, spread

pytestmark = pytest.mark.heavy


class Bar(NamedTuple):
    """Hold the limits of a format: bytes moved a parameter, kernels a leaf, bytes of scratch."""

    bytes: float
    kernels: int = 1
    scratch: int = 8192  # scalars of the step


FORMATS: dict[str, Any] = {
    "float32": None,
    "stochastic": ao.storage.stochastic(),
    "pair(4)": ao.storage.pair(4),
    "pair": ao.storage.pair(),
}
# Parameter, gradient and state read once, parameter and state written once, in bytes.
LEAST = {"float32": 28.0, "stochastic": 20.0, "pair(4)": 20.0, "pair": 16.0}
GPU = {n: Bar(least) for n, least in LEAST.items()}
# XLA for TPUs computes the step and each code in kernels of their own, which read again. One leaf's
# codes at a time wait in the memory on the chip.
TPU = GPU | {
    "stochastic": Bar(20.0, 2),
    "pair(4)": Bar(26.7, 3, 2**20),
    "pair": Bar(21.4, 3, 2**20),
}
BARS = {(t, n): (TPU if t in targets.TPUS else GPU)[n] for t in targets.TARGETS[:-1] for n in LEAST}
"""Limits by target and format."""
ONE, EIGHT = "one", "eight"
EACH = pytest.mark.parametrize(("target", "name"), BARS, ids=["-".join(key) for key in BARS])


@functools.cache
def adam(target: str, name: str, where: str = ONE) -> Compiled:
    """Compile AdamW of six leaves, on one device or sharded over eight."""
    spec = spread if where == EIGHT else None
    return measured(target, ao.adamw(1e-3, storage=FORMATS[name]), spec=spec)


def one_pass(found: Compiled, bar: Bar, least: float) -> None:
    """Check that bytes move as often as allowed, by few kernels, in place."""
    assert least <= found.moved <= bar.bytes * 1.001  # scalars, and the rounding of the bar
    # Under XLA for GPUs the scalars of a step are kernels of their own, of a few bytes each: three
    # to six of them, by generation, and up to twelve where codes have a frame.
    assert found.kernels <= bar.kernels * len(SMALL) + 12
    assert found.copied < 1024  # the tuple of outputs, and a TPU's tile for the count
    assert found.scratch < bar.scratch


@EACH
def test_every_byte_is_moved_once(target: str, name: str) -> None:
    one_pass(adam(target, name), BARS[target, name], LEAST[name])


@EACH
def test_a_sharded_step_is_the_same_and_asks_nobody(target: str, name: str) -> None:
    found = adam(target, name, EIGHT)
    one_pass(found, BARS[target, name], LEAST[name])
    assert found.collectives == {}


@pytest.mark.parametrize("target", ["v5e", "h100"])
def test_large_leaves_are_moved_as_small_ones(target: str) -> None:
    """Compile leaves that a TPU cannot keep on its chip from one kernel to the next."""
    for make in (ao.adam, ao.adamw):
        found = measured(target, make(1e-3), shapes(SHAPES))
        assert found.moved == pytest.approx(28.0, rel=1e-3)
        assert found.scratch < 4096


@pytest.mark.parametrize("target", targets.TARGETS[:-1])
def test_clipping_takes_one_word_from_each_device(target: str) -> None:
    found = measured(target, clipped(), spec=spread)
    assert found.collectives == {"all-reduce": 1}
    assert found.copied < 1024


@pytest.mark.parametrize("target", ["v5e", "h100"])
def test_replicated_parameters_ask_nobody(target: str) -> None:
    found = measured(target, ao.adamw(1e-3), spec=lambda leaf: PartitionSpec())
    assert found.collectives == {}
    assert found.moved == pytest.approx(8 * 28.0, rel=1e-3)


@pytest.mark.parametrize("target", ["v5e", "h100"])
def test_sixteen_bit_parameters_move_ten_bytes(target: str) -> None:
    found = measured(target, ao.adam(1e-3, storage=FORMATS["pair"]), shapes(dtype=jnp.bfloat16))
    again = BARS[target, "pair"].bytes - LEAST["pair"]
    assert 10.0 <= found.moved <= 10.01 + again


def clipped() -> Any:
    """Build the chain that is run most: clipping, then AdamW."""
    return optax.chain(ao.clip_by_global_norm(1.0), ao.adamw(1e-3))
