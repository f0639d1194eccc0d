"""The optimisers of rows, under the names and with the numbers of the dense ones."""

import dataclasses
from typing import Any

from adam_optax import rules
from adam_optax.rows._checks import constant, explained, foreseeable, left, settling
from adam_optax.rows._closed_form import Drift
from adam_optax.rows._table import RowOptimizer


@explained
def adam(
    learning_rate: Any,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    *,
    nesterov: bool = False,
    exact: bool = True,
) -> RowOptimizer:
    """Adam (Kingma & Ba 2015, Algorithm 1) of a table, at the cost of the rows touched.

    Step: `μ̂ / (√(ν̂ + eps_root) + eps)` for every row, as in `adam_optax.adam`; what it comes to
    over steps without a gradient is in `adam_optax/rows/_closed_form.py`. Tables have shape
    `(V, ...)` and dtype float32 or float64, in which the moments are kept.

    With `exact`, rows are at every step what `adam_optax.adam` would make of them with zero
    gradients for all rows that a batch does not touch: they drift on by their momentum, and their
    moments fade. Without, they stand still until they are touched, as in `torch.optim.SparseAdam`
    and LazyAdam: another algorithm, for which other learning rates are right.

    Args:
        learning_rate: a number, or a schedule `count -> value` that JAX can trace.
        b1: decay rate of the mean of gradients; well below `sqrt(b2)`.
        b2: decay rate of the mean of their squares.
        eps: added to the denominator.
        eps_root: added under the root.
        nesterov: whether the mean is read one step ahead.
        exact: whether rows move between their gradients.

    Raises:
        ValueError: if a number is out of range, or `b1` not well below `sqrt(b2)`.
        TypeError: if a number is an array, or another than the learning rate a schedule.

    >>> import jax.numpy as jnp
    >>> from adam_optax import rows
    >>> tx = rows.adam(0.1)
    >>> state = tx.init(jnp.zeros((100, 4)))
    >>> found = tx.lookup(state, rows.unique([7], num_rows=100).ids)
    >>> state = tx.apply(state, found, jnp.ones_like(found.params))
    >>> print(tx.lookup(state, jnp.array([6, 7])).params[:, 0].round(6))
    [ 0.  -0.1]
    """
    return _adam(learning_rate, b1, b2, eps, eps_root, nesterov, 0.0, exact)


@explained
def adamw(
    learning_rate: Any,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: Any = 1e-4,
    *,
    nesterov: bool = False,
    exact: bool = True,
) -> RowOptimizer:
    """`adam` with decoupled weight decay (Loshchilov & Hutter 2019, Algorithm 2) of all rows.

    Without `exact`, rows decay in the steps that touch them.

    Args:
        learning_rate: as in `adam`; times `weight_decay` it is below 1.
        b1: as in `adam`.
        b2: as in `adam`.
        eps: as in `adam`.
        eps_root: as in `adam`.
        weight_decay: times the learning rate; a number or a schedule.
        nesterov: as in `adam`.
        exact: as in `adam`.

    Raises:
        ValueError, TypeError: as `adam` does.

    >>> import jax.numpy as jnp
    >>> from adam_optax import rows
    >>> tx = rows.adamw(0.1, weight_decay=0.5)
    >>> state = tx.init(jnp.ones((100, 4)))
    >>> found = tx.lookup(state, rows.unique([7], num_rows=100).ids)
    >>> state = tx.apply(state, found, jnp.ones_like(found.params))
    >>> print(tx.lookup(state, jnp.array([6, 7])).params[:, 0].round(6))
    [0.95 0.85]
    """
    return _adam(learning_rate, b1, b2, eps, eps_root, nesterov, weight_decay, exact)


@explained
def nadam(
    learning_rate: Any,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    *,
    exact: bool = True,
) -> RowOptimizer:
    """`adam` with Nesterov's look-ahead (Dozat 2016).

    Step: that of `adam` with `μ̂ = b1 μ / (1 - b1^{t+1}) + (1-b1) g / (1 - b1^t)`.

    Args and errors are those of `adam`.

    >>> from adam_optax import rows
    >>> tx = rows.nadam(1e-3)
    """
    return _adam(learning_rate, b1, b2, eps, eps_root, True, 0.0, exact)


@explained
def nadamw(
    learning_rate: Any,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: Any = 1e-4,
    *,
    exact: bool = True,
) -> RowOptimizer:
    """`adamw` with Nesterov's look-ahead (Dozat 2016).

    Step: that of `nadam`, with `weight_decay p` added. Args and errors are those of `adamw`.

    >>> from adam_optax import rows
    >>> tx = rows.nadamw(1e-3, weight_decay=1e-2)
    """
    return _adam(learning_rate, b1, b2, eps, eps_root, True, weight_decay, exact)


def _adam(
    rate: Any, b1: float, b2: float, eps: float, root: float, ahead: bool, decay: Any, exact: bool
) -> RowOptimizer:
    numbers = _constants(b1=b1, b2=b2, eps=eps, eps_root=root)
    rule = rules.adam(**numbers, nesterov=ahead)
    num = "mu" if numbers["b1"] > 0 else None
    drift = Drift(rule, num, "nu", rooted=numbers["eps_root"] > 0)
    return _optimizer(drift, rate, decay, exact, numbers["b1"], numbers["b2"])


@explained
def amsgrad(
    learning_rate: Any,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    *,
    exact: bool = True,
) -> RowOptimizer:
    """AMSGrad (Reddi et al. 2018, Algorithm 2), in optax's form.

    Step: `μ̂ / (√(max ν̂ + eps_root) + eps)`. The maximum stands over a gap, so that rows come
    to rest under any `b1` up to .999. Args and errors are otherwise those of `adam`.

    >>> from adam_optax import rows
    >>> tx = rows.amsgrad(1e-3)
    """
    numbers = _constants(b1=b1, b2=b2, eps=eps, eps_root=eps_root)
    drift = Drift(rules.amsgrad(**numbers), "mu" if numbers["b1"] > 0 else None)
    return _optimizer(drift, learning_rate, 0.0, exact)


@explained
def sgd(
    learning_rate: Any,
    momentum: float | None = None,
    nesterov: bool = False,
    *,
    weight_decay: Any = 0.0,
    exact: bool = True,
) -> RowOptimizer:
    """Gradient descent, with momentum (Polyak 1964) or Nesterov's, and decoupled weight decay.

    Step: `trace = momentum trace + g`, and `weight_decay p`.

    Args:
        learning_rate: as in `adam`.
        momentum: the share of the trace that is kept; None: no trace.
        nesterov: whether the step is `g + momentum trace`.
        weight_decay: as in `adamw`.
        exact: as in `adam`.

    Raises:
        ValueError, TypeError: as `adamw` does.

    >>> from adam_optax import rows
    >>> tx = rows.sgd(0.1, momentum=0.9)
    """
    momentum = None if momentum is None else constant("momentum", momentum)
    drift = Drift(rules.momentum(momentum, nesterov), "trace" if momentum else None)
    return _optimizer(drift, learning_rate, weight_decay, exact)


@explained
def rmsprop(
    learning_rate: Any,
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    *,
    exact: bool = True,
) -> RowOptimizer:
    """RMSProp (Tieleman & Hinton 2012): nu fades over a gap, rows stand still.

    Step: `g / √(ν + eps), ν = decay ν + (1-decay) g²`.

    Args:
        learning_rate: as in `adam`.
        decay: decay rate of the mean of squares.
        eps: added under the root.
        initial_scale: where nu starts.
        eps_in_sqrt: whether `eps` is under the root, or beside it.
        exact: as in `adam`; without, nu does not fade over a gap.

    Raises:
        ValueError, TypeError: as `adam` does.

    >>> from adam_optax import rows
    >>> tx = rows.rmsprop(1e-3)
    """
    numbers = _constants(decay=decay, eps=eps)
    rule = rules.rmsprop(**numbers, initial_scale=initial_scale, eps_in_sqrt=eps_in_sqrt)
    return _optimizer(Drift(rule, None), learning_rate, 0.0, exact)


@explained
def adagrad(
    learning_rate: Any, initial_accumulator_value: float = 0.1, eps: float = 1e-7
) -> RowOptimizer:
    """AdaGrad (Duchi et al. 2011): nothing happens over a gap.

    Step: `g / √(Σ_t g² + eps)`. The lazy rule is the dense one, so there is no `exact`.

    Args:
        learning_rate: as in `adam`.
        initial_accumulator_value: where the sum starts.
        eps: added under the root.

    Raises:
        ValueError, TypeError: as `adam` does.

    >>> from adam_optax import rows
    >>> tx = rows.adagrad(0.1)
    """
    rule = rules.adagrad(initial_accumulator_value, constant("eps", eps))
    return _optimizer(Drift(rule, None), learning_rate, 0.0, exact=False)


def _constants(**numbers: Any) -> dict[str, Any]:
    return {n: constant(n, value) for n, value in numbers.items()}


def _optimizer(
    drift: Drift, rate: Any, decay: Any, exact: bool, b1: float = 0.0, b2: float = 1.0
) -> RowOptimizer:
    rate, decay = foreseeable("learning_rate", rate), foreseeable("weight_decay", decay)
    drift = dataclasses.replace(drift, kept=left(rate, decay))
    if exact:
        settling(drift, b1, b2)
    return RowOptimizer(drift, rate, decay, exact)
