"""Run a leaf's step as a loop where a program is compiled for one CPU."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core
from jax.sharding import NamedSharding

from adam_optax._core import checks
from adam_optax._core.dither import TileOffset
from adam_optax._core.types import PyTree
from adam_optax._engine.kernels import layout
from adam_optax._engine.kernels.cpu import machine
from adam_optax._engine.kernels.cpu.loop import Loop, make_loop
from adam_optax._engine.kernels.cpu.primitive import Parameters, bind
from adam_optax._engine.kernels.cpu.program import UntranslatableError
from adam_optax._engine.kernels.elementwise import is_elementwise
from adam_optax._engine.kernels.fused_step import LeafResult, LeafStep
from adam_optax._engine.kernels.layout import LEAF, SCALAR, SHARED
from adam_optax.storage._base import Entry

DTYPES = ("float32", "bfloat16", "float16")
"""The dtypes of gradients and parameters that loops take."""


def looped(
    step: LeafStep,
    otherwise: LeafStep,
    block: int | None,
    applies: bool,
    layers: int = 0,
    is_own: bool = False,
    unstored: LeafStep | None = None,
    has_kernel: bool = False,
) -> LeafStep:
    """Return a step that is a loop on one CPU, where the leaf and the rule allow it.

    Args:
        step: takes a gradient, a parameter or None, encoded moments, the count, the scalars by
            precision and an offset; returns an array of the gradient's shape and encoded moments.
        otherwise: the same step for where there is no loop; takes no offset, and at times `where`.
        block: how many neighbours share something in storage, 1 for none; None: there are several.
        applies: whether the array that the step returns is the new parameter.
        layers: how many leading axes are layers, which must not share anything.
        is_own: whether the rule and the formats are this library's: no number that becomes an
            integer is out of range, and nothing but sums depends on the leaf's shape.
        unstored: a rule of which nothing is known, without storage, as `fuse` has it: where the
            rule mixes elements, or reads the leaf's size, there is no loop.
        has_kernel: whether the step without the loop may be a kernel on accelerators.
    """
    loops: dict[object, Loop | None] = {}

    def run(
        g: Array,
        p: Array | None,
        encoded: Mapping[str, Entry],
        count: Array,
        scalars: Mapping[str, PyTree],
        where: NamedSharding | None = None,
    ) -> LeafResult:
        arguments = g, p, encoded, count, {"float32": scalars["float32"]}
        leaves = [g] if p is None else [g, p]
        if where is not None:
            return otherwise(g, p, encoded, count, scalars, where)
        if block is None or g.ndim <= layers or not _has_loop(leaves, block):
            return otherwise(g, p, encoded, count, scalars)
        flat, tree = jax.tree.flatten(arguments)
        types = [jax.typeof(x) for x in flat]
        roles = _roles(types, block)
        if not _vary_alike(types, roles):
            return otherwise(g, p, encoded, count, scalars)
        kinds = tree, roles, tuple((x.dtype, x.weak_type) for x in types)

        def of_rank(rank: int) -> Loop | None:
            if (rank, kinds) not in loops:
                loops[rank, kinds] = _traced(step, tree, roles, types, rank, block, is_own)
            return loops[rank, kinds]

        # This library's rules and formats do not ask for the rank, but sums are found by it.
        loop = of_rank(1 if is_own else g.ndim)
        if loop is not None and layers and (loop.program.has_sums or loop.program.has_places):
            loop = None  # a layer has sums and dithers of its own
        if loop is not None and loop.program.has_sums and g.ndim > 1:
            loop = of_rank(g.ndim)
        if loop is None or not _is_for(loop, unstored, layers, g, p, count, scalars):
            return otherwise(g, p, encoded, count, scalars)

        def plain(*operands: Array) -> list[Array]:
            one, parameter, kept, number, narrow = jax.tree.unflatten(tree, operands)
            return jax.tree.leaves(otherwise(one, parameter, kept, number, dict(scalars) | narrow))

        def whole(*operands: Array) -> list[Array]:
            zero = jnp.zeros((), jnp.uint32)
            offset = TileOffset(g.shape, (zero,) * g.ndim)
            return jax.tree.leaves(step(*jax.tree.unflatten(tree, operands), offset))

        wider = p is not None and jnp.finfo(g.dtype).bits < jnp.finfo(p.dtype).bits
        own = 1 if applies or wider else 0  # an update has the wider dtype of the two
        kept = range(len(leaves), len(leaves) + len(jax.tree.leaves(encoded)))
        first = own if applies or own == 0 else -1
        like = tuple((i, flat[i].dtype) for i in (own, *kept))
        seen = None
        if has_kernel and layout.width(leaves, block) is not None:
            seen = jax.make_jaxpr(plain)(*flat)
        how = Parameters(
            loop=loop,
            otherwise=plain if seen is None else core.jaxpr_as_fun(seen),
            like=like,
            in_place=(first, *kept),
            whole=whole,
            seen=seen,
        )
        found = bind(*flat, **how)
        result: LeafResult = jax.tree.unflatten(jax.tree.structure((g, encoded)), found)
        return result

    return run


def _has_loop(leaves: Sequence[Array], block: int) -> bool:
    """Tell whether a gradient, and a parameter if there is one, may have a loop."""
    g = leaves[0]
    narrow = block > 1 and g.shape[-1] == 1  # a block looks like an element there
    return (
        machine.is_installed()
        and g.size > 0
        and not narrow
        and all(str(x.dtype) in DTYPES for x in leaves)
        and not checks.has_explicit_sharding(g)
    )


def _is_for(
    loop: Loop,
    unstored: LeafStep | None,
    layers: int,
    g: Array,
    p: Array | None,
    count: Array,
    scalars: Mapping[str, PyTree],
) -> bool:
    """Tell whether a loop, which was traced on a unit, is that of this leaf."""
    unit = (*(1 for _ in g.shape[:-1]), loop.program.width)
    return unstored is None or is_elementwise(unstored, g, p, count, scalars, unit, layers)


def _roles(types: Sequence[Any], block: int) -> tuple[str, ...]:
    """Return the roles of arguments; empty where one has none."""
    shape = types[0].shape
    known = {(*shape[:-1], -(-shape[-1] // block)): SHARED, shape: LEAF, (): SCALAR}
    roles = tuple(known.get(x.shape, "") for x in types)
    return roles if all(roles) else ()


def _vary_alike(types: Sequence[Any], roles: Sequence[str]) -> bool:
    """Tell whether all arrays vary over the same axes of a mesh, inside `jax.shard_map`.

    Else the results vary over more axes than one of the arguments which they are like, and JAX,
    which checks that, would not know.
    """
    name = "vma" if hasattr(types[0], "vma") else "manual_axis_type"  # the latter from jax 0.12 on
    varies, nowhere = getattr(types[0], name), getattr(jax.typeof(np.float32(0)), name)
    return all(
        (found := getattr(x, name)) == varies or (role == SCALAR and found == nowhere)
        for x, role in zip(types, roles, strict=False)
    )


def _two_steps(arguments: Any) -> list[tuple[int, int]]:
    """Return the places of those scalars of storage that are one number of two steps."""
    before, now = (jax.tree.leaves(x) for x in arguments[-1]["float32"].storage)
    return list(zip(before, now, strict=True)) if len(before) == len(now) else []


def _traced(
    step: LeafStep,
    tree: jax.tree_util.PyTreeDef,
    roles: Sequence[str],
    types: Sequence[Any],
    rank: int,
    block: int,
    is_own: bool,
) -> Loop | None:
    """Return the loop of a step; None if there is none, or the step cannot be taken in parts."""

    def on_unit(*operands: Array) -> list[Array]:
        *arrays, start = operands
        offset = TileOffset((1,) * rank, (*[jnp.zeros((), jnp.uint32)] * (rank - 1), start))
        return jax.tree.leaves(step(*jax.tree.unflatten(tree, arrays), offset))

    if not roles:
        return None
    try:
        alike = _two_steps(jax.tree.unflatten(tree, range(len(types))))
        loop = make_loop(on_unit, roles, types, rank, block, alike, in_range=is_own)
    except (UntranslatableError, TypeError, ValueError):  # what is wrong, the plain step says
        return None
    # What another's rule makes of the size of a leaf is not known.
    return None if loop.program.has_sums and not is_own else loop
