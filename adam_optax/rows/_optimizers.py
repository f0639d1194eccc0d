"""Make the optimisers of rows, under the names and with the defaults of the dense ones."""

import dataclasses
import functools as ft
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from adam_optax import rules
from adam_optax.rows._checks import (
    check_constant,
    check_converges,
    check_product,
    check_schedule,
    refuse_unknown_arguments,
)
from adam_optax.rows._closed_form import Drift
from adam_optax.rows._state import NumberOrSchedule
from adam_optax.rows._table import RowOptimizer
from adam_optax.rules.base import Rule

Function = TypeVar("Function", bound=Callable[..., RowOptimizer])


def _row_optimizer(function: Function) -> Function:
    """Refuse unknown arguments with a reason, and give the optimiser its call for `repr`."""
    signature = inspect.signature(function)

    @ft.wraps(function)
    def make(*args: Any, **kwargs: Any) -> RowOptimizer:
        refuse_unknown_arguments(function.__name__, kwargs, signature.parameters)
        tx = function(*args, **kwargs)
        shown = [
            f"{name}={getattr(value, '__name__', repr(value))}"
            for name, value in signature.bind(*args, **kwargs).arguments.items()
        ]
        return dataclasses.replace(tx, call=f"rows.{function.__name__}({', '.join(shown)})")

    return cast(Function, make)


# --- Adam --------------------------------------------------------------------------------------


@_row_optimizer
def adam(
    learning_rate: NumberOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    *,
    nesterov: bool = False,
    exact: bool = True,
) -> RowOptimizer:
    """Minimise with Adam over a table, at the cost of the rows that a batch touches.

    Take it for a large embedding table of which a batch touches few rows. A table has shape
    `(V, ...)` and dtype float32 or float64; the moments are kept in the table's dtype.

    Step: `μ̂ / (√(ν̂ + eps_root) + eps)` for every row, times `-learning_rate`, as in
    `adam_optax.adam`; `adam_optax/rows/_closed_form.py` says what the steps without a gradient
    come to.

    With `exact`, every row is at every step what `adam_optax.adam` would make of it: a row that a
    batch does not touch has gradient zero, drifts on by its momentum, and its moments decay.
    Without `exact`, a row stands still until it is touched, as in `torch.optim.SparseAdam` and
    LazyAdam. That is another algorithm, for which other learning rates are right.

    A row keeps, beside itself and its moments, a few numbers for long gaps: 14 with the default
    rates, some 30 with `b2=0.95`, near 100 where `b1` and `b2` are alike; a row of no more elements
    than that keeps one number for each.

    Args:
        learning_rate: a number, or a schedule `count -> value` that JAX can trace: of any shape,
            also negative or 0 in part. Rates that are not finite, as after the end of a list, move
            no row that is not touched.
        b1: decay rate of the first moment, in [0, 1), well below `sqrt(b2)`.
        b2: decay rate of the second moment, in [0, 1).
        eps: added to the denominator, in units of the gradient.
        eps_root: added under the root, in units of the squared gradient.
        nesterov: whether the first moment is read one step ahead (Dozat 2016).
        exact: whether rows move between their gradients.

    Returns:
        The optimiser.

    Raises:
        ValueError: if a number is out of range, or `b1` is not well below `sqrt(b2)`.
        TypeError: if a number is an array, or a number other than the learning rate a schedule.

    Example:
        >>> import jax.numpy as jnp
        >>> from adam_optax import rows
        >>> tx = rows.adam(0.1)
        >>> tx
        rows.adam(learning_rate=0.1)
        >>> state = tx.init(jnp.zeros((100, 4)))
        >>> found = tx.lookup(state, rows.unique([7], num_rows=100).ids)
        >>> state = tx.apply(state, found, jnp.ones_like(found.params))
        >>> print(tx.lookup(state, jnp.array([6, 7])).params[:, 0].round(6))
        [ 0.  -0.1]

    References:
        Kingma & Ba, [Adam: A Method for Stochastic Optimization](https://arxiv.org/abs/1412.6980),
        ICLR 2015, Algorithm 1.
    """
    return _adam(learning_rate, b1, b2, eps, eps_root, nesterov, 0.0, exact)


@_row_optimizer
def adamw(
    learning_rate: NumberOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: NumberOrSchedule = 1e-4,
    *,
    nesterov: bool = False,
    exact: bool = True,
) -> RowOptimizer:
    """Minimise with AdamW over a table: `rows.adam` with decoupled weight decay of all rows.

    Take it where the dense optimiser would be AdamW. With `exact`, rows decay at every step;
    without, only in the steps that touch them. Negative rates make rows grow: by a factor of e^k
    over a gap they are k roundings off, and factors beyond float32 make NaN.

    Step: that of `rows.adam`, plus `weight_decay p`, times `-learning_rate`.

    Args:
        learning_rate: a number or a schedule; times `weight_decay` it must be at most 1.
        b1: see `rows.adam`.
        b2: see `rows.adam`.
        eps: see `rows.adam`.
        eps_root: see `rows.adam`.
        weight_decay: strength of the decay, which is multiplied by the learning rate; a number or a
            schedule.
        nesterov: see `rows.adam`.
        exact: whether rows move and decay between their gradients.

    Returns:
        The optimiser.

    Raises:
        ValueError, TypeError: as `rows.adam` does; ValueError also if `learning_rate *
            weight_decay` is above 1, of schedules at one of some 2,000 of the first million counts.
            Where the product is above 1 at another step, rows become NaN there.

    Example:
        >>> import jax.numpy as jnp
        >>> from adam_optax import rows
        >>> tx = rows.adamw(0.1, weight_decay=0.5)
        >>> state = tx.init(jnp.ones((100, 4)))
        >>> found = tx.lookup(state, rows.unique([7], num_rows=100).ids)
        >>> state = tx.apply(state, found, jnp.ones_like(found.params))
        >>> print(tx.lookup(state, jnp.array([6, 7])).params[:, 0].round(6))
        [0.95 0.85]

    References:
        Loshchilov & Hutter, [Decoupled Weight Decay
        Regularization](https://arxiv.org/abs/1711.05101), ICLR 2019, Algorithm 2.
    """
    return _adam(learning_rate, b1, b2, eps, eps_root, nesterov, weight_decay, exact)


@_row_optimizer
def nadam(
    learning_rate: NumberOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    *,
    exact: bool = True,
) -> RowOptimizer:
    """Minimise with NAdam over a table: `rows.adam` with Nesterov's look-ahead.

    Step: that of `rows.adam` with `μ̂ = b1 μ / (1 - b1^{t+1}) + (1-b1) g / (1 - b1^t)`.

    Args:
        learning_rate: see `rows.adam`.
        b1: see `rows.adam`.
        b2: see `rows.adam`.
        eps: see `rows.adam`.
        eps_root: see `rows.adam`.
        exact: see `rows.adam`.

    Returns:
        The optimiser.

    Raises:
        ValueError, TypeError: as `rows.adam` does.

    Example:
        >>> from adam_optax import rows
        >>> rows.nadam(1e-3)
        rows.nadam(learning_rate=0.001)

    References:
        Dozat, [Incorporating Nesterov Momentum into
        Adam](https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ), ICLR 2016 workshop.
    """
    return _adam(learning_rate, b1, b2, eps, eps_root, True, 0.0, exact)


@_row_optimizer
def nadamw(
    learning_rate: NumberOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: NumberOrSchedule = 1e-4,
    *,
    exact: bool = True,
) -> RowOptimizer:
    """Minimise with NAdamW over a table: `rows.adamw` with Nesterov's look-ahead (Dozat 2016).

    Step: that of `rows.nadam`, plus `weight_decay p`, times `-learning_rate`.

    Args:
        learning_rate: see `rows.adamw`.
        b1: see `rows.adam`.
        b2: see `rows.adam`.
        eps: see `rows.adam`.
        eps_root: see `rows.adam`.
        weight_decay: see `rows.adamw`.
        exact: see `rows.adamw`.

    Returns:
        The optimiser.

    Raises:
        ValueError, TypeError: as `rows.adamw` does.

    Example:
        >>> from adam_optax import rows
        >>> rows.nadamw(1e-3, weight_decay=1e-2)
        rows.nadamw(learning_rate=0.001, weight_decay=0.01)
    """
    return _adam(learning_rate, b1, b2, eps, eps_root, True, weight_decay, exact)


def _adam(
    learning_rate: NumberOrSchedule,
    b1: float,
    b2: float,
    eps: float,
    eps_root: float,
    nesterov: bool,
    weight_decay: NumberOrSchedule,
    exact: bool,
) -> RowOptimizer:
    b1, b2, eps, eps_root = _check_constants(b1=b1, b2=b2, eps=eps, eps_root=eps_root)
    rule = rules.adam(b1, b2, eps, eps_root, nesterov)
    drift = Drift(rule, "mu" if b1 > 0 else None, "nu", eps, eps_root)
    return _make(drift, learning_rate, weight_decay, exact, b1, b2)


# --- Others ------------------------------------------------------------------------------------


@_row_optimizer
def amsgrad(
    learning_rate: NumberOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    *,
    exact: bool = True,
) -> RowOptimizer:
    """Minimise with AMSGrad over a table, in optax's form.

    Take it where `b1` shall not be bounded by `b2`: the maximum of the second moment does not
    change over a gap, so that rows come to rest under any `b1` up to 0.999.

    Step: `μ̂ / (√(max ν̂ + eps_root) + eps)`, times `-learning_rate`.

    Args:
        learning_rate: see `rows.adam`.
        b1: decay rate of the first moment, in [0, 1).
        b2: see `rows.adam`.
        eps: see `rows.adam`.
        eps_root: see `rows.adam`.
        exact: see `rows.adam`.

    Returns:
        The optimiser.

    Raises:
        ValueError, TypeError: as `rows.adam` does, but for the bound on `b1`.

    Example:
        >>> from adam_optax import rows
        >>> rows.amsgrad(1e-3)
        rows.amsgrad(learning_rate=0.001)

    References:
        Reddi et al., [On the Convergence of Adam and
        Beyond](https://openreview.net/forum?id=ryQu7f-RZ), ICLR 2018, Algorithm 2.
    """
    b1, b2, eps, eps_root = _check_constants(b1=b1, b2=b2, eps=eps, eps_root=eps_root)
    drift = Drift(rules.amsgrad(b1, b2, eps, eps_root), "mu" if b1 > 0 else None)
    return _make(drift, learning_rate, 0.0, exact)


@_row_optimizer
def sgd(
    learning_rate: NumberOrSchedule,
    momentum: float | None = None,
    nesterov: bool = False,
    *,
    weight_decay: NumberOrSchedule = 0.0,
    exact: bool = True,
) -> RowOptimizer:
    """Minimise by gradient descent over a table, with momentum and decoupled weight decay.

    Step: `trace + weight_decay p` with `trace = momentum trace + g`, times `-learning_rate`.

    Args:
        learning_rate: see `rows.adam`.
        momentum: decay rate of the trace, in [0, 1); None: no trace.
        nesterov: whether the step is `g + momentum trace`.
        weight_decay: see `rows.adamw`; 0: none.
        exact: see `rows.adamw`.

    Returns:
        The optimiser.

    Raises:
        ValueError, TypeError: as `rows.adamw` does.

    Example:
        >>> from adam_optax import rows
        >>> rows.sgd(0.1, momentum=0.9)
        rows.sgd(learning_rate=0.1, momentum=0.9)

    References:
        Polyak, [Some Methods of Speeding up the Convergence of Iteration
        Methods](https://doi.org/10.1016/0041-5553(64)90137-5), 1964.
    """
    momentum = None if momentum is None else check_constant("momentum", momentum)
    drift = Drift(rules.momentum(momentum, nesterov), "trace" if momentum else None)
    return _make(drift, learning_rate, weight_decay, exact)


@_row_optimizer
def rmsprop(
    learning_rate: NumberOrSchedule,
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    *,
    exact: bool = True,
) -> RowOptimizer:
    """Minimise with RMSProp over a table: over a gap nu decays, and rows stand still.

    Step: `g / √(ν + eps)` with `ν = decay ν + (1-decay) g²`, times `-learning_rate`.

    Args:
        learning_rate: see `rows.adam`.
        decay: decay rate of the mean of squares, in [0, 1).
        eps: added under the root, in units of the squared gradient.
        initial_scale: the value of nu before the first step.
        eps_in_sqrt: whether `eps` is under the root, or added to the root.
        exact: whether nu decays over a gap.

    Returns:
        The optimiser.

    Raises:
        ValueError, TypeError: as `rows.adam` does.

    Example:
        >>> from adam_optax import rows
        >>> rows.rmsprop(1e-3)
        rows.rmsprop(learning_rate=0.001)

    References:
        Tieleman & Hinton, [Lecture 6.5:
        RMSProp](https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf),
        COURSERA: Neural Networks for Machine Learning, 2012.
    """
    decay, eps = _check_constants(decay=decay, eps=eps)
    rule = rules.rmsprop(decay, eps, initial_scale=initial_scale, eps_in_sqrt=eps_in_sqrt)
    return _make(_no_drift(rule), learning_rate, 0.0, exact)


@_row_optimizer
def adagrad(
    learning_rate: NumberOrSchedule, initial_accumulator_value: float = 0.1, eps: float = 1e-7
) -> RowOptimizer:
    """Minimise with AdaGrad over a table: nothing changes over a gap.

    The dense optimiser does not move a row without a gradient, so that there is no `exact`.

    Step: `g / √(Σ_t g² + eps)`, times `-learning_rate`.

    Args:
        learning_rate: see `rows.adam`.
        initial_accumulator_value: the value of the sum before the first step.
        eps: added under the root, in units of the squared gradient.

    Returns:
        The optimiser.

    Raises:
        ValueError, TypeError: as `rows.adam` does.

    Example:
        >>> from adam_optax import rows
        >>> rows.adagrad(0.1)
        rows.adagrad(learning_rate=0.1)

    References:
        Duchi et al., [Adaptive Subgradient Methods for Online Learning and Stochastic
        Optimization](https://jmlr.org/papers/v12/duchi11a.html), JMLR 2011, Figure 1.
    """
    rule = rules.adagrad(initial_accumulator_value, check_constant("eps", eps))
    return _make(_no_drift(rule), learning_rate, 0.0, exact=False)


# --- What they share ---------------------------------------------------------------------------


def _no_drift(rule: Rule) -> Drift:
    """Return the drift of a rule that takes no step without a gradient."""
    return Drift(rule, None)


def _check_constants(**numbers: float) -> list[float]:
    return [check_constant(name, value) for name, value in numbers.items()]


def _make(
    drift: Drift,
    learning_rate: NumberOrSchedule,
    weight_decay: NumberOrSchedule,
    exact: bool,
    b1: float = 0.0,
    b2: float = 1.0,
) -> RowOptimizer:
    """Build an optimiser after its learning rate, weight decay and decay rates were checked.

    Args:
        drift: the drift of the rule.
        learning_rate: see `adam`.
        weight_decay: see `adamw`; 0: none.
        exact: see `adamw`.
        b1: the decay rate of the moment in the numerator, for the message.
        b2: the decay rate of the moment under the root; 1 if that does not change over a gap.
    """
    learning_rate = check_schedule("learning_rate", learning_rate)
    weight_decay = check_schedule("weight_decay", weight_decay)
    check_product(learning_rate, weight_decay)
    if exact:
        check_converges(drift, b1, b2)
    return RowOptimizer(drift, learning_rate, weight_decay, exact)
