"""Minimise with Adam-mini, whose second moment is one number for each block of parameters."""

from __future__ import annotations  # so that `help` shows the names of types

from collections.abc import Callable
from typing import Any, Unpack

import jax
import jax.numpy as jnp

from adam_optax import rules
from adam_optax._alias._build import (
    Transformation,
    known,
    optimizer_function,
    optimizer_with_decay,
)
from adam_optax._alias.options import DecayOptions
from adam_optax._core.by_path import ABSENT, ByPath, Hyperparameter, IsLeaf, named_leaves
from adam_optax._core.sharing import Over, normalize_over
from adam_optax._core.types import DTypeLike, Mask, PyTree
from adam_optax._engine.stacked import Stacked, layers_by_path
from adam_optax.moments import adam_mini_axes

TRANSFORMER = "transformer"
"""The partition of the paper; a function as the default would be taken for a schedule by optax."""


@optimizer_function
def adam_mini(
    learning_rate: Hyperparameter | None,
    b1: Hyperparameter = 0.9,
    b2: Hyperparameter = 0.999,
    eps: Hyperparameter = 1e-8,
    eps_root: Hyperparameter = 0.0,
    weight_decay: Hyperparameter | None = 0.0,
    mask: Mask = None,
    *,
    over: Over | ByPath | Callable[[str, Any], Over] = TRANSFORMER,
    nesterov: bool = False,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[DecayOptions],
) -> Transformation:
    """Minimise with Adam-mini: Adam whose second moment is one number for each block.

    Take Adam-mini for half of Adam's memory, also together with `mu_dtype="bfloat16"` for a
    quarter, where the weights of a neuron or of an attention head may have one learning rate
    together. It costs a mean of squares for each block, and with it a second pass over the
    gradient; `adamw(storage=ao.storage.pair())` takes AdamW's steps with as little memory.

    Step: `μ̂ / (√(ν̂ + eps_root) + eps), ν = b2 ν + (1-b2) mean(|g|²)`, times `-learning_rate`, with
    `μ = b1 μ + (1-b1) g`, `μ̂ = μ / (1 - b1^t)` and `ν̂ = ν / (1 - b2^t)` for the gradient `g` and
    the step `t`, 1 at the first; the mean runs over a block. With decay, `λ p` is added to the
    step.

    Args:
        learning_rate: step size: a number, a scalar array or a schedule `count -> value`, as may be
            every other number below; None leaves out the factor and its sign.
        b1: decay rate of the first moment `mu`, in [0, 1).
        b2: decay rate of the second moment `nu`, in [0, 1).
        eps: added to the root in the denominator, in units of the gradient.
        eps_root: added to the second moment under the root, in units of the squared gradient.
        weight_decay: strength λ of the decoupled weight decay, times the learning rate unless the
            option `coupling` says otherwise.
        mask: which parameters decay: a tree of bools, a prefix of such a tree, or a function from
            the parameters to one; None: all parameters.
        over: the axes of a parameter that are in one block: a function from a path
            (`"block/query/kernel"`) and the parameter, without the axes that `stacked` says are
            layers, to `"all"`, to a tuple of axes and of pairs `(axis, block)` for blocks of so
            many neighbours, or to None, where each element has its own number; or one of these for
            all parameters, or `by_path`. `"transformer"`, the default, is the function
            `ao.moments.adam_mini_axes`, the paper's partition in Flax's layout.
        nesterov: whether the first moment is read one step ahead (Dozat 2016).
        mu_dtype: dtype in which `mu` is kept; None: float32 (float64 for float64 parameters).
        **options: `coupling`, how the decay goes with the learning rate, and `nu_dtype`,
            `storage` and `stacked`, how the moments are kept; see `ao.DecayOptions`.

    Returns:
        The optimiser; `state[0]` holds `count` and the moments `mu` and `nu`, of which `nu` is one
        number for each block.

    Raises:
        ValueError: if a number is out of range, if a parameter lacks an axis of `over`, or if
            blocks do not divide one.
        TypeError: if an argument has the wrong type, or this function does not take it.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> params, grads = {"kernel": jnp.ones((3, 2))}, {"kernel": jnp.full((3, 2), 2.0)}
        >>> tx = ao.adam_mini(0.1, weight_decay=0.01)
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> print(f"{updates['kernel'][0, 0]:.3f}", state[0].nu["kernel"].shape)
        -0.101 (2,)

    References:
        Zhang et al., [Adam-mini: Use Fewer Learning Rates To Gain
        More](https://arxiv.org/abs/2406.16793), 2024, Algorithm 2.
    """
    chosen: Any = adam_mini_axes if over == TRANSFORMER else over
    axes = _of_layers(chosen, options.get("stacked")) if callable(chosen) else chosen
    rule = rules.adam_mini(b1, b2, eps, eps_root, nesterov, axes)
    return optimizer_with_decay(
        rule, learning_rate, weight_decay, mask, mu_dtype=mu_dtype, **known(adam_mini, options)
    )


def _of_layers(over: Callable[[str, Any], Over], stacked: Stacked | None) -> ByPath:
    """Return what a function says of each parameter, of one layer where layers are stacked."""
    layers = layers_by_path(stacked)

    def resolve(tree: PyTree, is_leaf: IsLeaf, is_whole: bool) -> list[Any]:
        found: list[Any] = []
        leaves = named_leaves(tree, is_leaf)
        numbers = layers.resolve(tree, is_leaf, is_whole) if layers else [0] * len(leaves)
        for (name, leaf), n in zip(leaves, numbers, strict=True):
            if leaf is None:
                found.append(ABSENT)
                continue
            layer = jax.ShapeDtypeStruct(jnp.shape(leaf)[n:], jnp.result_type(leaf))
            found.append(normalize_over(over(name, layer if n else leaf)))
        return found

    return ByPath(resolve, getattr(over, "__name__", repr(over)))
