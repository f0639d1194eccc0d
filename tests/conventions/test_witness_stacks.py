"""Compare optimi and timm themselves with our forms of their optimisers, in float64.

timm wants a torchvision, which wants a certain PyTorch, so that it is not of the extra `witness`:
`pip install --no-deps timm` brings the files that are read of it here.
"""

import functools as ft
import inspect
import re
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao
from adam_optax import conventions as c
from tests.support.cases import gradients, run
from tests.support.oracle import relative_rms
from tests.support.timm import timm_optimizers

torch = pytest.importorskip("torch", reason="pip install 'adam-optax[witness]'")

RATE, PEAK = 1e-3, 4e-3
GRADS = gradients(500, 24, seed=5)
START = np.linspace(-1.0, 1.0, 24) + 0.03
MATRICES = gradients(300, 40 * 33, seed=6).reshape(300, 40, 33)
MATRIX = np.linspace(-1.0, 1.0, 40 * 33).reshape(40, 33) + 0.003
# Averages rounded to 1.1e-16 at each step, and `1 - b**t` of Python, of which the first step
# cancels all but 1e-13 of .001.
ROUNDING = 1e-12
# Their length of RAdam's window cancels (199 - 194), and rho - 4 keeps the lost digits.
CANCELLED = 5e-11


@pytest.fixture(autouse=True)
def _double(x64: None) -> None:
    pass


def optimi() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports
        return pytest.importorskip("optimi", reason="pip install 'adam-optax[witness]'")


@pytest.fixture
def timm() -> Iterator[Callable[[str], Any]]:
    """Return what imports one file of timm's optimisers, without timm's models."""
    with timm_optimizers() as found:
        yield found


def theirs(make: Any, grads: Any, start: Any) -> Any:
    """Return by how much the parameters of a PyTorch optimiser moved by each step."""
    p = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer, found = make([p]), []
    for g in grads:
        p.grad = torch.tensor(g, dtype=torch.float64)
        optimizer.step()
        found.append(p.detach().numpy().copy())
    return np.stack(found) - start


def of(convention: c.Convention, name: str, **more: Any) -> Any:
    """Build a convention's optimiser, with some of its numbers exchanged."""
    make = getattr(ao, name, None) or getattr(c, name)
    return make(RATE, **{**getattr(convention, name), **more})


def check(
    tx: Any, make: Any, grads: Any = GRADS, start: Any = START, bound: float = ROUNDING
) -> None:
    updates, _, _ = run(tx, jnp.float64(grads), jnp.float64(start))
    ours = np.cumsum(np.asarray(updates), axis=0)
    assert relative_rms(ours, theirs(make, grads, start)) < bound


OPTIMI: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "adam": (of(c.OPTIMI, "adam"), "Adam", {}),
    "l2": (c.l2(0.1, of(c.OPTIMI, "adam")), "Adam", {"weight_decay": 0.1}),
    "adamw": (of(c.OPTIMI, "adamw"), "AdamW", {}),
    "decouple_lr": (
        of(c.OPTIMI, "adamw", weight_decay=9e-4, coupling=ao.couplings.relative(PEAK)),
        "AdamW",
        {"weight_decay": 9e-4, "decouple_lr": True, "max_lr": PEAK},
    ),
    "stable_adamw": (of(c.OPTIMI, "stable_adamw"), "StableAdamW", {}),
    "radam": (of(c.OPTIMI, "radam"), "RAdam", {}),
    "lion": (of(c.OPTIMI, "lion"), "Lion", {}),
}


@pytest.mark.parametrize("name", OPTIMI)
def test_500_steps_are_optimis(name: str) -> None:
    tx, theirs_is, options = OPTIMI[name]
    make = ft.partial(getattr(optimi(), theirs_is), lr=RATE, triton=False, **options)
    check(tx, make, bound=CANCELLED if name == "radam" else ROUNDING)


@pytest.mark.parametrize(
    ("theirs_is", "ours"),
    [
        ("Adam", "adam"),
        ("AdamW", "adamw"),
        ("StableAdamW", "stable_adamw"),
        ("RAdam", "radam"),
        ("Lion", "lion"),
    ],
)
def test_the_numbers_are_optimis_defaults(theirs_is: str, ours: str) -> None:
    options = getattr(c.OPTIMI, ours)
    numbers = inspect.signature(getattr(optimi(), theirs_is)).parameters
    assert numbers["betas"].default == (options["b1"], options["b2"])
    assert numbers["weight_decay"].default == options.get("weight_decay", 0)
    assert ("eps" in numbers) == ("eps" in options)
    assert numbers["lr"].default is inspect.Parameter.empty
    if "eps" in numbers:
        assert numbers["eps"].default == options["eps"]


def test_500_steps_are_timms_nadamw(timm: Any) -> None:
    make = timm("nadamw").NAdamW
    check(of(c.TIMM, "simplified_nadam"), make)
    corrected = of(c.TIMM, "simplified_nadam", coupling=ao.couplings.corrected(RATE))
    check(corrected, ft.partial(make, corrected_weight_decay=True))


def test_timms_adamp_and_its_factorys(timm: Any) -> None:
    make, grads = timm("adamp").AdamP, MATRICES[:, :4, :6]
    with_channels: dict[str, Any] = {"channel_axis": 0, "weight_decay": 0.1}
    for factory in ({}, {"wd_ratio": 0.01, "nesterov": True}):
        tx = of(c.TIMM, "adamp", **with_channels, **factory)
        # A cosine that timm takes over the threshold and ours under it would show as 1e-3.
        check(tx, ft.partial(make, weight_decay=0.1, **factory), grads, MATRIX[:4, :6])


@pytest.mark.parametrize("size", [16, 34])
def test_timms_adafactor(timm: Any, size: int) -> None:
    make = ft.partial(timm("adafactor_bv").AdafactorBigVision, lr=RATE, weight_decay=0.1)
    make = ft.partial(make, min_dim_size_to_factor=size, momentum_dtype=torch.float64)
    how: dict[str, Any] = {"min_dim_size_to_factor": size, "dtype_momentum": jnp.float64}
    tx = of(c.TIMM, "capped_adafactor", **how, weight_decay=0.1)
    check(tx, make, MATRICES, MATRIX)
    independent = ao.couplings.INDEPENDENT
    tx = of(c.TIMM, "capped_adafactor", **how, weight_decay=1e-3, coupling=independent)
    check(tx, ft.partial(make, weight_decay=1e-3, unscaled_wd=True), MATRICES, MATRIX)


def test_timms_adafactor_clips(timm: Any) -> None:
    """Before 1.0.30 it divided by `min(1, rms * threshold)`, which shortens no step."""
    if tuple(map(int, re.findall(r"\d+", metadata.version("timm"))[:3])) < (1, 0, 30):
        pytest.skip("pip install --no-deps 'timm>=1.0.30'")
    make = ft.partial(timm("adafactor_bv").AdafactorBigVision, lr=RATE, clipping_threshold=0.7)
    tx = of(c.TIMM, "capped_adafactor", dtype_momentum=jnp.float64, clipping_threshold=0.7)
    check(tx, ft.partial(make, momentum_dtype=torch.float64), MATRICES, MATRIX)


@pytest.mark.parametrize(
    ("module", "theirs_is", "ours"),
    [("nadamw", "NAdamW", "simplified_nadam"), ("adamp", "AdamP", "adamp")],
)
def test_the_numbers_are_timms_defaults(timm: Any, module: str, theirs_is: str, ours: str) -> None:
    options, make = getattr(c.TIMM, ours), getattr(timm(module), theirs_is)
    (group,) = make([torch.nn.Parameter(torch.ones(1))]).param_groups
    assert group["lr"] == c.TIMM.rates.get(ours, c.TIMM.learning_rate)
    assert group["betas"] == (options["b1"], options["b2"])
    for name in options.keys() - {"b1", "b2"}:
        assert group[name] == options[name], name


def test_the_numbers_are_timms_adafactors(timm: Any) -> None:
    options = c.TIMM.capped_adafactor
    make = timm("adafactor_bv").AdafactorBigVision
    (group,) = make([torch.nn.Parameter(torch.ones(1))]).param_groups
    assert group["lr"] == c.TIMM.rates["capped_adafactor"]
    names = {"b2_cap": "beta2_cap", "dtype_momentum": "momentum_dtype"}
    for name in options.keys() - {"dtype_momentum", "eps"}:
        assert group[names.get(name, name)] == options[name], name
    assert group["momentum_dtype"] == torch.bfloat16
    assert group["eps"] is None  # which stands for 1e-30, but in float16
