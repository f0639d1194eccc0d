"""Hold exact rows to float64: no further from it than the dense optimiser in float32."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from adam_optax import rows
from tests.rows.worlds import World, by_optax, by_oracle, by_rows, kinked, rms, world
from tests.support import oracle


class Config(NamedTuple):
    """Name an optimiser of rows, the oracle's class, and the numbers that both take."""

    name: str
    rule: Any
    options: Mapping[str, Any] = {}
    own: Mapping[str, Any] = {}

    @property
    def id(self) -> str:
        """Return the name of the case for pytest."""
        return "-".join([self.name, *(f"{n}={v}" for n, v in self.options.items())])

    def errors(self, given: World, rate: Any) -> tuple[float, float]:
        """Return the root mean square errors of exact rows and of dense optax."""
        options = dict(self.options)
        ours, _ = rows_of(self, rate).materialize(by_rows(rows_of(self, rate), given))
        decay = options.pop("weight_decay", 0.0)
        right = by_oracle(self.rule(**options), given, rate, decay)
        theirs, _ = by_optax(getattr(optax, self.name)(rate, **self.options, **self.own), given)
        assert np.all(np.isfinite(ours) | ~np.isfinite(theirs))
        return rms(ours, right), rms(theirs, right)


def rows_of(config: Config, rate: Any) -> rows.RowOptimizer:
    found = getattr(rows, config.name)(rate, **config.options)
    assert isinstance(found, rows.RowOptimizer)
    return found


def nadam(**options: Any) -> Any:
    return oracle.Adam(nesterov=True, **options)


CONFIGS = [
    Config("adam", oracle.Adam),
    Config("adam", oracle.Adam, {"eps_root": 1e-6}),
    Config("adam", oracle.Adam, {"b1": 0.0}),
    Config("adam", oracle.Adam, {"b1": 0.3, "b2": 0.4}),  # summed term by term
    Config("adamw", oracle.Adam, {"weight_decay": 0.1}),
    Config("nadam", nadam),
    Config("nadamw", nadam, {"weight_decay": 0.01}),
    Config("amsgrad", oracle.AmsGrad),
]
BETAS = [
    (b1, b2, eps)
    for i, b1 in enumerate((0.0, 0.9, 0.95, 0.99))
    for j, b2 in enumerate((0.9, 0.95, 0.99, 0.999, 0.9999))
    for k, eps in enumerate((1e-16, 1e-8, 1e-3))
    if b1 < math.sqrt(b2) and ((i + j - k) % 3 == 0 or (b1, b2) == (0.9, 0.999))
]


SOME = ("adam",)
"""Cases that run by default; the others take a second or two each to compile."""


def _marked(config: Config) -> Any:
    marks = () if config.id in SOME else pytest.mark.heavy
    return pytest.param(config, id=config.id, marks=marks)


@pytest.mark.matrix(keep=0)
@pytest.mark.parametrize("config", [_marked(c) for c in CONFIGS])
def test_no_further_from_float64_than_the_dense_optimiser(config: Config) -> None:
    ours, theirs = config.errors(world(), kinked)
    assert ours <= theirs
    assert ours < 2e-7  # a few roundings of parameters of size 1


@pytest.mark.heavy
@pytest.mark.parametrize(("b1", "b2", "eps"), BETAS)
def test_every_pair_of_decay_rates(b1: float, b2: float, eps: float) -> None:
    config = Config("adam", oracle.Adam, {"b1": b1, "b2": b2, "eps": eps})
    ours, theirs = config.errors(world(1500, 100, 8, 24), kinked)
    # Without b1 nothing drifts, and both round the same steps: neither is better by more than luck.
    assert ours <= theirs * (1.1 if b1 == 0 else 1.0)


@pytest.fixture(scope="module")
def settled() -> tuple[Any, Any]:
    """Return an optimiser, and its state after 100 steps."""
    tx = rows.adam(kinked)
    return tx, by_rows(tx, world(100))


@pytest.mark.matrix(keep=2, quick=["1"])
@pytest.mark.parametrize("gap", [1, 2, 10, 100, 10**3, 10**6])
def test_a_row_after_a_gap_is_where_its_steps_would_have_led(settled: Any, gap: int) -> None:
    tx, state = settled
    table, dense = tx.materialize(state)
    later, decayed = tx.materialize(state._replace(count=state.count + gap))
    age = np.arange(1.0, min(gap, 2000) + 1)[:, None, None]  # then .9^age is 1e-92
    rate = np.asarray(jax.vmap(kinked)(jnp.arange(100, 100 + len(age))), np.float64)
    rate = rate[:, None, None]
    mu = 0.9**age * np.float64(dense.mu) / (1 - 0.9 ** (100 + age))
    nu = 0.999**age * np.float64(dense.nu) / (1 - 0.999 ** (100 + age))
    right = table - np.sum(rate * mu / (np.sqrt(nu) + 1e-8), 0)
    # Roundings of the two readings, each of up to 4e-7 of a drift below 0.1, and of the table.
    np.testing.assert_allclose(later, right, atol=2e-7)
    fades = 0.999**gap * np.float64(dense.nu)
    # The least number over 1 - b2 is 1.2e-35: there the dense nu stops, too.
    np.testing.assert_allclose(decayed.nu, fades, rtol=5e-7, atol=1.2e-35)


@pytest.mark.heavy
@pytest.mark.usefixtures("x64")
def test_in_float64_the_closed_form_is_exact() -> None:
    given = world(60)
    tx = rows.adamw(1e-2, weight_decay=0.1)
    found, _ = tx.materialize(by_rows(tx, given, jnp.float64))
    np.testing.assert_allclose(found, by_oracle(oracle.Adam(), given, 1e-2, 0.1), atol=1e-13)


@pytest.mark.heavy
def test_never_nan_where_the_dense_optimiser_is_finite() -> None:
    given = world(100)
    wild = given.grads.copy()
    wild[3, :, 0], wild[40, :, 1], wild[50] = 1e25, 1e-30, 0.0  # overflowing, vanishing, none
    given = given._replace(grads=wild)
    choices: list[dict[str, Any]] = [{}, {"eps": 0.0}, {"eps": 1e-16, "b2": 0.95}]
    for options in choices:
        tx = rows.adam(1e-2, **options)
        found, _ = tx.materialize(by_rows(tx, given))
        dense, _ = by_optax(ao.adam(1e-2, **options), given)
        assert np.all(np.isfinite(dense))
        np.testing.assert_allclose(found, dense, atol=1e-5)  # some 100 roundings of the dense table
