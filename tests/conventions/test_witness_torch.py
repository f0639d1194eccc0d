"""Compare PyTorch itself with our forms of its optimisers, in float64."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao
from adam_optax.conventions import PYTORCH, l2, maximize, scheduled_nadam
from tests.support import oracle_frameworks as oracle
from tests.support.cases import gradients, run
from tests.support.oracle import relative_rms

torch = pytest.importorskip("torch", reason="pip install 'adam-optax[witness]'")

GRADS = gradients(500, 24)
START = np.linspace(-1.0, 1.0, 24) + 0.03

# Along the path, both sides are exact but for some 20 roundings of 1.1e-16 to a step, and PyTorch's
# 1 - b**t, which at the first step cancels all but 1e-13 of .001.
ROUNDING = 1e-12
# A single step is the difference of parameters a thousand times its size, so 1e-13 besides, and
# ten times that where it is small.
ONE_STEP = 5e-12
# PyTorch's length of RAdam's window cancels (1999 - 1994) and rho - 4 keeps the lost digits; ours
# is a series, and equals the oracle within 1e-12.
CANCELLED = 5e-11


@dataclasses.dataclass(frozen=True)
class Pair:
    """Hold PyTorch's optimiser and ours, and by how much a single step may differ."""

    theirs: str
    options: Mapping[str, Any]
    ours: Callable[[float], Any]
    one_step: float = ONE_STEP

    @property
    def id(self) -> str:
        """Return the call in PyTorch."""
        return "-".join([self.theirs, *(f"{n}={v}" for n, v in self.options.items())])


def _adam(rate: float) -> Any:
    return ao.adam(rate, **PYTORCH.adam)


def _adamw(rate: float, **more: Any) -> Any:
    return ao.adamw(rate, **{**PYTORCH.adamw, **more})


def _amsgrad(rate: float) -> Any:
    return ao.amsgrad(rate, **PYTORCH.amsgrad)


def _nadam(rate: float, **more: Any) -> Any:
    return scheduled_nadam(rate, **{**PYTORCH.scheduled_nadam, **more})


def _radam(rate: float, **more: Any) -> Any:
    return ao.radam(rate, **PYTORCH.radam, **more)


def _adamax(rate: float) -> Any:
    return ao.adamax(rate, **PYTORCH.adamax)


COUPLED: dict[str, Any] = {"weight_decay": 0.1}
DECOUPLED: dict[str, Any] = {"weight_decay": 0.1, "decoupled_weight_decay": True}
CLIMB: dict[str, Any] = {"maximize": True}
PAIRS = [
    Pair("Adam", {}, _adam),
    Pair("Adam", COUPLED, lambda rate: l2(0.1, _adam(rate))),
    Pair("Adam", CLIMB, lambda rate: maximize(_adam(rate))),
    Pair("Adam", COUPLED | CLIMB, lambda rate: maximize(l2(0.1, _adam(rate)))),
    Pair("Adam", {"amsgrad": True}, _amsgrad),
    Pair("Adam", {"amsgrad": True} | COUPLED, lambda rate: l2(0.1, _amsgrad(rate))),
    Pair("Adam", DECOUPLED, lambda rate: _adamw(rate, weight_decay=0.1)),
    Pair("AdamW", {}, _adamw),
    Pair("AdamW", CLIMB, lambda rate: maximize(_adamw(rate))),
    Pair("NAdam", {}, _nadam),
    Pair("NAdam", {"momentum_decay": 0.5}, lambda rate: _nadam(rate, momentum_decay=0.5)),
    Pair("NAdam", COUPLED | CLIMB, lambda rate: maximize(l2(0.1, _nadam(rate)))),
    Pair("NAdam", DECOUPLED, lambda rate: _nadam(rate, weight_decay=0.1)),
    Pair("RAdam", {}, _radam, CANCELLED),
    Pair("RAdam", COUPLED | CLIMB, lambda rate: maximize(l2(0.1, _radam(rate))), CANCELLED),
    Pair("RAdam", DECOUPLED, lambda rate: _radam(rate, weight_decay=0.1), CANCELLED),
    Pair("Adamax", {}, _adamax),
    Pair("Adamax", COUPLED | CLIMB, lambda rate: maximize(l2(0.1, _adamax(rate)))),
]


@pytest.fixture
def doubles() -> Iterator[None]:
    """Let PyTorch keep NAdam's product of momenta in double, too: it takes the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def torch_run(name: str, **options: Any) -> Any:
    """Return the parameters after each step of PyTorch's optimiser."""
    p = torch.nn.Parameter(torch.tensor(START, dtype=torch.float64))
    optimizer = getattr(torch.optim, name)([p], **options)
    path = []
    for g in GRADS:
        p.grad = torch.tensor(g, dtype=torch.float64)
        optimizer.step()
        path.append(p.detach().numpy().copy())
    return np.stack(path)


def our_run(tx: Any) -> Any:
    """Return the parameters after each step of ours."""
    updates, _, _ = run(tx, jnp.float64(GRADS), jnp.float64(START))
    return START + np.cumsum(np.asarray(updates), axis=0)


def steps(path: Any) -> Any:
    """Return the updates between the parameters of a path."""
    return np.diff(path, axis=0, prepend=START[None])


@pytest.mark.parametrize("pair", PAIRS, ids=[pair.id for pair in PAIRS])
def test_float64_run_equals_pytorchs(pair: Pair, doubles: None, x64: None) -> None:
    theirs = torch_run(pair.theirs, lr=1e-3, **pair.options)
    ours = our_run(pair.ours(1e-3))
    assert relative_rms(ours - START, theirs - START) < ROUNDING
    assert max(map(relative_rms, steps(ours), steps(theirs))) < pair.one_step


def test_pytorchs_nadam_is_off_by_a_product_in_float32(x64: None) -> None:
    theirs, ours = torch_run("NAdam", lr=1e-3), our_run(_nadam(1e-3))
    options = dict(PYTORCH.scheduled_nadam)
    right = START + np.cumsum(oracle.scheduled_nadam(GRADS, **options), axis=0)
    assert relative_rms(ours - START, right - START) < ROUNDING
    assert 1e-10 < relative_rms(theirs - START, right - START) < 1e-8  # of 6e-8 at the first steps


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("Adam", "adam"),
        ("AdamW", "adamw"),
        ("Adamax", "adamax"),
        ("RAdam", "radam"),
        ("NAdam", "scheduled_nadam"),
    ],
)
def test_the_numbers_are_pytorchs_defaults(theirs: str, ours: str) -> None:
    (group,) = getattr(torch.optim, theirs)([torch.nn.Parameter(torch.ones(1))]).param_groups
    options = getattr(PYTORCH, ours)
    assert group["lr"] == PYTORCH.rates.get(ours, PYTORCH.learning_rate)
    assert group["betas"] == (options["b1"], options["b2"])
    assert group["eps"] == options["eps"]
    assert group["weight_decay"] == options.get("weight_decay", 0)
    assert group.get("momentum_decay") == options.get("momentum_decay")
