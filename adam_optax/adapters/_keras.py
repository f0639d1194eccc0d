"""Be a Keras optimiser that takes the steps of an optax transformation."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from adam_optax._core.types import PyTree
from adam_optax._step import step


def keras_optimizer(
    make: Callable[[Any], optax.GradientTransformation],
    learning_rate: Any = 1e-3,
    **options: Any,
) -> Any:
    """Return a Keras optimiser that takes this library's steps, for Keras on the JAX backend.

    Take it to train a Keras model by `compile` and `fit` with formats of few bits, with sixteen-bit
    parameters that keep their small steps, or with any optimiser of this library.

    Keras keeps the learning rate, so that its schedules and callbacks work, and the state as its
    own variables, so that checkpoints have it. All parameters take their step at once, in one tree
    whose paths are Keras's (`"dense/kernel"`). The gradients of sixteen-bit parameters are handed
    on in float32, as the links of `adam_optax.precision` ask for.

    A `.keras` file has the state, but not `make`, which is code: load it with `compile=False`, or
    load its weights into a model that was compiled anew.

    Args:
        make: a function from a learning rate, which is a scalar array, to the transformation:
            `ao.adamw`, or `lambda rate: ao.adamw(rate, storage=ao.storage.pair())`.
        learning_rate: a number or a schedule of Keras; default 1e-3.
        options: arguments of `keras.optimizers.Optimizer`: `name`, `clipnorm`, `global_clipnorm`,
            `use_ema` and so on.

    Returns:
        A `keras.optimizers.Optimizer`.

    Raises:
        TypeError: if `make` is no function of a learning rate.
        RuntimeError: if Keras runs on another backend than JAX.
        ModuleNotFoundError: if Keras is not installed.

    >>> import adam_optax as ao
    >>> make = lambda rate: ao.adamw(rate, storage=ao.storage.pair())
    >>> optimizer = ao.adapters.keras_optimizer(make, 1e-3)  # doctest: +SKIP
    >>> model.compile(optimizer, "mse")  # doctest: +SKIP
    """
    if not callable(make):
        raise TypeError(
            f"make must be a function of the learning rate, such as ao.adamw, not {make!r}; write "
            "keras_optimizer(lambda rate: ao.adamw(rate, ...), learning_rate)"
        )
    import keras

    if keras.backend.backend() != "jax":
        raise RuntimeError(
            f"keras_optimizer needs the JAX backend, and Keras runs on {keras.backend.backend()}: "
            "set KERAS_BACKEND=jax before Keras is imported"
        )

    class AdamOptax(keras.optimizers.Optimizer):  # type: ignore[misc]  # Keras is untyped
        """Take the steps of a transformation, whose state is kept in Keras's variables."""

        def build(self, variables: Sequence[Any]) -> None:
            """Make a variable for each array of the state before the first step."""
            if self.built:
                return
            super().build(variables)
            state = make(jnp.float32(0)).init(_tree(variables, [v.value for v in variables]))
            leaves, self._treedef = jax.tree.flatten(state)
            names = [_name(path) for path, _ in jax.tree.leaves_with_path(state)]
            self._kept = []
            for x, name in zip(leaves, names, strict=True):
                kept = self.add_variable(x.shape, "zeros", x.dtype.name, name=name)
                kept.assign(x)
                self._kept.append(kept)

        def _backend_update_step(
            self, grads: Sequence[Array], trainable_variables: Sequence[Any], learning_rate: Any
        ) -> None:
            every = self._trainable_variables
            given = {id(v): g for v, g in zip(trainable_variables, grads, strict=True)}
            values = [v.value for v in every]
            tree = _tree(every, [_wide(given.get(id(v)), v.value) for v in every])
            state = jax.tree.unflatten(self._treedef, [v.value for v in self._kept])
            with jax.numpy_dtype_promotion("standard"):  # as Keras runs
                tx = make(jnp.asarray(learning_rate, jnp.float32))
                params, state = step(tx, tree, state, _tree(every, values))
            for v in every:
                v.assign(params[v.path])
            for kept, x in zip(self._kept, jax.tree.leaves(state), strict=True):
                kept.assign(x)

        @classmethod
        def from_config(cls, config: Any, custom_objects: Any = None) -> Any:
            """Refuse to make an optimiser without the function that is not in the file."""
            raise TypeError(
                "the transformation of ao.adapters.keras_optimizer is code, and not in the file: "
                "load it with compile=False, and compile the model with the optimiser made anew"
            )

    return AdamOptax(learning_rate=learning_rate, **{"name": "adam_optax", **options})


def _tree(variables: Sequence[Any], values: Sequence[Array | None]) -> dict[str, Array | None]:
    """Return values by Keras's paths, in the order of the variables."""
    tree = {v.path: x for v, x in zip(variables, values, strict=True)}
    if len(tree) < len(variables):
        raise ValueError("two variables of the model have one path: give its layers names")
    return tree


def _wide(g: Array | None, p: Array) -> Array | None:
    """Return a gradient; that of a sixteen-bit parameter in float32."""
    return g if g is None or jnp.finfo(p.dtype).bits >= 32 else g.astype(jnp.float32)


def _name(path: PyTree) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="_").replace("/", "_")
