"""Run a rule over trees of parameters, with states that optax's tools know.

`Engine` is what `scale_by` and `optimizer` share: it takes trees apart into leaves, runs
`leaf.py` on each of them, and says at which path something did not fit.
"""

import dataclasses
import functools as ft
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.tree import leaves_with_path
from jax.tree_util import KeyPath, PyTreeDef

from adam_optax._core import checks
from adam_optax._core.by_path import at_leaves
from adam_optax._core.log_decay import no_decay
from adam_optax._core.numerics import safe_increment
from adam_optax._core.types import PyTree, UpdateFn
from adam_optax._engine import parts, sharding
from adam_optax._engine.groups import Group, Grouping
from adam_optax._engine.kernels.cpu.choice import chosen
from adam_optax._engine.kernels.fused_step import LeafStep
from adam_optax._engine.leaf import (
    compile_leaf_step,
    compile_step_scalars,
    select,
)
from adam_optax._engine.optax_states import LAYOUTS, Layout, layout_of
from adam_optax._engine.outside_step import init_frames, init_leaf, rest_leaf
from adam_optax._engine.states import (
    OWN_STATES,
    ScaleByScheduledState,
    ScaleByState,
    count_of,
    frames_of,
    is_split,
    log_decays_of,
    unpack,
)
from adam_optax._engine.step_scalars import (
    NO_FRAMES,
    NO_LOG_DECAYS,
    ByPrecision,
    Frames,
    LogDecays,
)
from adam_optax.couplings import RATE, Coupling
from adam_optax.rules.base import Rule, dynamic_hyperparams
from adam_optax.storage._base import MASKED, Entry
from adam_optax.storage._plan import entries_of

# --- States ------------------------------------------------------------------------------------


def pack(
    count: Array,
    moments: dict[str, PyTree],
    layout: Layout | None = None,
    log_decays: Mapping[str, Array] = NO_LOG_DECAYS,
    frames: Frames = NO_FRAMES,
) -> PyTree:
    """Return the state that holds these entries: optax's own class where optax has one.

    Args:
        count: the steps taken.
        moments: trees over the parameters, by entry.
        layout: optax's class; None, or one that holds other entries: this library's own.
        log_decays: of the moments whose decay rates follow a schedule.
        frames: of the slots whose codes are read with a frame.
    """
    if log_decays:
        return ScaleByScheduledState(count, moments, dict(log_decays), dict(frames))
    if layout is None or layout.fields.keys() != moments.keys():
        return ScaleByState(count, moments, dict(frames))
    fields = {layout.fields[n]: tree for n, tree in moments.items()}
    for i, name in enumerate(layout.counts):  # each an array of its own, which can be donated
        fields[name] = jnp.copy(count) if i else count
    return layout.kind(**fields)


def join_trace(state: tuple[PyTree, ...]) -> PyTree:
    """Return one state with the moments that a chain has in its first and last link.

    Another chain's first link is returned as it is, for the engine to refuse.
    """
    if not is_split(state):
        return state[0]
    count = count_of(state)
    known = jnp.zeros((), jnp.int32) if count is None else count
    return pack(known, unpack(state), None, log_decays_of(state), frames_of(state))


def split_trace(
    joined: PyTree, tail: Sequence[PyTree], layout: Layout | None
) -> tuple[PyTree, ...]:
    """Return the chain that has the trace in its last link, and the other moments in its first.

    Args:
        joined: the state with all moments.
        tail: the chain after its first link; its last link is replaced.
        layout: optax's class of the first link, or None.
    """
    first = {n: tree for n, tree in joined.moments.items() if n != "trace"}
    last = optax.TraceState(joined.moments["trace"])
    rest = log_decays_of(joined), frames_of(joined)
    return pack(joined.count, first, layout, *rest), *tail[:-1], last


def _unpack_checked(
    state: PyTree, entries: tuple[str, ...] | None, layout: Layout | None
) -> tuple[Array | None, dict[str, PyTree]]:
    """Return the count and the entries of a state, or refuse it; `entries` None allows any."""
    found, is_own = LAYOUTS.get(type(state)), isinstance(state, OWN_STATES)
    count, moments = None, {}
    if is_own:
        count, moments = state[:2]
    elif found is not None:
        count = getattr(state, found.counts[0]) if found.counts else None
        moments = {n: getattr(state, field) for n, field in found.fields.items()}
    unknown = found is None and not is_own
    if unknown or (entries is not None and moments.keys() != set(entries)):
        holds = f" with {', '.join(moments)}" if moments else ""
        what = "moments" if entries is None else ", ".join(entries) or "no moments"
        way_out = "; adam_optax.convert.change_storage takes it to another storage" if holds else ""
        raise TypeError(
            f"the state must hold {what}, as tx.init makes it; got {type(state).__name__}{holds}"
            f"{way_out}"
        )
    if count is None and (layout is None or layout.counts):
        raise TypeError(
            f"the state must count steps, as tx.init makes it; {type(state).__name__} does not"
        )
    return count, {n: moments[n] for n in (moments if entries is None else entries)}


def _log_decays_checked(state: PyTree, groups: Iterable[Group]) -> dict[str, Array]:
    """Return the log decays of a state, or refuse a state in which other ones are kept."""
    needed = {kept for group in groups for kept in group.scheduled.values()}
    if needed != (held := {*log_decays_of(state)}):
        there, here = (", ".join(sorted(names)) or "none" for names in (held, needed))
        raise TypeError(
            f"the state has the decay rates of these moments on a schedule: {there}; this "
            f"optimiser has {here}; with c = adam_optax.convert, take the state there by "
            "c.from_named(c.to_named(state), tx.init(params), tx=tx, params=params)"
        )
    return dict(log_decays_of(state))


def _frames_checked(state: PyTree, groups: Iterable[Group]) -> Frames:
    """Return the frames of a state, or refuse a state that lacks some, or has others."""
    needed = {kept for group in groups for kept in group.frames.values()}
    found = state.frames if isinstance(state, OWN_STATES) else NO_FRAMES
    if needed != found.keys():
        there, here = (", ".join(sorted(names)) or "none" for names in (found.keys(), needed))
        raise TypeError(
            f"the state has frames of these codes: {there}; this optimiser needs {here}: without "
            "its frame a code cannot be read; the state must be one that tx.init or tx.update made"
        )
    return found


# --- The engine --------------------------------------------------------------------------------


class Shared(NamedTuple):
    """Hold what the leaves of a group share in a step.

    Attributes:
        step: the compiled step of a leaf.
        scalars: the scalars of the step.
        new_count: the count after the step.
        log_decays: the log decays after the step, by moment.
        frames: the frames before the step, by slot.
        new_frames: the frames after the step, by slot.
    """

    step: LeafStep
    scalars: ByPrecision
    new_count: Array
    log_decays: LogDecays
    frames: Frames
    new_frames: Frames


@dataclasses.dataclass(frozen=True, eq=False)
class Engine:
    """Run a rule over trees.

    Attributes:
        grouping: which rule, storage, learning rate and weight decay a leaf has.
        coupling: how weight decay goes with the learning rate.
        layout: optax's class for the moments; None if it has none, or none in this storage.
    """

    grouping: Grouping
    coupling: Coupling = RATE
    layout: Layout | None = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layout", layout_of(self.grouping, self.rule.moments))

    @property
    def rule(self) -> Rule:
        """Return the variant."""
        return self.grouping.rule

    def init(self, params: PyTree) -> PyTree:
        """Return the state before the first step."""
        leaves = jax.tree.leaves(params)
        groups = self.grouping.of_leaves(params, is_whole=True)
        checks.check_parameters(params, [group.frozen for group in groups])
        count = jnp.zeros((), jnp.int32)
        encoded: list[dict[str, Entry]] = []
        try:
            for p, group in zip(leaves, groups, strict=True):
                encoded.append({} if group.frozen else init_leaf(p, group, count))
        except Exception as error:
            _raise_at_path(error, "params", params, len(encoded))
        kept = iter(encoded)
        table = jax.tree.map(lambda _: next(kept), params)
        # By entry and by `tree.map` alone: optax may hand in a placeholder for the whole tree.
        pick = lambda n: jax.tree.map(lambda _, own: own.get(n, MASKED), params, table)  # noqa: E731
        uniform = self.grouping.plan.uniform
        entries = uniform.entries if uniform else entries_of(group.storage for group in groups)
        distinct = groups if self.grouping.uniform is None else [self.grouping.uniform]
        log_decays = {n: no_decay() for group in distinct for n in group.scheduled.values()}
        frames = {n: x for group in distinct for n, x in init_frames(group, count).items()}
        return pack(count, {n: pick(n) for n in entries}, self.layout, log_decays, frames)

    def update(
        self,
        updates: PyTree,
        state: PyTree,
        params: PyTree = None,
        rate_count: Array | None = None,
        decay_count: Array | None = None,
        mask: PyTree = None,
        applies: bool = False,
        shardings: PyTree = None,
        factor: Array | None = None,
        taken: Array | None = None,
    ) -> tuple[PyTree, PyTree]:
        """Return the updates of all leaves and the new state.

        A gradient that is None leaves its moments as they are.

        Args:
            updates: the gradients.
            state: as `init` makes it.
            params: the parameters, if the rule, weight decay or `applies` needs them.
            rate_count: the count at which a schedule of the learning rate is read; None: the
                state's.
            decay_count: the same for the weight decay.
            mask: a tree of bools like `updates` that says which parameters decay; None: all.
            applies: whether to return the new parameters instead of the updates.
            shardings: where the leaves are, as `sharding.known_places` takes it; None: unknown.
            factor: what gradients are multiplied by first, as `numerics.scaled` does; None: 1.
            taken: 1 if the step is taken, 0 if parameters and state shall stay; None: it is taken.
        """
        uniform, alike = self.grouping.uniform, self.grouping.plan.uniform
        counted, trees = _unpack_checked(state, alike.entries if alike else None, self.layout)
        # A state of optax without a count is that of a step which does not depend on its number.
        past_count = jnp.zeros((), jnp.int32) if counted is None else jnp.asarray(counted)
        grads, treedef = jax.tree.flatten(updates, is_leaf=is_none)
        asked, shape = grads, treedef
        if any(g is None for g in grads):  # which may stand for a whole subtree
            grads, treedef = _spread_none(updates, params, trees)
            updates = jax.tree.unflatten(treedef, grads)
        n = len(grads)
        columns = checks.flatten_like(treedef, updates, trees)
        given = {name: t for name, t in (("params", params), ("mask", mask)) if t is not None}
        others = checks.flatten_like(treedef, updates, given) if given else {}
        here = parts.current.get()  # None but where a part of the whole tree takes its step
        paths = [] if here is None else [x for x, _ in leaves_with_path(updates, is_leaf=is_none)]
        ps, masks = (others.get(name, [None] * n) for name in ("params", "mask"))
        if uniform is not None:
            groups, distinct = [uniform] * n, {id(uniform): uniform}
        else:
            groups = self._groups_by_path(grads, None if params is None else ps, treedef, paths)
            distinct = {id(group): group for group in groups if not group.frozen}
        told = shardings is not None
        places = sharding.known_places(shardings, ps, treedef) if told else [None] * n

        # What depends on the step alone is computed once, for each group.
        past = NO_LOG_DECAYS
        if isinstance(state, ScaleByScheduledState) or any(g.scheduled for g in distinct.values()):
            past = _log_decays_checked(state, distinct.values())
        frames: Frames = NO_FRAMES
        if any(group.frames for group in distinct.values()):
            frames = _frames_checked(state, distinct.values())
        counts = (
            past_count,
            past_count if rate_count is None else rate_count,
            past_count if decay_count is None else decay_count,
        )
        new_count, log_decays, new_frames = None, dict(past), dict(frames)
        shared: dict[int, Shared] = {}
        for key, group in distinct.items():
            now = self._share(group, counts, past, frames, applies, factor, taken)
            new_count, shared[key] = now.new_count, now
            log_decays |= {kept: now.log_decays[name] for name, kept in group.scheduled.items()}
            new_frames |= {kept: now.new_frames[name] for name, kept in group.frames.items()}
        count = safe_increment(past_count) if new_count is None else new_count

        new_updates: list[Array | None] = []
        new_trees: dict[str, list[Any]] = {name: [] for name in trees}
        try:
            for i, (g, p, group) in enumerate(zip(grads, ps, groups, strict=True)):
                own = {name: column[i] for name, column in columns.items()}
                rest: dict[str, PyTree] = {}
                if uniform is None:
                    own, rest = checks.split_entries(own, group.storage.entries)
                if g is None:
                    result = p if applies else None
                    if group.frames and jax.tree.leaves(own):
                        rested = rest_leaf(group, own, past_count, count, *shared[id(group)][-2:])
                        own = rested if taken is None else select(taken, rested, own)
                elif group.frozen:
                    result = p if applies else jnp.zeros_like(g if p is None else p)
                else:
                    step, scalars, *_ = shared[id(group)]
                    kernels = group.storage.has_kernel[applies]
                    if checks.has_explicit_sharding(g):
                        step = sharding.under_auto_axes(step, (g, own), kernels)
                    elif kernels and places[i] is not None:
                        step = ft.partial(step, where=places[i])
                    if masks[i] is False:
                        scalars = {k: one._replace(weight_decay=None) for k, one in scalars.items()}
                    if here is not None and here.layer is not None:
                        scalars = parts.scalars_of_slice(
                            here,
                            paths[i],
                            group,
                            self.coupling,
                            applies,
                            (g, p, own, count, scalars),
                        )
                    result, own = step(g, p, own, count, scalars)
                new_updates.append(result)
                for name, column in new_trees.items():
                    column.append(own[name] if name in own else rest[name])
        except Exception as error:
            _raise_at_path(error, "updates", updates, len(new_updates), is_none)
        moments = {name: jax.tree.unflatten(treedef, col) for name, col in new_trees.items()}
        if taken is not None:
            past_scalars = past_count, dict(past), dict(frames)
            after_step = count, dict(log_decays), dict(new_frames)
            count, log_decays, new_frames = select(taken, after_step, past_scalars)
        state = pack(count, moments, self.layout, log_decays, new_frames)
        if treedef is not shape and not applies:  # None again, where None stood for a subtree
            found = (u for u in new_updates if u is not None)
            new_updates, treedef = [None if g is None else next(found) for g in asked], shape
        return jax.tree.unflatten(treedef, new_updates), state

    def _groups_by_path(
        self,
        grads: Sequence[Array | None],
        params: Sequence[Array | None] | None,
        treedef: PyTreeDef,
        paths: Sequence[KeyPath[Any]],
    ) -> list[Group]:
        """Return the group of every leaf, where something is by path.

        Args:
            grads: the gradients; None where a leaf has none, which may have a parameter.
            params: the parameters, or None.
            treedef: the tree of both.
            paths: where the leaves are, in a part of the whole; else unused.
        """
        if params is None and any(g is None for g in grads):
            raise ValueError(
                "where something is by path, a gradient of None needs the parameters: "
                "tx.update(grads, state, params)"
            )
        given = grads if params is None else params
        known: list[Any] = [g if p is None else p for g, p in zip(grads, given, strict=True)]
        if (here := parts.current.get()) is not None:
            known = [here.whole[path] for path in paths]
        known = [None if _is_masked(p) else x for x, p in zip(known, given, strict=True)]
        return self.grouping.of_leaves(jax.tree.unflatten(treedef, known), is_none)

    def _share(
        self,
        group: Group,
        counts: tuple[Array, Array, Array],
        past: LogDecays,
        frames: Frames,
        applies: bool,
        factor: Array | None,
        taken: Array | None,
    ) -> Shared:
        """Compute once what the leaves of a group share in a step.

        Args:
            group: the leaves' group.
            counts: of the state, and those at which schedules of the learning rate and of the
                weight decay are read.
            past: the log decays in the state.
            frames: the frames in the state.
            applies: as in `update`.
            factor: as in `update`.
            taken: as in `update`.
        """
        past_count, rate_count, decay_count = counts
        storage, recipe = group.storage, group.recipe
        rate, decay = group.learning_rate, group.weight_decay
        if callable(rate):
            rate = checks.scalar("learning_rate", rate(rate_count))
        if callable(decay):
            decay = checks.scalar("weight_decay", decay(decay_count))
        dynamic = group.rule.origin.dynamic if group.rule.origin else {}
        hyperparams = dynamic_hyperparams(group.rule, past_count) if dynamic else {}
        decays = {name: past[kept] for name, kept in group.scheduled.items()}
        before = {name: frames[kept] for name, kept in group.frames.items()}
        compute = compile_step_scalars(recipe, self.coupling, storage)
        count, after, now, scalars = compute(past_count, hyperparams, decay, rate, decays, before)
        if factor is not None or taken is not None:
            scalars = {k: one._replace(factor=factor, taken=taken) for k, one in scalars.items()}
        step = compile_leaf_step(
            recipe, storage, self.coupling, applies, group.layers, chosen.get()
        )
        return Shared(step, scalars, count, after, before, now)


def _spread_none(
    updates: PyTree, params: PyTree, trees: Mapping[str, PyTree]
) -> tuple[list[Array | None], PyTreeDef]:
    """Return gradients of which a None for a subtree is a None for each of its leaves.

    Args:
        updates: the gradients.
        params: the parameters, or None.
        trees: the state's entries, of one of which the leaves are, if the parameters are not given.
    """
    like = next(iter(trees.values()), updates) if params is None else params
    hole = lambda x: x is None or _is_masked(x)  # noqa: E731
    checks.flatten_like(jax.tree.structure(updates, is_leaf=is_none), updates, {"params": like})
    grads = [None if _is_masked(g) else g for g in at_leaves(updates, like, hole, "updates")]
    return grads, jax.tree.structure(like, is_leaf=hole)


def is_none(x: object) -> bool:
    """Tell whether a node is None, which then counts as a leaf."""
    return x is None


def _is_masked(x: object) -> bool:
    return isinstance(x, optax.MaskedNode)


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
FACTOR = "adam_optax_factor"
"""The attribute of a link that only scales: from gradients and the link's state to the factor (see
`numerics.scaled`) and the new state."""
TAKES_FACTOR = "adam_optax_takes_factor"
"""The attribute of a link whose twin (`APPLY`) takes such a factor as `factor`, and `taken`."""
UPDATE_IF = "adam_optax_update_if"
"""The attribute of an `update` function that holds its twin with a further argument, `taken`."""
INNER = "adam_optax_inner"
"""The attribute of a wrapper's `update` that holds the wrapped one, which sees the same gradients;
the wrapper's state has that of the wrapped transformation as `inner_state`."""


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
