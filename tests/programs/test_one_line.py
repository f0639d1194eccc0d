"""A program of another framework is switched to this library by one line, and trains the same."""

import importlib.util
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

from tests.programs.packages import ROUNDED

os.environ["KERAS_BACKEND"] = "jax"

FOLDER = pathlib.Path(__file__).with_name("one_line")
KERAS_LINE = "ao.adapters.keras_optimizer(lambda rate: ao.adamw(rate, **KERAS.adamw), rate)"
SWITCHES: dict[str, tuple[str, str, str]] = {
    "maxtext": ("maxtext", "optax.adamw(", "ao.adamw("),
    "levanter": ("levanter", "optax.scale_by_adam(", "ao.scale_by_adam("),
    "levanter's file": ("levanter", '"type": "adam",', '"type": "adam_optax",'),
    "keras": ("keras_fit", "keras.optimizers.AdamW(rate)", KERAS_LINE),
}
"""The program, what stands in the line, and what is written in its place."""


@pytest.fixture(autouse=True)
def _as_others_run() -> Iterator[None]:
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def trained(source: str, path: pathlib.Path, monkeypatch: Any) -> tuple[list[float], Any]:
    """Return what a program returns, run from a file of its own."""
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    losses, state = module.main()
    return losses, state


@pytest.mark.heavy
@pytest.mark.parametrize("name", SWITCHES)
def test_one_line_is_another(name: str, tmp_path: pathlib.Path, monkeypatch: Any) -> None:
    program, line, by = SWITCHES[name]
    if name == "keras":
        pytest.importorskip("keras", reason="pip install 'adam-optax[witness]'")
    source = (FOLDER / f"{program}.py").read_text(encoding="utf-8")
    assert source.count(line) == 1
    theirs, kept = trained(source, tmp_path / "theirs.py", monkeypatch)
    ours, state = trained(source.replace(line, by), tmp_path / "ours.py", monkeypatch)
    # optax's float32 `1 - b2^t` is off by up to 6e-5 at first, and a step by half; Keras's as well.
    np.testing.assert_allclose(ours, theirs, rtol=ROUNDED)
    assert theirs[-1] < 0.8 * theirs[0]  # it learns
    if name in ("maxtext", "levanter"):  # and a checkpoint of one is one of the other
        arrays = lambda tree: [(x.shape, x.dtype) for x in jax.tree.leaves(tree)]  # noqa: E731
        assert arrays(state) == arrays(kept)
