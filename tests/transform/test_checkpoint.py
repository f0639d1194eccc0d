"""A run that is saved and restored in the middle goes on bit for bit, also from optax's state."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import serialization

import adam_optax as ao
from tests.support.cases import DEFAULTS, Case, gradients, run
from tests.support.oracle import relative_rms

STEPS, HALF = 40, 25
GRADS = gradients(STEPS, 6)
START = np.linspace(-1.0, 1.0, 6).astype(np.float32).astype(np.float64)
G32, P32 = jnp.asarray(GRADS, jnp.float32), jnp.asarray(START, jnp.float32)


def fading(first: float) -> Any:
    return lambda n: first / (1.0 + jnp.asarray(n, float) / 20)


RATE = {"learning_rate": fading(0.01)}
SCHEDULES = RATE | {"weight_decay": fading(0.1), "mask": {"w": True, "b": False}}
RUNS: list[tuple[Case, dict[str, Any]]] = [
    (case, options)
    for case in DEFAULTS
    for name, options in [
        ("adam", {}),
        ("adam", RATE),
        ("adamw", SCHEDULES),
        ("amsgrad", RATE),
        ("adamax", {}),
    ]
    if case.name == name
]
EACH = pytest.mark.parametrize(
    ("case", "options"), RUNS, ids=["-".join([c.id, *o]) for c, o in RUNS]
)


def identical(one: Any, other: Any) -> None:
    """Of one structure, dtypes and values; chex's `strict` alone takes bfloat16 for float32."""
    chex.assert_trees_all_equal_shapes_and_dtypes(one, other)
    chex.assert_trees_all_equal(one, other)


def by_orbax(saved: Any, like: Any, folder: Path) -> Any:
    """What comes back from disk into a tree of shapes."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "run", saved)
        checkpointer.wait_until_finished()
        return checkpointer.restore(folder / "run", jax.eval_shape(lambda: like))


def by_flax(saved: Any, like: Any, folder: Path) -> Any:
    """The same through flax's bytes, which come back as NumPy arrays."""
    (folder / "run").write_bytes(serialization.to_bytes(saved))
    return serialization.from_bytes(like, (folder / "run").read_bytes())


Restore = Callable[[Any, Any, Path], Any]
WAYS = pytest.mark.parametrize("way", [by_orbax, by_flax])


@pytest.mark.matrix(keep=2)
@EACH
@pytest.mark.parametrize("way", [by_orbax, pytest.param(by_flax, marks=pytest.mark.quick)])
def test_a_restored_run_goes_on_bit_for_bit(
    case: Case, options: Any, way: Restore, tmp_path: Path
) -> None:
    tx = case.ours(**options)
    start = {"w": P32, "b": P32.astype(jnp.bfloat16)}

    @jax.jit
    def step(run: Any, g: Any) -> Any:
        grads = {"w": g, "b": g.astype(jnp.bfloat16)}
        updates, state = tx.update(grads, run["state"], run["params"])
        return {"params": optax.apply_updates(run["params"], updates), "state": state}

    unbroken = broken = {"params": start, "state": tx.init(start)}
    for g in G32[:HALF]:
        broken = step(broken, g)
    restored = way(broken, {"params": start, "state": tx.init(start)}, tmp_path)
    identical(restored, broken)
    for g in G32:
        unbroken = step(unbroken, g)
    for g in G32[HALF:]:
        restored = step(restored, g)
    identical(restored, unbroken)
    counts = [leaf for leaf in jax.tree.leaves(restored) if leaf.dtype == jnp.int32]
    assert counts == [STEPS] * len(counts)
    numbers = {name: value for name, value in options.items() if name != "mask"}
    expected = case.oracle(GRADS, START, **numbers)["params"][-1]
    assert relative_rms(restored["params"]["w"], expected) < 1e-6  # a dozen float32 roundings


def loosely(tx: Any) -> Any:
    """Give optax's arithmetic, and no more than that, the promotion that it needs."""

    def update(*args: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return tx.update(*args)

    return optax.GradientTransformationExtraArgs(tx.init, update)


@pytest.mark.matrix(keep=2)
@EACH
@WAYS
def test_a_checkpoint_of_optax_s_continues_here(
    case: Case, options: Any, way: Restore, tmp_path: Path
) -> None:
    grads, start = {"w": G32, "b": -G32}, {"w": P32, "b": -P32}
    theirs, ours = loosely(case.optax(**options)), case.ours(**options)
    _, params, saved = run(theirs, jax.tree.map(lambda g: g[:HALF], grads), start)
    state = way(saved, ours.init(start), tmp_path)
    identical(state, saved)
    resumed = optax.GradientTransformationExtraArgs(lambda params: state, ours.update)
    updates, _, _ = run(resumed, jax.tree.map(lambda g: g[HALF:], grads), params)
    alone, _, _ = run(theirs, grads, start)
    for leaf, sign in {"w": 1.0, "b": -1.0}.items():
        numbers = {name: value for name, value in options.items() if name != "mask"}
        if leaf == "b" and "mask" in options:
            numbers["weight_decay"] = 0.0
        right = case.oracle(sign * GRADS, sign * START, **numbers)["updates"]
        its_error = relative_rms(alone[leaf], right)
        # At worst the state is as far off as optax's updates; our rounding comes on top.
        assert relative_rms(updates[leaf], right[HALF:]) < its_error + 1e-6


def test_a_checkpoint_of_optax_s_bfloat16_model_continues_here_once_converted(
    tmp_path: Path,
) -> None:
    start = P32.astype(jnp.bfloat16)
    theirs, ours = optax.amsgrad(0.01), ao.amsgrad(0.01)
    _, params, saved = run(loosely(theirs), G32[:HALF].astype(jnp.bfloat16), start)
    state = ao.convert.from_optax(by_orbax(saved, theirs.init(start), tmp_path))
    chex.assert_trees_all_equal_shapes_and_dtypes(state, ours.init(start))
    g = G32[HALF].astype(jnp.bfloat16)
    updates, after = ours.update(g, state, params)
    expected = {n: np.asarray(m, np.float64) for n, m in ao.read_moments(saved).items()}
    wide = np.asarray(g, np.float64)
    mu = 0.9 * expected["mu"] + 0.1 * wide
    nu = 0.999 * expected["nu"] + 0.001 * wide**2
    largest = np.maximum(expected["nu_max"], nu / (1 - 0.999 ** (HALF + 1)))
    direction = mu / (1 - 0.9 ** (HALF + 1)) / (np.sqrt(largest) + 1e-8)
    assert relative_rms(after[0].nu, nu) < 1e-6  # float32, a dozen roundings
    assert relative_rms(updates, -0.01 * direction) < 4e-3  # an update of 8 bits
