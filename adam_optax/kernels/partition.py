"""A kernel on each of several devices, on the part of the leaf that is there."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.custom_partitioning import custom_partitioning

from adam_optax.kernels.layout import LEAF, SCALAR, SHARED, Layout

Run = Callable[..., list[Array]]
"""Of flat arguments and, axis by axis, the index in the leaf at which they begin."""


def partitioned(layout: Layout, plain: Run, local: Run) -> Run:
    """A step of a leaf that is sharded in any way, computed where its parts are.

    A device learns which part it has from an array of indices for each axis, sharded like the axis.

    Args:
        layout: of the whole leaf.
        plain: the step of the whole leaf.
        local: the step of a part.
    """
    axes = [f"a{i}" for i in range(len(layout.shape) - 1)]
    cut = len(layout.roles)

    def start(indices: Any) -> list[Array]:
        firsts = [index[0] for index in indices]
        return [*firsts[:-1], firsts[-1] * layout.width]

    def whole(*operands: Array) -> list[Array]:
        return plain(*operands[:cut], *start(operands[cut:]))

    def partition(mesh: Any, arguments: Any, results: Any) -> Any:
        def part(*operands: Array) -> list[Array]:
            return local(*operands[:cut], *start(operands[cut:]))

        where = lambda tree: jax.tree.map(lambda x: x.sharding, tree)  # noqa: E731
        return mesh, part, where(results), where(arguments)

    lines = {LEAF: [*axes, "(h w)"], SHARED: [*axes, "h"], SCALAR: []}
    text = lambda roles: ", ".join(" ".join(lines[role]) for role in roles)  # noqa: E731
    rule = f"{text(layout.roles)}, {', '.join((*axes, 'h'))} -> {text(layout.out_roles)}"
    spread = custom_partitioning(whole)
    spread.def_partition(
        partition, sharding_rule=rule, need_replication_factors=("w",), w=layout.width
    )

    def run(*operands: Array) -> list[Array]:
        indices = [jnp.arange(n, dtype=jnp.int32) for n in layout.whole(SHARED)]
        return list(spread(*operands[:cut], *indices))

    return run
