"""Differentiate a layer, or a scan over layers, by a backward pass that takes the layers' steps."""

import dataclasses
import functools as ft
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend import core
from jax.tree_util import PyTreeDef

from adam_optax._core.types import DTypeLike, PyTree
from adam_optax.release._plan import Plan, slices, written

Arrays: TypeAlias = list[Array]
"""The arrays of one kind, in the order of a jaxpr's arguments."""

Groups: TypeAlias = tuple[Arrays, Arrays, Arrays, Arrays]
"""The arguments of a layer: what it is called with, its parameters, its part of other arrays that
are scanned over, and what it closes over."""

FLOATS = {1: "float8_e4m3fn", 2: "bfloat16", 4: "float32", 8: "float64"}
"""The floating dtypes, by bytes, as which integers of a state are handed back: integers have no
cotangent."""


def is_inexact(x: Any) -> bool:
    """Tell whether an array has a derivative."""
    return bool(jnp.issubdtype(x.dtype, jnp.inexact))


def as_floating(x: Array) -> Array:
    """Return an array, or the bits of integers as floating numbers."""
    return x if is_inexact(x) else lax.bitcast_convert_type(x, FLOATS[x.dtype.itemsize])


def as_dtype(x: Array, dtype: DTypeLike) -> Array:
    """Return the array of which `as_floating` has the bits."""
    return x if x.dtype == dtype else lax.bitcast_convert_type(x, dtype)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Pullback:
    """Put a layer's pullback together from what was kept of the forward pass.

    Attributes:
        treedef: the structure of the pullback.
        places: for each of its leaves the group and the number of the argument that it is, which
            is at hand anyway; None for what is kept.
    """

    treedef: PyTreeDef
    places: tuple[tuple[int, int] | None, ...]

    @classmethod
    def take_apart(cls, pullback: PyTree, groups: Groups) -> "tuple[Pullback, Arrays]":
        """Return how to put a pullback together, and what must be kept for that."""
        leaves, treedef = jax.tree.flatten(pullback)
        known = {id(x): (n, j) for n in (1, 2, 3) for j, x in enumerate(groups[n])}
        places = tuple(known.get(id(x)) for x in leaves)
        kept = [x for x, place in zip(leaves, places, strict=True) if place is None]
        return cls(treedef, places), kept

    def put_together(self, kept: Arrays, groups: Groups) -> Callable[..., Any]:
        """Return the pullback."""
        rest = iter(kept)
        leaves = [next(rest) if x is None else groups[x[0]][x[1]] for x in self.places]
        found: Callable[..., Any] = jax.tree.unflatten(self.treedef, leaves)
        return found


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """Hold a layer that is traced, and how its parameters take their step.

    Attributes:
        jaxpr: the layer as a function of its arguments, group by group.
        carried: how many of its results are the next layer's first arguments.
        plans: how steps are taken, and of which parameters, in the order of the parameters.
        dtypes: the dtypes of what the state keeps of these.
    """

    jaxpr: core.Jaxpr
    carried: int
    plans: tuple[tuple[Plan, tuple[int, ...]], ...]
    dtypes: tuple[tuple[DTypeLike, ...], ...]

    def run(self, groups: Groups) -> Arrays:
        """Return the results of the layer."""
        *arguments, consts = groups
        closed = core.ClosedJaxpr(self.jaxpr, consts)
        return list(core.jaxpr_as_fun(closed)(*(x for group in arguments for x in group)))

    def vjp(self, groups: Groups) -> tuple[Arrays, PyTree]:
        """Return the results and the pullback, which knows floating arguments and results alone."""
        flat, treedef = jax.tree.flatten(groups)
        moving = [i for i, x in enumerate(flat) if is_inexact(x)]

        def of(*values: Array) -> tuple[Arrays, Arrays]:
            arguments = dict(enumerate(flat)) | dict(zip(moving, values, strict=True))
            results = self.run(jax.tree.unflatten(treedef, list(arguments.values())))
            return [x for x in results if is_inexact(x)], [x for x in results if not is_inexact(x)]

        floating, pullback, others = jax.vjp(of, *(flat[i] for i in moving), has_aux=True)
        rest, moved = iter(others), iter(floating)
        kinds = [is_inexact(v.aval) for v in self.jaxpr.outvars]
        return [next(moved if kind else rest) for kind in kinds], pullback

    def pull(self, pullback: Callable[..., Any], cotangents: PyTree, groups: Groups) -> PyTree:
        """Return the cotangents of the arguments, group by group; None for integers."""
        flat, treedef = jax.tree.flatten(groups)
        found = iter(pullback([x for x in cotangents if x is not None]))
        return jax.tree.unflatten(treedef, [next(found) if is_inexact(x) else None for x in flat])

    def take(
        self,
        grads: Arrays,
        params: Arrays,
        own: list[Arrays],
        shared: list[Arrays],
        at: Array | None = None,
    ) -> tuple[Arrays, list[Arrays]]:
        """Return the parameters after their step, and what the state keeps of them."""
        new_params: Arrays = []
        new_own: list[Arrays] = []
        for (plan, which), kept, counts in zip(self.plans, own, shared, strict=True):
            here = slice(len(new_params), len(new_params) + len(which))
            moved, state = plan.take(which, grads[here], params[here], kept, counts, at)
            new_params += moved
            new_own.append(plan.own(state, which))
        return new_params, new_own

    def decoded(self, own: list[Arrays]) -> list[Arrays]:
        """Return what the state keeps, in its own dtypes."""
        return [
            [as_dtype(x, dtype) for x, dtype in zip(xs, dtypes, strict=True)]
            for xs, dtypes in zip(own, self.dtypes, strict=True)
        ]


def fence(tree: PyTree, count: Array) -> PyTree:
    """Return a tree of which nothing is there before all of it is.

    What is read of a layer is then read before the layer is written, and the layer's gradient is
    the number that a step outside the backward pass would be given. XLA for CPUs removes
    `optimization_barrier` before it fuses, makes a loop of its own for each result of a step, and
    then has to copy all layers, since one loop reads what another one has overwritten; it fuses
    nothing across the branches of a condition.

    Args:
        tree: the arrays.
        count: an int32 scalar that is not negative, which XLA does not know.
    """

    def branch(tree: PyTree, count: Array) -> PyTree:
        zeros = ft.partial(jax.tree.map, jnp.zeros_like)
        return lax.cond(count >= 0, lambda x: x, zeros, tree)

    barrier = lambda tree, _: lax.optimization_barrier(tree)  # noqa: E731
    return lax.platform_dependent(tree, count, cpu=branch, default=barrier)


def _movable(cotangents: Arrays) -> list[Array | None]:
    """Return cotangents, with None for those of integers."""
    return [x if is_inexact(x) else None for x in cotangents]


def _nothing(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda _: None, tree)


# --- A scan over layers ------------------------------------------------------------------------


@ft.partial(jax.custom_vjp, nondiff_argnums=(0,))
def released_scan(
    layer: Layer,
    carry: Arrays,
    params: Arrays,
    own: list[Arrays],
    shared: list[Arrays],
    others: Arrays,
    consts: Arrays,
) -> tuple[Arrays, Arrays]:
    """Scan a layer over stacked parameters, whose cotangents are the parameters after their step.

    Args:
        layer: the layer.
        carry: the first carry.
        params: the stacked parameters.
        own: what the state keeps of them, as floating arrays; its cotangents are the new state.
        shared: what the state keeps once.
        others: the other arrays that are scanned over.
        consts: what the layer closes over.

    Returns:
        The last carry, and the stacked outputs.
    """
    del own, shared

    def body(carry: Arrays, each: tuple[Arrays, Arrays]) -> tuple[Arrays, Arrays]:
        results = layer.run((carry, *each, consts))
        return results[: layer.carried], results[layer.carried :]

    found: tuple[Arrays, Arrays] = lax.scan(body, carry, (params, others))
    return found


def _scan_forward(
    layer: Layer,
    carry: Arrays,
    params: Arrays,
    own: list[Arrays],
    shared: list[Arrays],
    others: Arrays,
    consts: Arrays,
) -> tuple[PyTree, PyTree]:
    how: list[Pullback] = []

    def body(carry: Arrays, each: tuple[Arrays, Arrays]) -> tuple[Arrays, PyTree]:
        groups = carry, *each, consts
        results, pullback = layer.vjp(groups)
        parts, kept = Pullback.take_apart(pullback, groups)
        how.append(parts)
        return results[: layer.carried], (results[layer.carried :], kept)

    last, (ys, kept) = lax.scan(body, carry, (params, others))
    return (last, ys), (how[-1], kept, carry, params, own, shared, others, consts)


def _scan_backward(layer: Layer, residual: PyTree, cotangents: PyTree) -> PyTree:
    how, kept, first, params, own, shared, others, consts = residual
    d_carry, d_ys = map(_movable, cotangents)
    zeros = [jnp.zeros_like(x) if is_inexact(x) else None for x in consts]

    def body(state: PyTree, each: PyTree) -> tuple[PyTree, PyTree]:
        d_carry, d_consts, params, own = state
        i, kept, x, d_y = each
        here, here_own = slices(params, i), [slices(xs, i) for xs in own]
        groups = first, [p[0] for p in here], x, consts
        pullback = how.put_together(kept, groups)
        d_carry, grads, d_x, d_here = layer.pull(pullback, [*d_carry, *d_y], groups)
        d_consts = [a if a is None else a + b for a, b in zip(d_consts, d_here, strict=True)]
        now = fence((d_carry, d_consts, d_x, grads, here, here_own), i)
        d_carry, d_consts, d_x, grads, here, here_own = now
        new, new_own = layer.take([g[None] for g in grads], here, here_own, shared, i)
        params = written(params, new, i)
        own = [written(a, b, i) for a, b in zip(own, new_own, strict=True)]
        return (d_carry, d_consts, params, own), d_x

    layers = jnp.arange(params[0].shape[0], dtype=jnp.int32)
    start = d_carry, zeros, params, layer.decoded(own)
    (d_carry, d_consts, params, own), d_others = lax.scan(
        body, start, (layers, kept, others, d_ys), reverse=True
    )
    own = jax.tree.map(as_floating, own)
    return d_carry, params, own, _nothing(shared), d_others, d_consts


released_scan.defvjp(_scan_forward, _scan_backward)

# --- One layer ---------------------------------------------------------------------------------


@ft.partial(jax.custom_vjp, nondiff_argnums=(0,))
def released_call(
    layer: Layer,
    arguments: Arrays,
    params: Arrays,
    own: list[Arrays],
    shared: list[Arrays],
    consts: Arrays,
) -> Arrays:
    """Call a layer; the arguments are those of `released_scan`, of one layer."""
    del own, shared
    return layer.run((arguments, params, [], consts))


def _call_forward(
    layer: Layer,
    arguments: Arrays,
    params: Arrays,
    own: list[Arrays],
    shared: list[Arrays],
    consts: Arrays,
) -> tuple[PyTree, PyTree]:
    groups: Groups = (arguments, params, [], consts)
    results, pullback = layer.vjp(groups)
    how, kept = Pullback.take_apart(pullback, groups)
    return results, (how, kept, arguments, params, own, shared, consts)


def _call_backward(layer: Layer, residual: PyTree, cotangents: PyTree) -> PyTree:
    how, kept, arguments, params, own, shared, consts = residual
    groups: Groups = (arguments, params, [], consts)
    pullback = how.put_together(kept, groups)
    d_arguments, grads, _, d_consts = layer.pull(pullback, _movable(cotangents), groups)
    now = lax.optimization_barrier((d_arguments, d_consts, grads))
    d_arguments, d_consts, grads = now
    new, new_own = layer.take(grads, params, layer.decoded(own), shared)
    own = jax.tree.map(as_floating, new_own)
    # The layers before begin when this step is taken, so that its gradient's memory is theirs.
    d_arguments, new, own = lax.optimization_barrier((d_arguments, new, own))
    return d_arguments, new, own, _nothing(shared), d_consts


released_call.defvjp(_call_forward, _call_backward)
