"""The peers' formats give what the peers' formulas give, and have the bytes that they claim."""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import adam_optax as ao
from adam_optax._core.dither import to_unit_interval
from adam_optax.moments import ema, square
from adam_optax.storage import LeafContext
from benchmarks.codecs import CODECS, LEARNT, gefen
from benchmarks.codecs.groups import grouped, packed, ungrouped, unpacked
from benchmarks.codecs.solo import MAPS
from tests.benchmarks import transcribed
from tests.support.formats import size

MU, NU = ema(0.9), ema(0.999, square, signed=False)
BYTES = {
    "HeavyBall bf16+8": 6,
    "FlashOptim": 2 + 2 * 2 / 32,
    "FlashOptim, float32 scales": 2 + 2 * 4 / 32,
    "COAT": 2 + 2 * 12 / 128,
    "COAT, nu e5m2": 2 + 2 * 12 / 128,
    "SOLO 4/4": 1 + 12 / 128,
    "SOLO 4/2": 0.75 + 12 / 128,
    "SOLO 2/2": 0.5 + 12 / 128,
    "Gefen": 1 + 8 / 64,
    "float8, COAT's power": 2 + 2 * 2 / 128,
    "float8, COAT's power, mu to nearest": 2 + 2 * 2 / 128,
    "int4, SOLO's logarithm": 1 + 12 / 128,
    "int4, SOLO's logarithm, mu to nearest": 1 + 12 / 128,
}
"""Of both moments of a parameter: codes, and what a group shares."""


def at(moment: Any, shape: tuple[int, ...]) -> LeafContext:
    return LeafContext((moment,), shape, jnp.int32(7), 3)


def kept(name: str, m: Any, moment: Any) -> tuple[Any, Any, Any]:
    """What is kept of a moment, its numbers, and the random numbers of the step."""
    context = at(moment, m.shape)
    encoded = CODECS[name].encode((jnp.asarray(m),), context)
    (value,) = CODECS[name].decode(encoded, context)
    return encoded, np.asarray(value), np.asarray(to_unit_interval(context.dithers(0)[1]))


def moment_values(moment: Any, n: int, seed: int = 0) -> Any:
    """Numbers over four decades, some of them negative for a moment that can be."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n) * 10 ** rng.uniform(-4, 0, n)
    return (x if moment.signed else x * x).astype(np.float32)


@pytest.mark.quick
@pytest.mark.parametrize("name", CODECS)
def test_a_parameter_has_the_bytes_that_are_claimed(name: str) -> None:
    # The count and the frames are some numbers of 4 bytes, of a million parameters.
    assert size(CODECS[name]) == pytest.approx(BYTES[name], abs=2e-5)


@pytest.mark.quick
@pytest.mark.parametrize("name", ["FlashOptim", "FlashOptim, float32 scales"])
@pytest.mark.parametrize("moment", [MU, NU])
def test_flashoptim_is_its_formulas(name: str, moment: Any) -> None:
    m = moment_values(moment, 96)
    encoded, value, _ = kept(name, m, moment)
    for group in range(3):
        part = slice(32 * group, 32 * group + 32)
        code, number = transcribed.flashoptim(m[part], moment.signed, CODECS[name].scales)
        off = np.asarray(encoded[""][part]).astype(int) - code.astype(int)
        assert np.abs(off).max() <= 1  # a number between two codes, by the last bit of a division
        assert (off != 0).mean() <= 0.1
        same = off == 0
        np.testing.assert_allclose(value[part][same], number[same], rtol=1e-6)


@pytest.mark.quick
@pytest.mark.parametrize("name", ["COAT", "COAT, nu e5m2"])
@pytest.mark.parametrize("moment", [MU, NU])
def test_coat_is_its_kernel(name: str, moment: Any) -> None:
    m = moment_values(moment, 256)
    m[5] = 0.0
    kind = CODECS[name].signed if moment.signed else CODECS[name].unsigned
    encoded, value, _ = kept(name, m, moment)
    codes = np.asarray(encoded[""])
    for part in (slice(128), slice(128, 256)):
        code, number = transcribed.coat(m[part], getattr(ml_dtypes, kind))
        same = codes[part].astype(np.float32) == code.astype(np.float32)
        assert same.mean() > 0.97  # a power is rounded differently: numbers between two codes
        np.testing.assert_allclose(value[part][same], number[same], rtol=2e-4)  # x^8 of x to 1e-5
    assert value[5] == 0.0
    assert np.all(value[m != 0] != 0)  # the power brings the least number into the range


def test_coat_keeps_a_group_of_equal_numbers() -> None:
    _, value, _ = kept("COAT", np.full(128, -0.3, np.float32), MU)
    np.testing.assert_allclose(value, -0.3, rtol=1e-6)
    assert not kept("COAT", np.zeros(128, np.float32), NU)[1].any()
    near = np.full(128, 0.3, np.float32)
    near[::3] = np.nextafter(near[::3], np.float32(1))  # a power of 10^8, which has to stay finite
    np.testing.assert_allclose(kept("COAT", near, MU)[1], near, rtol=1e-6)


@pytest.mark.parametrize(("name", "bits"), [("SOLO 4/4", 4), ("SOLO 4/2", 2)])
def test_solo_is_its_logarithm(name: str, bits: int) -> None:
    m = moment_values(NU, 256)
    m[3] = 0.0
    encoded, value, u = kept(name, m, NU)
    codes = np.asarray(unpacked(encoded[""], bits, m.shape))
    for part in (slice(128), slice(128, 256)):
        code, number = transcribed.solo(m[part], bits, u[part])
        same = codes[part] == code
        assert same.mean() > 0.97  # a logarithm is rounded differently
        np.testing.assert_allclose(value[part][same], number[same], rtol=1e-4)
    assert codes[3] == 2**bits - 1
    assert np.all(value > 0)


def test_solo_reads_a_group_of_many_zeros_as_its_largest_number() -> None:
    m = np.zeros(128, np.float32)
    m[:64] = moment_values(NU, 64)
    _, value, _ = kept("SOLO 4/4", m, NU)
    np.testing.assert_allclose(value, m.max(), rtol=1e-6)


@pytest.mark.quick
@pytest.mark.parametrize(("name", "bits"), [("SOLO 4/4", 4), ("SOLO 2/2", 2)])
def test_solo_takes_the_nearest_of_its_map(name: str, bits: int) -> None:
    m = moment_values(MU, 128)
    _, value, _ = kept(name, m, MU)
    table, unit = np.array(MAPS[bits]), np.abs(m).max()
    nearest = np.abs(m[:, None] / unit - table[None]).min(1)
    np.testing.assert_allclose(np.abs(value - m) / unit, nearest, atol=1e-6)


@pytest.mark.quick
@pytest.mark.parametrize("moment", [MU, NU])
def test_heavyball_is_its_formulas(moment: Any) -> None:
    m = moment_values(moment, 500)
    m[:3] = 0.0, 1.0, 1e-30
    encoded, value, u = kept("HeavyBall bf16+8", m, moment)
    code, number = transcribed.heavyball(m, u)
    off = np.asarray(encoded["rest"]).astype(int) - code
    assert np.abs(off).max() <= 1
    np.testing.assert_allclose(value[off == 0], number[off == 0], rtol=1e-6)
    assert np.all(np.abs(value - m) <= np.abs(m) * 2.0**-8 / 127 * 1.01)  # a part of a last place


@pytest.mark.quick
def test_gefen_keeps_the_mean_and_the_nearest_of_its_codebook() -> None:
    v, m = moment_values(NU, 150), moment_values(MU, 150)
    _, value, _ = kept("Gefen", v, NU)
    for part in (slice(64), slice(64, 128), slice(128, 150)):
        np.testing.assert_allclose(value[part], v[part].mean(), rtol=1e-6)
    _, value, _ = kept("Gefen", m, MU)
    table = np.array(gefen.normal_codebook(64))
    for part in (slice(64), slice(64, 128), slice(128, 150)):
        unit = np.abs(m[part]).max()
        nearest = np.abs(m[part][:, None] / unit - table[None]).min(1)
        np.testing.assert_allclose(np.abs(value[part] - m[part]) / unit, nearest, atol=1e-6)


@pytest.mark.quick
def test_gefens_codebook_is_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gefen, "CODES", 5)
    monkeypatch.setattr(gefen, "BINS", 16)
    counts = np.random.default_rng(0).integers(0, 9, 16).astype(np.float64)
    counts[3] = 0
    x = ((np.arange(16) + 0.5) / 8 - 1)[counts > 0]
    w = counts[counts > 0]

    def error(cuts: Any) -> float:
        runs = [slice(a, b) for a, b in itertools.pairwise((0, *cuts, x.size))]
        means = np.array([np.average(x[r], weights=w[r]) for r in runs])
        means[0], means[-1] = -1, 1
        return sum(float(w[r] @ (x[r] - c) ** 2) for r, c in zip(runs, means, strict=True))

    least = min(map(error, itertools.combinations(range(1, x.size), 4)))
    table = gefen.learned_codebook(counts)
    found = float(w @ np.abs(x[:, None] - table[None]).min(1) ** 2)
    assert found <= least * (1 + 1e-9)  # taking the nearest code is no worse than the runs
    assert table[0] == -1
    assert table[-1] == 1


@pytest.mark.quick
def test_gefen_finds_the_blocks_of_like_neighbours() -> None:
    rng = np.random.default_rng(0)
    like = rng.normal(size=4096) * np.repeat(10 ** rng.uniform(-6, 0, 16), 256)
    assert gefen.period(like**2) == 256
    assert gefen.period(rng.normal(size=7) ** 2) == 1  # no divisor leaves four blocks
    (form,) = gefen.fitted([like])
    assert (form.block, len(form.codebook)) == (256, 256)


@pytest.mark.parametrize("name", [n for n in CODECS if n not in LEARNT and n[:4] != "SOLO"])
@pytest.mark.parametrize("moment", [MU, NU])
def test_order_and_sign_are_kept_in_a_group(name: str, moment: Any) -> None:
    m = np.sort(moment_values(moment, 32))
    _, value, _ = kept(name, m, moment)
    assert np.all(np.diff(value) >= -1e-7 * np.abs(value[1:]))
    if name != "Gefen":  # whose codebook has no zero: what is nearly zero can change its sign
        assert np.all(value * m >= 0)


@pytest.mark.parametrize("name", CODECS)
def test_steps_are_finite_on_any_shape(name: str) -> None:
    params = {"w": jnp.linspace(-1, 1, 111).reshape(3, 37), "b": jnp.ones(())}
    tx = ao.adamw(1e-2, storage=CODECS[name])
    state, step = tx.init(params), jax.jit(tx.update)
    for t in range(3):
        grads = jax.tree.map(
            lambda p, t=t: jnp.cos(jnp.arange(p.size) + t).reshape(p.shape), params
        )
        updates, state = step(grads, state, params)
        assert all(bool(jnp.isfinite(u).all()) for u in jax.tree.leaves(updates))


@pytest.mark.quick
@pytest.mark.parametrize("shape", [(), (5,), (2, 8), (2, 3, 13)])
def test_groups_and_packed_codes_come_apart_again(shape: tuple[int, ...]) -> None:
    x = jnp.arange(math.prod(shape)).reshape(shape)
    assert (ungrouped(grouped(x, 4), shape) == x).all()
    for bits in (2, 4):
        assert (unpacked(packed(x % 2**bits, bits), bits, shape) == x % 2**bits).all()
