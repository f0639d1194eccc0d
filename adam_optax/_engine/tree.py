"""Run a rule over trees of parameters, with states that optax's tools know.

`Engine` is what `scale_by` and `optimizer` share: it takes trees apart into leaves, runs
`leaf.py` on each of them, and says at which path something did not fit.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from adam_optax._core import checks
from adam_optax._core.log_decay import no_decay
from adam_optax._core.numerics import compute_dtype, real_dtype
from adam_optax._core.types import PyTree, UpdateFn
from adam_optax._engine import sharding
from adam_optax._engine.leaf import (
    NO_LOG_DECAYS,
    compile_init,
    compile_leaf_step,
    compile_skip,
    compile_step_scalars,
)
from adam_optax.couplings import RATE, Coupling
from adam_optax.moments import Moment
from adam_optax.rules.base import (
    Recipe,
    Rule,
    dynamic_hyperparams,
    moments_with_scheduled_decay,
)
from adam_optax.storage._base import MASKED, Entry
from adam_optax.storage._plan import LeafStorage, StoragePlan

# --- States ------------------------------------------------------------------------------------


class ScaleByState(NamedTuple):
    """Hold the moments of a rule for whose entries optax has no class of its own.

    Attributes:
        count: steps taken, an int32 scalar.
        moments: trees over the parameters, by entry.
    """

    count: Array  # type: ignore[assignment]  # tuple.count: the field's name is optax's
    moments: dict[str, PyTree]

    def __getattr__(self, name: str) -> PyTree:
        """Return an entry by its name, as in optax's states: `state.mu`."""
        moments = self.moments
        if isinstance(moments, dict) and name in moments:
            return moments[name]
        raise AttributeError(f"the state has no {name!r}")

    def __repr__(self) -> str:
        """Show the entries with the dtypes and shapes of their arrays."""
        kept = ", ".join(f"{n}={_shapes(tree)}" for n, tree in self.moments.items())
        return f"ScaleByState(count={self.count}, {kept})"


class ScaleByScheduledState(NamedTuple):
    """Hold the moments of a rule some of whose decay rates follow a schedule.

    Attributes:
        count: steps taken, an int32 scalar.
        moments: trees over the parameters, by entry.
        log_decays: by moment, the logarithm of the product of its decay rates so far, `int32[4]`:
            the correction for the start at zero is made of it.
    """

    count: Array  # type: ignore[assignment]  # tuple.count: the field's name is optax's
    moments: dict[str, PyTree]
    log_decays: dict[str, Array]

    def __getattr__(self, name: str) -> PyTree:
        """Return an entry by its name, as in optax's states: `state.mu`."""
        return ScaleByState(self.count, self.moments).__getattr__(name)


def _shapes(tree: PyTree) -> PyTree:
    show = lambda x: f"{x.dtype}{list(x.shape)}" if hasattr(x, "dtype") else repr(x)  # noqa: E731
    return jax.tree.map(show, tree)


OPTAX_STATES = {
    frozenset(kind._fields) - {"count"}: kind
    for kind in (optax.ScaleByAdamState, optax.ScaleByAmsgradState)
}
"""Optax's own states by their entries, so that optax's tools and checkpoints know ours."""

STATES = (ScaleByState, ScaleByScheduledState, *OPTAX_STATES.values())


def pack(
    count: Array, moments: dict[str, PyTree], log_decays: Mapping[str, Array] = NO_LOG_DECAYS
) -> PyTree:
    """Return the state that holds these entries: optax's own class where optax has one."""
    if log_decays:
        return ScaleByScheduledState(count, moments, dict(log_decays))
    if kind := OPTAX_STATES.get(frozenset(moments)):
        return kind(count=count, **moments)
    return ScaleByState(count, moments)


def log_decays_of(state: PyTree) -> Mapping[str, Array]:
    """Return the log decays of a state, by moment: none but where decay rates follow a schedule."""
    return state.log_decays if isinstance(state, ScaleByScheduledState) else NO_LOG_DECAYS


def unpack(state: PyTree) -> dict[str, PyTree]:
    """Return the entries of a state by name."""
    if isinstance(state, ScaleByState | ScaleByScheduledState):
        return state.moments
    return {n: getattr(state, n) for n in state._fields if n != "count"}


def _unpack_checked(
    state: PyTree, entries: tuple[str, ...] | None, scheduled: tuple[str, ...] = ()
) -> dict[str, PyTree]:
    """Return the entries of a state, or refuse it; `entries` None allows any."""
    moments = unpack(state) if isinstance(state, STATES) else {}
    if not isinstance(state, STATES) or (entries is not None and moments.keys() != set(entries)):
        holds = f" with {', '.join(moments)}" if moments else ""
        what = "moments" if entries is None else ", ".join(entries)
        raise TypeError(
            f"the state must hold {what}, as tx.init makes it; got {type(state).__name__}{holds}"
        )
    is_scheduled = isinstance(state, ScaleByScheduledState)
    if (scheduled or is_scheduled) and {*scheduled} != (kept := {*log_decays_of(state)}):
        held, needed = (", ".join(sorted(names)) or "none" for names in (kept, scheduled))
        raise TypeError(
            f"the state has the decay rates of these moments on a schedule: {held}; this optimiser "
            f"has {needed}"
        )
    return {n: moments[n] for n in (moments if entries is None else entries)}


# --- The engine --------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Engine:
    """Run a rule over trees.

    Attributes:
        rule: the variant.
        plan: which storage a leaf has.
        coupling: how weight decay goes with the learning rate.
        decays: whether there is weight decay.
        recipe: how to build the rule inside a compiled step.
        scheduled: the moments of whose decay rates, which follow schedules, the state keeps the
            product.
    """

    rule: Rule
    plan: StoragePlan
    coupling: Coupling = RATE
    decays: bool = False
    recipe: Recipe = dataclasses.field(init=False)
    scheduled: tuple[str, ...] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "recipe", self.rule.recipe())
        object.__setattr__(self, "scheduled", moments_with_scheduled_decay(self.rule))

    def init(self, params: PyTree) -> PyTree:
        """Return the state before the first step."""
        checks.check_parameters(params)
        storages = self.plan.of_leaves(params)
        hyperparams = dynamic_hyperparams(self.rule, jnp.zeros((), jnp.int32))
        log_decays = {n: no_decay() for n in self.scheduled}
        encoded: list[dict[str, Entry]] = []
        try:
            for p, storage in zip(jax.tree.leaves(params), storages, strict=True):
                first = {n: _first(p, moment) for n, moment in self.rule.moments.items()}
                run = compile_init(self.recipe, storage)
                shape = jnp.shape(p)
                encoded.append(
                    sharding.encode_sharded(
                        lambda *args, run=run, shape=shape: run(*args, shape=shape),
                        p,
                        first,
                        hyperparams,
                        log_decays,
                    )
                )
        except Exception as error:
            _raise_at_path(error, "params", params, len(encoded))
        leaves = iter(encoded)
        table = jax.tree.map(lambda _: next(leaves), params)
        # By entry and by `tree.map` alone: optax may hand in a placeholder for the whole tree.
        pick = lambda n: jax.tree.map(lambda _, own: own.get(n, MASKED), params, table)  # noqa: E731
        moments = {n: pick(n) for n in self._entries(storages)}
        return pack(jnp.zeros((), jnp.int32), moments, log_decays)

    def _entries(self, storages: Iterable[LeafStorage]) -> tuple[str, ...]:
        return self.plan.uniform.entries if self.plan.uniform else entries_of(storages)

    def update(
        self,
        updates: PyTree,
        state: PyTree,
        params: PyTree = None,
        weight_decay: Array | float | None = None,
        learning_rate: Array | float | None = None,
        mask: PyTree = None,
        applies: bool = False,
    ) -> tuple[PyTree, PyTree]:
        """Return the updates of all leaves and the new state.

        A gradient that is None leaves its moments as they are.

        Args:
            updates: the gradients.
            state: as `init` makes it.
            params: the parameters, if the rule, weight decay or `applies` needs them.
            weight_decay: a scalar, or None for none.
            learning_rate: a scalar, or None for no factor and no sign.
            mask: a tree of bools like `updates` that says which parameters decay; None: all.
            applies: whether to return the new parameters instead of the updates.
        """
        uniform = self.plan.uniform
        trees = _unpack_checked(state, uniform.entries if uniform else None, self.scheduled)
        grads, treedef = jax.tree.flatten(updates, is_leaf=_is_none)
        n = len(grads)
        storages = [uniform] * n if uniform else self.plan.of_leaves(updates, _is_none)
        columns = checks.flatten_like(treedef, updates, trees)
        given = {name: t for name, t in (("params", params), ("mask", mask)) if t is not None}
        others = checks.flatten_like(treedef, updates, given) if given else {}
        ps, masks = (others.get(name, [None] * n) for name in ("params", "mask"))

        # What depends on the step alone is computed once, for each storage that leaves have.
        dynamic = self.rule.origin.dynamic if self.rule.origin else {}
        hyperparams = dynamic_hyperparams(self.rule, state.count) if dynamic else {}
        distinct = {id(s): s for s in storages}  # to hash a storage for every leaf takes time
        compute = compile_step_scalars(self.recipe, self.coupling, tuple(distinct.values()))
        past = state.log_decays if self.scheduled else NO_LOG_DECAYS
        count, log_decays, computed = compute(
            jnp.asarray(state.count), hyperparams, weight_decay, learning_rate, past
        )
        scalars = dict(zip(distinct, computed, strict=True))
        steps = {
            key: compile_leaf_step(self.recipe, storage, self.coupling, applies)
            for key, storage in distinct.items()
        }

        new_updates: list[Array | None] = []
        new_trees: dict[str, list[Any]] = {name: [] for name in trees}
        try:
            for i, (g, p, storage) in enumerate(zip(grads, ps, storages, strict=True)):
                own = {name: column[i] for name, column in columns.items()}
                rest: dict[str, PyTree] = {}
                if uniform is None:
                    own, rest = checks.split_entries(own, storage.entries)
                if g is None:
                    result = p if applies else None
                    if storage.step_dependent:
                        skip = compile_skip(self.recipe, storage)
                        own = skip(own, hyperparams, count, past, log_decays)
                else:
                    step, now = steps[id(storage)], scalars[id(storage)]
                    if checks.has_explicit_sharding(g):
                        kernels = bool(storage.kernel_platforms[applies])
                        step = sharding.under_auto_axes(step, (g, own), kernels)
                    if masks[i] is False:
                        now = {k: one._replace(weight_decay=None) for k, one in now.items()}
                    result, own = step(g, p, own, count, now)
                new_updates.append(result)
                for name, column in new_trees.items():
                    column.append(own[name] if name in own else rest[name])
        except Exception as error:
            _raise_at_path(error, "updates", updates, len(new_updates), _is_none)
        moments = {name: jax.tree.unflatten(treedef, col) for name, col in new_trees.items()}
        return jax.tree.unflatten(treedef, new_updates), pack(count, moments, log_decays)


def entries_of(storages: Iterable[LeafStorage]) -> tuple[str, ...]:
    """Return the entries of a state: those of every leaf, each once."""
    return tuple(dict.fromkeys(n for s in dict.fromkeys(storages) for n in s.entries))


def _first(p: ArrayLike, moment: Moment) -> Array:
    """Return a leaf's moment before the first step, in compute precision, beside the leaf."""
    dtype = compute_dtype(p) if moment.signed else real_dtype(compute_dtype(p))
    # XLA would encode a constant while it compiles, one number after the other, for minutes.
    first = jax.lax.optimization_barrier(jnp.full((), moment.init, dtype))
    return (
        first if moment.scalar else sharding.with_sharding_like(jnp.full_like(p, first, dtype), p)
    )


def _is_none(x: object) -> bool:
    return x is None


def _raise_at_path(
    error: Exception,
    what: str,
    tree: PyTree,
    index: int,
    is_leaf: Callable[[PyTree], bool] | None = None,
) -> NoReturn:
    """Raise an error with the path of the leaf at which it happened."""
    path, _ = jax.tree.leaves_with_path(tree, is_leaf=is_leaf)[index]
    place = f"{what}{jax.tree_util.keystr(path)}"
    if type(error) in (TypeError, ValueError):
        raise type(error)(f"{place}: {error}") from error
    error.add_note(f"at {place}")  # others cannot be made from a text
    raise error


# --- Tags: how wrappers of optax are seen through -----------------------------------------------

TAG = "adam_optax_part"
"""The attribute by which an `update` function says what it computes."""
APPLY = "adam_optax_apply"
"""The attribute that holds an `update` function's twin, which returns new parameters instead."""


def tag_update(update: UpdateFn, part: Engine | str, apply: UpdateFn | None = None) -> UpdateFn:
    """Mark an `update` function with what it computes, and with the twin that applies updates.

    Args:
        update: the function; optax keeps nothing else of a transformation in a chain.
        part: an `Engine`, or the name of a transformation.
        apply: takes the same arguments, and returns new parameters instead of updates.
    """
    setattr(update, TAG, part)
    setattr(update, APPLY, apply)
    return update
