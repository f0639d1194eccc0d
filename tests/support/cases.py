"""One table of all variants: ours, the oracle's and optax's, with the options that each takes."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import optax

import adam_optax as ao
from tests.support import oracle

LEARNING_RATE = 0.01


@dataclasses.dataclass(frozen=True)
class Case:
    """A variant with one set of options.

    Attributes:
        name: the alias in `adam_optax`, and the test's id together with `options`.
        options: keyword arguments of ours and, less those in `ours_only`, of optax's.
        rule: the oracle's class.
        ours_only: options that optax does not have; such a case has no optax witness.
    """

    name: str
    rule: Callable[..., oracle.Rule]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    ours_only: bool = False

    @property
    def id(self) -> str:
        """The name and options, for pytest."""
        return "-".join([self.name, *(f"{n}={v}" for n, v in self.options.items())])

    def ours(self, learning_rate: Any = LEARNING_RATE, **more: Any) -> ao.Transformation:
        """The optimiser of this library."""
        made: ao.Transformation = getattr(ao, self.name)(learning_rate, **{**self.options, **more})
        return made

    def optax(self, learning_rate: Any = LEARNING_RATE, **more: Any) -> Any:
        """The optimiser of optax."""
        return getattr(optax, self.name)(learning_rate, **{**self.options, **more})

    def oracle(
        self, grads: Any, params: Any, learning_rate: Any = LEARNING_RATE, **more: Any
    ) -> dict[str, Any]:
        """The float64 run over one leaf."""
        given = {**self.options, **more}
        decay = given.pop("weight_decay", 1e-4 if self.name.endswith("w") else 0.0)
        return oracle.optimise(self.rule(**given), grads, params, learning_rate, decay)


def _nadam(**options: Any) -> oracle.Rule:
    return oracle.Adam(**{"nesterov": True, **options})


CASES = [
    Case("adam", oracle.Adam),
    Case("adam", oracle.Adam, {"b1": 0.0, "b2": 0.95}),
    Case("adam", oracle.Adam, {"b1": 0.3, "b2": 0.4, "eps": 1e-3}),
    Case("adam", oracle.Adam, {"eps_root": 1e-3, "eps": 0.1}),
    Case("adam", oracle.Adam, {"nesterov": True, "eps_root": 1e-8}),
    Case("adamw", oracle.Adam),
    Case("adamw", oracle.Adam, {"weight_decay": 0.1, "eps_root": 1e-6}),
    Case("nadam", _nadam),
    Case("nadam", _nadam, {"b1": 0.95, "b2": 0.99, "eps": 1e-4}),
    Case("nadamw", _nadam, {"weight_decay": 0.05}),
    Case("amsgrad", oracle.AmsGrad),
    Case("amsgrad", oracle.AmsGrad, {"eps_root": 1e-4, "bias_correction_mu": False}),
    Case("amsgrad", oracle.AmsGrad, {"bias_correction_nu": False}),
    Case("amsgrad", oracle.AmsGrad, {"raw_max": True}, ours_only=True),
    Case("amsgrad", oracle.AmsGrad, {"raw_max": True, "nesterov": True}, ours_only=True),
    Case("amsgrad", oracle.AmsGrad, {"weight_decay": 0.1}, ours_only=True),
    Case("adamax", oracle.AdaMax),
    Case("adamax", oracle.AdaMax, {"b1": 0.8, "b2": 0.9, "eps": 0.01}),
    Case("adamax", oracle.AdaMax, {"nesterov": True}, ours_only=True),
    Case("adamaxw", oracle.AdaMax, {"weight_decay": 0.2}),
]

DEFAULTS = [case for case in CASES if not case.options or case.name in ("nadamw", "adamaxw")]
"""One case per name."""


def by_id(cases: list[Case]) -> dict[str, Any]:
    """Arguments of `pytest.mark.parametrize`."""
    return {"argvalues": cases, "ids": [case.id for case in cases]}


def run(tx: Any, grads: Any, params: Any) -> tuple[Any, Any, Any]:
    """Updates stacked over steps, final parameters and state, as one scan."""

    def body(carry: Any, g: Any) -> Any:
        params, state = carry
        updates, state = tx.update(g, state, params)
        return (optax.apply_updates(params, updates), state), updates

    (params, state), updates = jax.jit(lambda p, s, g: jax.lax.scan(body, (p, s), g))(
        params, tx.init(params), grads
    )
    return updates, params, state


def witness(tx: Any, grads: Any, params: Any) -> Any:
    """The updates of an optax optimiser, which does not run under strict promotion."""
    with jax.numpy_dtype_promotion("standard"):
        return run(tx, grads, params)[0]


def gradients(steps: int, size: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Gradients over six orders of magnitude, with exact zeros among them, exact in float32."""
    rng = np.random.default_rng(seed)
    g = rng.standard_normal((steps, size)) * 10.0 ** rng.uniform(-3, 3, (1, size))
    g[rng.random(g.shape) < 0.1] = 0.0
    return g.astype(np.float32).astype(np.float64)
