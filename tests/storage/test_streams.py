"""Bound how far the steps of every format are from float32's, on `tests/support/streams.py`."""

from typing import NamedTuple

import pytest

import adam_optax as ao
from tests.support.formats import FORMATS
from tests.support.streams import STREAMS, adam, worst

FEW, MANY = 4096, 32768
DECAYS = [(0.9, 0.999), (0.9, 0.95), (0.95, 0.99), (0.9, 0.9999)]
SEEDS = (0, 17)


class Bar(NamedTuple):
    """Hold the bounds that docstring and site promise of every phase: rms, peak, |l1 - 1|."""

    rms: float
    peak: float
    l1: float


FAR = ("iid", "sparse")
"""Where neighbours are six decades apart."""
BARS = {
    "pair(4)": Bar(0.015, 1.1, 0.01),
    "pair(3)": Bar(0.0155, 1.1, 0.01),  # measured .0145, and .01502 at b2=.9999
    "pair(block=128)": Bar(0.075, 1.2, 0.015),
    "pair()": Bar(0.13, 1.35, 0.03),
    "pair(1, block=64)": Bar(0.4, 4.0, 0.1),
}


def bounds_of(name: str, stream: str, b1: float) -> Bar:
    """Return a format's bounds; one byte has wider ones where neighbours or errors are worse."""
    if name != "pair(1, block=64)" or stream not in FAR:
        return BARS[name]
    # At b1=.95 measured .76 and 4.25: mu's roundings add up over 1 / (1 - b1^2) steps.
    return BARS[name]._replace(rms=0.65) if b1 <= 0.9 else Bar(0.8, 4.5, 0.1)


def check_bounds(
    name: str, stream: str, n: int, decays: tuple[float, float], seed: int = 0
) -> None:
    limit = bounds_of(name, stream, decays[0])
    w = worst(adam(FORMATS[name], stream, n, *decays, seed))
    assert w.rms <= limit.rms
    assert w.peak <= limit.peak
    assert abs(w.l1 - 1) <= limit.l1


@pytest.mark.heavy
@pytest.mark.parametrize("decays", DECAYS)
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("name", BARS)
def test_pairs_stay_close_to_float32(name: str, stream: str, decays: tuple[float, float]) -> None:
    check_bounds(name, stream, MANY // 2, decays, SEEDS[STREAMS.index(stream) % 2])


@pytest.mark.quick
@pytest.mark.parametrize("name", ["pair()", "pair(1, block=64)"])
def test_a_pair_stays_close_to_float32(name: str) -> None:
    check_bounds(name, "iid", FEW, DECAYS[0])


def test_a_slow_average_begins_on_the_fine_grid() -> None:
    # At b2=.9999 nu begins 10^4 times smaller than the gradients' squares: kept as it is, on the
    # coarse grid, steps are up to 1.5 times too long.
    check_bounds("pair()", "iid", FEW, (0.9, 0.9999))


NEAR = {"float8": (0.12, 1.3), "int8": (0.12, 1.4), "int4": (0.68, 2.8)}
"""By format: rms and peak where neighbours are alike. Measured: .119, 1.3; .109, 1.3; .66, 2.7."""
PEAKS = {"float8": 1.6, "int8": 3.0, "int4": 2.5}
"""Peaks where neighbours are six decades apart. Measured: 1.2, 2.5 and 1.9, where the published
formats rounded to nearest reach 10^4: coordinates may freeze, and nothing may explode."""
QUICK = pytest.mark.parametrize("name", ["int8", "float8", "int4"])


@pytest.mark.matrix(keep=1)
@QUICK
@pytest.mark.parametrize("stream", ["rows", "bursty"])
def test_blocks_of_like_neighbours_stay_close(name: str, stream: str) -> None:
    rms, peak = NEAR[name]
    w = worst(adam(getattr(ao.storage, name)(), stream, FEW))
    assert w.rms <= rms
    assert w.peak <= peak


@pytest.mark.matrix(keep=0)
@QUICK
@pytest.mark.parametrize("stream", [pytest.param("iid", marks=pytest.mark.quick), "sparse"])
def test_blocks_of_unlike_neighbours_never_explode(name: str, stream: str) -> None:
    w = worst(adam(getattr(ao.storage, name)(), stream, FEW))
    assert w.peak <= PEAKS[name]
    assert w.l1 <= 1.0


def test_stochastic_bfloat16_stays_close() -> None:
    w = worst(adam(ao.storage.stochastic(), "iid", FEW))
    assert w.rms <= 0.018  # measured .0144
    assert abs(w.l1 - 1) <= 2e-3  # measured 1e-3: nu is off by 1 %, and a root of it divides
