"""Check properties of every format by hypothesis, whatever the numbers."""

from typing import Any

import hypothesis
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.storage.formats import roundtrip, roundtrip_often
from tests.support.formats import FORMATS, ROUNDED

ELEMENTS = [name for name in FORMATS if name != "factored()"]  # of a matrix keeps two vectors
EACH = pytest.mark.parametrize("name", ELEMENTS)
SEEN = ("pair()", "pair(1, block=64)", "int8()")
FEW = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.quick if n in SEEN else ()) for n in ELEMENTS]
)
SHAPES = [(), (2, 0, 3), (7,), (3, 130), (257,)]
ANY = st.sampled_from(SHAPES)
MANTISSA = st.floats(-1, 1, width=32)
ORDERS = st.floats(-37, 37)

BLOCKED = {"float8()": 0.125, "int8()": 0.15, "int4()": 0.5}
"""The largest step of a code book over the numbers near the top of a block, and half as much again
of it for the two neighbours of a dither: an eighth of e4m3, decades of 2^6 codes, of 2^2 codes."""
RATIO = {
    "dense()": 1e-7,
    "dense('bfloat16')": 2.0**-8,
    "stochastic()": 2.0**-7,
    "pair(4)": 0.01,
    "pair(3)": 0.02,
    "pair(block=128)": 0.04,
    "pair()": 0.18,
    "pair(1, block=64)": 0.3,
}
"""The relative size of a step: bfloat16's last place, and those of the ratio's and nu's grids; in
one byte a fourth of an octave, and the sixth part of a ratio."""


@st.composite
def moments(draw: Any) -> tuple[Any, Any]:
    """Draw a `mu`, and a `nu` that could be beside it: `|mu| <= 2 sqrt(nu)`."""
    shape = draw(ANY)
    size = 10.0 ** draw(st.floats(-12, 4))  # two bytes hold gradients up to 2e4
    root = draw(hnp.arrays(np.float64, shape, elements=st.floats(0, 1))) * size
    share = draw(hnp.arrays(np.float64, shape, elements=st.floats(-2, 2)))
    return np.float32(share * root), np.float32(root * root)


@pytest.mark.matrix(keep=0)
@FEW
@hypothesis.settings(max_examples=60)
@given(values=moments(), count=st.integers(1, 2**31 - 1))
def test_signs_and_zeros_are_kept_and_steps_are_bounded(
    name: str, values: tuple[Any, Any], count: int
) -> None:
    mu, nu = values
    kept = {n: np.asarray(m) for n, m in roundtrip(FORMATS[name], mu, nu, count).items()}
    assert kept["mu"].shape == kept["nu"].shape == mu.shape
    assert np.all(kept["mu"] * np.sign(mu) >= 0)
    np.testing.assert_array_equal(kept["mu"][mu == 0], 0)
    np.testing.assert_array_equal(kept["nu"][nu == 0], 0)
    assert np.all(kept["nu"][nu > 1e-30] > 0)  # smaller ones may underflow
    # Ratios are up to 2 here. A nu rounded down is at most 2.4 times too small (int8's lowest
    # codes; in one byte 4 times), a mu rounded up beside a nu that was raised is less than a ratio
    # of 2. Where the square is a denormal float32, an eps of 1e-8 is most of what divides.
    assert np.all(np.abs(kept["mu"]) / (np.sqrt(kept["nu"]) + 1e-8) <= 5)


@pytest.mark.matrix(keep=1)
@EACH
@given(
    orders=st.tuples(ORDERS, ORDERS), signs=st.tuples(MANTISSA, MANTISSA), count=st.integers(1, 99)
)
def test_no_number_is_too_large_or_too_small(
    name: str, orders: Any, signs: Any, count: int
) -> None:
    mu = np.array([s * 10.0**o for s, o in zip(signs, orders, strict=True)], np.float32)
    nu = np.array(
        [abs(s) * 10.0**o for s, o in zip(signs, reversed(orders), strict=True)], np.float32
    )
    out = roundtrip(FORMATS[name], mu, nu, count)
    assert np.all(np.isfinite(out["mu"]))
    assert np.all(np.isfinite(out["nu"]))
    assert np.all(np.asarray(out["nu"]) >= 0)


@pytest.mark.matrix(keep=3)
@EACH
@given(order=st.floats(-6, 0.5), share=st.floats(0.3, 1.0), count=st.integers(600, 10**6))
def test_near_the_top_of_a_block_the_relative_error_is_bounded(
    name: str, order: float, share: float, count: int
) -> None:
    root = np.array([10.0**order, share * 10.0**order], np.float32)
    out = roundtrip(FORMATS[name], root, root * root, count)
    bound = (BLOCKED | RATIO)[name]
    # Gradients are those for which the grid of two bytes is fine once the average is no longer
    # young: after 512 steps at b2=.999. Before, nu is as much smaller. nu is the square of what is
    # between .3 and 1 of the top, where steps are wider: int4's are 1/15 of the top.
    np.testing.assert_allclose(out["mu"], root, rtol=bound)
    nu_bound = {"int8()": 0.15, "int4()": 1.0}.get(name, bound)
    np.testing.assert_allclose(out["nu"], root * root, rtol=nu_bound)


@pytest.mark.matrix(keep=3)
@EACH
def test_larger_numbers_are_kept_as_no_smaller_ones(name: str) -> None:
    root = np.geomspace(1e-4, 1.0, 128, dtype=np.float32)
    # One at a time, so that all are rounded by the same dither beside the same neighbour.
    # A third one, the smallest, holds the range of the block.
    pairs = [roundtrip(FORMATS[name], [m, 1.0, 1e-5], [m * m, 1.0, 1e-10]) for m in root]
    for moment in ("mu", "nu"):
        kept = np.array([p[moment][0] for p in pairs])
        # A pair keeps mu over a nu that was rounded: their product may be out of order by a step.
        # In one byte nu's step is here two octaves, that of its root one.
        step = 1.0 if name == "pair(1, block=64)" else RATIO.get(name, 0.0)
        slack = 1 + (step if moment == "mu" else 0.0)
        assert np.all(kept[1:] * slack >= kept[:-1])


DRAWS = 100_000


@pytest.mark.matrix(keep=3)
@pytest.mark.parametrize("name", ROUNDED)
@pytest.mark.parametrize("share", [0.9, 0.317, 0.0421, -0.0421])
def test_rounding_is_right_on_average(name: str, share: float) -> None:
    mu, nu = roundtrip_often(FORMATS[name], share, share * share, 1.0, DRAWS)
    raised = name == "int4()" and share * share < 1 / 15
    power = 0.25 if name == "pair(1, block=64)" else 1.0  # in one byte, of the fourth root of nu
    for kept, right in [(mu, share), *([] if raised else [(nu**power, (share * share) ** power)])]:
        # Five standard errors of independent draws, which the dither's are better than; and the
        # last bits of the sums: 2^-20 of the number.
        error = 5 * kept.std() / np.sqrt(DRAWS) + abs(right) * 2.0**-20
        if name.startswith("pair") and right == share:
            # mu is unbiased on a grid of pieces of a logarithm: its middle is off by an eighth of
            # a step squared.
            error += abs(right) * RATIO[name] ** 2 / 8
        elif name == "pair()":
            # One over the root of nu is right on average: nu is rounded up 1/31 too often, by a
            # step of an eighth of it at most.
            error += abs(right) / 8 / 31
        assert abs(kept.mean() - right) <= error


@pytest.mark.heavy
def test_a_scalar_and_an_empty_leaf_are_blocks() -> None:
    for name in ELEMENTS:
        assert roundtrip(FORMATS[name], 0.5, 0.25)["mu"].shape == ()
        assert roundtrip(FORMATS[name], jnp.zeros((3, 0)), jnp.zeros((3, 0)))["nu"].shape == (3, 0)
