"""Take times: of steps, of compiling, of copies; and share out the minutes of a run."""

import functools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from benchmarks.gpu.case import Measured, Setup

T = TypeVar("T")
SAMPLES, LEAST = 7, 0.1
"""How often a time is taken, and the seconds of a sample at least."""


class Clock:
    """Share out the seconds of a run among its parts.

    Args:
        seconds: what the run may take.
        shares: of each part, in proportion to the others.
        now: tells the time.
    """

    def __init__(
        self,
        seconds: float,
        shares: Mapping[str, float],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now, self._end, self._shares = now, now() + seconds, shares

    def left(self) -> float:
        """Return the seconds that are left of the run."""
        return self._end - self._now()

    def until(self, part: str, waiting: list[str]) -> float:
        """Return when a part must stop: its share of what is left, beside the parts that wait."""
        whole = sum(self._shares[name] for name in {part, *waiting})
        return self._now() + max(0.0, self.left()) * self._shares[part] / whole

    def reached(self, when: float) -> bool:
        """Tell whether a time has come."""
        return self._now() >= when


def spent(work: Callable[[], T]) -> tuple[T, float]:
    """Do some work and wait for the arrays that it returns; return these, and the seconds."""
    began = time.perf_counter()
    made = jax.block_until_ready(work())
    return made, time.perf_counter() - began


def compiled(function: Callable[..., Any], *arguments: Any, donate: Any = ()) -> tuple[Any, float]:
    """Compile a function for these arguments; return what is compiled, and the seconds it took."""
    return spent(lambda: jax.jit(function, donate_argnums=donate).lower(*arguments).compile())


def timed(
    setup: Setup,
    dispatch: Callable[[], Any],
    wait: Callable[[Any], object] = jax.block_until_ready,
    measure: str = "step",
) -> Measured:
    """Time what was compiled and run once: the median over samples, in milliseconds.

    A sample is as many steps as take `LEAST`, handed out one after the other and waited for at
    their end, so that the host's share of a step is hidden where a device works on its own.
    """
    samples, least = (2, 0.0) if setup.miniature else (SAMPLES, LEAST)

    def sample(repeats: int) -> float:
        began = time.perf_counter()
        for _ in range(repeats):
            last = dispatch()
        wait(last)
        return 1e3 * (time.perf_counter() - began) / repeats

    sample(1)
    repeats = max(1, int(1e3 * least / sample(1)))
    taken = [sample(repeats) for _ in range(samples)]
    return Measured(measure, "ms", statistics.median(taken), min(taken), max(taken), samples)


@functools.cache
def copy_rate(setup: Setup) -> float:
    """Measure the rate of a copy from the device's memory to itself: bytes read and written a ms.

    Steps of the same run are compared with it.
    """
    x = jnp.ones((2**14 if setup.miniature else 2**28,), jnp.float32)
    run = [jnp.zeros_like(x)]
    copy = jax.jit(copied, donate_argnums=1, keep_unused=True)

    def dispatch() -> Any:
        run[0] = copy(x, run[0])
        return run[0]

    return 2.0 * x.nbytes / (timed(setup, dispatch).median or 0.0)


def copied(x: Any, over: Any) -> Any:
    """Copy an array to where another was, so that copies which wait their turn need no room."""
    del over  # is donated
    return jnp.copy(x)


@functools.cache
def link_rate(setup: Setup) -> float:
    """Measure the rate of the link between host and device: bytes a ms, there and back."""
    x = jnp.ones((2**14 if setup.miniature else 2**27,), jnp.float32)
    host, device = (x.sharding.with_memory_kind(kind) for kind in ("pinned_host", "device"))

    def there_and_back() -> Any:
        return jax.device_put(jax.device_put(x, host), device)

    return 2.0 * x.nbytes / (timed(setup, there_and_back).median or 0.0)
