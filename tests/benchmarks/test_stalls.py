"""Hold the closed form of stall rates to simulations, to storages, and to its page."""

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from benchmarks import stalls
from benchmarks.stall_rates import (
    DECAY,
    FACTORS,
    POWER,
    WARM,
    Rates,
    cells,
    chance,
    deviations,
    follow,
    rates,
    warm,
)
from benchmarks.stalls import ALL, ASIDE, DATA, tables
from benchmarks.stored import Stored, flipped, ordered, stored
from tests.support.formats import FORMATS
from tests.support.measured import quoted

DRAWS = 200_000
ROWS = 8
EVERYWHERE: Any = dict.fromkeys(DECAY, (-np.inf, np.inf))
KEPT = ["dense('bfloat16')", "stochastic()", "pair()", "int8()"]


@pytest.mark.quick
@pytest.mark.parametrize("dithered", [False, True])
@pytest.mark.parametrize("name", DECAY)
def test_the_chance_is_that_of_a_simulation(name: str, dithered: bool) -> None:
    # Eight numbers a twentieth apart, of which the fifth is kept; a step is about as long.
    draw = np.random.default_rng(0)
    grid, old, b = np.arange(8) / 20 + 0.1, 0.3, DECAY[name]
    sigma = 0.5 if name == "mu" else 5.0
    g = sigma * draw.normal(size=DRAWS)
    new = b * old + (1 - b) * g ** POWER[name]
    u = draw.uniform(size=DRAWS) if dithered else np.full(DRAWS, 0.5)
    rounded = np.floor((new - grid[0]) * 20 + u)
    low, high = (jnp.asarray(old + (k - u) / 20) for k in (0, 1))
    foreseen = chance(name, low, high, jnp.asarray(old), jnp.asarray(sigma)).mean()
    # Both are means of 200,000 draws: four deviations of a share.
    assert abs(float(foreseen) - np.mean(rounded == 4)) < 4 * np.sqrt(0.25 / DRAWS) + 1e-4
    assert 0.1 < float(foreseen) < 0.9


@pytest.mark.quick
def test_floats_are_ordered_and_back() -> None:
    x = jnp.array([-3e38, -1.0, -1e-30, 0.0, 1e-30, 1.0, 3e38])
    assert bool(jnp.all(jnp.diff(ordered(x) // 256) > 0))
    back = jax.lax.bitcast_convert_type(flipped(ordered(x)), jnp.float32)
    assert back.tolist() == x.tolist()


def one_step(one: Stored, rows: int) -> tuple[Array, dict[str, Array], Any]:
    """Return moments that are stored, the numbers read, and the cells of the next step."""
    draw = np.random.default_rng(1)
    mu = jnp.asarray(draw.normal(size=(rows, 256)), jnp.float32)
    nu = jnp.asarray(draw.uniform(0.5, 2, size=(rows, 256)), jnp.float32)
    count = jnp.int32(WARM)
    kept = one.write(mu, nu, count)
    old, codes = (f(kept, count, mu.shape) for f in (one.read, one.codes))
    mask, new = jnp.arange(256) % one.apart == 0, {"mu": mu, "nu": nu}
    return mask, old, cells(one, codes, new, count + 1, mask, EVERYWHERE)


@pytest.mark.quick
def test_cells_of_bfloat16_end_half_way_to_the_next_number() -> None:
    _, old, found = one_step(stored(FORMATS["dense('bfloat16')"]), 1)
    above = jnp.nextafter(old["nu"].astype(jnp.bfloat16), jnp.bfloat16(jnp.inf))
    below = jnp.nextafter(old["nu"].astype(jnp.bfloat16), jnp.bfloat16(0))
    for end, beyond in zip(found["nu"], (below, above), strict=True):
        # A tie goes to the even neighbour: the end is the middle or the float32 beside it.
        middle = (old["nu"] + beyond.astype(jnp.float32)) / 2
        np.testing.assert_allclose(end, middle, rtol=2e-7)


@pytest.mark.quick
def test_cells_of_a_dither_are_as_wide_as_a_step_of_the_grid_and_hold_the_number() -> None:
    _, old, found = one_step(stored(FORMATS["stochastic()"]), 1)
    low, high = found["nu"]
    gap = jnp.exp2(jnp.floor(jnp.log2(old["nu"])) - 7)
    inside = jnp.frexp(old["nu"])[0] != 0.5  # below a power of two: half as wide
    assert bool(jnp.all((low <= old["nu"]) & (old["nu"] < high)))
    np.testing.assert_allclose(((high - low) / gap)[inside], 1, rtol=1e-4)


@pytest.mark.parametrize("name", KEPT)
def test_codes_rest_as_often_as_foreseen(name: str) -> None:
    found = rates(stored(FORMATS[name]), rows=ROWS, columns=64)
    for r in found.values():
        # Foreseen is a mean over at least 512 numbers, of chances that differ by .4 (deviation,
        # by where the dither puts the ends): three deviations.
        assert abs(r.foreseen - r.measured) < 0.055
    nu = found["nu"]
    if name == "dense('bfloat16')":
        assert nu.back < 0.01 < 0.3 < nu.away < 0.7
        assert nu.level > 1.2
    else:  # half a million steps, each off by up to a code: 4 % of the sum of steps
        assert abs(nu.back - 1) < 0.12
        assert abs(nu.away - 1) < 0.12
        assert abs(nu.level - 1) < 0.05


def test_a_dithered_nu_follows_a_fall_that_bfloat16_does_not() -> None:
    sigma = deviations(4, True, 0)
    changed, key = sigma * jnp.array(FACTORS)[:, None], jax.random.key(1)
    levels = {}
    for name in ("dense()", "dense('bfloat16')", "stochastic()"):
        one = stored(FORMATS[name])
        levels[name] = follow(one, changed, key, warm(one, sigma, key), 300)[-1]
    exact, nearest, dithered = levels.values()
    # 256 numbers, each off by 0.2 % at most beside an average of the same gradients.
    np.testing.assert_allclose(dithered / exact, 1, rtol=0.01)
    assert bool(jnp.all(nearest[2:] > 1.3 * exact[2:]))
    # The falls, of which an exact average keeps b2^300 and the new gradients add at most 1.
    np.testing.assert_allclose(
        exact[2:] * jnp.array(FACTORS)[2:] ** 2, 0.999**300 * 0.95, rtol=0.05
    )


@pytest.mark.quick
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--only", "pear()"], "--only: 'pear()' is none of dense(), dense('bfloat16'), "),
        (["--rows", "0"], "--rows: must be 1 or more, not 0"),
        (["--read", "nowhere"], "--read nowhere: is no whole file of --json: FileNotFoundError"),
        (["--read", __file__], "is no whole file of --json: JSONDecodeError"),
        (["--read", str(DATA), "--json", "x"], "--read measures nothing: leave out --json"),
        (["--read", str(DATA), "--seed", "0"], "--read measures nothing: leave out --seed"),
    ],
)
def test_bad_arguments_are_named(
    wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        stalls.main(wrong)
    assert said in capsys.readouterr().err


@pytest.mark.quick
def test_what_was_kept_is_shown_again(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = tmp_path / "part.json"
    part.write_text(json.dumps({"`pair()`": json.loads(DATA.read_text())["`pair()`"]}))
    for arguments in (["--read", str(part)], ["--read", str(DATA), "--only", "pair()"]):
        stalls.main(arguments)
        found = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| `")]
        assert [line[:10] for line in found] == ["| `pair()`"] * 3
    part.write_text("[1]")
    with pytest.raises(SystemExit):
        stalls.main(["--read", str(part)])
    assert f"--read {part}: is no whole file of --json" in capsys.readouterr().err


@pytest.mark.quick
def test_the_page_shows_what_was_measured() -> None:
    found = json.loads(DATA.read_text())
    assert list(found) == list(ALL)
    assert {name: quoted(name) for name in tables(found)} == tables(found)


@pytest.mark.quick
def test_the_page_says_how_far_foreseen_is_from_measured() -> None:
    found = json.loads(DATA.read_text())
    every = [
        Rates(**one[aside][moment])
        for one in found.values()
        for aside in ASIDE.values()
        for moment in DECAY
    ]
    assert max(abs(r.foreseen - r.measured) for r in every) <= 0.03
