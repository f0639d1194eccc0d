"""Return the records of a state as arrays, as rows for a file or a dashboard, and as a figure."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import numpy as np
from numpy.typing import NDArray

from adam_optax._core.by_path import named_leaves
from adam_optax._watch.state import (
    QUANTILES,
    WatchState,
    layer_names,
    quantity_columns,
    reading_order,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Records: TypeAlias = dict[str, dict[str, NDArray[Any]]]
"""Arrays over the records, by layer and quantity."""


def read(state: Any) -> Records:
    """Return the records in a state as NumPy arrays, oldest first.

    Args:
        state: any tree with exactly one state of `adam_optax.watch` in it.

    Returns:
        Arrays by layer (`dense/kernel`), in the order of the numbers in their names, and by
        quantity: `step`, the steps of the records, counted from 1, and float32 arrays of shape
        `(records,)`. `step_size` and `root_nu` have shape `(records, 5)`, at the quantiles
        `ao.watch.QUANTILES`. NaN stands where a quantity is not known. Layers that never had a
        gradient are left out.

    Raises:
        ValueError: if there is no such state, there are several, or it is a state of `jax.vmap`.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> tx = ao.watch(ao.adam(1e-3))
        >>> _, state = tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))
        >>> ao.watch.read(state)["parameter"]["step_size"].shape, len(ao.watch.QUANTILES)
        ((1, 5), 5)
    """
    found = _find_watch_state(state)
    steps = np.asarray(found.steps)
    order = np.argsort(steps)[np.count_nonzero(steps == 0) :]
    table = np.asarray(found.table)[order]
    names = layer_names(found.layers)
    places = reading_order(found.layers)
    layers = {names[i]: _read_layer(steps[order], table[:, i]) for i in places}
    return {n: x for n, x in layers.items() if not (len(order) and np.isnan(x["nonfinite"]).all())}


def _find_watch_state(state: Any) -> WatchState:
    is_watch = lambda x: isinstance(x, WatchState)  # noqa: E731
    leaves = jax.tree.leaves(state, is_leaf=is_watch)
    found: list[WatchState] = [x for x in leaves if is_watch(x)]
    if len(found) != 1:
        raise ValueError(
            f"expected one state of adam_optax.watch, found {len(found)}; make the optimiser as "
            "adam_optax.watch(tx), around all of it"
        )
    if found[0].steps.ndim != 1:
        raise ValueError(
            "this is a state of jax.vmap; read one of them: "
            "adam_optax.watch.read(jax.tree.map(lambda x: x[0], state))"
        )
    return found[0]


def _read_layer(steps: NDArray[Any], table: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the quantities of one layer, from its numbers of shape (records, numbers)."""
    known = np.where(table < 0, np.float32(np.nan), table)
    found = {
        n: known[:, at].squeeze(1) if at.stop - at.start == 1 else known[:, at]
        for n, at in quantity_columns()
    }
    ratio = np.divide(
        found["update_rms"],
        found["param_rms"],
        where=found["param_rms"] > 0,
        out=np.full(len(steps), np.nan, np.float32),
    )
    return {"step": steps, **found, "update_ratio": ratio}


def norms(state: Any, params: Any) -> dict[str, NDArray[Any]]:
    """Return the norm of the gradient over all layers at each record, before and after clipping.

    After clipping is what arrives at the optimiser: the links before it in its chain are run on the
    gradient where a record is due.

    Args:
        state: any tree with exactly one state of `adam_optax.watch` in it.
        params: the parameters, or their shapes: a record holds root mean squares.

    Returns:
        `step`, the steps of the records, counted from 1, and float32 arrays `before` and `after`.

    Raises:
        ValueError: as `read` does.

    Example:
        >>> import jax.numpy as jnp, optax, adam_optax as ao
        >>> tx = ao.watch(optax.chain(ao.clip_by_global_norm(1.0), ao.adam(1e-3)))
        >>> params = jnp.ones(2)
        >>> _, state = tx.update(jnp.array([3.0, 4.0]), tx.init(params), params)
        >>> found = ao.watch.norms(state, params)
        >>> print(found["before"], found["after"])
        [5.] [1.]
    """
    layers = read(state)
    sizes = {name or "parameter": math.prod(p.shape) for name, p in named_leaves(params)}
    steps = next(iter(layers.values()))["step"] if layers else np.zeros(0, np.int32)

    def whole(quantity: str) -> NDArray[Any]:
        squares = [
            np.square(found[quantity].astype(np.float64)) * sizes[layer]
            for layer, found in layers.items()
        ]
        total = np.sqrt(np.sum([np.nan_to_num(s) for s in squares], axis=0))
        return np.asarray(total, np.float32)

    return {"step": steps, "before": whole("grad_rms"), "after": whole("clipped_rms")}


def rows(state: Any, after: int = 0) -> Iterator[tuple[int, str, str, float]]:
    """Yield the records as rows `(step, layer, quantity, value)`, for a CSV file or TensorBoard.

    The quantiles are named `step_size_p5` to `step_size_p95`. What is not known is left out.

    Args:
        state: any tree with exactly one state of `adam_optax.watch` in it.
        after: the last step that was written before; that step and those before it are left out.

    Raises:
        ValueError: as `read` does.

    Example:
        >>> import jax.numpy as jnp, adam_optax as ao
        >>> tx = ao.watch(ao.adam(1e-3))
        >>> _, state = tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))
        >>> for step, layer, quantity, value in ao.watch.rows(state):
        ...     if quantity == "update_ratio":
        ...         print(step, layer, quantity, f"{value:.3f}")  # writer.add_scalar(...)
        1 parameter update_ratio 0.001
    """
    for layer, found in read(state).items():
        for quantity, values in _split_quantiles(found):
            for step, value in zip(found["step"].tolist(), values.tolist(), strict=True):
                if step > after and not np.isnan(value):
                    yield step, layer, quantity, value


def _split_quantiles(found: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield each quantity but the step, and each quantile as a quantity of its own."""
    for name, values in found.items():
        if name != "step" and values.ndim == 1:
            yield name, values
        elif name != "step":
            for q, column in zip(QUANTILES, values.T, strict=True):
                yield f"{name}_p{100 * q:.0f}", column


def plot(state: Any) -> "Figure":
    """Draw the records: a panel for each quantity, a line for each layer.

    This needs the extra `adam-optax[lab]`. The figure is matplotlib's own
    (`.savefig("watch.png")`); pyplot is not used.

    Args:
        state: any tree with exactly one state of `adam_optax.watch` in it.

    Returns:
        The figure.

    Raises:
        ValueError: as `read` does; also if there is no record yet, or matplotlib is not installed.
    """
    from adam_optax._watch.plot import figure  # matplotlib belongs to an extra

    result: Figure = figure(read(state))
    return result
