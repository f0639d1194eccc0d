"""Records as plain arrays, as rows for a file or a dashboard, and as a picture."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from numpy.typing import NDArray

from adam_optax._watch.state import QUANTILES, WatchState, columns, names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Reading = dict[str, dict[str, NDArray[Any]]]


def read(state: Any) -> Reading:
    """The records in a state, oldest first.

    Args:
        state: any tree with exactly one state of `adam_optax.watch` in it.

    Returns:
        By layer (`dense/kernel`), by quantity: `step`, the steps of the records, counted from 1,
        and float32 arrays of shape (records,), or (records, 5) for `step_size` and `root_nu`, at
        the quantiles `adam_optax._watch.state.QUANTILES`. NaN where a quantity is not known. Layers
        that never had a gradient are left out.

    Raises:
        ValueError: if there is no such state, there are several, or it is a state of `jax.vmap`.
    """
    found = _found(state)
    steps = np.asarray(found.steps)
    order = np.argsort(steps)[np.count_nonzero(steps == 0) :]
    table = np.asarray(found.table)[order]
    layers = {n: _layer(steps[order], table[:, i]) for i, n in enumerate(names(found.layers))}
    return {n: x for n, x in layers.items() if not (len(order) and np.isnan(x["nonfinite"]).all())}


def _found(state: Any) -> WatchState:
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


def _layer(steps: NDArray[Any], table: NDArray[Any]) -> dict[str, NDArray[Any]]:
    known = np.where(table < 0, np.float32(np.nan), table)
    found = {
        n: known[:, at].squeeze(1) if at.stop - at.start == 1 else known[:, at]
        for n, at in columns()
    }
    small = found["param_rms"] > 0
    ratio = np.divide(
        found["update_rms"],
        found["param_rms"],
        where=small,
        out=np.full(len(steps), np.nan, np.float32),
    )
    return {"step": steps, **found, "update_ratio": ratio}


def rows(state: Any, after: int = 0) -> Iterator[tuple[int, str, str, float]]:
    """The records as rows `(step, layer, quantity, value)`, for a CSV file or TensorBoard.

    Quantiles are named `step_size_p5` to `step_size_p95`. What is not known is left out.

    Args:
        state: as for `read`.
        after: leave out the steps up to this one: those that were written before.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.watch(ao.adam(1e-3))
    >>> _, state = tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))
    >>> for step, layer, quantity, value in ao.watch.rows(state):
    ...     if quantity == "update_ratio":
    ...         print(step, layer, quantity, f"{value:.3f}")  # writer.add_scalar(...)
    1 parameter update_ratio 0.001
    """
    for layer, found in read(state).items():
        for quantity, values in _flat(found):
            for step, value in zip(found["step"].tolist(), values.tolist(), strict=True):
                if step > after and not np.isnan(value):
                    yield step, layer, quantity, value


def _flat(found: dict[str, NDArray[Any]]) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, values in found.items():
        if name != "step" and values.ndim == 1:
            yield name, values
        elif name != "step":
            for q, column in zip(QUANTILES, values.T, strict=True):
                yield f"{name}_p{100 * q:.0f}", column


def plot(state: Any) -> "Figure":
    """A figure of the records: a panel per quantity, a line per layer; needs `adam-optax[lab]`.

    The figure is matplotlib's own (`.savefig("watch.png")`); pyplot is not touched.

    Args:
        state: as for `read`.
    """
    from adam_optax._watch.plot import figure  # an extra, imported where it is used

    result: Figure = figure(read(state))
    return result
