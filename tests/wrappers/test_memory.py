"""Check that `ao.memory` states the bytes that `tx.init` allocates."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import pytest

import adam_optax as ao

PARAMS = {"w": jnp.ones((256, 512), jnp.bfloat16), "b": [jnp.ones(512)], "none": None}
SIZE = 256 * 512 + 512


class NamedLikeState(NamedTuple):
    """Hold parameters under names that states have, too."""

    mu: Any
    count: Any


def allocated(tx: Any, params: Any) -> int:
    """Return the bytes of the state that `init` really allocates."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tx.init(params)))


MAKERS: dict[str, Any] = {
    "adam": ao.adam(1e-3),
    "adam in bfloat16": ao.adam(1e-3, mu_dtype="bfloat16"),
    "adamw with schedules": ao.adamw(lambda n: 1.0, weight_decay=lambda n: 0.1),
    "adafactor": ao.adafactor(1e-3),
    "ademamix": ao.ademamix(1e-3),
    "nothing": optax.identity(),
    "optax.adam": optax.adam(1e-3),
    "optax.adafactor": optax.adafactor(1e-3),
    "ema": optax.ema(0.9),
    "multi steps": optax.MultiSteps(ao.adam(1e-3), 4),
    "injected": optax.inject_hyperparams(ao.adam)(1e-3),
    "partition": optax.partition({"x": ao.adam(1e-3), "y": ao.lion(1e-4)}, {"w": "x", "b": "y"}),
    "kahan": optax.chain(ao.adam(1e-3), ao.precision.kahan()),
    "noise": optax.add_noise(0.1, 0.5, jax.random.key(0)),
}


@pytest.mark.quick
@pytest.mark.parametrize("name", MAKERS)
def test_the_total_is_what_init_allocates(name: str) -> None:
    tx, params = MAKERS[name], {"w": PARAMS["w"], "b": PARAMS["b"]}
    with jax.numpy_dtype_promotion("standard"):
        found = ao.memory(tx, params)
        assert found.total == sum(found.by_entry.values()) == allocated(tx, params)
    assert found.per_parameter == found.total / SIZE
    assert found.parameters == SIZE
    assert found.by_entry.keys() == found.dtypes.keys()


def test_entries_are_named_as_users_know_them() -> None:
    entries = lambda name: dict(ao.memory(MAKERS[name], PARAMS).by_entry)  # noqa: E731
    adam = {"count": 4, "mu": 4 * SIZE, "nu": 4 * SIZE}
    assert entries("adam") == adam
    assert entries("adam in bfloat16") == {**adam, "mu": 2 * SIZE}
    factored = {"count": 4, "nu_row": 4 * 256, "nu_col": 4 * 512, "nu": 4 * 512}
    assert entries("adafactor").items() >= factored.items()
    assert entries("ema") == {"count": 4, "ema": 2 * 256 * 512 + 4 * 512}
    assert entries("kahan") == {**adam, "compensation": 2 * 256 * 512}
    assert entries("nothing") == {}
    multi = entries("multi steps")
    assert multi["acc_grads"] == multi["mu"]
    assert {"mini_step", "gradient_step"} < multi.keys()


@pytest.mark.parametrize(
    "params",
    [
        jnp.ones((3, 2)),
        (jnp.ones(3), [jnp.ones(3)]),
        NamedLikeState(jnp.ones(5), {"nu": jnp.ones(1)}),
        {"nu": {"mu": jnp.ones(4), "count": jnp.ones(2)}},
    ],
    ids=["array", "tuple", "named tuple", "names of entries"],
)
def test_any_tree_has_the_same_entries(params: Any) -> None:
    found = ao.memory(ao.adam(1e-3), params)
    assert dict(found.by_entry) == {"count": 4, "mu": 24, "nu": 24}
    assert found.per_parameter == 52 / 6


def test_shapes_alone_and_trees_of_nothing() -> None:
    huge = {"w": jax.ShapeDtypeStruct((10**6, 10**6), jnp.float32)}
    assert ao.memory(ao.adamw(1e-3), huge).total == 8 * 10**12 + 4
    nothing = ao.memory(ao.adam(1e-3), {})
    assert (nothing.total, nothing.per_parameter, nothing.parameters) == (4, 0.0, 0)


def test_the_table_is_aligned() -> None:
    params = {"w": jnp.ones((400, 500)), "z": jnp.ones(2, jnp.complex64)}
    assert str(ao.memory(ao.adam(1e-3), params)).splitlines() == [
        "entry  dtype                  size  B/parameter",
        "count  int32                   4 B     < 0.0001",
        "mu     complex64, float32   800 kB            4",
        "nu     float32              800 kB            4",
        "total                      1.60 MB            8",
    ]


def test_errors_name_the_argument_or_the_path() -> None:
    with pytest.raises(TypeError, match="tx must be an optax transformation, not function"):
        ao.memory(lambda: None, PARAMS)
    with pytest.raises(TypeError, match=r"params\['w'\] has dtype int32"):
        ao.memory(ao.adam(1e-3), {"w": jnp.arange(3)})
