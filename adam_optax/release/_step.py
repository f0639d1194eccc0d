"""Take a training step whose backward pass takes the steps of layers."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.extend import core
from jax.tree_util import KeyPath, PyTreeDef

from adam_optax._core.by_path import path_name
from adam_optax._core.types import PyTree
from adam_optax.release._backward import as_dtype, as_floating
from adam_optax.release._checks import check_links, check_local, check_uses
from adam_optax.release._layers import Released
from adam_optax.release._plan import Plan, is_none, owners


def step(
    tx: optax.GradientTransformation,
    loss: Callable[..., Any],
    state: PyTree,
    params: PyTree,
    *args: PyTree,
    layers: str | Sequence[str],
    has_aux: bool = False,
) -> tuple[PyTree, PyTree, Any]:
    r"""Return the parameters after a training step, the state and the loss, layer by layer.

    The backward pass of a layer ends with the layer's step, so that the gradients of one layer
    exist at a time. Take it where memory is short at the end of the backward pass: for each
    parameter of the layers the gradient's 2 or 4 bytes are saved (measured:
    `docs/measured/release.md`). The result is that of

        value, grads = jax.value_and_grad(loss)(params, *args)
        params, state = ao.step(tx, grads, state, params)

    and so are counts, dithers, rates by path and masks, which see whole parameters. Write
    `ao.release.scan` in the loss in the place of `jax.lax.scan` over stacked layers, or
    `ao.release.call` around each layer of a list. Under `jax.jit` donate the parameters and the
    state.

    Args:
        tx: an optimiser of this library, or a chain with one, in which each parameter's step needs
            this parameter's gradient alone. What looks at a whole parameter (norms, factors, blocks
            along the only axis) must know by `stacked=` which axes are layers.
        loss: a function `(params, *args)` to a scalar, or to a scalar and auxiliary results.
        state: the state of `tx`.
        params: the parameters.
        args: further arguments of the loss: the batch.
        layers: the path of the layers that are released, such as `"decoder/layers"`: a regular
            expression for whole paths, or several. A list has the paths of its elements:
            `r"layers/\d+"`.
        has_aux: whether the loss returns auxiliary results, as in `jax.value_and_grad`.

    Returns:
        The new parameters, the new state, and the loss (with `has_aux` a pair of it and the
        auxiliary results).

    Raises:
        ValueError: if an expression matches no path, if `tx` needs all gradients first, or if
            released layers are used in another way than once by `scan` or `call`.
        TypeError: if the loss is no floating scalar, or an integer is among the released layers.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> def loss(params, x):
    ...     h, _ = ao.release.scan(lambda h, p: (jnp.tanh(h @ p["w"]), None), x, params["layers"])
    ...     return jnp.mean(h @ params["head"])
    >>> params = {"layers": {"w": jnp.full((3, 2, 2), 0.1)}, "head": jnp.ones(2)}
    >>> tx = ao.adamw(0.1, storage=ao.storage.pair())
    >>> params, state, value = ao.release.step(
    ...     tx, loss, tx.init(params), params, jnp.ones((4, 2)), layers="layers"
    ... )
    >>> params["head"].round(4)
    Array([0.9, 0.9], dtype=float32)

    References: Lv et al. 2023, "Full Parameter Fine-tuning for Large Language Models with Limited
    Resources", arXiv 2306.09782; PyTorch's tutorial "How to save memory by fusing the optimizer
    step into the backward pass"; jax#30338.
    """
    whole = {
        path: jax.ShapeDtypeStruct(jnp.shape(p), jnp.result_type(p))
        for path, p in jax.tree.leaves_with_path(params)
    }
    treedefs = jax.tree.structure(params), jax.tree.structure(state, is_leaf=is_none)
    plan = Plan(tx, whole, *treedefs, owners(params, state))
    nodes, outer = _nodes(params, layers)
    check_links(tx)
    check_local(plan, state, params)
    leaves = [_box(plan, state, node) if node.released else node.tree for node in nodes]

    def run(leaves: list[PyTree]) -> Any:
        return loss(jax.tree.unflatten(outer, leaves), *args)

    closed, shape = jax.make_jaxpr(run, return_shape=True)(leaves)
    check_uses(closed.jaxpr, leaves)
    first, aux = shape if has_aux else (shape, None)
    if getattr(first, "shape", None) != () or not jnp.issubdtype(first.dtype, jnp.floating):
        raise TypeError(f"the loss must be a floating scalar, as for jax.grad, not {first}")

    def outputs(*flat: Array) -> tuple[Array, list[Array]]:
        value, *rest = core.jaxpr_as_fun(closed)(*flat)
        return value, rest

    flat, treedef = jax.tree.flatten(leaves)
    value, pullback, rest = jax.vjp(outputs, *flat, has_aux=True)
    found = jax.tree.unflatten(treedef, pullback(jnp.ones_like(value)))

    # The other parameters take their step with the count before it, as the layers did.
    pairs = list(zip(nodes, found, strict=True))
    which = [k for node in nodes if not node.released for k in node.which]
    grads = [g for node, g in pairs if not node.released]
    old = jax.tree.leaves(params)
    moved, new_state = plan.take(
        which, grads, [old[k] for k in which], plan.own(state, which), plan.shared(state)
    )
    new = dict(zip(which, moved, strict=True))
    for node, box in pairs:
        if node.released:
            new |= zip(node.which, jax.tree.leaves(box.params), strict=True)
            own = [as_dtype(x, dtype) for x, dtype in zip(box.own, box.dtypes, strict=True)]
            new_state = plan.replaced(new_state, node.which, own)
    new_params = jax.tree.unflatten(plan.params_def, [new[k] for k in sorted(new)])
    if has_aux:
        return new_params, new_state, (value, jax.tree.unflatten(jax.tree.structure(aux), rest))
    return new_params, new_state, value


class _Node(NamedTuple):
    """Hold a parameter, or a tree of parameters that are released.

    Attributes:
        name: its path.
        tree: the parameter, or the tree.
        which: the numbers of the parameters in it.
        released: whether it is released.
    """

    name: str
    tree: PyTree
    which: tuple[int, ...]
    released: bool


def _nodes(params: PyTree, layers: str | Sequence[str]) -> tuple[list[_Node], PyTreeDef]:
    """Return the parameters, with trees for those whose path matches an expression."""
    patterns = [layers] if isinstance(layers, str) else [*layers]
    matched = set[str]()

    def is_layers(path: KeyPath[Any], _: PyTree) -> bool:
        name = path_name(path)
        here = [pattern for pattern in patterns if path and re.fullmatch(pattern, name)]
        matched.update(here)
        return bool(here)

    found, treedef = jax.tree.flatten_with_path(params, is_leaf=is_layers, is_leaf_takes_path=True)
    for pattern in patterns:
        if pattern not in matched:
            names = sorted({path_name(p[:1]) for p, _ in jax.tree.leaves_with_path(params)})
            raise ValueError(
                f"layers: {pattern!r} matches no path of the parameters as a whole; they begin "
                f"with {', '.join(names)}"
            )
    nodes, n = [], 0
    for path, tree in found:
        count = len(jax.tree.leaves(tree))
        nodes.append(
            _Node(path_name(path), tree, tuple(range(n, n + count)), is_layers(path, tree))
        )
        n += count
    return nodes, treedef


def _box(plan: Plan, state: PyTree, node: _Node) -> Released:
    """Return what stands for released layers in the parameters of a loss."""
    own, paths = plan.own(state, node.which), [path_name(path) for path in plan.whole]
    for k, p in zip(node.which, jax.tree.leaves(node.tree), strict=True):
        if not jnp.issubdtype(jnp.result_type(p), jnp.inexact):
            raise TypeError(
                f"params/{paths[k]} is {jnp.result_type(p)}, which has no gradient: keep it out of "
                f"the layers {node.name!r} that are released"
            )
    return Released(
        params=node.tree,
        own=[as_floating(x) for x in own],
        shared=plan.shared(state),
        plan=plan,
        which=node.which,
        dtypes=tuple(x.dtype for x in own),
        names=tuple(paths[k] for k in plan.owners if k in node.which),
        name=node.name,
    )
