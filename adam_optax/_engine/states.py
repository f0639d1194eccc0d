"""Define the states of rules for which optax has no class, and see through the ones it has.

A state of moments is one of `STATES`, or a chain of optax's RMSProp, which keeps the trace of its
momentum in the last link. Whoever looks into states does so by the functions here.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax
from jax import Array

from adam_optax._core.types import PyTree
from adam_optax._engine.optax_states import LAYOUTS, RMS, RMS_WITH_COUNT
from adam_optax._engine.step_scalars import NO_FRAMES, NO_LOG_DECAYS
from adam_optax.storage._base import Frame


class ScaleByState(NamedTuple):
    """Hold the moments of a rule for whose entries optax has no class of its own.

    Attributes:
        count: steps taken, an int32 scalar.
        moments: trees over the parameters, by entry.
        frames: by the name of the entry that holds codes, `uint32` scalars with which the codes are
            read, so that they stay true when a decay rate or the count is changed.
    """

    count: Array  # type: ignore[assignment]  # tuple.count: the field's name is optax's
    moments: dict[str, PyTree]
    frames: dict[str, Frame] = NO_FRAMES

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
        frames: as in `ScaleByState`.
    """

    count: Array  # type: ignore[assignment]  # tuple.count: the field's name is optax's
    moments: dict[str, PyTree]
    log_decays: dict[str, Array]
    frames: dict[str, Frame] = NO_FRAMES

    def __getattr__(self, name: str) -> PyTree:
        """Return an entry by its name, as in optax's states: `state.mu`."""
        return ScaleByState(self.count, self.moments).__getattr__(name)


def _shapes(tree: PyTree) -> PyTree:
    show = lambda x: f"{x.dtype}{list(x.shape)}" if hasattr(x, "dtype") else repr(x)  # noqa: E731
    return jax.tree.map(show, tree)


OWN_STATES = (ScaleByState, ScaleByScheduledState)
"""The classes for which optax has none."""

STATES = (*OWN_STATES, *(kind for kind, layout in LAYOUTS.items() if layout.fields))
"""The classes that hold moments; optax's own are among them, so that its tools know our states."""


def holds_moments(x: PyTree) -> bool:
    """Tell whether a node of a tree is a state with moments, or a chain over which they are split.

    optax's RMSProp keeps the trace of its momentum in the last link of its chain.
    """
    return isinstance(x, STATES) or is_split(x)


def is_split(x: PyTree) -> bool:
    """Tell whether a node is the chain of an RMSProp with momentum."""
    plain = isinstance(x, tuple) and not hasattr(x, "_fields") and len(x) > 1
    if not plain or not isinstance(x[-1], optax.TraceState):
        return False
    if isinstance(x[0], OWN_STATES):  # centred, or with schedules
        return {*x[0].moments} in ({"nu"}, {"mu", "variance"})
    return type(x[0]) in (RMS.kind, RMS_WITH_COUNT.kind)


def states_with_moments(tree: PyTree) -> list[PyTree]:
    """Return the nodes of a tree that hold an optimiser's moments.

    A trace of parameters of which another state holds moments is a link of its own, such as
    `optax.trace` before Adam, and left out.
    """
    nodes = [x for x in jax.tree.leaves(tree, is_leaf=holds_moments) if holds_moments(x)]
    others = [x for x in nodes if not isinstance(x, optax.TraceState)]
    if not others or len(others) == len(nodes):
        return nodes
    taken = {path for x in others for moment in unpack(x).values() for path in _paths(moment)}
    return [x for x in nodes if not isinstance(x, optax.TraceState) or not taken & _paths(x.trace)]


def _paths(tree: PyTree) -> set[Any]:
    return {path for path, _ in jax.tree.leaves_with_path(tree)}


# --- One state of moments ----------------------------------------------------------------------


def unpack(state: PyTree) -> dict[str, PyTree]:
    """Return the entries of a state by our names."""
    if isinstance(state, OWN_STATES):
        return state.moments
    if is_split(state):
        return unpack(state[0]) | unpack(state[-1])
    return {n: getattr(state, field) for n, field in LAYOUTS[type(state)].fields.items()}


def count_of(state: PyTree) -> Array | None:
    """Return the steps that a state has counted; None if it counts none."""
    first = state[0] if is_split(state) else state
    counts = ("count",) if isinstance(first, OWN_STATES) else LAYOUTS[type(first)].counts
    return getattr(first, counts[0]) if counts else None


def log_decays_of(state: PyTree) -> Mapping[str, Array]:
    """Return the log decays of a state, by moment: none but where decay rates follow a schedule."""
    first = state[0] if is_split(state) else state
    return first.log_decays if isinstance(first, ScaleByScheduledState) else NO_LOG_DECAYS


def frames_of(state: PyTree) -> Mapping[str, Frame]:
    """Return the frames of a state, by the name of their slot: none but where codes need them."""
    first = state[0] if is_split(state) else state
    return first.frames if isinstance(first, OWN_STATES) else NO_FRAMES


def repack(
    state: PyTree, moments: Mapping[str, PyTree], count: Callable[[PyTree], PyTree] | None = None
) -> PyTree:
    """Return a state of the same class with other moments.

    Args:
        state: the state.
        moments: its new entries.
        count: returns the new count of steps from the old one; None: counts stay.
    """
    if is_split(state):
        first, *between, last = state
        return repack(first, moments, count), *between, repack(last, moments)
    own = isinstance(state, OWN_STATES)
    counts = ("count",) if own else LAYOUTS[type(state)].counts
    counted = {n: count(getattr(state, n)) for n in counts} if count is not None else {}
    if own:
        return state._replace(moments={n: moments[n] for n in state.moments}, **counted)
    fields = {field: moments[n] for n, field in LAYOUTS[type(state)].fields.items()}
    return state._replace(**fields, **counted)
