"""What the table of all frameworks says is what their optimisers do."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao
from adam_optax import conventions
from adam_optax.conventions import ALL
from adam_optax.conventions import _table as table
from adam_optax.conventions._table import Row, rows
from tests.support.cases import run

ROWS = rows()
FORMS = [*{(r.optimizer, r.beside, r.corrected, r.maximum): r for r in reversed(ROWS)}.values()]
"""A row for each form of each optimiser; other rows of the form differ in numbers alone."""


QUICK = ["TensorFlow 1-adam", "BERT-uncorrected_adam"]


def each(found: Sequence[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "row", found, ids=[f"{r.framework}-{r.optimizer}" for r in found]
    )


# A few dozen roundings of 1.1e-16, and 1 - b^t of .001.
ROUNDING = 1e-12
EPS_IS_NOTHING = 3e-5
"""The epsilons, at most 1e-6, shorten the fifth step of gradients of 1 by 1.4e-5 at most."""


def convention_of(row: Row) -> Any:
    (found,) = [c for c in ALL if c.name == row.framework]
    return found


def steps(row: Row, grads: Any) -> Any:
    """Return the steps at a learning rate of 1, without decay."""
    options = dict(convention_of(row).options[row.optimizer])
    if "weight_decay" in options:
        options["weight_decay"] = 0.0
    if "dtype_momentum" in options:
        options["dtype_momentum"] = jnp.float64
    make = getattr(ao, row.optimizer, None) or getattr(conventions, row.optimizer)
    grads = jnp.float64(grads)
    updates, _, _ = run(make(1.0, **options), grads, jnp.zeros(grads.shape[1:], jnp.float64))
    return -np.asarray(updates)


@functools.cache
def path(row: Row) -> tuple[float, Any]:
    """Return a gradient near eps, and 40 steps of it and of a gradient of 1, side by side."""
    eps = row.eps or 1e-8
    g = math.sqrt(eps) if row.beside in (table.SQUARE, table.AVERAGE) else eps
    return g, steps(row, np.tile([g, 1.0], (40, 1)))


@pytest.mark.quick
def test_there_is_a_row_for_every_optimiser() -> None:
    assert [(r.framework, r.optimizer) for r in ROWS] == [
        (c.name, name) for c in ALL for name in c.options
    ]
    assert all(len(table.cells(row)) == len(table.HEADINGS) for row in ROWS)
    assert table.MEANINGS.keys() <= {*table.HEADINGS}


def test_the_numbers_are_the_data() -> None:
    names = {"b1": ("b1", "momentum"), "b2": ("b2", "b2_cap", "rho")}
    for row in ROWS:
        convention = convention_of(row)
        options = convention.options[row.optimizer]
        told = {"b1": row.b1, "b2": row.b2, "eps": row.eps, "weight_decay": row.weight_decay}
        for name, number in told.items():
            given = [options[n] for n in names.get(name, (name,)) if n in options]
            assert given == ([] if number is None else [number]), row
        rate = convention.rates.get(row.optimizer, convention.learning_rate)
        assert row.learning_rate == rate, row


def shared(row: Row, g: float, t: int) -> float:
    """Return which share of a step is left at step t of a gradient g that stays, beside eps."""
    eps, b2 = row.eps or 0.0, row.b2 or 0.0
    root = math.sqrt(-math.expm1(t * math.log(b2)))
    return {
        table.HAT: g / (g + eps),
        table.RAW: root * g / (root * g + eps),
        table.NORM: g / (g + eps),
        table.GRADIENT: g / (g + eps),
        table.SQUARE: g / math.sqrt(g * g + eps),
        table.AVERAGE: root * g / math.sqrt(root * root * g * g + eps),
        "": 1.0,
    }[row.beside]


@pytest.mark.matrix(keep=4, quick=QUICK)
@each(FORMS)
def test_eps_is_where_the_table_says(row: Row, x64: None) -> None:
    t = 40 if row.optimizer == "radam" else 1  # whose first steps have no denominator
    g, found = path(row)
    small, large = found[t - 1]
    expected = shared(row, g, t) / shared(row, 1.0, t)
    assert small / large == pytest.approx(expected, rel=ROUNDING)


@each([r for r in FORMS if r.beside in (table.NORM, table.GRADIENT)])
def test_eps_is_in_adamaxs_maximum_or_not(row: Row, x64: None) -> None:
    eps, b1, b2 = row.eps, row.b1, row.b2
    assert eps
    assert b1
    assert b2
    first, second = steps(row, np.array([[eps], [0.0]]))[:, 0]
    mean = b1 * (1 - b1) * eps / (1 - b1**2)
    norm = b2 * eps + eps if row.beside == table.NORM else b2 * (eps + eps)
    assert first == pytest.approx(0.5, rel=ROUNDING)
    assert second == pytest.approx(mean / norm, rel=ROUNDING)


WITHOUT_A_PLAIN_STEP = {"adadelta", "nadam", "nadamw", "scheduled_nadam", "simplified_nadam"}
"""Optimisers whose step of a constant gradient is not the gradient's sign, corrected or not."""


@pytest.mark.matrix(keep=4, quick=QUICK)
@each([r for r in FORMS if r.optimizer not in WITHOUT_A_PLAIN_STEP])
def test_what_is_corrected_is_what_the_table_says(row: Row, x64: None) -> None:
    t, b1, b2 = 5, row.b1 or 0.0, row.b2 or 0.0
    mean, root = 1 - b1**t, math.sqrt(1 - b2**t)
    expected = {
        table.BOTH: 1.0,
        table.MEAN: 1.0,
        table.SECOND: mean,
        table.FIRST_STEP: math.sqrt(1 - b2) / (1 - b1) * mean / root,
        table.NEITHER: mean / root,
    }[row.corrected]
    if row.optimizer == "capped_adafactor":  # its first average is the first square
        expected = mean
    if row.optimizer == "lion":  # a sign has no size to be corrected
        expected = 1.0
    _, found = path(row)
    assert found[t - 1, 1] == pytest.approx(expected, rel=EPS_IS_NOTHING)


@each([r for r in FORMS if r.optimizer == "amsgrad"])
def test_the_maximum_is_of_what_the_table_says(row: Row, x64: None) -> None:
    # A large gradient, then none: nu / (1 - b2^t) falls at once, nu little.
    size = steps(row, np.array([[1.0], [0.0]]))[1, 0]
    b1, b2 = row.b1 or 0.0, row.b2 or 0.0
    mean = b1 * (1 - b1) / (1 - b1**2)
    top = 1.0 if row.maximum == "ν̂" else (1 - b2) / (1 - b2**2)
    assert size == pytest.approx(mean / math.sqrt(top), rel=EPS_IS_NOTHING)


def test_a_decay_that_is_not_times_the_rate_is_written_without_it() -> None:
    written = {(r.framework, r.optimizer): table.cells(r)[-2] for r in ROWS}
    assert written["Chainer", "adamw"] == "0"
    assert written["DeepSpeed", "adamw"] == "0 α"
    assert written["PyTorch", "adamw"] == "1e-2 α"
    assert written["PyTorch", "adam"] == ""
