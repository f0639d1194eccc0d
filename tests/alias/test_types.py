"""mypy accepts what is right in a user's file, and finds what is wrong."""

import pathlib

import pytest

import adam_optax as ao

GOOD = """
from typing import Any, Unpack

import jax
import jax.numpy as jnp

import adam_optax as ao


def schedule(count: jax.Array) -> jax.Array:
    return 0.1 / (1 + count)


def by_path(path: str, leaf: Any) -> Any:
    return ao.storage.pair() if "kernel" in path else None


ao.adam(1e-3)
ao.adam(schedule, 0.9, 0.999, 1e-8, 0.0, "bfloat16", nesterov=True, nu_dtype=jnp.bfloat16)
ao.adamw(lambda count: 1e-3, weight_decay=jnp.float32(0.1), mask={"w": True, "b": False})
ao.adamw(None, b1=schedule, mask=lambda params: params, coupling=ao.couplings.cautious())
ao.nadamw(1, storage=ao.storage.pair())
ao.amsgrad(1e-3, storage={"mu": ao.storage.int8(), "nu": ao.storage.float8()}, raw_max=True)
ao.lion(1e-4, mode="smooth", storage=by_path)
ao.adamax(1e-3, storage=lambda path, leaf: ao.storage.dense("bfloat16"))
ao.sgd(0.1, momentum=0.9, accumulator_dtype=jnp.dtype("bfloat16"))
ao.rmsprop(1e-3, centered=True, momentum=schedule)
ao.adopt(1e-3, clip_value_fn=jnp.sqrt)
ao.adafactor(clipping_threshold=None, weight_decay_rate=1e-3, coupling=ao.couplings.RATE)
ao.scale_by_adam(b2=jnp.array(0.99))
ao.scale_by_novograd(0.9, 0.25, 1e-8, 0.0, 1e-3, "bfloat16")
ao.conventions.scheduled_nadam(2e-3, momentum_decay=1.0)


def mine(learning_rate: float, **options: Unpack[ao.DecayOptions]) -> None:
    ao.adamw(learning_rate, weight_decay=0.1, **options)
"""

BAD = """
import adam_optax as ao

ao.adamw("0.1")  # arg-type
ao.adam(1e-3, storage="pair")  # arg-type
ao.adam(1e-3, storage={"mu": "int8"})  # dict-item
ao.adam(1e-3, weight_decay=0.1)  # call-arg
ao.adam()  # call-arg
ao.adam(1e-3, nesterov="yes")  # arg-type
ao.lion(1e-3, eps=1e-8)  # call-arg
ao.lion(1e-3, mode="soft")  # arg-type
ao.adamw(1e-3, coupling="cautious")  # arg-type
ao.adagrad(1e-3, 0.1, 1e-7, 0.0)  # call-arg
ao.conventions.fading_adam(1e-3, decay_factor="slow")  # arg-type
"""


def checked(text: str, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run mypy as a user would, and return its lines."""
    api = pytest.importorskip("mypy.api")
    file = folder / "user.py"
    file.write_text(text)
    config = folder / "mypy.ini"
    config.write_text("[mypy]\nignore_missing_imports = true\n")
    monkeypatch.setenv("MYPYPATH", str(pathlib.Path(ao.__file__).parents[1]))
    monkeypatch.chdir(folder)
    cache = ["--cache-dir", str(folder.parent / "mypy_cache")]
    out, error, _ = api.run(
        ["--config-file", str(config), "--hide-error-context", *cache, "user.py"]
    )
    assert not error, error
    return [line for line in out.splitlines() if ": error: " in line]


@pytest.mark.heavy
def test_what_is_right_is_accepted(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked(GOOD, tmp_path, monkeypatch) == []


@pytest.mark.heavy
def test_what_is_wrong_is_found(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = enumerate(BAD.splitlines(), 1)
    wrong = [f"{i}: {line.rpartition('# ')[2]}" for i, line in lines if "# " in line]
    found = checked(BAD, tmp_path, monkeypatch)
    assert [f"{e.split(':')[1]}: {e.rpartition('[')[2][:-1]}" for e in found] == wrong
