"""Trace a step, split it, and take it on the host."""

import contextlib
import functools as ft
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.extend.core import ClosedJaxpr
from jax.sharding import Mesh, SingleDeviceSharding

from adam_optax._core.types import PyTree
from adam_optax._step import step
from adam_optax._wrappers.on_host.one_step import Given, OneStep
from adam_optax._wrappers.on_host.split import Split, split_step

_NO_MESH = Mesh(np.empty((), object), ())
"""A mesh of no devices, in whose place `jax.set_mesh` may have set the accelerators'."""

REMEMBERED = 8
"""How many steps a transformation keeps split: of other shapes, dtypes or arguments."""


class HostRun:
    """Take the steps of a transformation on the host."""

    def __init__(self, device: jax.Device | None, donates: bool, group_bytes: int) -> None:
        """Keep the options of `offload_step`; no device is asked for yet."""
        self._donates, self._asked, self._group_bytes = donates, device, group_bytes
        self._jitted: dict[Hashable, Any] = {}
        self._splits: dict[int, tuple[ClosedJaxpr, Split]] = {}

    @ft.cached_property
    def device(self) -> jax.Device:
        """Return the host's device."""
        if self._asked is not None:
            return self._asked
        try:
            return jax.local_devices(backend="cpu")[0]
        except RuntimeError as error:
            raise RuntimeError(
                "offload_step takes the step on JAX's CPU device, and there is none: let "
                "JAX_PLATFORMS name cpu after the accelerator, as in cuda,cpu"
            ) from error

    @contextlib.contextmanager
    def context(self) -> Iterator[None]:
        """Compute on the host what is nowhere yet, whatever mesh or device the user has set."""
        with jax.set_mesh(_NO_MESH), jax.default_device(self.device):
            yield

    def bring(self, tree: PyTree) -> PyTree:
        """Return a tree with its arrays on the host's device."""
        return jax.device_put(tree, SingleDeviceSharding(self.device))

    def run(
        self, tx: optax.GradientTransformationExtraArgs, applies: bool, given: Given
    ) -> tuple[PyTree, PyTree, PyTree]:
        """Take a step.

        Args:
            tx: the transformation.
            applies: whether to return new parameters instead of updates.
            given: the arguments.

        Returns:
            The updates or parameters, where the gradients or parameters were; the new state; and
            the new parameters with the host, if these are held.
        """
        _check(given)
        words = _Words(given.extra)
        read = given.params if given.held is None else given.held
        arguments = given.grads, given.state, read, words.arrays
        kinds = jax.tree.map(_kind_of, arguments)
        with self.context():
            traced = self._traced(tx, applies, words).trace(*kinds)
        result_tree, state_tree = (jax.tree.structure(tree) for tree in traced.out_info)
        like: Any = jax.tree.structure(given.params if applies else given.grads)
        if like != result_tree:
            raise ValueError(
                f"the updates have the structure {result_tree}, and the gradients {like}: to go "
                "back to where the gradients are, updates must be a tree like them"
            )
        with self.context():
            split = self._split(traced.jaxpr, arguments, given.held is None)
            one = OneStep(self.device, self._donates, split, applies, given, arguments)
            results, states = one.run()
        held = None if given.held is None else jax.tree.unflatten(result_tree, one.held)
        return (
            jax.tree.unflatten(result_tree, results),
            jax.tree.unflatten(state_tree, states),
            held,
        )

    def _split(self, closed: ClosedJaxpr, arguments: PyTree, sends: bool) -> Split:
        """Return a split step: once for each traced step."""
        if id(closed) not in self._splits:
            grads, state, params, others = (len(jax.tree.leaves(tree)) for tree in arguments)
            away = [True] * grads + [False] * state + [sends] * params + [False] * others
            if len(self._splits) == REMEMBERED:
                del self._splits[next(iter(self._splits))]
            # The traced step is kept too, so that no other one gets its id.
            self._splits[id(closed)] = closed, split_step(closed, away, self._group_bytes)
        return self._splits[id(closed)][1]

    def _traced(self, tx: Any, applies: bool, words: "_Words") -> Any:
        """Return the whole step under `jax.jit`, which remembers what it traced."""

        def whole(grads: PyTree, state: PyTree, params: PyTree, arrays: Sequence[Any]) -> PyTree:
            extra = words.filled(arrays)
            if applies:
                return step(tx, grads, state, params, **extra)
            return tx.update(grads, state, params, **extra)

        key = applies, words.key
        if key not in self._jitted:
            self._jitted[key] = jax.jit(whole)
        return self._jitted[key]


def _kind_of(x: Any) -> jax.ShapeDtypeStruct:
    """Return the type of an array, but for its place: the step is taken elsewhere."""
    kind = jax.typeof(x)
    return jax.ShapeDtypeStruct(kind.shape, kind.dtype, weak_type=getattr(kind, "weak_type", False))


class _Words:
    """Take further arguments of an update apart into arrays and what is no array.

    Attributes:
        arrays: the arrays and numbers.
        key: what is equal where all but the arrays is.
    """

    _KINDS = Array | np.ndarray | np.generic | int | float | complex

    def __init__(self, extra: Mapping[str, Any]) -> None:
        """Take them apart; what is no array must be hashable, as for `jax.jit`."""
        leaves, self._tree = jax.tree.flatten(dict(extra))
        self.arrays = [x for x in leaves if isinstance(x, self._KINDS)]
        self._leaves = [None if isinstance(x, self._KINDS) else (x,) for x in leaves]
        self.key: Hashable = (self._tree, *self._leaves)

    def filled(self, arrays: Sequence[Any]) -> dict[str, Any]:
        """Return the arguments with other arrays."""
        rest = iter(arrays)
        leaves = [next(rest) if word is None else word[0] for word in self._leaves]
        extra: dict[str, Any] = jax.tree.unflatten(self._tree, leaves)
        return extra


def _check(given: Given) -> None:
    """Refuse what cannot go to the host, or is not of the parameters that are held there.

    Raises:
        ValueError: saying what to write instead.
    """
    for x in jax.tree.leaves(given):
        if isinstance(x, jax.core.Tracer):
            raise ValueError(
                "offload_step takes the step in programs of its own, and is called inside jax.jit "
                "or another transformation of JAX here: compute the gradients under jax.jit, and "
                "call ao.step or tx.update outside; what runs inside jax.jit is ao.offload(tx)"
            )
        if isinstance(x, Array) and not x.is_fully_addressable:
            raise ValueError(
                f"an array of shape {x.shape} is spread over several processes, and offload_step "
                "moves whole arrays to the host of one: use ao.offload(tx), whose step is taken on "
                "the accelerators"
            )
    if given.held is not None:
        kinds = [
            jax.tree.map(lambda p: (jnp.shape(p), jnp.result_type(p)), tree)
            for tree in (given.params, given.held)
        ]
        if kinds[0] != kinds[1]:
            raise ValueError(
                "the parameters have another structure, shape or dtype than those that the state "
                "holds: make a state for them with tx.init(params)"
            )
