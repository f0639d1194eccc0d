"""Turn a rule into an optax transformation.

`scale_by` is the rule alone, like optax's `scale_by_adam`. `optimizer` adds weight decay and the
learning rate in the same pass over memory, with the state that optax's chain of the three would
have, so that its checkpoints and the code that looks into them go on working.
"""

import functools as ft
import types
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import jax
import numpy as np
import optax
from jax import Array

from adam_optax import _optax_interop
from adam_optax._core.by_path import ByPath, Hyperparameter
from adam_optax._core.checks import Kind, hyperparameter
from adam_optax._core.numerics import safe_increment
from adam_optax._core.types import (
    DTypeLike,
    Mask,
    PyTree,
    UpdateFn,
)
from adam_optax._engine import parts, reading
from adam_optax._engine.groups import Grouping
from adam_optax._engine.leaf import select
from adam_optax._engine.optax_states import Links, first_layout, links_of
from adam_optax._engine.reading import READER
from adam_optax._engine.stacked import Stacked, layers_by_path
from adam_optax._engine.tree import (
    APPLY,
    TAG,
    TAKES_FACTOR,
    UPDATE_IF,
    Engine,
    join_trace,
    split_trace,
    tag_update,
)
from adam_optax.couplings import RATE, Coupling
from adam_optax.rules.base import Rule
from adam_optax.storage._plan import StorageSpec, plan_storage


class Transformation(optax.GradientTransformationExtraArgs):  # type: ignore[misc]  # untyped
    """Hold pure functions `init` and `update`, as every optax transformation does.

    `repr` shows the call that made the transformation.

    Attributes:
        init: returns the state before the first step, given the parameters.
        update: returns updates and the new state, given gradients, state and parameters.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        """Show the call that made the transformation."""
        call = getattr(self.update, CALL, None)
        if call is None:
            return super().__repr__()  # type: ignore[no-any-return]
        function, arguments = call
        return f"{function}({', '.join(f'{n}={_shown(v)}' for n, v in arguments.items())})"


CALL = "adam_optax_call"
"""The attribute of an `update` function that holds the call that made the transformation."""
ARGUMENTS = "adam_optax_arguments"
"""The attribute of an `update` function that holds the optimiser's arguments, whoever made it."""


def _shown(value: object) -> str:
    return value.__name__ if isinstance(value, types.FunctionType) else repr(value)


def scale_by(
    rule: Rule,
    *,
    storage: StorageSpec = None,
    mu_dtype: DTypeLike | None = None,
    nu_dtype: DTypeLike | None = None,
    stacked: Stacked | None = None,
    name: str = "scale_by",
) -> Transformation:
    """Rescale gradients by a rule, the way optax's `scale_by_adam` does by Adam's.

    Args:
        rule: one of `adam_optax.rules`, or your own.
        storage: how the rule's moments are kept: a format of `adam_optax.storage` for all of them,
            a mapping by moment name, or a function from a parameter's path (`"dense/kernel"`) and
            the parameter or its gradient to one of these. None, and moments that a mapping leaves
            out: float32.
        mu_dtype: short for dense storage in this dtype of the moments that can be negative.
        nu_dtype: short for dense storage in this dtype of the moments that cannot.
        stacked: how many leading axes of a parameter are layers, as under `nn.scan`: norms, means,
            factors and blocks are then those of each layer. A number for all parameters, a tree of
            numbers or a prefix of one, a function `(path, parameter)`, `by_path`, or the name of
            the axis in Flax's metadata (`"layers"`). None: there are no layers.
        name: the function that is shown by `repr`.

    Returns:
        A transformation whose updates point uphill, like the gradients. It needs `params` only if
        the rule does.

    Raises:
        ValueError, TypeError: at construction for arguments out of range; at `init` and `update`,
            naming the tree path, for parameters, gradients or states that do not fit.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.scale_by(ao.rules.adam(b2=0.99))
    >>> state = tx.init({"w": jnp.ones(3)})
    >>> updates, state = tx.update({"w": jnp.full(3, 2.0)}, state)
    >>> updates["w"]
    Array([1., 1., 1.], dtype=float32)
    """
    plan = plan_storage(storage, rule.moments, mu_dtype, nu_dtype)
    engine = Engine(Grouping(rule, plan, layers=layers_by_path(stacked)))

    def update_if(
        taken: Array | None,
        updates: PyTree,
        state: PyTree,
        params: PyTree = None,
        **extra_args: object,
    ) -> tuple[PyTree, PyTree]:
        del extra_args
        if rule.name in _optax_interop.PASSING:
            _optax_interop.refuse_unless_last(rule.name)
        return engine.update(updates, state, params, taken=taken)

    def update(
        updates: PyTree, state: PyTree, params: PyTree = None, **extra_args: object
    ) -> tuple[PyTree, PyTree]:
        return update_if(None, updates, state, params, **extra_args)

    setattr(tag_update(update, engine), READER, reading.of_moments(engine))
    setattr(update, UPDATE_IF, update_if)
    tx = Transformation(engine.init, update)
    kept: dict[str, object] = {"mu_dtype": mu_dtype, "nu_dtype": nu_dtype, "storage": storage}
    kept["stacked"] = stacked
    return named(tx, name, **_shown_rule(rule, name), **kept)


class Decay(NamedTuple):
    """Ask for decoupled weight decay.

    Attributes:
        weight_decay: how much: a number, a scalar array or a schedule, or these by path.
        mask: which parameters decay: a tree of bools, a prefix of one, or a function from the
            parameters to one. None: all.
        coupling: how the decay goes with the learning rate, one of `adam_optax.couplings`.
    """

    weight_decay: Hyperparameter
    mask: Mask = None
    coupling: Coupling = RATE


def optimizer(
    rule: Rule,
    learning_rate: Hyperparameter | None,
    *,
    decay: Decay | None = None,
    storage: StorageSpec = None,
    mu_dtype: DTypeLike | None = None,
    nu_dtype: DTypeLike | None = None,
    stacked: Stacked | None = None,
    name: str = "optimizer",
) -> Transformation:
    """Minimise with a rule: `updates = -learning_rate (direction + weight_decay params)`.

    Args:
        rule: one of `adam_optax.rules`, or your own.
        learning_rate: a number, a scalar array or a schedule, or these by path, with `FROZEN` for
            parameters that are not trained; None leaves out the factor and its sign.
        decay: weight decay, the mask that restricts it, and its coupling to the learning rate.
        storage: see `scale_by`.
        mu_dtype: see `scale_by`.
        nu_dtype: see `scale_by`.
        stacked: see `scale_by`.
        name: the function that is shown by `repr`.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.optimizer(ao.rules.adam(b2=0.99), 0.1, decay=ao.Decay(0.01))
    >>> params = jnp.ones(3)
    >>> updates, state = tx.update(jnp.full(3, 2.0), tx.init(params), params)
    >>> updates
    Array([-0.101, -0.101, -0.101], dtype=float32)
    """
    coupling = RATE if decay is None else decay.coupling
    _check_coupling(rule, learning_rate, coupling)
    plan = plan_storage(storage, rule.moments, mu_dtype, nu_dtype)
    by_path = isinstance(learning_rate, ByPath)
    rate = hyperparameter(
        "learning_rate", learning_rate, Kind.NON_NEGATIVE, optional=not by_path, frozen=True
    )
    amount = None
    if decay is not None:
        amount = hyperparameter("weight_decay", decay.weight_decay, Kind.NON_NEGATIVE)
    grouping = Grouping(rule, plan, rate, amount, layers_by_path(stacked))
    engine = Engine(grouping, coupling)
    links = links_of(grouping.recipe)
    splits, layout = first_layout(grouping)
    after_first = _tail_state(rate, amount, decay, links)
    length = len(after_first) + 1

    def init(params: PyTree) -> tuple[PyTree, ...]:
        first, tail = engine.init(params), _tail_state(rate, amount, decay, links)
        return split_trace(first, tail, layout) if splits else (first, *tail)

    def update(
        updates: PyTree, state: PyTree, params: PyTree = None, **extra_args: object
    ) -> tuple[PyTree, PyTree]:
        del extra_args
        return run(updates, state, params)

    def run(
        updates: PyTree,
        state: PyTree,
        params: PyTree,
        applies: bool = False,
        shardings: PyTree = None,
        factor: Array | None = None,
        taken: Array | None = None,
    ) -> tuple[PyTree, PyTree]:
        first, *tail = state if _is_chain(state, length) else _refuse(state, length)
        if splits:
            first, tail[-1] = join_trace(state), optax.EmptyState()
        mask, decay_count = None, None
        if decay is not None:
            if params is None:
                raise ValueError(
                    "weight decay needs the parameters: tx.update(grads, state, params)"
                )
            here = parts.current.get()
            whole = params if here is None else here.widened(params)
            mask = None if decay.mask is None else broadcast_mask(decay.mask, whole)
            decay_count = _count(tail[0]) if callable(amount) and links.decay else None
        rate_count = _count(tail[-1 - links.after_rate]) if callable(rate) else None
        result, first = engine.update(
            updates, first, params, rate_count, decay_count, mask, applies, shardings, factor, taken
        )
        later = jax.tree.map(safe_increment, tail)
        tail = later if taken is None else select(taken, later, tail)
        return result, split_trace(first, tail, layout) if splits else (first, *tail)

    def apply(
        updates: PyTree,
        state: PyTree,
        params: PyTree,
        shardings: PyTree = None,
        factor: Array | None = None,
        taken: Array | None = None,
        **extra_args: object,
    ) -> tuple[PyTree, PyTree]:
        del extra_args
        return run(updates, state, params, True, shardings, factor, taken)

    def update_if(
        taken: Array, updates: PyTree, state: PyTree, params: PyTree = None, **extra_args: object
    ) -> tuple[PyTree, PyTree]:
        del extra_args
        return run(updates, state, params, taken=taken)

    setattr(tag_update(update, engine, apply), TAKES_FACTOR, True)
    setattr(update, UPDATE_IF, update_if)
    spread_mask = _spread_mask(None if decay is None else decay.mask)
    setattr(update, READER, reading.of_chain(engine, links, after_first, splits, spread_mask))
    tx = Transformation(init, update)
    kept: dict[str, object] = {"mu_dtype": mu_dtype, "nu_dtype": nu_dtype, "storage": storage}
    kept["stacked"] = stacked
    decaying = {} if decay is None else decay._asdict()
    if coupling == RATE:
        decaying.pop("coupling", None)
    given = _shown_rule(rule, name) | decaying | kept
    return named(tx, name, learning_rate=learning_rate, **given)


def with_gradient_decay(
    tx: Transformation, weight_decay: Hyperparameter, mask: Mask
) -> Transformation:
    """Add weight decay to the gradients (L2) before an optimiser, with the state of one chain.

    Args:
        tx: an optimiser without weight decay.
        weight_decay: times the parameter, added to its gradient; the number 0: nothing is added.
        mask: which parameters decay; see `Decay`.

    Raises:
        TypeError: if the weight decay is by path.
    """
    if isinstance(weight_decay, ByPath):
        raise TypeError(
            "weight_decay is added to the gradients here, and cannot be by path; say with "
            "weight_decay_mask which parameters decay"
        )
    decay = optax.add_decayed_weights(weight_decay, mask)
    adds = not isinstance(weight_decay, int | float) or weight_decay != 0

    def init(params: PyTree) -> tuple[PyTree, ...]:
        return decay.init(params), *tx.init(params)

    def update(
        updates: PyTree, state: PyTree, params: PyTree = None, **extra_args: object
    ) -> tuple[PyTree, PyTree]:
        del extra_args
        return run(tx.update, updates, state, params)

    def run(
        inner: UpdateFn, updates: PyTree, state: PyTree, params: PyTree, **where: PyTree
    ) -> tuple[PyTree, PyTree]:
        decaying, *rest = state if _is_chain(state, 3) else _refuse(state, 3)
        if adds:
            updates, decaying = decay.update(updates, decaying, params)
        result, rest = inner(updates, tuple(rest), params, **where)
        return result, (decaying, *rest)

    apply = ft.partial(run, getattr(tx.update, APPLY))
    reader = getattr(tx.update, READER)
    reader = reading.with_gradient_decay(reader, weight_decay, _spread_mask(mask))
    setattr(update, READER, reader)
    decayed = Transformation(init, tag_update(update, getattr(tx.update, TAG), apply))
    function, arguments = getattr(tx.update, CALL)
    given = {"weight_decay": weight_decay, "weight_decay_mask": mask} if adds else {}
    return named(decayed, function, **arguments, **given)


def _shown_rule(rule: Rule, name: str) -> dict[str, Any]:
    """Return a rule as `repr` shows it: its numbers under an optimiser's own name, or itself."""
    own = name in ("optimizer", "scale_by") or rule.origin is None
    return {"rule": rule} if own or rule.origin is None else dict(rule.origin.hyperparams)


def named(tx: Transformation, function: str, /, **arguments: object) -> Transformation:
    """Give a transformation the call that made it, for `repr`; an argument None is left out.

    Args:
        tx: the transformation.
        function: the name of the function that the user called.
        arguments: what the user gave, with defaults.
    """
    setattr(tx.update, CALL, (function, {n: v for n, v in arguments.items() if v is not None}))
    return tx


# --- Weight decay ------------------------------------------------------------------------------


def decay_from_arguments(
    weight_decay: Hyperparameter | None, mask: Mask, coupling: Coupling | None = None
) -> Decay | None:
    """Return the decay that an optimiser's arguments ask for, if any.

    Raises:
        ValueError: if there is a mask or a coupling but no decay that it could restrict.
    """
    if weight_decay is not None:
        return Decay(weight_decay, mask, coupling or RATE)
    if mask is not None:
        raise ValueError("mask restricts weight_decay, which is not given")
    if coupling is not None:
        raise ValueError("coupling belongs to weight_decay, which is not given")
    return None


def _check_coupling(rule: Rule, learning_rate: Hyperparameter | None, coupling: Coupling) -> None:
    """Refuse a coupling that the rule or the lack of a learning rate makes impossible.

    Raises:
        TypeError: if it is not a coupling.
        ValueError: if the rule averages its decay with the gradient, or no rate is there.
    """
    if not isinstance(coupling, Coupling):
        raise TypeError(f"coupling must be one of adam_optax.couplings, not {coupling!r}")
    if "weight_decay" in rule.handles and (coupling.power == 0 or coupling.cautious):
        raise ValueError(
            f"{rule.name} has its weight decay inside its step, so that it can be neither "
            "independent of the learning rate nor cautious; use another coupling"
        )
    if learning_rate is None and coupling.power == 2:
        raise ValueError("this coupling multiplies by the learning rate, which is None")


def broadcast_mask(mask: Mask, params: PyTree) -> PyTree:
    """Return a mask, given as a tree, a prefix or a function of the parameters, at every parameter.

    Raises:
        TypeError: if the mask is none of these.
        ValueError: if the mask is no prefix of the parameters' tree.
    """
    if callable(mask) and not (jax.tree.leaves(mask) and _is_flags(mask)):
        mask = mask(params)
    if not _is_flags(mask):
        raise TypeError("mask must be a tree of bools, or a function from params to one")
    try:
        return jax.tree.map(lambda m, p: jax.tree.map(lambda _: bool(m), p), mask, params)
    except ValueError as error:
        raise ValueError(f"mask is not a prefix of the tree of parameters: {error}") from error


def _spread_mask(mask: Mask) -> Callable[[PyTree], PyTree] | None:
    return None if mask is None else ft.partial(broadcast_mask, mask)


def _is_flags(mask: PyTree) -> bool:
    """Tell whether a mask is a tree of bools, be it a module that can also be called."""
    return all(isinstance(m, bool | np.bool_) or _is_flag(m) for m in jax.tree.leaves(mask))


def _is_flag(m: object) -> bool:
    return isinstance(m, Array) and m.shape == () and m.dtype == bool


# --- The state of optax's chain ----------------------------------------------------------------


def _tail_state(
    rate: Hyperparameter | None,
    amount: Hyperparameter | None,
    decay: Decay | None,
    links: Links,
) -> tuple[PyTree, ...]:
    """Return what optax's own transformations would keep: nothing, or a count for a schedule.

    Schedules by path are read at the count of the moments.
    """
    rate, amount = (0.0 if isinstance(x, ByPath) else x for x in (rate, amount))
    nothing = optax.EmptyState()
    decaying: tuple[PyTree, ...] = ()
    if decay is not None and links.decay:
        kept = optax.add_decayed_weights(amount).init({})
        decaying = (kept if decay.mask is None else optax.MaskedState(kept),)
    before, after = (nothing,) * links.before_rate, (nothing,) * links.after_rate
    return *decaying, *before, optax.scale_by_learning_rate(rate).init({}), *after


def _count(state: PyTree) -> Array:
    """Return the count that a schedule's own state holds."""
    (count,) = jax.tree.leaves(state)
    found: Array = count
    return found


def _is_chain(state: PyTree, length: int) -> bool:
    return isinstance(state, tuple) and len(state) == length and not hasattr(state, "_fields")


def _refuse(state: PyTree, length: int) -> NoReturn:
    plain = isinstance(state, tuple) and not hasattr(state, "_fields")
    called = f"of {len(state)}" if plain else type(state).__name__
    raise TypeError(
        f"the state is a tuple of {length} as tx.init makes it, not {called}; "
        "a schedule, weight decay or a mask each change its structure"
    )
