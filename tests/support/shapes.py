"""Leaves of every kind that factored storage tells apart, and gradients for them."""

from typing import Any

import numpy as np

from tests.support.cases import gradients

STEPS = 500
SHAPES: dict[str, tuple[int, ...]] = {
    "wide": (3, 6),
    "tall": (6, 3),
    "square": (4, 4),
    "3-D": (2, 5, 3),
    "tied": (5, 2, 5),
    "cube": (3, 3, 3),
    "one row": (1, 6),
    "1-D": (7,),
    "scalar": (),
}


def data(shape: tuple[int, ...], steps: int = STEPS) -> tuple[Any, Any]:
    """Gradients and parameters that float32 holds."""
    size = int(np.prod(shape))
    start = (np.linspace(-1.0, 1.0, size) + 0.03).astype(np.float32).astype(np.float64)
    return gradients(steps, size, seed=11).reshape(steps, *shape), start.reshape(shape)
