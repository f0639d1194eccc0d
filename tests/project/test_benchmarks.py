"""Benchmarks run, on small sizes; what they measure, nothing here asks."""

import json
import pathlib
import re

import jax
import jax.numpy as jnp
import pytest
from jax import Array

from benchmarks import cpu_steps
from benchmarks.side_by_side import Found
from benchmarks.trained import MODELS, InTraining

DOCS = pathlib.Path(__file__).parents[2] / "docs"


@pytest.mark.quick
def test_a_table_has_the_ratios_of_the_same_rounds_in_the_same_group() -> None:
    one = {"optax": Found({}, [1.0, 2.0], [1.0, 1.0]), "a": Found({}, [2.0, 2.0], [3.0, 3.0])}
    two = {"optax": Found({}, [4.0, 4.0], [2.0, 2.0]), "b": Found({}, [2.0, 1.0], [1.0, 1.0])}
    table = cpu_steps.made("alone", ["PyTorch, fused", "optax"], [one, two])
    assert table.bases == ("optax",)
    assert table.ratios["optax"]["a"] == [1.0, 2.0]
    assert list(table.lines())[-1] == (
        "| b | 1.5e+03 | 0.38 (0.25-0.50) | 1e+03 | 0.50 (0.50-0.50) |"
    )


@pytest.mark.heavy
@pytest.mark.parametrize("model", MODELS)
def test_a_training_has_a_finite_loss_and_gradients(model: str) -> None:
    params, batch, loss = MODELS[model](0.02)
    value, grads = jax.jit(jax.value_and_grad(loss))(params, batch)
    nonzero: list[Array] = [jnp.any(g != 0) for g in jax.tree.leaves(grads)]
    assert jnp.isfinite(value)
    assert sum(map(bool, nonzero)) >= 0.8 * len(nonzero)  # the biases of keys have none


def test_a_training_steps() -> None:
    with jax.numpy_dtype_promotion("standard"):  # of optax's schedules
        one = InTraining("pair()|always|step", "mlp", chain=True, scale=0.02)
    assert one.leaves == 3
    assert 2 * one.parameters < one.state < 2 * one.parameters + 100  # codes and counts
    one.step()
    one.step()


def test_the_hosts_work_is_tabled_kept_and_drawn(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, drawn = tmp_path / "kept.json", tmp_path / "drawn.png"
    what = ["--parts", "host", "--leaves", "2", "--rounds-of-host", "1", "--formats", "float32"]
    with jax.numpy_dtype_promotion("standard"):  # of optax's Adam
        cpu_steps.main([*what, "--json", str(kept)])
    first = re.findall(r"^\|.*", capsys.readouterr().out, re.MULTILINE)
    assert [line.split(" | ")[0] for line in first[2:]] == [
        "| optax",
        "| float32, XLA",
        "| float32, loop",
    ]
    (table,) = json.loads(kept.read_text())
    assert table["title"] == "trace + lower + compile, 2 leaves"
    cpu_steps.main(["--read", str(kept), "--figure", str(drawn)])
    assert re.findall(r"^\|.*", capsys.readouterr().out, re.MULTILINE) == first
    assert drawn.stat().st_size > 5000


def test_the_page_on_loops_shows_one() -> None:
    pytest.importorskip("llvmlite")
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "cpu_loops.md").read_text(), re.DOTALL)
    scope: dict[str, object] = {}
    exec(compile(code, "cpu_loops.md", "exec"), scope)
    assert scope["loop"].text.startswith("define void @loop")  # type: ignore[attr-defined]
