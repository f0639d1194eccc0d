"""Named arrays: the neutral form through which every state passes, checked once.

A flat `dict[str, numpy.ndarray]`: `"count"`, an integer scalar, and one array for each moment of
each parameter under its entry and the parameter's path, `"mu/dense/kernel"`.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adam_optax.convert import _checks
from adam_optax.convert._errors import ConversionError, raise_for
from adam_optax.convert._slots import key, slots, walk

Named = dict[str, np.ndarray[Any, Any]]


def to_named(state: Any) -> Named:
    """The moments and the count of a state by name, copied to NumPy.

    Args:
        state: a state of any optimiser of this library, inside whatever chain or wrapper: with
            `optax.partition`, the groups together. What is not a moment or a count is left out.

    Returns:
        `"count"`, and for every moment its entry and the parameter's path, with the shape and
        dtype that it has in the state.

    Raises:
        ConversionError: if there are no moments in it, two of one name, counts that differ, or a
            moment that is not kept as one floating array.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> state = ao.adam(1e-3).init({"dense": {"kernel": jnp.ones((2, 3))}})
    >>> sorted(ao.convert.to_named(state))
    ['count', 'mu/dense/kernel', 'nu/dense/kernel']
    """
    found, counts = slots(state)
    if len(values := sorted({int(count) for count in counts})) > 1:
        raise ConversionError(
            f"the counts of steps in the state differ: {', '.join(map(str, values))}; pass the "
            "part that holds the moments, such as state[0], one group at a time"
        )
    return {_checks.COUNT: np.array(counts[0]), **{name: np.array(m) for name, m in found.items()}}


def from_named(named: Mapping[str, Any], state: Any) -> Any:
    """A state with the moments and the count of named arrays in it.

    Args:
        named: see `to_named`. Neither it nor `state` is changed.
        state: the template, `tx.init(params)`, inside whatever chain or wrapper; shapes and dtypes
            (`jax.eval_shape(tx.init, params)`) are enough.

    Returns:
        The template with every moment replaced, in its dtype and sharding, and with every field
        `count` of a NamedTuple (of schedules and `optax.inject_hyperparams`, too) set to the
        count. Anything else, such as another transformation's trace, is the template's.

    Raises:
        ConversionError: if an entry is missing or too many, of another shape, complex where the
            template is real or the reverse, not finite, or too large for the template's dtype; it
            names all of them. Nothing is converted then.

    >>> import jax.numpy as jnp, numpy as np, adam_optax as ao
    >>> named = {"count": np.array(7), "mu/w": np.ones(2), "nu/w": np.ones(2)}
    >>> state = ao.convert.from_named(named, ao.adam(1e-3).init({"w": jnp.zeros(2)}))
    >>> int(state[0].count), state[0].mu["w"]
    (7, Array([1., 1.], dtype=float32))
    """
    named = _checks.arrays(named)
    found, counts = slots(state)
    limit = min(int(jnp.iinfo(jnp.result_type(c)).max) for c in counts)
    raise_for(_checks.of_values(named) + _checks.of_fit(named, found, limit))

    def moments(entry: str, tree: Any) -> Any:
        put = lambda path, leaf: _put(named[key(entry, path)], leaf)  # noqa: E731
        return jax.tree_util.tree_map_with_path(put, tree)

    return walk(state, moments, lambda count: _put(named[_checks.COUNT], count))


def _put(x: Any, like: Any) -> Any:
    """The array where and as the other one is; one that nobody placed stays free to move."""
    value = _checks.cast(x, jnp.result_type(like))
    sharding = getattr(like, "sharding", None)
    if sharding is None or not getattr(like, "committed", True):
        return jnp.asarray(value)
    return jax.device_put(value, sharding)
