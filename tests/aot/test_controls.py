"""Check that the checks of compiled steps see each mistake, by the number that it changes."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import adam_optax as ao
from adam_optax.aot import Compiled
from adam_optax.storage import Format
from tests.aot.compiled import SHAPES, SMALL, measured, shapes, size, spread
from tests.aot.test_update import GPU, LEAST, one_pass

pytestmark = pytest.mark.heavy
EACH = pytest.mark.parametrize("target", ["v5e", "h100"])


def refused(found: Compiled, least: float = 28.0) -> None:
    """Check that a faulty step fails the check that the real steps pass."""
    with pytest.raises(AssertionError):
        one_pass(found, GPU["float32"], least)


@functools.cache
def adam(target: str, **how: Any) -> Compiled:
    return measured(target, ao.adam(1e-3), **how)


@EACH
def test_without_donation_all_is_copied(target: str) -> None:
    found = adam(target, donate=False)
    assert found.copied >= 12 * size(SMALL)
    assert found.moved < 28.1  # the bytes moved do not tell
    refused(found)


@EACH
def test_a_flattened_tree_moves_everything_again(target: str) -> None:
    found = measured(target, optax.flatten(ao.adam(1e-3)), shapes(SHAPES))
    assert found.moved > 40.0
    refused(found)


@EACH
def test_moments_made_wider_are_seen(target: str) -> None:
    """Try a format that claims sixteen bits and keeps thirty-two."""

    class Wide(Format):
        def encode(self, values: Any, context: Any) -> dict[str, Any]:
            (m,) = values
            return {"": m.astype(jnp.bfloat16).astype(jnp.float32)}

        def decode(self, encoded: Any, context: Any) -> Any:
            return (encoded[""],)

    found = measured(target, ao.adam(1e-3, storage=Wide()))
    assert found.moved > GPU["stochastic"].bytes
    with pytest.raises(AssertionError):
        one_pass(found, GPU["stochastic"], LEAST["stochastic"])


@EACH
def test_a_state_that_grows_is_not_in_place(target: str) -> None:
    """Return moments in another dtype, which cannot take the place of the old ones."""
    tx = ao.adam(1e-3, mu_dtype="bfloat16")

    def update(grads: Any, state: Any, params: Any) -> Any:
        updates, state = tx.update(grads, state, params)
        widen = lambda x: x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x  # noqa: E731
        return updates, jax.tree.map(widen, state)

    found = measured(target, optax.GradientTransformation(tx.init, update))
    assert found.copied >= 2 * size(SMALL)  # what takes no other wide array's place
    refused(found, 24.0)


@EACH
def test_two_passes_are_seen(target: str) -> None:
    twice = optax.chain(ao.clip_by_global_norm(1.0), ao.adam(1e-3))
    found = measured(target, twice, shapes(SHAPES))
    assert found.moved > 29.0  # the gradients once more, but for what stays on the chip
    assert found.moved < 32.1
    refused(found)


@EACH
def test_a_state_apart_from_its_parameters_is_gathered(target: str) -> None:
    """Shard gradients otherwise than parameters: the devices communicate, which is counted."""
    kinds: list[Any] = [jax.sharding.PartitionSpec(None, "x"), spread]

    def mixed(leaf: Any) -> Any:
        turned = leaf.shape and leaf.shape[1] % 16 == 0 and leaf.shape[1] > 256
        return kinds[0] if turned else spread(leaf)

    tx = ao.adam(1e-3)
    across = optax.GradientTransformation(
        tx.init, lambda g, s, p: tx.update(jax.tree.map(jnp.flip, g), s, p)
    )
    assert measured(target, across, spec=mixed).collectives
    assert not measured(target, tx, spec=mixed).collectives
