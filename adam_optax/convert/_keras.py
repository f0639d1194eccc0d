"""State from and to the optimisers of Keras 3, with any of its backends."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from adam_optax.convert import _checks
from adam_optax.convert._errors import raise_for
from adam_optax.convert._keras_layout import Layout, read_layout
from adam_optax.convert._keras_write import named_to_keras
from adam_optax.convert._named import Named, from_named, to_named
from adam_optax.convert._names import Names


def from_keras(
    variables: Iterable[Any], state: Any, names: Names, *, order: Sequence[str] | None = None
) -> Any:
    """The state of a Keras run, so that this library can continue it.

    Args:
        variables: `optimizer.variables` of a built Adam (also with `amsgrad=True`), AdamW, Nadam
            or Adamax: anything with a `path` and a `value`.
        state: the template, `tx.init(params)` of the optimiser that goes on; see `from_named`.
            With Keras's numbers: `conventions.KERAS`. Nadam is `conventions.scheduled_nadam` with
            `momentum_decay=1`, `amsgrad=True` is `amsgrad(raw_max=True)`.
        names: from the paths of Keras's parameters, `[v.path for v in model.trainable_variables]`,
            to our paths, or to a path and axes; see `from_torch`. None leaves one out.
        order: those paths in the order in which the optimizer was built. Needed only where Keras
            gives several parameters one name.

    Raises:
        ConversionError: if names, variables or arrays do not fit. Nothing is converted then.

    >>> import jax.numpy as jnp, numpy as np, types, adam_optax as ao
    >>> variable = lambda path, value: types.SimpleNamespace(path=path, value=np.array(value))
    >>> variables = [
    ...     variable("adam/iteration", 5),
    ...     variable("adam/learning_rate", 1e-3),
    ...     variable("adam/dense_kernel_momentum", [1.0, 2.0]),
    ...     variable("adam/dense_kernel_velocity", [1.0, 4.0]),
    ... ]
    >>> state = ao.adam(1e-3, **ao.conventions.KERAS.adam).init({"w": jnp.zeros(2)})
    >>> state = ao.convert.from_keras(variables, state, {"dense/kernel": "w"})
    >>> int(state[0].count), state[0].nu["w"]
    (5, Array([1., 4.], dtype=float32))
    """
    return from_named(keras_to_named(variables, names, order=order), state)


def to_keras(
    state: Any, names: Names, variables: Iterable[Any], *, order: Sequence[str] | None = None
) -> list[Any]:
    """Values for a Keras optimizer's variables, so that Keras can continue the run.

        for variable, value in zip(optimizer.variables, values):
            variable.assign(value)

    Args:
        state: a state of `adam`, `adamw`, `amsgrad(raw_max=True)`, `adamax` or
            `conventions.scheduled_nadam`, inside whatever chain or wrapper.
        names: see `from_keras`; the variables of a parameter that is left out keep their values.
        variables: `optimizer.variables`, after `optimizer.build(model.trainable_variables)`. They
            are read and not changed.
        order: see `from_keras`.

    Returns:
        A NumPy array for each variable, in their order and dtypes. The learning rate is the one
        that the variable has.

    Raises:
        ConversionError: if names, state and variables do not fit.
    """
    return named_to_keras(to_named(state), names, variables, order=order)


def keras_to_named(
    variables: Iterable[Any], names: Names, *, order: Sequence[str] | None = None
) -> Named:
    """What `from_keras` reads, as named arrays (see `to_named`); arguments as there."""
    layout = read_layout(variables, names, order)
    values = layout.values
    named: Named = {_checks.COUNT: np.asarray(values[layout.iteration])}
    for (theirs, entry), index in layout.moments.items():
        place = layout.places[theirs]
        named[place.key(entry)] = place.to_ours(values[index])
    named |= _products(layout)
    raise_for(_checks.of_values(named))
    return named


def _products(layout: Layout) -> Named:
    """Nadam's one product, at each parameter, as PyTorch has it."""
    if layout.product is None:
        return {}
    product = layout.values[layout.product]
    return {place.key("product"): np.array(product) for place in layout.places.values()}
