"""The step of a leaf, which becomes a kernel where that saves passes over memory."""

import functools as ft
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import NamedSharding

from adam_optax._engine.kernels import layout
from adam_optax._engine.kernels.elementwise import elementwise
from adam_optax._engine.kernels.kernel import Kernel
from adam_optax._engine.kernels.layout import Layout
from adam_optax._engine.kernels.partition import partitioned
from adam_optax._engine.kernels.primitive import bound
from adam_optax._engine.sharding import parts


def one_pass(
    step: Callable[..., Any],
    alone: Callable[..., Any],
    block: int | None,
    platforms: frozenset[str],
    applies: bool,
    interpret: str | None = None,
) -> Callable[..., Any]:
    """A step that is a kernel on some platforms, where the leaf and the rule allow it.

    Args:
        step: of a gradient, a parameter or None, what is kept, the count, the clocks and a corner;
            it returns an array of the gradient's shape and what is to be kept.
        alone: the rule without storage, of a gradient, a parameter, the count and the clocks; one
            that mixes elements is not for a kernel.
        block: how many neighbours share something in storage, 1 for none; None: there are several.
        platforms: `"tpu"` and `"cuda"`, or one of them.
        applies: the array that the step returns is the new parameter.
        interpret: a platform whose kernel is interpreted on any other, for tests.
    """

    def run(
        g: Any, p: Any, kept: Any, count: Any, clocks: Any, where: NamedSharding | None = None
    ) -> Any:
        arguments = g, p, kept, count, {"float32": clocks["float32"]}
        how = _layout(step, alone, arguments, block) if platforms else None
        if how is None or (where is not None and not how.divides(parts(where, g.ndim - 1))):
            return step(g, p, kept, count, clocks)
        flat, tree = jax.tree.flatten(arguments)
        out_tree = jax.tree.structure((g, kept))

        def on_flat(*operands: Any) -> list[Array]:
            return jax.tree.leaves(step(*jax.tree.unflatten(tree, operands[:-1]), operands[-1]))

        kernel = Kernel(on_flat, how, platforms, _aliases(p, kept, applies))
        operands = *flat, *[jnp.zeros((), jnp.int32)] * g.ndim
        if interpret is None:
            done = bound(kernel, *operands, where=where)
        else:
            local = ft.partial(kernel.on, interpret, interpret=True)
            done = partitioned(how, local, local, where)(*operands)
        return jax.tree.unflatten(out_tree, done)

    return run


def _layout(
    step: Callable[..., Any], alone: Callable[..., Any], arguments: Any, block: int | None
) -> Layout | None:
    """How a step is cut into tiles, or None if it is not for a kernel."""
    g, p, kept, count, clocks = arguments
    width = layout.width([x for x in (g, p) if x is not None], block)
    if width is None or any(x.dtype.itemsize > 4 for x in jax.tree.leaves(kept)):
        return None
    results = jax.tree.leaves(jax.eval_shape(step, *arguments))
    rule = jax.make_jaxpr(alone)(g, p, count, clocks)
    if rule.consts or not elementwise(rule.jaxpr):  # a kernel has no arrays but its arguments
        return None
    return layout.of(g, jax.tree.leaves(arguments), results, width)


def _aliases(p: Any, kept: Any, applies: bool) -> tuple[tuple[int, int], ...]:
    """What is kept takes the place of what was, and a new parameter that of the old."""
    first = 1 if p is None else 2
    pairs = [(first + i, 1 + i) for i in range(len(jax.tree.leaves(kept)))]
    return ((1, 0), *pairs) if applies else tuple(pairs)
