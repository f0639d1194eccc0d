"""Name and explain what `adam_optax.watch` records, for figures, tables and pages."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Readings: TypeAlias = Mapping[str, Mapping[str, NDArray[Any]]]
"""Arrays by layer and quantity, as `adam_optax.watch.read` returns them."""


@dataclasses.dataclass(frozen=True)
class Quantity:
    """Describe a recorded quantity.

    Attributes:
        head: A short name, for the heading of a column.
        title: The name in full.
        label: What is on the axis: the formula, with its unit.
        meaning: What a reader learns from it.
        is_share: Whether the values are shares of a layer, from 0 to 1, which are mostly 0.
    """

    head: str
    title: str
    label: str
    meaning: str
    is_share: bool = False


QUANTITIES = {
    "update_ratio": Quantity(
        "update/param",
        "update over parameter",
        "RMS of update / of parameter",
        "how far a step moves the layer: the update's root mean square over the parameters'",
    ),
    "signal_to_noise": Quantity(
        "signal/noise",
        "signal to noise",
        "mean of mu²/nu",
        "mean of mu²/nu: 1 where the gradients of a weight agree, near 0 where they cancel",
    ),
    "grad_rms": Quantity(
        "gradient",
        "gradient",
        "RMS of the gradient",
        "root mean square of the layer's gradient",
    ),
    "eps_share": Quantity(
        "ruled by eps",
        "ruled by eps",
        "share of weights",
        "share of the layer's weights in whose denominator eps is larger than the root of nu",
        is_share=True,
    ),
    "storage_error": Quantity(
        "storage error",
        "storage error",
        "RMS of error / of step",
        "what storing the moments once more would change in the next step, over the step; 0 in "
        "float32",
    ),
    "nonfinite": Quantity(
        "not finite",
        "not finite",
        "share of elements",
        "share of the gradient's elements that are infinite or NaN",
        is_share=True,
    ),
    "step_size": Quantity(
        "step size",
        "step size of single weights",
        "|update| / |mu|",
        "learning rate of single weights, |update| / |mu|: Adam's rate / (√nu + eps); the median "
        "of the layer",
    ),
    "root_nu": Quantity(
        "root of nu",
        "root of nu of single weights",
        "√nu",
        "root of nu of single weights, on the scale of the gradient; the median of the layer",
    ),
}
"""The quantities that are drawn, in this order."""

QUANTILES = ("step_size", "root_nu")
"""Quantities of single weights, of which quantiles over the layer are recorded."""
_USUALLY_ZERO = ("eps_share", "nonfinite", "storage_error")
"""Quantities that are drawn only if they are not 0 all the time."""


def worth_showing(readings: Readings) -> list[str]:
    """Return the quantities that are known of a layer and, if usually 0, not always 0."""
    found = []
    for name in QUANTITIES:
        values = np.concatenate([layer[name].ravel() for layer in readings.values()])
        known = values[np.isfinite(values)]
        if len(known) and (known.any() or name not in _USUALLY_ZERO):
            found.append(name)
    return found


def middle(values: NDArray[Any]) -> NDArray[Any]:
    """Return a quantity over the records: of quantiles, the median."""
    return values if values.ndim == 1 else values[:, values.shape[1] // 2]


def short_names(names: list[str]) -> tuple[str, list[str]]:
    """Take from the names of layers the folders that all of them are in.

    Args:
        names: Names of the layers.

    Returns:
        What all names begin with, and the names without it.

    >>> short_names(["params/a/kernel", "params/a/bias", "params/b/bias"])
    ('params/', ['a/kernel', 'a/bias', 'b/bias'])
    """
    shared = 0
    if len(names) > 1:
        parts = [name.split("/")[:-1] for name in names]
        for column in zip(*parts, strict=False):
            if len(set(column)) > 1:
                break
            shared += len(column[0]) + 1
    return names[0][:shared], [name[shared:] for name in names]
