"""Check that eight devices give the bits that one gives, whichever axis is sharded."""

import os
import pathlib
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.support.precision import LINKS, same_bits, stepper

SHAPE = (8, 16, 24)
AXES = [("x", None, None), (None, "x", None), (None, None, "x"), (), ("x", "y", None)]


def _run_three_steps(name: str, place: Any) -> Any:
    """Return parameters and state after three steps from arrays with a sharding."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: np.asarray(rng.standard_normal(shape), np.float32)  # noqa: E731
    params = jax.device_put(jnp.asarray(draw(*SHAPE), jnp.bfloat16), place)
    tx = LINKS[name]()
    step, state = jax.jit(stepper(tx)), jax.jit(tx.init)(params)
    for g in draw(3, *SHAPE) * np.float32(1e-3):
        params, state = step(params, state, jax.device_put(g, place))
    return params, state


def _shardings() -> Any:
    """Yield shardings over eight devices along each axis, none, and two at once."""
    line = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    square = jax.make_mesh((4, 2), ("x", "y"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    for axes in AXES:
        mesh = square if "y" in axes else line
        yield jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))


def main() -> None:
    """Compare all shardings with one device, in a process with eight devices."""
    assert jax.device_count() == 8
    for name in LINKS:
        expected = _run_three_steps(name, jax.devices()[0])
        # The place of an element matters to the dither alone: to the others one sharding is as all.
        for place in list(_shardings())[None if name == "stochastic_rounding" else -1 :]:
            found = _run_three_steps(name, place)
            same_bits(found, expected)
            assert found[0].sharding.is_equivalent_to(place, 3)
            for kept in jax.tree.leaves(found[1]):
                assert kept.ndim == 0 or kept.sharding.is_equivalent_to(place, 3)
    print("the same bits")


@pytest.mark.heavy
def test_any_sharding_has_the_bits_of_one_device() -> None:
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-m", "tests.precision.test_sharding"],
        cwd=pathlib.Path(__file__).parents[2],
        env={**os.environ, **flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the same bits" in run.stdout, run.stderr


def test_the_state_of_a_chain_is_small() -> None:
    """Check that a link keeps two bytes beside each parameter, or none."""
    params = jax.ShapeDtypeStruct((1000, 1000), jnp.bfloat16)
    extra = {"stochastic_rounding": 4, "kahan": 2 * 10**6, "split_master": 2 * 10**6}
    adam = ao.memory(ao.adam(1e-3), params).total
    for name, more in extra.items():
        assert ao.memory(optax.chain(ao.adam(1e-3), LINKS[name]()), params).total == adam + more


if __name__ == "__main__":
    main()
