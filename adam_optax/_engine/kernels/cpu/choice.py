"""Choose whether steps on CPUs are loops."""

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar

CHOICES = ("auto", "always", "never")
"""What may be chosen; `auto` leaves to XLA what XLA fuses with the gradient."""
VARIABLE = "ADAM_OPTAX_CPU_LOOPS"
"""The environment variable that says what is chosen at first."""


def _check(choice: str, what: str) -> str:
    if choice not in CHOICES:
        raise ValueError(f"{what} must be one of {', '.join(CHOICES)}, not {choice!r}")
    return choice


_FIRST = _check(os.environ.get(VARIABLE, "auto"), VARIABLE)

chosen: ContextVar[str] = ContextVar("adam_optax_cpu_loops", default=_FIRST)
"""What is chosen where a step is traced."""


@contextlib.contextmanager
def cpu_loops(choice: str) -> Iterator[None]:
    """Choose where steps on CPUs run as loops of this library, in the programs traced within.

    XLA for CPUs makes one loop for each result of a step, and decodes the moments anew in each of
    them. A loop of this library makes all results in one pass over memory, and takes a fraction of
    the time to compile. States have the same bits, except that one code of `pair()` in 200,000 is
    the next one on its grid; parameters differ by roundings at most. Loops need the extra `cpu`
    (llvmlite), and run on one CPU device. Whatever is chosen, XLA compiles steps on accelerators,
    steps over several devices, steps in float64, and steps that are differentiated, mapped or
    exported.

    Where nothing is chosen, the environment variable `ADAM_OPTAX_CPU_LOOPS` decides, as it was when
    the library was imported. If it was not set, the choice is `"auto"`. A program that is traced
    already, such as a jitted function that was called, stays as it is.

    Args:
        choice: `"auto"`: loops for formats of few bits, where XLA makes several passes, and in
            `adam_optax.step`; `"always"`: loops wherever one can be made, also for updates in
            float32, where the whole training step may be slower for it, because XLA can no longer
            fuse the update with what made the gradient; `"never"`: XLA compiles everything.

    Raises:
        ValueError: if the choice is another.

    >>> import jax, jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.adamw(1e-3, storage=ao.storage.pair())
    >>> params = jnp.ones((100, 100))
    >>> with ao.cpu_loops("never"):
    ...     updates, state = jax.jit(tx.update)(params, tx.init(params), params)
    """
    token = chosen.set(_check(choice, "the choice of cpu_loops"))
    try:
        yield
    finally:
        chosen.reset(token)
