"""Fold micro-batches into the moments, so that no gradient is accumulated beside them."""

import functools as ft
import inspect
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from adam_optax._alias._unknown import explain
from adam_optax._core import checks
from adam_optax._core.by_path import FROZEN, ByPath
from adam_optax._core.types import Schedule
from adam_optax._engine.tree import Engine
from adam_optax._optax_interop import find_tags
from adam_optax._transform import Transformation, named

FOLDED = ("adam", "lamb")
"""The rules whose step reads averages of the gradient and of its square, and nothing else."""


def fold_micro_batches(
    optimizer: Callable[..., Transformation], k: int, /, **arguments: Any
) -> Transformation:
    """Build an optimiser that takes a step at every `k`-th gradient, and keeps no sum of gradients.

    Take it where a batch does not fit, and neither does the sum of its micro-batches' gradients
    beside the moments: each gradient goes into `mu` and `nu` at once, which saves 4 bytes for each
    parameter. Each `k`-th call returns the step's update; the other calls return zeros. The exact
    way, with that sum, is `optax.MultiSteps(tx, k)`, or a scan in the step.

    Step: after `k` gradients, `μ = b1 μ + (1-b1) mean(g_i)` and `ν = b2 ν + (1-b2) mean(|g_i|²)`,
    then the optimiser's step.

    `mu` is that of the whole batch. `nu` is not: it has the mean of the squares of the gradients,
    where the batch has the square of their mean, and `mean(|g_i|²) = |mean(g_i)|² + var(g_i)`. So
    `nu` is larger by the average variance (divided by `k`) of the micro-batches' gradients, and
    steps are shorter: hardly shorter where the gradients agree, and up to `sqrt(k)` times shorter
    where they are noise. (AdamA, Zhang et al. 2023, sums `|g_i / k|²`, a `k`-th of this: take
    `sqrt(k)` times the learning rate, and `sqrt(k)` times `eps`.)

    How: an average whose rate at the `i`-th of `k` gradients is `1 - c / (1 - (k - i) c)`, with
    `c = (1-b) / k`, has kept `b` of its past after the `k`-th gradient, and has taken `c` of each.
    The optimiser corrects for rates that change, in any storage format.

    Args:
        optimizer: `ao.adam`, `ao.adamw` or `ao.lamb`, whose step reads the two averages alone.
        k: how many gradients there are for a step, at least 1.
        **arguments: those of `optimizer`. Schedules count steps, not gradients.

    Returns:
        The optimiser. Its counts are of gradients: `k` for each step.

    Raises:
        TypeError: if `k` is no integer; if the optimiser does not take an argument.
        ValueError: if `k` is less than 1, or the optimiser's step reads more than two averages
            (`nesterov`, and other optimisers).

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> tx = ao.fold_micro_batches(ao.adamw, 2, learning_rate=0.1, weight_decay=0.0)
        >>> params = jnp.ones(3)
        >>> state = tx.init(params)
        >>> for micro_batch in (1.0, 3.0):
        ...     params, state = ao.step(tx, jnp.full(3, micro_batch), state, params)
        >>> print(f"{params[0]:.4f}")  # 1 - 0.1 * 2 / sqrt((1 + 9) / 2)
        0.9106

    References:
        Zhang et al., [Adam Accumulation to Reduce Memory Footprints of both Activations and
        Gradients for Large-scale DNN Training](https://arxiv.org/abs/2305.19982), 2023.
    """
    if isinstance(k, bool) or not isinstance(k, int):
        raise TypeError(f"k must be an integer, not {k!r}")
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}: that many gradients make a step")
    parameters = inspect.signature(optimizer).parameters
    name = getattr(optimizer, "__name__", "this optimiser")
    for argument in arguments:
        if argument not in parameters:
            raise TypeError(explain(name, argument, list(parameters)))
    _check(name, optimizer(**arguments))
    defaults = {n: p.default for n, p in parameters.items() if p.default is not p.empty}
    folded = dict(arguments)
    for n in {*MADE, *arguments} & {*parameters}:
        value = arguments.get(n, defaults.get(n))
        make = MADE.get(n, _per_step if n in COUNTED else None)
        if make is not None and value is not None:
            folded[n] = _map(value, ft.partial(make, n, k=k))
    tx = optimizer(**folded)
    return named(tx, "fold_micro_batches", optimizer=optimizer, k=k, **arguments)


def _check(name: str, tx: Transformation) -> None:
    """Refuse an optimiser whose step reads more than averages of the gradient and its square."""
    engines = [part for part in find_tags(tx) if isinstance(part, Engine)]
    rules = [engine.rule for engine in engines]
    if len(rules) == 1 and rules[0].name in FOLDED:
        origin = rules[0].origin
        if origin is not None and not origin.hyperparams.get("nesterov", False):
            return
    raise ValueError(
        f"fold_micro_batches takes adam, adamw or lamb without nesterov, not {name}: each gradient "
        "may enter averages alone; for others take optax.MultiSteps"
    )


def _map(value: Any, f: Callable[[Any], Any]) -> Any:
    return (
        value.map(lambda v: v if v is FROZEN else f(v)) if isinstance(value, ByPath) else f(value)
    )


def _per_step(name: str, value: Any, k: int) -> Any:
    """Return a schedule of gradients for a schedule of steps."""
    del name
    return (lambda count: value(count // k)) if callable(value) else value


def _folded_rate(name: str, b: Any, k: int) -> Schedule:
    """Return the rates by which `k` gradients enter an average, each with a share `(1-b) / k`."""
    later = np.arange(k - 1.0, -1.0, -1.0)  # the gradients of the step that follow

    def rates(now: Any, later: Any) -> Any:
        share = (1 - now) / k
        return 1 - share / (1 - later * share)

    if not callable(b) and not isinstance(b, Array):
        known = rates(b, later)  # in float64
        return lambda count: jnp.asarray(known, float)[count % k]

    def rate(count: Array) -> Array:
        now = checks.scalar(name, b(count // k) if callable(b) else b).astype(float)
        found: Array = rates(now, jnp.asarray(later, float)[count % k])
        return found

    return rate


def _at_the_last(name: str, value: Any, k: int) -> Schedule:
    """Return the number at each `k`-th gradient, and 0 at the others."""

    def at(count: Array) -> Array:
        now = checks.scalar(name, value(count // k) if callable(value) else value).astype(float)
        return jnp.where(count % k == k - 1, now, 0.0)

    return at


MADE: dict[str, Callable[..., Any]] = {
    "b1": _folded_rate,
    "b2": _folded_rate,
    "learning_rate": _at_the_last,
    "weight_decay": _at_the_last,
}
"""What is made of an argument, given or by default."""
COUNTED = ("eps", "eps_root")
"""Arguments that may follow a schedule, which is read at the step."""
