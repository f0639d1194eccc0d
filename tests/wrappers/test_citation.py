"""Find the parts of an optimiser through optax's wrappers, cite their papers, read their state."""

import inspect
import re
from typing import Any

import jax.numpy as jnp
import optax
import pytest

import adam_optax as ao
from adam_optax._wrappers.citation import (
    DECAY_PAPERS,
    OPTION_PAPERS,
    PAPERS,
    bibtex_entries,
)


def _keys(tx: Any) -> list[str]:
    """Return the BibTeX keys in the citation of a transformation."""
    return re.findall(r"@\w+\{(\w+),", ao.citation(tx))


@pytest.mark.quick
def test_every_link_is_cited_once_in_order() -> None:
    coupling = ao.couplings.cautious(ao.couplings.corrected(1e-3))
    adamw = ao.nadamw(1e-3, coupling=coupling, storage={"nu": ao.storage.factored()})
    tx = optax.chain(ao.clip_by_global_norm(1.0), adamw, ao.temporal_average())
    assert _keys(tx) == [
        "pascanu2013difficulty",
        "kingma2015adam",
        "dozat2016incorporating",
        "shazeer2018adafactor",
        "loshchilov2019decoupled",
        "defazio2025gradients",
        "chen2025cautious",
    ]


def _optimisers() -> list[str]:
    """Return the public functions that take a learning rate first."""
    functions = {name: getattr(ao, name) for name in ao.__all__}
    functions = {name: f for name, f in functions.items() if inspect.isroutine(f)}
    first = {name: next(iter(inspect.signature(f).parameters), "") for name, f in functions.items()}
    return sorted(name for name in first if first[name] == "learning_rate")


@pytest.mark.parametrize("name", _optimisers())
def test_every_optimiser_has_a_paper(name: str) -> None:
    assert _keys(getattr(ao, name)(1e-3))


WRAPPERS = {
    "chain": lambda tx: optax.chain(optax.identity(), tx),
    "named chain": lambda tx: optax.named_chain(("adam", tx)),
    "masked": lambda tx: optax.masked(tx, {"w": True}),
    "partition": lambda tx: optax.partition({"a": tx, "b": optax.sgd(1.0)}, {"w": "a"}),
    "multi steps": lambda tx: optax.MultiSteps(tx, 2).gradient_transformation(),
    "apply if finite": lambda tx: optax.apply_if_finite(tx, 3),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_wrappers_hide_nothing(wrap: Any) -> None:
    assert _keys(wrap(ao.lion(1e-3, weight_decay=None))) == ["chen2023symbolic"]


def test_a_rule_of_ones_own_is_a_comment() -> None:
    tx = ao.scale_by(ao.Rule({"mu": ao.moments.ema(0.9)}, lambda x: x.hat["mu"]))
    assert ao.citation(tx) == "% this rule: no paper"


def test_nothing_to_cite_says_where_to_look() -> None:
    for tx in (optax.sgd(1.0), optax.inject_hyperparams(ao.adam)(1e-3)):
        with pytest.raises(ValueError, match="cite the optimiser that it is given"):
            ao.citation(tx)


def test_every_paper_is_used_and_well_formed() -> None:
    used = {*OPTION_PAPERS.values(), *DECAY_PAPERS.values()}.union(*PAPERS.values())
    assert used == bibtex_entries().keys()
    for key, entry in bibtex_entries().items():
        assert re.match(r"@\w+\{" + key + ",\n", entry)
        assert entry.endswith("\n}")
        assert entry.count("{") == entry.count("}")
        assert all(f"  {field} = " in entry for field in ("author", "title", "year"))


@pytest.mark.quick
def test_moments_are_read_through_the_optimiser_that_keeps_them() -> None:
    params = {"w": jnp.ones((3, 4)), "b": jnp.ones(4)}
    adam = ao.adam(1e-3, storage={"nu": ao.storage.factored(2)})
    tx = optax.chain(ao.clip_by_global_norm(9.0), adam, ao.temporal_average())
    _, state = tx.update(params, tx.init(params), params)
    moments = ao.read_moments(state, tx, params)
    assert sorted(moments) == ["average", "mu", "nu"]
    assert moments["nu"]["w"].shape == (3, 4)
    assert jnp.allclose(moments["nu"]["w"], 1e-3)  # of a constant, rank one is exact
    with pytest.raises(ValueError, match=r"read_moments\(state, tx, params\)"):
        ao.read_moments(state, tx)
    with pytest.raises(ValueError, match="nothing in tx keeps average"):
        ao.read_moments(state, optax.chain(adam), params)
