"""Test `adam-optax compile-report` as a user calls it: a table, and one line for a mistake."""

import shlex
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp
import pytest

import adam_optax as ao
from adam_optax.aot import hlo, targets
from adam_optax.cli import compile_report, main

MODEL = """
import jax, jax.numpy as jnp
shapes = lambda: {"w": jax.ShapeDtypeStruct((64, 128), "float32"), "b": jnp.zeros(128)}
whole = lambda: {"n": jnp.zeros(3, "int32")}
empty = dict
broken = lambda: 1 / 0
text = lambda: "no tree"

def update(grads, state, params):
    import adam_optax as ao
    return ao.step(ao.adamw(1e-3), grads, state, params)

def training_step(right=True):
    import adam_optax as ao
    params = {"w": jax.ShapeDtypeStruct((64, 128), "float32")}
    state = jax.eval_shape(ao.adamw(1e-3).init, params)
    if right:
        step = jax.jit(lambda p, s, g: update(g, s, p), donate_argnums=(0, 1))
        return step, (params, state, params)
    return jax.jit(update, donate_argnums=(1, 2)), (params, state, params)

crossed = lambda: training_step(False)
bare = lambda: (update, ())
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aot_model.py").write_text(MODEL)
    (tmp_path / "no_such").mkdir()
    return tmp_path


def run(arguments: str) -> int:
    return main.main(["compile-report", *shlex.split(arguments)])


@pytest.mark.quick
def test_a_function_s_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--target cpu --params aot_model:shapes --optimizer adam") == 0
    head, titles, row = capsys.readouterr().out.splitlines()
    assert head == "8,320 parameters in 2 leaves"
    assert titles.split() == [
        "target",
        "B/parameter",
        "kernels",
        "in",
        "place",
        "scratch",
        "compiled",
        "in",
    ]
    # XLA for CPUs makes a loop of each output: 3 read 4 arrays, or 3, and write one.
    assert row.split()[:2] == ["cpu", "40.00"]
    assert "all" in row.split()


@pytest.mark.quick
def test_an_own_step_is_told_what_is_copied(capsys: pytest.CaptureFixture[str]) -> None:
    with ao.cpu_loops("never"):
        assert run("--target cpu --step aot_model:training_step") == 0
    head, titles, row, donated = capsys.readouterr().out.splitlines()
    assert head == "a step of 5 arrays"
    assert titles.split()[1] == "moved"
    assert row.split()[1:3] == ["328", "kB"]  # 40 bytes a parameter
    assert donated == "cpu, donated: 3 arrays, in place"
    with ao.cpu_loops("never"):
        assert run("--target cpu --step aot_model:crossed") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3] == (
        "cpu, donated: 3 arrays, 3 not reused for their own results; XLA copies 2 (65.5 kB)"
    )
    assert lines[5] == (
        "  params['w'] is overwritten by result[1][0].nu['w'], not by result[0]['w']: copied"
    )
    assert lines[7].endswith("of the same type in order: take the arguments")
    assert lines[8] == (
        "in the order (params, state), or return the new values in the order (state, params)."
    )


def test_what_is_not_in_place_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Return a mu that is wider than the one that was given, and takes the place of nu."""

    def widening(learning_rate: float) -> optax.GradientTransformation:
        tx = ao.adam(learning_rate, mu_dtype="bfloat16")

        def update(grads: Any, state: Any, params: Any) -> Any:
            updates, (adam, *rest) = tx.update(grads, state, params)
            wide = jax.tree.map(lambda m: m.astype("float32"), adam.mu)
            return updates, (adam._replace(mu=wide), *rest)

        return optax.GradientTransformation(tx.init, update)

    monkeypatch.setattr(compile_report, "find_factory", lambda name: widening)
    assert run("--target cpu --params aot_model:shapes") == 0
    row, head, *lines = capsys.readouterr().out.splitlines()[2:]
    assert "all but 33.3 kB" in row
    assert head.startswith("cpu, donated: 6 arrays, 4 not reused for their own results")
    mu, nu = "result[1][0].mu['w']", "result[1][0].nu['w']"
    assert f"  state[0].mu['w'] is not reused: {mu} is written elsewhere" in lines
    assert any(f"  state[0].nu['w'] is overwritten by {mu}, not by {nu}" in one for one in lines)


@pytest.mark.heavy
def test_a_checkpoint_s_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = {"params": {"w": jnp.ones((64, 128)), "b": jnp.ones(128)}, "step": 3}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "run", tree)
    options = "--dtype bfloat16 --storage 'pair(bytes=2)' --optimizer nadam"
    assert run(f"--target cpu,cpu --checkpoint run --key params {options}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "8,320 parameters in 2 leaves"
    assert len(lines) == 3
    assert run("--target cpu --checkpoint run") == 2
    assert "has int64 at ['step'], which no optimiser trains; see --key" in capsys.readouterr().err
    assert run("--target cpu --checkpoint run --key net") == 2
    assert "run has no 'net' of --key net; there is params, step" in capsys.readouterr().err
    assert run("--target cpu --checkpoint .") == 2
    assert "is no orbax checkpoint of a tree; there is one in run" in capsys.readouterr().err


MISTAKES = {
    "": "Missing option '--target'",
    "--target cpu": "give one of --params, --step and --checkpoint; none is there",
    "--target cpu --params a:b --step a:b": "--params and --step are there",
    "--target h1 --params a:b": "--target 'h1' is none of v5e, v6e, v5p, a100, h100, b200, cpu",
    "--target cpu --params a": "--params a: expected module:function, such as my_model:init",
    "--target cpu --params no_model:f": "no_model:f: ModuleNotFoundError: No module named",
    "--target cpu --params aot_model:f": "has no attribute 'f'",
    "--target cpu --params aot_model:broken": "broken: ZeroDivisionError: division by zero",
    "--target cpu --params aot_model:text": "text: TypeError",
    "--target cpu --params aot_model:empty": "aot_model:empty has no parameters",
    "--target cpu --params aot_model:whole": "has int32 at ['n'], which no optimiser trains",
    "--target cpu --params aot_model:shapes --key a": "--key goes with --checkpoint; leave it out",
    "--target cpu --params aot_model:shapes --dtype int8": "--dtype 'int8' is no dtype",
    "--target cpu --params aot_model:shapes --dtype brain": "'brain' is no dtype of parameters",
    "--target cpu --params aot_model:shapes --dtype 1e-400": "'1e-400' is no dtype of parameters",
    "--target cpu --params aot_model:shapes --dtype f4,f4": "'f4,f4' is no dtype of parameters",
    "--target cpu --params aot_model:shapes --optimizer adm": "did you mean adam",
    "--target cpu --params a:b --optimizer optax.adam --storage int8": "optax.adam has none",
    "--target cpu --params a:b --storage 'pair('": "--storage 'pair(' is no format",
    "--target cpu --params a:b --storage 'open(1)'": "--storage 'open(1)' is none of dense, stoc",
    "--target cpu --params a:b --storage 'pair(7)'": "--storage pair(7): ",
    "--target cpu --params a:b --storage 'pair(*b)'": "is no format, such as pair(3)",
    "--target cpu --params a:b --optimizer lion --storage pair": "optimiser 'lion' cannot be used",
    "--target cpu --step aot_model:bare": "aot_model:bare returns a step without jax.jit; write",
    "--target cpu --step aot_model:broken": "aot_model:broken: ZeroDivisionError: division by zero",
    "--target cpu --step aot_model:text": "aot_model:text returns str; write return jax.jit(step",
    "--target cpu --step aot_model:bare --dtype bfloat16": "--dtype does not go with --step",
    "--target cpu --step aot_model:bare --storage pair": "--storage does not go with --step",
    "--target cpu --checkpoint none": "--checkpoint none is no directory",
    "--target cpu --checkpoint no_such": "--checkpoint no_such is no orbax checkpoint of a tree",
}


@pytest.mark.parametrize(("arguments", "text"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_a_mistake_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: str, text: str
) -> None:
    assert run(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    *notes, line = output.err.splitlines()
    assert line.startswith("adam-optax: error: ")
    assert text in line
    # What code runs is said first, once its turn comes.
    assert [note.split(" aot_model")[0] for note in notes] in (
        [],
        ["adam-optax: running the code of"],
    )


def test_a_missing_compiler_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(targets.NEEDS, "tpu", ("no_such_libtpu",))
    assert run("--target v5e --params aot_model:shapes") == 2
    error = capsys.readouterr().err
    assert "v5e needs no_such_libtpu: pip install 'adam-optax[aot]'" in error


HLO = """\
HloModule m

ENTRY %main (p: f32[8,128]) -> (f32[8,128], f32[]) {
  %p = f32[8,128]{1,0} parameter(0)
  %near = (f32[8,128]{1,0:S(1)}, f32[8,128]{1,0}, u32[]) copy-start(%p)
  %q = f32[8,128]{1,0:S(1)} copy-done(%near)
  %f = bf16[8,128]{1,0} fusion(%q, %p), kind=kLoop, calls=%g
  %s = f32[] all-reduce(%x), to_apply=%add
  %t = f32[] multiply(%s, %s)
  ROOT %r = (bf16[8,128]{1,0}, f32[]) tuple(%f, %t)
}
"""


@pytest.mark.quick
def test_what_is_read_off_a_module() -> None:
    """Check the bytes: an array that moves between chip and memory once, 4 for each scalar."""
    assert hlo.moved(HLO) == 4096 + (4096 + 2048) + 4 + 3 * 4
    assert hlo.kernels(HLO) == 1
    assert hlo.collectives(HLO) == {"all-reduce": 1}
