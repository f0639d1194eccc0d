"""Run a kernel on each of several devices, on the part of the leaf that is there."""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from adam_optax._core.types import PyTree
from adam_optax._engine.kernels.layout import LEAF, SCALAR, SHARED, Layout

Run: TypeAlias = Callable[..., list[Array]]
"""A function of flat arguments and, axis by axis, the index in the leaf at which they begin."""


def partitioned(layout: Layout, plain: Run, local: Run, where: NamedSharding | None = None) -> Run:
    """Return a step of a leaf that may be sharded in any way, computed where its parts are.

    A device learns which part it has from an array of indices for each axis, sharded like the axis.

    Args:
        layout: how the whole leaf is cut into tiles.
        plain: the step of the whole leaf.
        local: the step of a part.
        where: the leaf's sharding, if known; else the compiler asks for the step of a part.
    """
    cut = len(layout.roles)

    def part(step: Run) -> Run:
        def run(*operands: Array) -> list[Array]:
            firsts = [indices[0] for indices in operands[cut:]]
            start = *firsts[:-1], firsts[-1] * layout.width
            return step(*operands[:cut], *start)

        return run

    def run(*operands: Array) -> list[Array]:
        indices = [jnp.arange(n, dtype=jnp.int32) for n in layout.full_shape(SHARED)]
        if where is None:
            spread = _partition_auto(layout, part(plain), part(local))
        else:
            spread = _partition_known(layout, part(local), where)
        return list(spread(*operands[:cut], *indices))

    return run


def _partition_auto(layout: Layout, whole: Run, part: Run) -> Run:
    def partition(
        mesh: Mesh, arguments: PyTree, results: PyTree
    ) -> tuple[Mesh, Run, PyTree, PyTree]:
        where = lambda tree: jax.tree.map(lambda x: x.sharding, tree)  # noqa: E731
        return mesh, part, where(results), where(arguments)

    axes = [f"a{i}" for i in range(len(layout.shape) - 1)]
    lines = {LEAF: [*axes, "(h w)"], SHARED: [*axes, "h"], SCALAR: []}
    text = lambda roles: ", ".join(" ".join(lines[role]) for role in roles)  # noqa: E731
    rule = f"{text(layout.roles)}, {', '.join((*axes, 'h'))} -> {text(layout.out_roles)}"
    spread = custom_partitioning(whole)
    spread.def_partition(
        partition, sharding_rule=rule, need_replication_factors=("w",), w=layout.width
    )
    return spread


def _partition_known(layout: Layout, part: Run, where: NamedSharding) -> Run:
    specs = dict.fromkeys((LEAF, SHARED), where.spec) | {SCALAR: PartitionSpec()}
    axes = (*where.spec, *[None] * len(layout.shape))[: len(layout.shape)]
    inputs = [specs[role] for role in layout.roles] + [PartitionSpec(axis) for axis in axes]
    outputs = [specs[role] for role in layout.out_roles]
    mesh = where.mesh if jax.sharding.get_abstract_mesh().empty else None  # or the one that is set
    return jax.shard_map(
        part, mesh=mesh, in_specs=tuple(inputs), out_specs=outputs, check_vma=False
    )
