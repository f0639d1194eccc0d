"""Find how kernels are made for a platform; what JAX needs for it is imported when it is needed.

Pallas is experimental, and its flavours come and go with the versions of JAX. A program that is
never compiled for an accelerator imports none of them, and where this JAX has none for a platform,
the plain step runs there.
"""

import contextlib
import dataclasses
import functools
import importlib
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager

import jax
from jax import Array

from adam_optax._engine.kernels.layout import Block, Layout

MODULES = {"tpu": ("mosaic",), "cuda": ("triton", "mosaic_gpu")}
"""The modules beside this one that make kernels for a platform, by XLA's name of it; the first
that this JAX has is taken. Triton's kernel was measured on GPUs, Mosaic's was not."""


@dataclasses.dataclass(frozen=True)
class Backend:
    """Say how a kind of accelerator is programmed.

    Attributes:
        block: from a layout to what one call of the kernel works on, or None if the leaf cannot be
            tiled.
        run: from the step of a tile, the layout, the flat arguments, their place in the whole leaf,
            the results that take the places of arguments, and whether to interpret the kernel, to
            the flat results.
        fits: whether a device, or an unknown one, can run the kernel of a layout.
        lowering: makes a context in which the kernel is lowered.
        stored: from the layout of a leaf, or of its part, to the layout with the axes in the order
            in which the accelerator stores them; `block` and `run` take that one. None if a kernel
            would be worse than XLA's step.
    """

    block: Callable[[Layout], Block | None]
    run: Callable[..., list[Array]]
    fits: Callable[[Layout, jax.Device | None], bool] = lambda *_: True
    lowering: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    stored: Callable[[Layout], Layout | None] = lambda layout: layout


@functools.cache  # the warning is given once
def backend(platform: str) -> Backend | None:
    """Return how kernels are made for a platform; None, with a warning, if this JAX cannot."""
    reasons = []
    for name in MODULES[platform]:
        try:
            found: Backend = importlib.import_module(f"{__package__}.{name}").BACKEND
        except (ImportError, AttributeError) as error:
            reasons.append(str(error))
        else:
            return found
    warnings.warn(
        f"jax {jax.__version__} has no Pallas for {platform} that this adam_optax knows "
        f"({'; '.join(reasons)}): there XLA alone compiles the steps that would have been kernels, "
        "to the same results with more bytes moved. For the kernels, install a jax that has it, or "
        "a newer adam_optax",
        RuntimeWarning,
        stacklevel=2,
    )
    return None
