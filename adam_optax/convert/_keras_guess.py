"""Which variable of a Keras optimizer is which, in a file that holds them without names."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np


class Label(NamedTuple):
    """What a variable is: a parameter's, or the optimizer's own."""

    stem: str
    kind: str

    @property
    def path(self) -> str:
        """The name that Keras would give to it."""
        return f"{self.stem}_{self.kind}" if self.stem else self.kind


def fitting(values: Sequence[Any], stems: Sequence[str]) -> list[list[Label]]:
    """All ways to label the variables of an optimizer of these parameters."""
    return [labels for labels in _layouts(stems) if _fits(labels, values)]


def _layouts(stems: Sequence[str]) -> Iterator[list[Label]]:
    """The variables of every optimizer that Keras could have made of these parameters."""

    def each(*kinds: str) -> list[Label]:
        return [Label(stem, kind) for stem in stems for kind in kinds]

    for rate in ([], [Label("", "learning_rate")]):
        for besides in ([], each("average"), each("gradient_accumulator")):
            moments = each("momentum", "velocity")
            start = [Label("", "iteration"), *rate, *besides, *moments]
            yield from (start, start + each("velocity_hat"), [*start, Label("", "product")])


def _fits(labels: Sequence[Label], values: Sequence[Any]) -> bool:
    """Whether values can be of these variables: their shapes agree, and squares have no sign."""
    if len(labels) != len(values) or values[0].dtype.kind not in "iu":
        return False
    shapes: dict[str, Any] = {"": ()}
    for (stem, kind), value in zip(labels, values, strict=True):
        if shapes.setdefault(stem, value.shape) != value.shape:
            return False
        if kind.startswith("velocity") and not np.all(value >= 0):
            return False
    return True
