"""Hold a tree of stacked layers to the run of its layers one by one."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import adam_optax as ao
from tests.support.cases import run
from tests.support.family import ONE_EACH, Member, by_id
from tests.support.formats import FORMATS

LAYERS = 3
SHAPES = {"kernel": (4, 130), "bias": (5,), "scale": ()}
RNG = np.random.default_rng(1)
SIZES = np.array([1.0, 30.0, 0.01])
"""Layers of unlike sizes, so that what is taken over all of them shows."""


def leaf(shape: tuple[int, ...], steps: int = 0) -> Any:
    """Return a stack of layers, or with steps the gradients of one."""
    size = SIZES.reshape(LAYERS, *[1] * len(shape))
    lead = (steps,) if steps else ()
    return jnp.asarray(RNG.standard_normal((*lead, LAYERS, *shape)) * size, jnp.float32)


PARAMS = {name: leaf(shape) for name, shape in SHAPES.items()}
GRADS = {name: leaf(shape, 4) for name, shape in SHAPES.items()}


def unstacked(tree: Any, axis: int = 0) -> Any:
    """Return a tree of layers from a tree of stacks."""
    take = lambda x, i: jnp.take(x, i, axis)  # noqa: E731
    return {n: {f"layer{i}": take(x, i) for i in range(LAYERS)} for n, x in tree.items()}


def stack(tree: Any) -> Any:
    """Return the tree of stacks from a tree of layers, step by step."""
    return {n: jnp.stack([*layers.values()], 1) for n, layers in tree.items()}


def check_alike(make: Any, rtol: float) -> None:
    together, _, _ = run(make(stacked=1), GRADS, PARAMS)
    apart, _, _ = run(make(), unstacked(GRADS, 1), unstacked(PARAMS))
    for name, u in stack(apart).items():
        # of each layer relative to its own size
        scale = jnp.max(jnp.abs(u), axis=tuple(range(2, u.ndim)), keepdims=True)
        np.testing.assert_allclose(together[name] / scale, u / scale, atol=rtol)


@pytest.mark.matrix(keep=4, quick=["lamb", "novograd", "adamh", "mars"])
@pytest.mark.parametrize("member", **by_id(ONE_EACH))
def test_each_layer_steps_as_a_parameter_of_its_own(member: Member) -> None:
    check_alike(member.ours, 2e-6)  # roundings


@pytest.mark.matrix(keep=0, quick=["pair(3)"])
@pytest.mark.parametrize("name", FORMATS)
def test_formats_share_nothing_between_layers(name: str) -> None:
    storage: Any = FORMATS[name]
    if name == "factored()":
        storage = {"nu": ao.storage.factored(2)}
    # The same code at the same dither, and a rounding before it that may change a code by one.
    check_alike(lambda **how: ao.adam(1e-2, storage=storage, **how), 2e-2)


@pytest.mark.quick
def test_a_cautious_direction_takes_the_mean_of_its_own_layer() -> None:
    adam = ao.rules.adam()
    rule = dataclasses.replace(adam, direction=ao.directions.cautious(adam.direction))
    check_alike(lambda **how: ao.optimizer(rule, 1e-2, **how), 2e-6)


@pytest.mark.quick
def test_without_stacked_the_layers_are_mixed() -> None:
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_alike(lambda stacked=0: ao.lamb(1e-2), 1e-2)


@pytest.mark.quick
@pytest.mark.parametrize(
    "stacked",
    [
        {"layers": 2, "head": 0},
        {"layers": {"w": 2}, "head": {"w": 0}},
        lambda path, leaf: 2 if path.startswith("layers/") else 0,
        ao.by_path({"layers/.*": 2, ".*": 0}),
    ],
    ids=["prefix", "tree", "function", "by_path"],
)
def test_two_axes_of_layers_are_named_by_tree_or_path(stacked: Any) -> None:
    params = {"layers": {"w": jnp.ones((2, 3, 4))}, "head": {"w": jnp.ones((3, 4))}}
    state = ao.novograd(1e-2, stacked=stacked).init(params)
    nu = jax.tree.leaves_with_path(ao.read_moments(state)["nu"])
    assert [x.shape for _, x in nu] == [(), (2, 3)]


@pytest.mark.quick
def test_flax_names_the_axis_of_scanned_layers() -> None:
    box: Any = lambda x, *names: nn.Partitioned(x, names=names)  # noqa: E731
    params = {"scanned": box(jnp.ones((3, 2)), "layers", None), "head": box(jnp.ones(2), None)}
    variables = nnx.State(
        {
            "scanned": nnx.Param(
                jnp.ones((3, 2)), out_sharding=("layers", None), eager_sharding=False
            ),
            "head": nnx.Param(jnp.ones(2)),
        }
    )
    for tree in (params, variables):
        tx = ao.novograd(1e-2, stacked="layers")
        state = tx.init(tree)
        _, state = tx.update(tree, state, tree)
        nu = jax.tree.leaves(ao.read_moments(state)["nu"])
        assert [x.shape for x in nu] == [(), (3,)]
    wrong = {"scanned": box(jnp.ones((2, 3)), None, "layers")}
    with pytest.raises(ValueError, match=r"has the axis 'layers' at 1 of .* must be the first"):
        ao.lamb(1e-2, stacked="layers").init(wrong)
    with pytest.raises(ValueError, match="no parameter names an axis 'layers' in its metadata"):
        ao.lamb(1e-2, stacked="layers").init({"w": jnp.ones(2)})


@pytest.mark.quick
@pytest.mark.parametrize(
    ("stacked", "error", "text"),
    [
        (-1, ValueError, "must not be negative"),
        (True, TypeError, "the number of leading axes that are layers"),
        (1.0, TypeError, "the number of leading axes that are layers"),
        (3, ValueError, r"the first 3 axes are layers, but .* have shapes \(2, 3\)"),
        ({"v": 1}, ValueError, "not a prefix of the tree of parameters"),
    ],
)
def test_what_cannot_be_layers_is_refused(stacked: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        ao.lamb(1e-2, stacked=stacked).init({"w": jnp.ones((2, 3))})


@pytest.mark.heavy
def test_watch_reads_each_layer_by_itself() -> None:
    tx = ao.watch(ao.novograd(1e-2, stacked=1))
    state = tx.init(PARAMS)
    for i in range(3):
        _, state = tx.update({n: g[i] for n, g in GRADS.items()}, state, PARAMS)
    assert np.isfinite(ao.watch.read(state)["kernel"]["signal_to_noise"]).all()
