"""A rule with decoupled weight decay and a learning rate: what the aliases are made of.

Computed in one pass over each leaf, with the state that optax's chain of the three would have, so
that its checkpoints and the code that looks into them go on working.
"""

import functools as ft
from typing import Any

import jax
import optax

from adam_optax._core import checks
from adam_optax._core.numerics import increment
from adam_optax._engine.decay import Decay, Hyper, check_coupling, spread
from adam_optax._engine.tree import Engine, Transformation
from adam_optax._optax_interop import marked
from adam_optax.couplings import RATE
from adam_optax.rules.base import Rule
from adam_optax.storage import resolve


def optimizer(
    rule: Rule,
    learning_rate: Hyper,
    *,
    decay: Decay | None = None,
    storage: Any = None,
    mu_dtype: Any = None,
    nu_dtype: Any = None,
) -> Transformation:
    """Minimise with a rule: `updates = -learning_rate (direction + weight_decay params)`.

    Args:
        rule: one of `adam_optax.rules`, or your own.
        learning_rate: a number, a scalar array or a schedule; None leaves out the factor and its
            sign.
        decay: weight decay, the mask that restricts it, and its coupling to the learning rate.
        storage: see `scale_by`.
        mu_dtype: the dtype in which `mu` is kept.
        nu_dtype: the dtype in which `nu` is kept.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.optimizer(ao.rules.adam(b2=0.99), 0.1, decay=ao.Decay(0.01))
    >>> params = jnp.ones(3)
    >>> updates, state = tx.update(jnp.full(3, 2.0), tx.init(params), params)
    >>> updates
    Array([-0.101, -0.101, -0.101], dtype=float32)
    """
    coupling = RATE if decay is None else decay.coupling
    check_coupling(rule, learning_rate, coupling)
    plan = resolve(storage, rule.moments, mu_dtype, nu_dtype)
    engine = Engine(rule, plan, coupling, decays=decay is not None)
    rate = learning_rate if learning_rate is None else checks.hyper("learning_rate", learning_rate)
    amount = None if decay is None else checks.hyper("weight_decay", decay.weight_decay)
    length = 2 if decay is None else 3

    def init(params: Any) -> tuple[Any, ...]:
        return engine.init(params), *_tail_state(rate, amount, decay)

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        del extra_args
        return run(updates, state, params)

    def run(updates: Any, state: Any, params: Any, applies: bool = False) -> tuple[Any, Any]:
        first, *tail = _split(state, length)
        fades = None if decay is None else _at("weight_decay", amount, tail[0])
        mask = None if decay is None else spread(decay.mask, params)
        speed = _at("learning_rate", rate, tail[-1])
        done, first = engine.update(updates, first, params, fades, speed, mask, applies)
        return done, (first, *jax.tree.map(increment, tail))

    return Transformation(init, marked(update, engine, ft.partial(run, applies=True)))


def _tail_state(rate: Hyper, amount: Hyper, decay: Decay | None) -> tuple[Any, ...]:
    """What optax's own transformations would keep: nothing, or a count for a schedule."""
    scaling = optax.scale_by_learning_rate(rate).init({})
    if decay is None:
        return (scaling,)
    decaying = optax.add_decayed_weights(amount).init({})
    return (decaying if decay.mask is None else optax.MaskedState(decaying), scaling)


def _at(name: str, value: Hyper, state: Any) -> Any:
    """A number of this step; a schedule is read at the count that its own state holds."""
    if callable(value):
        (count,) = jax.tree.leaves(state)
        return checks.scalar(name, value(count))
    return value


def _called(state: Any) -> str:
    plain = isinstance(state, tuple) and not hasattr(state, "_fields")
    return f"of {len(state)}" if plain else type(state).__name__


def _split(state: Any, length: int) -> tuple[Any, ...]:
    if not isinstance(state, tuple) or len(state) != length or hasattr(state, "_fields"):
        raise TypeError(
            f"the state is a tuple of {length} as tx.init makes it, not {_called(state)}; "
            "a schedule, weight decay or a mask each change its structure"
        )
    return state
