"""Optimisers are made by name as by their functions, and a near miss is told from a hit."""

from typing import Any

import chex
import jax.numpy as jnp
import pytest

import adam_optax as ao
from adam_optax.conventions import scheduled_nadam
from tests.alias.test_signatures import ALIASES


@pytest.mark.quick
def test_all_optimisers_are_available_with_a_line_each() -> None:
    found = ao.available()
    assert [*found] == sorted(n for n in ALIASES if not n.startswith(("scale_by_", "temporal_")))
    assert scheduled_nadam.__name__ not in found  # of a framework, not of the top level
    for line in found.values():
        assert line[0].isupper()
        assert line.endswith(".")
        assert len(line) < 90
    found.clear()  # the caller's own
    assert ao.available()


@pytest.mark.quick
def test_what_is_made_by_name_is_what_its_function_makes() -> None:
    config: dict[str, Any] = {"name": "adamw", "learning_rate": 0.1, "b2": 0.95, "nesterov": True}
    made = ao.create(**config, storage=ao.storage.pair())
    direct = ao.adamw(0.1, b2=0.95, nesterov=True, storage=ao.storage.pair())
    assert repr(made) == repr(direct)
    p = jnp.linspace(-1, 1, 7)
    chex.assert_trees_all_equal(
        made.update(p, made.init(p), p), direct.update(p, direct.init(p), p)
    )
    for name in ao.available():
        assert repr(ao.create(name, learning_rate=0.1)).startswith(f"{name}(learning_rate=0.1")


def raised(error: type[Exception], **config: Any) -> str:
    with pytest.raises(error) as found:
        ao.create(**config)
    return str(found.value)


@pytest.mark.quick
def test_a_near_miss_says_what_was_meant() -> None:
    rate = {"learning_rate": 0.1}
    assert raised(ValueError, name="AdamW", **rate) == (
        "no optimiser is called 'AdamW', did you mean adamw? ao.available() lists all"
    )
    assert raised(ValueError, name="lino", **rate).startswith(
        "no optimiser is called 'lino', did you mean lion?"
    )
    assert raised(ValueError, name="muon", **rate) == (
        "no optimiser is called 'muon'; ao.available() lists all"
    )
    assert "adamw takes no 'lr', which is learning_rate here; it takes" in raised(
        TypeError, name="adamw", lr=0.1
    )
    assert raised(TypeError, name="adamw") == "create('adamw') needs learning_rate"
    assert "learning_rate must be a number" in raised(TypeError, name="adamw", learning_rate="1e-3")


MEANT = {
    "weight_deacy": "adamw takes no 'weight_deacy', did you mean weight_decay? it takes learning",
    "wd": "adamw takes no 'wd', which is weight_decay here; it takes",
    "weight_decay_mask": "adamw takes no 'weight_decay_mask', which is mask here; it takes",
    "use_ema": "adamw takes no 'use_ema', which is the link temporal_average here; it takes",
    "fused": "adamw takes no 'fused'; it takes",
}


@pytest.mark.quick
@pytest.mark.parametrize("argument", MEANT)
def test_a_slip_and_a_name_from_elsewhere_are_told_apart(argument: str) -> None:
    with pytest.raises(TypeError) as found:
        ao.adamw(1e-3, **{argument: 0.1})  # type: ignore[arg-type]
    assert str(found.value).startswith(MEANT[argument])


@pytest.mark.quick
@pytest.mark.parametrize(
    ("given", "write"), [("bfloat16", "dense('bfloat16')"), ("int8", "int8()")]
)
def test_a_dtype_or_a_format_by_its_name_says_what_to_write(given: Any, write: str) -> None:
    with pytest.raises(TypeError) as found:
        ao.adamw(1e-3, storage=given)
    assert str(found.value).endswith(f"write storage=adam_optax.storage.{write}")
