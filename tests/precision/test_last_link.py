"""A link whose updates must be those that are applied refuses to be anywhere but last."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import adam_optax as ao
from tests.support.precision import LINKS, apply, float32

P = {"w": jnp.ones(3, jnp.bfloat16)}
G = {"w": jnp.ones(3, jnp.float32)}
LAST = LINKS | {"temporal_average": ao.temporal_average}
EACH = pytest.mark.parametrize("name", LAST)


def stranger(factor: float) -> Any:
    """Return a link of the user's own."""

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return jax.tree.map(lambda u: factor * u, updates), state

    return optax.GradientTransformation(lambda params: (), update)


MISPLACED: dict[str, Any] = {
    "adamw of ours": lambda link: optax.chain(link, ao.adamw(1e-3)),
    "adamw of optax": lambda link: optax.chain(link, optax.adamw(1e-3)),
    "in the middle": lambda link: optax.chain(ao.scale_by_adam(), link, optax.scale(-1e-3)),
    "in a chain in a chain": lambda link: optax.chain(
        optax.chain(ao.scale_by_adam(), link), optax.scale_by_learning_rate(1e-3)
    ),
    "named": lambda link: optax.named_chain(("link", link), ("adam", ao.adam(1e-3))),
    "masked": lambda link: optax.chain(optax.masked(link, {"w": True}), ao.adam(1e-3)),
    "in a group": lambda link: optax.chain(
        optax.partition({"all": link}, {"w": "all"}), optax.adam(1e-3)
    ),
    "injected": lambda link: optax.chain(link, optax.inject_hyperparams(optax.adam)(1e-3)),
    "frozen afterwards": lambda link: optax.chain(
        ao.adam(1e-3), link, optax.masked(optax.set_to_zero(), {"w": True})
    ),
    "under MultiSteps": lambda link: optax.MultiSteps(
        optax.chain(link, ao.adam(1e-3)), 2
    ).gradient_transformation(),
}
PLACED: dict[str, Any] = {
    "alone": lambda link: link,
    "last": lambda link: optax.chain(optax.clip(1.0), optax.adamw(1e-3), link),
    "last of the last": lambda link: optax.chain(
        ao.adam(1e-3), optax.chain(optax.identity(), link)
    ),
    "before identity": lambda link: optax.chain(ao.adam(1e-3), link, optax.identity()),
    "before the average": lambda link: optax.chain(ao.adam(1e-3), link, ao.temporal_average()),
    "before a link": lambda link: optax.chain(ao.adam(1e-3), link, ao.precision.kahan()),
    "in a group": lambda link: optax.partition(
        {"low": optax.chain(ao.adam(1e-3), link), "frozen": optax.set_to_zero()}, {"w": "low"}
    ),
    "watched": lambda link: ao.watch(optax.chain(ao.adam(1e-3), link)),
    "injected": lambda link: optax.inject_hyperparams(
        lambda rate: optax.chain(ao.adam(rate), link)
    )(1e-3),
}
WAYS: dict[str, Any] = {
    "update": lambda tx: tx.update(G, tx.init(P), P),
    "jit": lambda tx: jax.jit(tx.update)(G, tx.init(P), P),
    "step": lambda tx: ao.step(tx, G, tx.init(P), P),
}


@pytest.mark.parametrize("way", WAYS)
@EACH
@pytest.mark.parametrize("chain", MISPLACED)
@pytest.mark.matrix(keep=len(MISPLACED))
def test_a_chain_that_changes_its_updates_afterwards_is_refused(
    chain: str, name: str, way: str
) -> None:
    with (
        jax.numpy_dtype_promotion("standard"),  # optax mixes dtypes
        pytest.raises(ValueError, match=f"{name} must be the last link of its chain, because its"),
    ):
        WAYS[way](MISPLACED[chain](LAST[name]()))


@pytest.mark.quick
def test_the_error_names_what_follows_and_what_to_write() -> None:
    tx = optax.chain(ao.precision.kahan(), optax.adamw(1e-3))
    text = (
        "kahan must be the last link of its chain, because its updates are those that are applied, "
        "but here scale_by_adam, add_decayed_weights, scale changes them afterwards: write "
        r"optax.chain\(..., kahan\(...\)\)"
    )
    with pytest.raises(ValueError, match=text):
        tx.update(G, tx.init(P), P)


@pytest.mark.parametrize("way", WAYS)
@EACH
@pytest.mark.parametrize("chain", PLACED)
@pytest.mark.matrix(keep=len(PLACED))
def test_a_link_that_is_last_or_before_what_passes_updates_on_is_run(
    chain: str, name: str, way: str
) -> None:
    with jax.numpy_dtype_promotion("standard"):
        WAYS[way](PLACED[chain](LAST[name]()))


@pytest.mark.quick
@pytest.mark.parametrize("way", WAYS)
@EACH
def test_a_stranger_after_the_link_gives_a_warning(name: str, way: str) -> None:
    tx = optax.chain(ao.sgd(1.0), LAST[name](), stranger(1.0))
    unknown = optax.chain(LAST[name](), optax.stateless(lambda u, _: u))
    for chain in (tx, unknown):
        with (
            jax.numpy_dtype_promotion("standard"),
            pytest.warns(UserWarning, match=f"{name} should be the last link of its chain: if"),
        ):
            WAYS[way](chain)


def test_a_chain_around_the_training_is_not_a_chain_around_the_link() -> None:
    """A transformation may train something else while it updates."""
    inner = optax.chain(ao.sgd(1e-3), ao.precision.kahan())

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        found, _ = inner.update(G, inner.init(P), P)
        moved = apply(P, found)
        return jax.tree.map(lambda u, m: u * jnp.mean(float32(m)), updates, moved), state

    outer = optax.chain(optax.GradientTransformation(lambda params: (), update), ao.adam(1e-3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outer.update(G, outer.init(P), P)
