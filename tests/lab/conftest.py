"""Provide a problem small enough to be trained in every test, and runs made up by hand."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from adam_optax.lab import MLP, Comparison, Data, Problem, Run, problems
from adam_optax.lab.paper import contenders as c
from adam_optax.lab.paper.figures import FIGURES, Panel, Size


def _load(_: Path | None) -> Data:
    rng = np.random.default_rng(0)
    x = rng.random((90, 6), dtype=np.float32)
    y = (x[:, :3].sum(-1) > x[:, 3:].sum(-1)).astype(np.int32)
    return Data(x[:70], y[:70], x[70:], y[70:])


@pytest.fixture(scope="session")
def tiny() -> Problem:
    """Build seventy examples of two classes: four batches of 16 and a remainder of six."""
    return Problem("tiny", "two classes", _load, partial(MLP, (4,), 2), 16, 3, 0.6, 1e-2)


@pytest.fixture
def make_run() -> Callable[..., Run]:
    def make(
        optimizer: str = "adam",
        seed: int = 0,
        losses: tuple[float, ...] = (2.0, 1.0, 0.5),
        train_loss: tuple[float, ...] = (0.4, 0.3),
        accuracy: float = 0.9,
        steps: int | None = 2,
        diverged: bool = False,
        rate: float = 1e-3,
    ) -> Run:
        curve = np.asarray(losses, np.float32)
        return Run(
            optimizer,
            seed,
            rate,
            curve,
            train_loss,
            accuracy,
            steps,
            1e-4 * (seed + 1),
            8,
            diverged,
            tuple(accuracy for _ in train_loss),
        )

    return make


@pytest.fixture
def made_up(tiny: Problem, make_run: Callable[..., Run]) -> Comparison:
    """Build a comparison of two optimisers, the second of which has a run that diverged."""
    runs = (
        make_run("adam", 0, train_loss=(0.4, 0.3), accuracy=0.9, steps=2),
        make_run("adam", 1, train_loss=(0.1, 0.5), accuracy=0.8, steps=4),
        make_run("sgd", 0, steps=None),
        make_run("sgd", 1, (2.0, np.inf), (np.nan,), 0.1, None, diverged=True),
    )
    return Comparison(tiny, runs, planned=4, interrupted=False)


@pytest.fixture
def tiny_figure(tiny: Problem, monkeypatch: pytest.MonkeyPatch) -> Panel:
    """Replace figure2 by one that takes a second or two."""
    monkeypatch.setitem(problems, "tiny", replace(tiny, name="tiny"))
    small = replace(
        FIGURES["figure2"][0],
        data="tiny",
        model=lambda share: MLP((4,), 2, 0.5),
        contenders=(c.ADAM.over(-2, -1), c.NESTEROV.over(-2, -1)),
        small=Size(2, 60, per_decade=3),
        paper=Size(3, per_decade=3),
    )
    monkeypatch.setitem(FIGURES, "figure2", (small,))
    monkeypatch.setattr("adam_optax.lab.paper.figures._BATCH", 16)
    return small
