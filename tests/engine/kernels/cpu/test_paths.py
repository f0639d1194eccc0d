"""Where a step is a loop on CPUs and where XLA compiles it, with the same numbers on every path."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao
from tests.engine.kernels.cpu.looping import loops_in

S = ao.storage
READERS: dict[str, Callable[[Any], Any]] = {
    "its size": lambda x: x.current["mu"] / x.g.size,
    "its length": lambda x: x.current["mu"] * (1.0 if x.g.shape[-1] > 280 else 2.0),
    "a power": lambda x: jax.lax.integer_pow(x.current["mu"], 2 + x.g.shape[-1] % 3),
    "a place": lambda x: (
        x.current["mu"]
        * jax.lax.broadcasted_iota(jnp.int32, x.g.shape, x.g.ndim - 1).astype("float32")
    ),
    "another size": lambda x: jnp.reshape(x.current["mu"], (-1, 30)).reshape(x.g.shape),
    "its mean": lambda x: x.current["mu"] - jnp.mean(x.current["mu"], -1, keepdims=True),
}


def own(direction: Callable[[Any], Any], storage: Any = None) -> Any:
    """Return an optimiser of a rule of one's own."""
    rule = ao.Rule({"mu": ao.moments.ema(0.9)}, direction)
    return ao.optimizer(rule, 0.1, storage=storage)


def leaf(shape: tuple[int, ...], seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


def first(tx: Any, g: Any) -> tuple[Any, int]:
    """Return the first update, and the number of loops in it."""
    state = tx.init(g)
    return jax.jit(tx.update)(g, state, g)[0], loops_in(tx.update, g, state, g)


@pytest.mark.parametrize("shape", [(300,), (5, 300)])
@pytest.mark.parametrize("reads", READERS)
def test_a_rule_of_ones_own_that_reads_the_leaf_s_size_is_no_loop(
    reads: str, shape: tuple[int, ...]
) -> None:
    """A loop is traced on one unit of a leaf, whose size is another."""
    tx = own(READERS[reads], S.stochastic())
    found, loops = first(tx, leaf(shape))
    assert loops == 0
    with ao.cpu_loops("never"):
        np.testing.assert_array_equal(found, first(tx, leaf(shape))[0])


@pytest.mark.quick
def test_a_rule_of_ones_own_that_treats_elements_alike_is_a_loop() -> None:
    tx = own(lambda x: x.current["mu"] / (jnp.abs(x.g) + 1), S.stochastic())
    assert first(tx, leaf((300,)))[1] == 1
    assert first(own(lambda x: jnp.sin(x.current["mu"]), S.stochastic()), leaf((300,)))[1] == 0
