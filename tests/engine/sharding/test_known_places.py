"""Shardings that a user tells `ao.step`: what does not fit is refused at its path."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import adam_optax as ao

MESH = AbstractMesh((2, 4), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
PARAMS = {"w": jax.ShapeDtypeStruct((256, 512), jnp.float32), "b": jax.ShapeDtypeStruct((6,), "f4")}


def traced(shardings: Any, tx: Any = None) -> str:
    """Return the program of a step with these shardings."""
    tx = ao.adam(1e-3, storage=ao.storage.pair()) if tx is None else tx
    state = jax.eval_shape(tx.init, PARAMS)
    step = lambda p, s, g: ao.step(tx, g, s, p, shardings=shardings)  # noqa: E731
    with ao.cpu_loops("never"):  # where a place is not known, a loop hides the kernel
        return str(jax.make_jaxpr(step)(PARAMS, state, PARAMS))


@pytest.mark.quick
def test_a_tree_a_prefix_and_specs_of_the_mesh_that_is_set() -> None:
    whole = NamedSharding(MESH, P("a", "b"))
    assert "where=NamedSharding" not in traced(None)
    assert "where=NamedSharding" in traced({"w": whole, "b": NamedSharding(MESH, P())})
    assert "where=NamedSharding" in traced({"w": whole, "b": None})
    assert "where=NamedSharding" in traced(NamedSharding(MESH, P("a")))
    assert "where=None" in traced({"w": None, "b": None})
    with jax.sharding.use_abstract_mesh(MESH):
        assert "where=NamedSharding" in traced({"w": P("a", "b"), "b": P()})
    chain = optax.chain(ao.clip_by_global_norm(1.0), ao.adam(1e-3, storage=ao.storage.pair()))
    assert "where=NamedSharding" in traced({"w": whole, "b": None}, chain)


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "tree": ({"w": None}, ValueError, "shardings must be a tree like the parameters"),
    "kind": ({"w": 3, "b": None}, TypeError, r"shardings\['w'\]: a sharding must be a .* not int"),
    "mesh": (
        {"w": P("a"), "b": None},
        ValueError,
        r"shardings\['w'\]: .* none is set: write NamedSharding\(mesh",
    ),
    "axes": (
        {"w": None, "b": NamedSharding(MESH, P("a", "b"))},
        ValueError,
        r"shardings\['b'\]: .* is for 2 axes, the parameter has 1",
    ),
    "size": (
        {"w": None, "b": NamedSharding(MESH, P("b"))},
        ValueError,
        r"shardings\['b'\]: axis 0 has 6 elements, not a multiple of 4 shards",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_at_its_path(name: str) -> None:
    shardings, kind, text = REFUSED[name]
    with pytest.raises(kind, match=text):
        traced(shardings)


def test_another_mesh_than_the_one_that_is_set_is_refused() -> None:
    other = AbstractMesh((8,), ("a",), axis_types=(AxisType.Auto,))
    with (
        jax.sharding.use_abstract_mesh(other),
        pytest.raises(ValueError, match=r"shardings\['w'\]: the mesh is .*, but .* is set"),
    ):
        traced({"w": NamedSharding(MESH, P("a")), "b": None})


def test_arrays_that_are_elsewhere_are_refused() -> None:
    tx, params = ao.adam(1e-3, storage=ao.storage.pair()), {"w": jnp.ones((256, 512))}
    state = tx.init(params)
    one = jax.make_mesh((1,), ("a",), axis_types=(AxisType.Auto,))
    ao.step(tx, params, state, params, shardings=NamedSharding(one, P("a")))
    with pytest.raises(ValueError, match=r"shardings\['w'\]: the parameter is on devices as"):
        ao.step(tx, params, state, params, shardings=NamedSharding(MESH, P("a")))


def test_a_chain_that_does_not_end_with_an_optimiser_of_ours_takes_no_shardings() -> None:
    tx = optax.chain(ao.adam(1e-3), optax.scale(0.5))
    with pytest.raises(
        ValueError, match="where tx, or the last link of its chain, is an optimiser"
    ):
        traced(NamedSharding(MESH, P("a")), tx)
