"""Exact rows beside float64, and no further from it than the dense optimiser in float32."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from adam_optax import rows
from tests import oracle
from tests.rows.worlds import World, by_optax, by_oracle, by_rows, kinked, rms, world


class Config(NamedTuple):
    """An optimiser of rows, the oracle's class, and the numbers that both take."""

    name: str
    rule: Any
    options: Mapping[str, Any] = {}  # noqa: RUF012
    own: Mapping[str, Any] = {}  # noqa: RUF012

    @property
    def id(self) -> str:
        """For pytest."""
        return "-".join([self.name, *(f"{n}={v}" for n, v in self.options.items())])

    def errors(self, given: World, rate: Any) -> tuple[float, float]:
        """Root mean square errors of exact rows and of dense optax."""
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
    (b1, b2)
    for b1 in (0.0, 0.9, 0.95, 0.99)
    for b2 in (0.9, 0.95, 0.99, 0.999, 0.9999)
    if b1 < math.sqrt(b2)
]


@pytest.mark.parametrize("config", CONFIGS, ids=[c.id for c in CONFIGS])
def test_no_further_from_float64_than_the_dense_optimiser(config: Config) -> None:
    ours, theirs = config.errors(world(), kinked)
    assert ours <= theirs
    assert ours < 3e-7  # a few roundings of parameters of size 1


if __name__ == "__main__":
    import sys
    import time
    w = world(1500, 100, 8, 24)
    for c in CONFIGS:
        t=time.time(); print(c.id, *c.errors(w, kinked), time.time()-t, flush=True)
    for b1, b2 in BETAS:
        for eps in (1e-16, 1e-8, 1e-3):
            t=time.time()
            a,b= Config("adam", oracle.Adam, dict(b1=b1, b2=b2, eps=eps)).errors(w, kinked)
            print(b1,b2,eps,a,b,a/b, time.time()-t, "XXX" if a>b else "", flush=True)
