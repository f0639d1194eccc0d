"""Say which leading axes of a parameter are layers, as `nn.scan` and its like stack them."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax

from adam_optax._core import checks
from adam_optax._core.by_path import ByPath, IsLeaf, at_leaves, by_path
from adam_optax._core.types import PyTree

Stacked: TypeAlias = int | str | Callable[[str, Any], int] | ByPath | PyTree
"""How many leading axes are layers: for all parameters, by tree, by path or by axis name."""


def layers_by_path(stacked: Stacked | None) -> ByPath | None:
    """Return how many leading axes are layers, by path; None: none of any parameter.

    Args:
        stacked: a number, a tree of numbers or a prefix of one, a function `(path, parameter)` to
            a number, `by_path`, or the name of the layers' axis in Flax's metadata. None: there
            are no layers.

    Raises:
        TypeError: if it is none of these.
    """
    if stacked is None:
        return None
    if isinstance(stacked, int | jax.Array):
        layers = _check_layers(stacked)
        return by_path(lambda path, leaf: layers) if layers else None
    if isinstance(stacked, str):
        return ByPath(_by_axis_name(stacked), repr(stacked))
    if isinstance(stacked, ByPath):
        return stacked.map(_check_layers)
    if callable(stacked):
        return by_path(stacked).map(_check_layers)
    for n in jax.tree.leaves(stacked):
        _check_layers(n)

    def resolve(tree: PyTree, is_leaf: IsLeaf, is_whole: bool) -> list[Any]:
        del is_whole
        return at_leaves(stacked, tree, is_leaf, "the numbers of stacked")

    return ByPath(resolve, repr(stacked))


def _check_layers(n: object) -> int:
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(
            "stacked must be the number of leading axes that are layers (or a tree of numbers, a "
            f"function of path and parameter, by_path, or an axis's name), not {n!r}; under "
            "optax.inject_hyperparams name it in static_args"
        )
    if n < 0:
        raise ValueError(f"stacked must not be negative, not {n}")
    return n


def _by_axis_name(axis: str) -> Callable[[PyTree, IsLeaf, bool], list[Any]]:
    def resolve(tree: PyTree, is_leaf: IsLeaf, is_whole: bool) -> list[Any]:
        found: list[Any] = []
        named = 0
        for path, node in jax.tree.leaves_with_path(tree, is_leaf=_or_box(is_leaf)):
            names = _axis_names(node) or ()
            layers = 1 if axis in names else 0
            if layers and names[0] != axis:
                raise ValueError(
                    f"stacked: {jax.tree_util.keystr(path)} has the axis {axis!r} at "
                    f"{names.index(axis)} of {names}, but layers must be the first axis: "
                    "nn.scan(..., variable_axes={'params': 0})"
                )
            named += layers
            found += [layers] * len(jax.tree.leaves(node, is_leaf=is_leaf))
        if is_whole and found and not named:
            raise ValueError(
                f"stacked: no parameter names an axis {axis!r} in its metadata; Flax writes that "
                "with nn.scan(..., metadata_params={nn.PARTITION_NAME: '" + axis + "'}) around "
                "nn.with_partitioning, and nnx with transform_metadata; else give numbers"
            )
        return found

    return resolve


def _or_box(is_leaf: IsLeaf) -> Callable[[PyTree], bool]:
    return lambda x: _axis_names(x) is not None or (is_leaf is not None and is_leaf(x))


def _axis_names(node: Any) -> tuple[Any, ...] | None:
    """Return the axis names in the metadata of Flax's boxes: `nn.Partitioned`, `nnx.Variable`."""
    if isinstance(node, jax.Array | type(None)):
        return None
    names = getattr(node, "names", None)
    if names is None and hasattr(node, "get_metadata"):
        metadata = node.get_metadata()
        names = metadata.get("sharding_names", metadata.get("out_sharding"))
    return tuple(names) if isinstance(names, tuple | list) else None


def over_layers(step: Callable[..., Any], layers: int, of_leaf: int) -> Callable[..., Any]:
    """Map a function over leading axes.

    Args:
        step: the function.
        layers: how many leading axes its first arguments and its results have more.
        of_leaf: how many arguments have these axes; the others are the same for all layers.
    """

    def mapped(*args: Any) -> Any:
        own, shared = args[:of_leaf], args[of_leaf:]
        checks.check_layers(own, layers)
        one = lambda *leaf: step(*leaf, *shared)  # noqa: E731
        for _ in range(layers):
            one = jax.vmap(one)
        return one(*own)

    return mapped
