"""Programs with groups of parameters have optax's numbers with our optimisers in the groups."""

from typing import Any

import jax
import numpy as np
import optax
import pytest

from tests.programs.packages import ROUNDED
from tests.programs.partitions import PARTITIONED, Partitioned, cost, label, loss, parameters
from tests.programs.program import OURS, STEPS

EACH = pytest.mark.parametrize("name", PARTITIONED)


def run(tx: Any) -> tuple[list[float], Any]:
    """Return the losses of a run, and the parameters after it."""
    params = parameters()

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    state, losses = jax.jit(tx.init)(params), []
    for _ in range(STEPS):
        params, state, value = step(params, state)
        losses.append(float(value))
    return losses, params


@pytest.mark.heavy
@EACH
def test_losses_are_optaxs_and_what_is_frozen_stays(name: str) -> None:
    program: Partitioned = PARTITIONED[name]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        theirs, _ = run(program.make(optax))
        ours, _ = run(program.make(OURS))
        by_path, params = run(program.by_path(OURS))
    np.testing.assert_allclose(ours, theirs, rtol=ROUNDED)
    np.testing.assert_allclose(by_path, theirs, rtol=ROUNDED)
    assert min(theirs) < theirs[0]
    start = parameters()
    keys = label(program.groups, start)
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), start, params)
    expected = jax.tree.map(lambda key: program.groups[key] is not None, keys)
    assert moved == expected


@pytest.mark.heavy
@EACH
def test_by_path_costs_less_than_by_partition(name: str) -> None:
    """Compare with optax's own: fewer bytes, for one count and no moments of what is frozen."""
    program, params = PARTITIONED[name], parameters()
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        theirs, ours = cost(program.make(optax), params), cost(program.by_path(OURS), params)
    assert ours.bytes <= theirs.bytes
    assert ours.kernels <= theirs.kernels


def test_costs_are_counted() -> None:
    """Adam's state has 8 bytes a parameter and a count, and a count more for a scheduled rate."""
    params = {"a": parameters()["head"]["kernel"], "b": parameters()["embed"]["table"]}
    one = cost(OURS.adamw(1e-3), params)
    assert one.bytes == 2 * 4 * 2 * 16 * 8 + 4
    groups = {n: OURS.adamw(optax.linear_schedule(0.0, 1e-3, 5)) for n in "ab"}
    two = cost(optax.partition(groups, {"a": "a", "b": "b"}), params)
    assert two.bytes == one.bytes + 4 + 2 * 4  # another count, and those of the schedules
    assert two.equations > one.equations > 0
    assert two.kernels >= one.kernels >= 2
    assert min(one.seconds, two.seconds) > 0
