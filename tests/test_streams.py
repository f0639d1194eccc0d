"""How far the steps of every format are from float32's, on the streams of `tests/streams.py`."""

from typing import Any

import pytest

import adam_optax as ao
from tests.streams import STREAMS, adam, worst

FEW, MANY = 4096, 32768
DECAYS = [(0.9, 0.999), (0.9, 0.95), (0.95, 0.99), (0.9, 0.9999)]
BARS = {2: 0.13, 3: 0.015, 4: 0.015}
"""Of the rms, by bytes of a pair: what its docstring and the README promise."""
SLOW = (0.9, 0.9999)
MISSES = {(2, "rows", SLOW): "peak 1.43", (2, "iid", SLOW): "peak 1.41"}
"""At b2=.9999 nu begins a hundred times lower than the gradients' squares, on the coarse grid."""


def cases() -> list[Any]:
    """Every pair on every stream; two of them quickly."""
    found = []
    for bytes_ in BARS:
        for stream in STREAMS:
            for decays in DECAYS:
                key = (bytes_, stream, decays)
                marks = [pytest.mark.heavy]
                if key in MISSES:
                    marks.append(pytest.mark.xfail(reason=MISSES[key]))
                found.append(pytest.param(*key, marks=marks))
    return found


def hold_pair(bytes_: int, stream: str, n: int, decays: tuple[float, float]) -> None:
    w = worst(adam(ao.storage.pair(bytes_), stream, n, *decays))
    assert w.rms <= BARS[bytes_]
    assert w.peak <= 1.35
    assert 0.97 <= w.l1 <= 1.03


@pytest.mark.parametrize(("bytes_", "stream", "decays"), cases())
def test_pairs_stay_close_to_float32(bytes_: int, stream: str, decays: tuple[float, float]) -> None:
    hold_pair(bytes_, stream, MANY, decays)


@pytest.mark.quick
def test_a_pair_stays_close_to_float32() -> None:
    hold_pair(2, "iid", FEW, DECAYS[0])


NEAR = {"float8": (0.12, 1.3), "int8": (0.12, 1.4), "int4": (0.65, 2.5)}
"""By format: rms and peak where neighbours are alike. Measured: .104, 1.2; .100, 1.3; .60, 2.3."""
FAR = {"float8": 1.6, "int8": 3.0, "int4": 2.5}
"""Peaks where neighbours are six decades apart. Measured: 1.2, 2.5 and 1.9, where the published
formats rounded to nearest reach 10^4: coordinates may freeze, and nothing may explode."""
QUICK = pytest.mark.parametrize("name", ["int8", "float8", "int4"])


@QUICK
@pytest.mark.parametrize("stream", ["rows", "bursty"])
def test_blocks_of_like_neighbours_stay_close(name: str, stream: str) -> None:
    rms, peak = NEAR[name]
    w = worst(adam(getattr(ao.storage, name)(), stream, FEW))
    assert w.rms <= rms
    assert w.peak <= peak


@QUICK
@pytest.mark.parametrize("stream", [pytest.param("iid", marks=pytest.mark.quick), "sparse"])
def test_blocks_of_unlike_neighbours_never_explode(name: str, stream: str) -> None:
    w = worst(adam(getattr(ao.storage, name)(), stream, FEW))
    assert w.peak <= FAR[name]
    assert w.l1 <= 1.0


def test_stochastic_bfloat16_stays_close() -> None:
    w = worst(adam(ao.storage.stochastic(), "iid", FEW))
    assert w.rms <= 0.018  # measured .0144
    assert abs(w.l1 - 1) <= 2e-3  # measured 1e-3: nu is off by 1 %, and a root of it divides
