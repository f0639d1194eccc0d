"""Compare PyTorch packages of others with ours, in float64, and say where these packages are wrong.

The packages are of the extra `witness`, but for timm: it wants a torchvision, which wants a certain
PyTorch. `pip install --no-deps timm` brings what is read of it here.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adam_optax as ao
from tests.support.cases import run
from tests.support.family import GRADS, START
from tests.support.oracle import relative_rms
from tests.support.oracle_mars_adamh import read
from tests.support.timm import timm_optimizers

torch = pytest.importorskip("torch", reason="pip install 'adam-optax[witness]'")

RATE = 0.01
ROUNDING = 1e-12
"""500 steps of averages, each rounded to 1e-16, and PyTorch's `1 - b**t`."""
IN_FLOAT32 = 3e-5
"""HeavyBall keeps its moments in float32; a hundred steps of some roundings of 6e-8 each."""


@pytest.fixture(autouse=True)
def _double(x64: None) -> None:
    pass


def package(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what else these packages import
        return pytest.importorskip(name, reason="pip install 'adam-optax[witness]'")


def theirs(make: Callable[..., Any], steps: int = 500, dtype: Any = None) -> Any:
    """Return the parameters of a PyTorch optimiser after each step."""
    p = torch.nn.Parameter(torch.tensor(START, dtype=dtype or torch.float64))
    optimizer, found = make([p]), []
    for g in GRADS[:steps]:
        p.grad = torch.tensor(g, dtype=p.dtype)
        optimizer.step()
        found.append(p.detach().numpy().copy())
    return np.stack(found).astype(np.float64)


def ours(tx: Any, steps: int = 500) -> Any:
    """Return the parameters of ours after each step."""
    updates, _, _ = run(tx, jnp.float64(GRADS[:steps]), jnp.float64(START))
    return START + np.cumsum(np.asarray(updates), 0)


def moved(x: Any) -> Any:
    """Return by how much parameters moved, which is smaller than they are."""
    return x - START


def check(tx: Any, make: Any, bound: float = ROUNDING, steps: int = 500, dtype: Any = None) -> None:
    off = relative_rms(moved(ours(tx, steps)), moved(theirs(make, steps, dtype)))
    assert off < bound


# --- MARS: timm as the paper; pytorch-optimizer and HeavyBall otherwise -------------------------


@pytest.fixture
def timm_mars() -> Iterator[Any]:
    """Import the one file of timm, without timm's models."""
    with timm_optimizers() as found:
        yield found("mars").Mars


@pytest.mark.parametrize("gamma", [0.025, 0.3])
def test_mars_is_timms(timm_mars: Any, gamma: float) -> None:
    """Its first correction is 0, as in the paper; timm 1.0.12 to 1.0.22 did not clip that step."""
    how: dict[str, Any] = {"gamma": gamma, "weight_decay": 0.05}
    check(ao.mars(RATE, 0.9, 0.99, **how), lambda p: timm_mars(p, RATE, betas=(0.9, 0.99), **how))
    lion = lambda p: timm_mars(p, RATE, mars_type="lion", betas=(0.9, 0.99), **how)  # noqa: E731
    check(ao.mars_lion(RATE, 0.9, **how), lion)


def test_a_cautious_mars_is_timms(timm_mars: Any) -> None:
    @ao.variant(decay_rates=("b1",))
    def cautious_mars(b1: Any = 0.9) -> ao.Rule:
        rule = ao.rules.mars(b1)
        return ao.Rule(rule.moments, ao.directions.cautious(rule.direction))

    check(
        ao.optimizer(cautious_mars(), RATE),
        lambda p: timm_mars(p, RATE, betas=(0.9, 0.99), caution=True),
    )


@pytest.mark.parametrize("gamma", [0.025, 0.3])
def test_mars_from_zero_is_pytorch_optimizers_but_for_epsilon(gamma: float) -> None:
    """It takes the gradient before the first for 0, as the authors' code does.

    It adds 1e-15 under the root and eps to the root before this is corrected, both ten times as
    large at first as the paper's, the authors' and ours; elements of a clipped gradient are small
    enough to feel that.
    """
    mars = package("pytorch_optimizer").MARS
    how: dict[str, Any] = {"gamma": gamma, "weight_decay": 0.05}

    @ao.variant
    def with_their_epsilon() -> ao.Rule:
        def direction(x: ao.Leaf) -> Any:
            correction = jnp.sqrt(1 - 0.99**x.t)
            return x.hat["mu"] * correction / (jnp.sqrt(x.current["nu"] + 1e-15) + 1e-8)

        return ao.Rule(ao.rules.mars(gamma=gamma, zero_start=True).moments, direction)

    own = ao.optimizer(with_their_epsilon(), RATE, decay=ao.Decay(0.05))
    check(own, lambda p: mars(p, RATE, **how))
    off = moved(ours(ao.mars(RATE, zero_start=True, **how))) - moved(ours(own))
    assert np.abs(off).max() > RATE / 50  # measured: 4.6 % of a step
    lion = ao.mars_lion(RATE, zero_start=True, **how)
    check(lion, lambda p: mars(p, RATE, mars_type="lion", **how))


def test_heavyballs_mars_has_gamma_and_b1_exchanged() -> None:
    """`mars_correction(g, old_g, beta1, gamma)` is called with gamma first.

    With its defaults, gamma .0025 and b1 .9, the correction is a tenth of what it is to be.
    """
    heavyball = package("heavyball")
    heavyball.utils.compile_mode = None
    gamma, b1 = 0.1, 0.9

    def make(p: Any) -> Any:
        return heavyball.AdamW(p, RATE, betas=(b1, 0.99), mars=True, mars_gamma=gamma)

    def chain(weight: float) -> Any:
        link = ao.scale_by(ao.rules.mars_correction(b1, weight * (1 - b1) / b1, zero_start=True))
        return optax.chain(link, ao.adam(RATE, b1, 0.99))

    steps, single = 100, torch.float32
    exchanged = b1 * gamma / (1 - gamma)
    check(chain(exchanged), make, IN_FLOAT32, steps, single)
    meant = gamma * b1 / (1 - b1)
    off = relative_rms(moved(ours(chain(meant), steps)), moved(theirs(make, steps, single)))
    assert off > 0.01


# --- Adam-atan2 --------------------------------------------------------------------------------


def test_adam_atan2_is_lucidrains_with_his_factor() -> None:
    adam_atan2 = package("adam_atan2_pytorch").AdamAtan2
    check(
        ao.adam_atan2(RATE, 0.9, 0.99, a=1.27),
        lambda p: adam_atan2(p, RATE),
    )
    # Its decay shrinks the parameter before the step and ours beside it, which is the same.
    check(
        ao.adam_atan2(RATE, 0.9, 0.99, a=1.0, b=0.5, weight_decay=0.1),
        lambda p: adam_atan2(p, RATE, a=1.0, b=0.5, weight_decay=0.1),
    )


# --- AdamH -------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_heavyballs_hyperball_is_ours_without_a_mean(decay: float) -> None:
    """Its HyperBallAdamW keeps the square of gradients alone: RMSProp on a sphere, so `b1=0`."""
    heavyball = package("heavyball")
    heavyball.utils.compile_mode = None

    def make(p: Any) -> Any:
        return heavyball.HyperBallAdamW(p, RATE, betas=(0.9, 0.99), weight_decay=decay)

    how: dict[str, Any] = {"weight_decay": decay} if decay else {}
    steps, single = 100, torch.float32
    check(ao.adamh(RATE, 0.0, 0.99, **how), make, IN_FLOAT32, steps, single)
    off = moved(ours(ao.adamh(RATE, 0.9, 0.99, **how), steps)) - moved(theirs(make, steps, single))
    assert np.abs(off).max() > RATE


# --- AdEMAMix's warm-ups -----------------------------------------------------------------------


COUNTS = (0, 1, 99, 127_999, 255_998, 256_000)


def test_the_warm_ups_are_pytorch_optimizers() -> None:
    ademamix = package("pytorch_optimizer").AdEMAMix
    b3, alpha = ao.schedules.ademamix_b3(0.9999, 256_000), ao.schedules.ademamix_alpha(8.0, 256_000)
    for count in COUNTS:
        t = count + 1
        assert read(alpha, count) == pytest.approx(
            ademamix.schedule_alpha(256_000, t, 8.0), rel=1e-14
        )
        if t > 256_000:  # beyond its end their formula goes on, up to a min with b3
            assert ademamix.schedule_beta3(256_000, t, 0.9, 0.9999) == 0.9999
        assert read(b3, count) == pytest.approx(
            min(ademamix.schedule_beta3(256_000, t, 0.9, 0.9999), 0.9999), rel=1e-14
        )


def test_the_warm_ups_are_heavyballs_but_for_the_number_in_its_logarithm() -> None:
    """As in Apple's PyTorch, `log(b + 1e-8)`: a half-life is longer by up to 1e-4 of itself."""
    utils = package("heavyball").utils
    b3 = ao.schedules.ademamix_b3(0.9999, 256_000)
    off = []
    for count in COUNTS[:-1]:
        found = utils.linear_hl_warmup_scheduler(count + 1, 0.9999, 0.9, 256_000)
        off.append(abs(found - read(b3, count)))
    assert 1e-7 < max(off) < 1e-5  # of b3, at the hundredth step
    alpha = ao.schedules.ademamix_alpha(8.0, 256_000)
    assert [read(alpha, n) for n in COUNTS[:-1]] == [
        pytest.approx(utils.linear_warmup_scheduler(n + 1, 8.0, 0.0, 256_000)) for n in COUNTS[:-1]
    ]
    assert math.isclose(read(b3, 256_000), 0.9999)
