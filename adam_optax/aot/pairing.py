"""Find the result that a donated argument belongs to: one of the same structure and shapes."""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from adam_optax.aot.places import Places


class Leaf(NamedTuple):
    """Hold an array among the arguments or the results.

    Attributes:
        position: Its position among all of them.
        keys: Its place, in parts: `("state", "[0]", ".mu", "['w']")`.
        shape: Its shape.
        dtype: Its dtype.
        number: Its number in the compiled module; -1: it is not there, because nothing reads it.
        donated: Whether it is donated.
    """

    position: int
    keys: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: jnp.dtype
    number: int
    donated: bool = False

    @property
    def name(self) -> str:
        """Return the place as one text."""
        return "".join(self.keys)


class Tree(NamedTuple):
    """Hold a subtree of the arguments or the results: its leaves, and how deep its root is."""

    depth: int
    leaves: list[Leaf]

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the place of the root, in parts."""
        return self.leaves[0].keys[: self.depth]

    @property
    def signature(self) -> object:
        """Return what two trees have in common that are alike but for dtypes."""
        return tuple((one.keys[self.depth :], one.shape) for one in self.leaves)


class Pair(NamedTuple):
    """Hold a donated tree and the results that it belongs to."""

    tree: Tree
    own: Tree

    @property
    def leaves(self) -> list[tuple[Leaf, Leaf]]:
        """Return the arrays of both, in pairs."""
        return list(zip(self.tree.leaves, self.own.leaves, strict=True))


def arguments(compiled: jax.stages.Compiled, places: Places) -> list[Leaf]:
    """Return all arguments, those that nothing reads too.

    Raises:
        ValueError: If the module has fewer.
    """
    leaves = jax.tree.leaves_with_path(compiled.args_info)  # a path begins with args or kwargs
    # JAX knows no sharding of an argument that it left out, because nothing reads it.
    read = jax.tree.map(lambda _, x: x is not None, compiled.args_info, compiled.input_shardings)
    kept = [i for i, is_read in enumerate(jax.tree.leaves(read)) if is_read]
    numbers = dict(zip(kept, _last(len(kept), len(places.parameters), "arguments"), strict=True))
    heads: dict[object, str] = {}  # the names of the function's arguments, which the module knows
    for i, (path, _) in enumerate(leaves):
        name, inside = places.parameters.get(numbers.get(i, -1), ""), "".join(_keys(path[2:]))
        if name != inside and name.endswith(inside):
            heads[path[:2]] = name.removesuffix(inside)
    found = []
    for i, (path, info) in enumerate(leaves):
        head = heads.get(path[:2], f"argument {''.join(_keys(path[1:2]))}")
        keys, number = (head, *_keys(path[2:])), numbers.get(i, -1)
        found.append(Leaf(i, keys, info.shape, info.dtype, number, info.donated))
    return found


def results(compiled: jax.stages.Compiled, places: Places) -> list[Leaf]:
    """Return all results.

    Raises:
        ValueError: If the module has fewer, or JAX does not tell their types.
    """
    try:
        leaves = jax.tree.leaves_with_path(compiled.out_info)
    except AssertionError as error:
        what = "JAX does not tell the results' types of a step with ordered effects"
        raise ValueError(f"{what}; leave out ordered=True of jax.debug.print") from error
    numbers = _last(len(leaves), len(places.results), "results")
    return [
        Leaf(i, ("result", *_keys(path)), info.shape, info.dtype, number)
        for i, ((path, info), number) in enumerate(zip(leaves, numbers, strict=True))
    ]


def _last(here: int, there: int, what: str) -> range:
    """Return the numbers of a function's arrays in a module, where JAX's own come first."""
    if here > there:
        raise ValueError(
            f"the compiled module has {there} {what}, the function {here}: compiled must be the "
            "result of jax.jit(step, donate_argnums=...).lower(...).compile()"
        )
    return range(there - here, there)


def _keys(path: Iterable[object]) -> tuple[str, ...]:
    return tuple(jax.tree_util.keystr((key,)) for key in path)


def pair(given: list[Leaf], made: list[Leaf], places: Places) -> list[Pair]:
    """Pair each donated tree with the results that it belongs to, the larger trees first.

    A tree that no part of the results is like is taken apart. Of several parts that are like it,
    its own is the one that is computed from it, then that of its dtypes, that of its name, and the
    one nearest to the root.
    """
    like: dict[object, list[Tree]] = {}
    for depth in range(1, 1 + max((len(one.keys) for one in made), default=0)):
        for part in _parts(made, depth):
            like.setdefault(part.signature, []).append(part)
    waiting = _parts(given, 1)
    taken: set[int] = set()
    pairs = []
    while waiting:
        waiting.sort(key=lambda one: -len(one.leaves))
        tree = waiting.pop(0)
        found = [
            (*_distance(tree, part, places), i, part)
            for i, part in enumerate(like.get(tree.signature, []))
            if taken.isdisjoint(one.position for one in part.leaves)
        ]
        if found:
            own = min(found)[-1]
            taken.update(one.position for one in own.leaves)
            pairs.append(Pair(tree, own))
        else:
            waiting += _parts(tree.leaves, tree.depth + 1)
    return sorted(pairs, key=lambda pair: pair.tree.leaves[0].position)


def _parts(leaves: list[Leaf], depth: int) -> list[Tree]:
    """Return the subtrees at a depth."""
    parts: dict[tuple[str, ...], list[Leaf]] = {}
    for one in leaves:
        if len(one.keys) >= depth:
            parts.setdefault(one.keys[:depth], []).append(one)
    return [Tree(depth, part) for part in parts.values()]


def _distance(tree: Tree, part: Tree, places: Places) -> tuple[int, int, int, int]:
    """Return by what a part of the results is less a tree's own; the first numbers weigh most."""
    both = Pair(tree, part).leaves
    apart = sum(not places.depends(y.number, x.number) for x, y in both)
    unlike = sum(x.dtype != y.dtype for x, y in both)
    bare = [[key.strip(".[]'") for key in reversed(one.keys)] for one in (tree, part)]
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(*bare, strict=False))
    return apart, unlike, -len(list(same)), part.depth
