"""Choose a decay rate by the tokens after which half of an average is forgotten."""

import math
from collections.abc import Callable
from typing import overload

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from adam_optax._core.checks import Kind, hyperparameter, scalar
from adam_optax._core.types import Schedule


@overload
def half_life(tokens: float, batch: float) -> float: ...
@overload
def half_life(tokens: float, batch: Schedule) -> Callable[[Array], Array]: ...
def half_life(tokens: float, batch: float | Schedule) -> float | Callable[[Array], Array]:
    """Return the decay rate of an average that forgets half after so many tokens.

    Take it for `b2` (and `b1`), where the batch size is chosen anew, or grows along the run: a rate
    of 0.999 counts steps, so that with batches 16 times as large it remembers 16 times as much
    data. If the half-life is held in tokens instead, small batches train as well as large ones
    (Marek et al. 2025).

    Formula: `b = 2^(-batch / tokens)`, so that `b^(tokens / batch) = 1/2`.

    Args:
        tokens: the half-life, in tokens (or examples, or what `batch` is counted in), positive.
            From a rate b2 at a batch size that is known to train well:
            `batch * log(0.5) / log(b2)`, which for 0.95 at 0.5 M tokens are 6.8 M.
        batch: the tokens of one step, positive; or, for a ramp, a schedule `count -> tokens`.

    Returns:
        The rate; for a schedule, a schedule, which optimisers take for `b1` and `b2`: their
        averages are then corrected by what they have really seen.

    Raises:
        ValueError: if a number is not positive and finite.
        TypeError: if an argument is no number, and `batch` is no schedule either.

    Example:
        >>> import adam_optax as ao
        >>> print(f"{ao.half_life(6.8e6, 0.5e6):.3f} {ao.half_life(6.8e6, 4096):.6f}")
        0.950 0.999583
        >>> ramp = lambda count: 0.5e6 * (1 + (count >= 1000) + 2 * (count >= 2000))
        >>> tx = ao.adamw(1e-3, b2=ao.half_life(6.8e6, ramp))

    References:
        Marek et al., [Small Batch Size Training for Language
        Models](https://arxiv.org/abs/2507.07101), NeurIPS 2025.
    """
    tokens = float(hyperparameter("tokens", tokens, Kind.POSITIVE, schedule=False))
    rate = math.log(2) / tokens
    size = hyperparameter("batch", batch, Kind.POSITIVE)
    if not callable(size):
        return math.exp(-rate * float(size))

    def b(count: Array) -> Array:
        now: ArrayLike = size(count)
        return jnp.exp(scalar("batch", now).astype(float) * -rate)

    return b
