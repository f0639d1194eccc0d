"""Define what a loss calls: layers whose backward pass ends with their step."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import ClosedJaxpr

from adam_optax._core.types import DTypeLike, PyTree
from adam_optax._engine.parts import MIXES
from adam_optax.release._backward import Arrays, Layer, released_call, released_scan
from adam_optax.release._plan import Plan


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True, eq=False)
class Released:
    """Stand in the parameters of a loss for layers that are released.

    Attributes:
        params: the parameters of the layers.
        own: what the state keeps of them, as floating arrays.
        shared: what the state keeps once for all.
        plan: how the step is taken.
        which: the numbers of the parameters.
        dtypes: the dtypes of what the state keeps.
        names: the paths of the parameters to which that belongs.
        name: the path of the layers.
    """

    params: PyTree
    own: list[Array]
    shared: list[Array]
    plan: Plan
    which: tuple[int, ...]
    dtypes: tuple[DTypeLike, ...]
    names: tuple[str, ...]
    name: str

    def tree_flatten(self) -> tuple[tuple[PyTree, ...], tuple[Any, ...]]:
        """Return the arrays, and what is known while tracing."""
        known = self.plan, self.which, self.dtypes, self.names, self.name
        return (self.params, self.own, self.shared), known

    @classmethod
    def tree_unflatten(cls, known: tuple[Any, ...], arrays: tuple[PyTree, ...]) -> "Released":
        """Return the layers that `tree_flatten` took apart."""
        return cls(*arrays, *known)

    def __repr__(self) -> str:
        """Show the path."""
        return f"<released layers {self.name!r}>"

    def check_layers(self, layers: int) -> None:
        """Refuse what the state keeps of a stack, but not by layer.

        Raises:
            ValueError: naming the parameter.
        """
        for x, name in zip(self.own, self.names, strict=True):
            if jnp.ndim(x) == 0 or x.shape[0] != layers:
                raise ValueError(f"params/{name} cannot be released: {MIXES}")

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError(
            f"the layers {self.name!r} are released: hand them over whole, to "
            "ao.release.scan(f, init, layers) where one array has all layers, or to "
            "ao.release.call(f, layer, ...)"
        )

    __getitem__ = __iter__ = __len__ = __array__ = __jax_array__ = _refuse


def is_released(x: object) -> bool:
    """Tell whether a node stands for layers that are released."""
    return isinstance(x, Released)


def scan(f: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]], init: PyTree, xs: PyTree) -> Any:
    """Scan a function over layers that may be released, as `jax.lax.scan` does.

    Write it in a loss, in the place of `jax.lax.scan` over stacked layers. Under
    `adam_optax.release.step` the backward pass takes each layer's step as soon as it has the
    gradient of the layer; everywhere else, in evaluation say, this is `jax.lax.scan`.

    The backward pass keeps of the forward pass what `jax.lax.scan` would: put `jax.checkpoint`
    around `f` to keep the carries alone. What `f` closes over has its gradients, too.

    Args:
        f: a function `(carry, x)` to a new carry and an output, where `x` is a slice of `xs`.
        init: the first carry.
        xs: the stacked parameters of the layers, or a tree with them in it, such as
            `(params["layers"], keys)`.

    Returns:
        The last carry, and the stacked outputs.

    Raises:
        ValueError: under `step`, where a layer's step needs more than the layer.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> layers = {"w": jnp.ones((3, 2, 2))}
    >>> h, _ = ao.release.scan(lambda h, p: (h @ p["w"], None), jnp.ones(2), layers)
    >>> h
    Array([8., 8.], dtype=float32)
    """
    leaves, treedef = jax.tree.flatten(xs, is_leaf=is_released)
    boxes, others = _parted(leaves)
    if not boxes:
        return lax.scan(f, init, xs)
    carry, carry_def = jax.tree.flatten(init)
    carry = [jnp.asarray(x) for x in carry]
    params, params_def = jax.tree.flatten([box.params for box in boxes])
    lengths = {jnp.shape(x)[:1] for x in (*params, *others)}
    if len(lengths) != 1 or () in lengths:
        raise ValueError(
            f"all arrays that are scanned over must have one first axis; {boxes[0]!r} and what "
            f"goes with it have {sorted(lengths)}"
        )
    for box in boxes:
        box.check_layers(params[0].shape[0])

    def flat(carry: Arrays, params: Arrays, others: Arrays) -> tuple[PyTree, PyTree]:
        x = _filled(leaves, jax.tree.unflatten(params_def, params), others)
        found: tuple[PyTree, PyTree] = f(
            jax.tree.unflatten(carry_def, carry), jax.tree.unflatten(treedef, x)
        )
        return found

    one = lambda xs: [jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for x in xs]  # noqa: E731
    closed, (last, y) = jax.make_jaxpr(flat, return_shape=True)(carry, one(params), one(others))
    shapes_of = lambda tree: jax.tree.flatten(jax.tree.map(jnp.shape, tree))  # noqa: E731
    if shapes_of(last) != shapes_of(init):
        raise TypeError(
            "f must return a carry of the structure and shapes of init, "
            f"{jax.eval_shape(lambda: init)}, not {last}"
        )
    # A Python number has the type that the body gives it, as in `jax.lax.scan`.
    weak = zip(carry, jax.tree.leaves(last), strict=True)
    carry = [x.astype(new.dtype) if jax.typeof(x).weak_type else x for x, new in weak]
    layer = _layer(closed, len(carry), boxes)
    found, ys = released_scan(layer, carry, params, *_states(boxes), others, list(closed.consts))
    return jax.tree.unflatten(carry_def, found), jax.tree.unflatten(jax.tree.structure(y), ys)


def call(f: Callable[..., PyTree], layer: PyTree, *args: PyTree) -> PyTree:
    """Call a function of a layer that may be released: `f(layer, *args)`.

    Write it in a loss whose layers are a list, each a tree of its own. Under
    `adam_optax.release.step` the backward pass takes the layer's step as soon as it has the
    gradient of the layer, and goes on to the layer before; everywhere else this is a call.

    Args:
        f: a function of the parameters of a layer and further arguments.
        layer: the parameters of the layer.
        args: the further arguments.

    Returns:
        What the function returns.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> h = jnp.ones(2)
    >>> for layer in [{"w": 2 * jnp.ones(2)}, {"w": 3 * jnp.ones(2)}]:
    ...     h = ao.release.call(lambda p, h: h * p["w"], layer, h)
    >>> h
    Array([6., 6.], dtype=float32)
    """
    leaves, layer_def = jax.tree.flatten(layer, is_leaf=is_released)
    boxes, others = _parted(leaves)
    if not boxes:
        return f(layer, *args)
    rest, args_def = jax.tree.flatten((others, args))
    arguments = [jnp.asarray(x) for x in rest]
    params, params_def = jax.tree.flatten([box.params for box in boxes])

    def flat(arguments: Arrays, params: Arrays) -> PyTree:
        others, args = jax.tree.unflatten(args_def, arguments)
        whole = _filled(leaves, jax.tree.unflatten(params_def, params), others)
        return f(jax.tree.unflatten(layer_def, whole), *args)

    closed, result = jax.make_jaxpr(flat, return_shape=True)(arguments, params)
    one = _layer(closed, 0, boxes)
    found = released_call(one, arguments, params, *_states(boxes), list(closed.consts))
    return jax.tree.unflatten(jax.tree.structure(result), found)


def _parted(leaves: Sequence[Any]) -> tuple[list[Released], list[Any]]:
    """Return the layers that are released, and all else."""
    boxes = [x for x in leaves if isinstance(x, Released)]
    return boxes, [x for x in leaves if not isinstance(x, Released)]


def _filled(leaves: Sequence[Any], params: Sequence[PyTree], others: Sequence[Any]) -> list[PyTree]:
    """Return leaves with parameters in the place of what is released."""
    released, rest = iter(params), iter(others)
    return [next(released if isinstance(x, Released) else rest) for x in leaves]


def _states(boxes: Sequence[Released]) -> tuple[list[Arrays], list[Arrays]]:
    return [box.own for box in boxes], [box.shared for box in boxes]


def _layer(closed: ClosedJaxpr, carried: int, boxes: Sequence[Released]) -> Layer:
    plans = tuple((box.plan, box.which) for box in boxes)
    return Layer(closed.jaxpr, carried, plans, tuple(box.dtypes for box in boxes))
