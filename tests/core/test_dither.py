"""Test that no step, element or period can tell a dither, and that a window fills the circle."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adam_optax._core.dither import WINDOW_BITS, dither, hash_key, salt, two_dithers

N = 4096
SIZE = 2**WINDOW_BITS
PERIODS = [*range(1, 35), *(55, 89, 144, 233, 377, 610, 987, 1597, 2584, 4181, 6765)]
PERIODS += [64, 96, 128, 256, 512, 1024, 2048, 4096, 8192, 9999]
"""All short ones, Fibonacci numbers (which a golden rotation repeats itself after), powers of 2."""

over_steps = jax.jit(
    jax.vmap(lambda t: jnp.stack([*two_dithers((N,), salt(t, hash_key(7))), dither((N,), t, 7)]))
)


def numbers(steps: object) -> np.ndarray:
    """Return the numbers in [0, 1) at some steps: by step, kind (first, second, fresh), element."""
    return np.asarray(over_steps(jnp.asarray(steps, jnp.uint32)), np.float64) / 2**32


@pytest.mark.quick
def test_no_period_gathers_the_errors_of_rounding() -> None:
    for period in PERIODS:
        u = numbers(1000 + period * np.arange(32))
        for share in (0.02, 0.15, 0.5, 0.9):
            errors = (u < share).sum(0) - 32 * share
            over = np.mean(errors**2, axis=1) / (32 * share * (1 - share))
            # Of independent numbers the mean of 4096 squares is 1 within 5 sqrt(2 / 4096) = 0.11,
            # and within 0.15 at .02, where the distribution has a tail.
            assert np.max(over) <= 1.15, (period, share)


@pytest.mark.quick
def test_a_window_of_steps_fills_the_circle_evenly() -> None:
    for window in (0, 3, 2**20):
        u = np.sort(numbers(SIZE * window + np.arange(SIZE))[:, 0], axis=0)
        np.testing.assert_allclose(np.diff(u, axis=0), 1 / SIZE, atol=1e-9)  # exact in 2^-32
    u = numbers(np.arange(2 * SIZE))[:, 0]
    ahead = (u[[1, SIZE + 1]] - u[[0, SIZE]]) * SIZE % SIZE  # 64 orders, others in the next window
    assert set(np.unique(np.round(ahead))) == set(range(1, SIZE, 2))
    assert 0.005 <= np.mean(np.round(ahead[0]) == np.round(ahead[1])) <= 0.03  # about 1/64


@pytest.mark.quick
def test_dithers_are_even_and_unrelated() -> None:
    u = numbers([5, 6, 5 + SIZE, 2**31 - 1])
    series = [u[t, kind] for t in range(4) for kind in range(3)]
    moved = [np.roll(u[0, kind], 1) for kind in range(3)]  # neighbours
    for x in series:
        counts = np.bincount((x * 16).astype(int), minlength=16)
        # Chi squared of 15 degrees of freedom: above 50 once in 10^5.
        assert np.sum((counts - N / 16) ** 2) / (N / 16) <= 50
    every = [*series, *moved]
    for i, x in enumerate(every):
        for y in every[:i]:
            cells = np.bincount((x * 8).astype(int) * 8 + (y * 8).astype(int), minlength=64)
            # Chi squared of 63 degrees of freedom: above 130 once in 10^6. Steps 5 and 6 are of one
            # window, and an odd number of its places apart: cells of 4 places cannot tell.
            assert np.sum((cells - N / 64) ** 2) / (N / 64) <= 130, i
