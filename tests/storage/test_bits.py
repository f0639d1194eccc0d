"""Check integer division and approximate roots on bits against NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from adam_optax.storage._quant.bits import approx_sqrt, exact_divmod


@pytest.mark.quick
@pytest.mark.parametrize("bits", [8, 16, 21])
def test_small_codes_are_divided_exactly(bits: int) -> None:
    code = np.arange(2**bits)
    for by in (1, 2, 3, 41, 47, 83, 85, 119, 577, 3669, 65535):  # 41 (1 / 41) < 1 in float32
        quotient, rest = exact_divmod(jnp.asarray(code, jnp.int32), by, bits)
        np.testing.assert_array_equal(quotient, code // by)
        np.testing.assert_array_equal(rest, code % by)


@pytest.mark.matrix(keep=0)
@pytest.mark.parametrize("by", [1025, 3669, 16385])
def test_large_codes_are_divided_exactly(by: int) -> None:
    near = np.arange(2**32 // by)[:, None] * by + np.array([-1, 0, 1])  # where it can go wrong
    code = np.append(near[near >= 0], [2**32 - 1, 2**32 - by]).astype(np.uint32)
    quotient, rest = exact_divmod(jnp.asarray(code), by)
    np.testing.assert_array_equal(quotient, code // by)
    np.testing.assert_array_equal(rest, code % by)


def test_a_divisor_for_each_code() -> None:
    rng = np.random.default_rng(0)
    code, by = rng.integers(0, 2**16, 100_000), rng.integers(1, 2**12, 100_000)
    share = 1 / jnp.asarray(by, jnp.float32)
    quotient, rest = exact_divmod(
        jnp.asarray(code, jnp.int32), jnp.asarray(by, jnp.int32), 16, share
    )
    np.testing.assert_array_equal(quotient, code // by)
    np.testing.assert_array_equal(rest, code % by)


@pytest.mark.quick
def test_half_of_the_bits_is_about_the_root() -> None:
    y = np.geomspace(2.0**-126, 2.0**127, 100_001, dtype=np.float32)
    over = np.asarray(approx_sqrt(jnp.asarray(y)), np.float64) / np.sqrt(y.astype(np.float64))
    assert np.min(over) >= 1 - 1e-7  # one rounding, where it is exact
    assert 1.06 < np.max(over) < 1.061
