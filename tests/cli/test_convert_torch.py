"""Test `adam-optax convert` on files of PyTorch's and on storage formats, without PyTorch."""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import chex
import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao
from adam_optax.convert._files import read_arrays, write_arrays
from tests.cli.test_convert import ADAM, folder, run
from tests.convert.layouts import KERAS, PARAMS, torch_entry
from tests.support.torch_files import write_torch_file

__all__ = ["folder"]  # the fixture: a folder with files of Keras's and of ours

GROUPED = {"second.weight": "second", "first.weight": "first"}
"""Names in the order of the groups, which is not that of the model."""
MODEL = {"first.weight": np.ones((2, 2), np.float32), "second.weight": np.zeros((2, 2), np.float32)}


@pytest.fixture
def torch_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Write a file as PyTorch does; PyTorch is not needed to read it."""
    monkeypatch.setitem(sys.modules, "torch", None)
    numbers = {"betas": (0.9, 0.95), "eps": 1e-8, "amsgrad": False}
    groups = [{"params": [0], "lr": 1e-2, **numbers}, {"params": [1], "lr": 1e-3, **numbers}]
    states = {i: torch_entry(np.full((2, 2), i + 1.0, np.float32)) for i in range(2)}
    checkpoint = {"optimizer": {"state": states, "param_groups": groups}, "model": MODEL}
    write_torch_file(folder / "run.pt", checkpoint)
    (folder / "names.json").write_text(json.dumps(GROUPED))
    return checkpoint


TABLE = """\
index  group  shape   name
0      0      (2, 2)  second.weight
1      1      (2, 2)  first.weight
group 0: learning_rate 0.01, b1 0.9, b2 0.95, eps 1e-08, amsgrad False
group 1: learning_rate 0.001, b1 0.9, b2 0.95, eps 1e-08, amsgrad False
"""
SQUARE = {"first": jnp.zeros((2, 2)), "second": jnp.zeros((2, 2))}


@pytest.mark.quick
@pytest.mark.usefixtures("torch_files")
def test_groups_without_names_are_shown_and_confirmed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "run.pt --key optimizer --names names.json --out state.safetensors"
    assert run(command) == 2
    output = capsys.readouterr()
    assert output.out == TABLE
    assert "if the table above is right, add --confirm-order" in output.err
    assert not (folder / "state.safetensors").exists()
    more = "--confirm-order --model run.pt:model --params params.safetensors"
    assert run(f"{command} {more}") == 0
    assert capsys.readouterr().out == TABLE + "Wrote params.safetensors\nWrote state.safetensors\n"
    state = ao.convert.load(folder / "state.safetensors", ADAM.init(SQUARE))
    np.testing.assert_array_equal(state[0].mu["first"], 2)
    params = ao.convert.load_params(folder / "params.safetensors", SQUARE)
    np.testing.assert_array_equal(params["first"], 1)
    with pytest.raises(ao.convert.ConversionError, match="missing third: map a name"):
        ao.convert.load_params(folder / "params.safetensors", SQUARE | {"third": jnp.ones(1)})


def test_recorded_names_need_no_confirmation(
    folder: Path, torch_files: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for group, name in zip(torch_files["optimizer"]["param_groups"], GROUPED, strict=True):
        group["param_names"] = [name]
    write_torch_file(folder / "run.pt", torch_files)
    (folder / "names.json").write_text(json.dumps(dict(reversed(GROUPED.items()))))
    assert run("run.pt --key optimizer --names names.json --out state.safetensors") == 0
    assert capsys.readouterr().out == TABLE + "Wrote state.safetensors\n"


@pytest.mark.quick
@pytest.mark.usefixtures("torch_files")
def test_a_run_of_pytorch_goes_on_in_two_bytes(folder: Path) -> None:
    """A file in a format is a smaller one, which is read into any storage."""
    names = "--key optimizer --names names.json --confirm-order"
    assert run(f"run.pt {names} --out dense.safetensors") == 0
    assert run(f"run.pt {names} --out pair.safetensors --storage pair") == 0
    assert run("dense.safetensors --out same.safetensors --storage pair") == 0
    assert run("pair.safetensors --out back.safetensors --storage dense") == 0
    arrays, facts = read_arrays(folder / "pair.safetensors")
    same, others = read_arrays(folder / "same.safetensors")
    chex.assert_trees_all_equal(arrays, same)
    assert facts == others
    assert facts["rule"] == "adam(b1=0.9, b2=0.95)"
    codes = {name: str(x.dtype) for name, x in arrays.items()}
    assert codes == {"count": "int32", "mu_nu/first": "uint16", "mu_nu/second": "uint16"}
    pair = ao.adam(1e-3, b2=0.95, storage=ao.storage.pair())
    for file in ("dense", "pair", "back"):
        path = folder / f"{file}.safetensors"
        state = ao.convert.load(path, pair.init(SQUARE), tx=pair, params=SQUARE)
        assert int(state[0].count) == 7
        # A step of the grid of two bytes, and where the file has it, too, once more.
        mu = ao.read_moments(state, pair, SQUARE)["mu"]
        np.testing.assert_allclose(mu["first"], 2, rtol=0.15 if file == "dense" else 0.3)
    adamax = ao.adamax(1e-3)
    with pytest.raises(ao.convert.ConversionError, match="tx is adamax, whose nu is an infinity"):
        ao.convert.load(folder / "dense.safetensors", adamax.init(SQUARE), tx=adamax, params=SQUARE)


OUT = "--names names.json --out a.safetensors"
BACK = "--to keras --like model.keras --names names.json --out a.keras"
TORCH_MISTAKES = {
    f"run.pt {OUT}": "run.pt has optimizer, model where a state_dict of an optimizer has state and "
    "param_groups; say where it is in the file, as with --key optimizer",
    f"run.pt --key optim {OUT}": "run.pt has no 'optim' of --key optim; there is optimizer, model",
    f"run.pt --key optimizer --model run.pt {OUT}": "--model run.pt is no model.state_dict(), but "
    "has optimizer, model; say where it is, as in checkpoint.pt:model",
    f"run.pt --key optimizer --model run.pt:no {OUT}": "has no 'no' of --model no",
    f"run.pt --params b.safetensors {OUT}": "--params needs --model",
    f"run.pt --model run.pt:model --params a.safetensors {OUT}": "--params and --out are one file",
    f"run.pt --rule adam {OUT}": "--rule goes with --storage",
    f"model.keras --confirm-order {OUT}": "--confirm-order goes with a file of PyTorch's",
    f"model.keras --model run.pt {OUT}": "--model goes with a file of PyTorch's",
    "model.keras --storage pair --names keras.json --out a.safetensors": "the file does not say; "
    "add --rule, such as --rule 'adam(b1=0.9, b2=0.999)'",
    f"old.safetensors --storage pair {OUT}": "--names goes with a file of PyTorch's or Keras's",
    "old.safetensors --storage pair --rule lion --out a.safetensors": "storage 'pair' cannot keep "
    "the moments of lion (mu): pair() keeps a mean",
    "old.safetensors --storage pear --rule adam --out a.safetensors": "storage 'pear' is none of",
    "old.safetensors --storage pair --rule 'adam(b1=2)' --out a.safetensors": "must be in [0, 1)",
    "old.safetensors --storage pair --rule 'adam(b1=x)' --out a.safetensors": "is not such as adam",
    f"old.safetensors --storage pair {BACK}": "--storage is of .safetensors files alone",
}


@pytest.mark.usefixtures("torch_files")
@pytest.mark.parametrize(
    ("arguments", "text"), TORCH_MISTAKES.items(), ids=range(len(TORCH_MISTAKES))
)
def test_a_mistake_with_groups_models_and_storage_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: str, text: str
) -> None:
    (folder / "keras.json").write_text(json.dumps(KERAS))
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
    assert not (folder / "a.safetensors").exists()


def test_a_damaged_file_of_codes_is_refused(folder: Path) -> None:
    path = folder / "pair.safetensors"
    assert run("old.safetensors --rule adam --storage pair --out pair.safetensors") == 0
    arrays, facts = read_arrays(path)
    for damage in ({"rule": "adam(", "storage": "pair"}, {"parameters": "3"}, {"storage": "int8"}):
        write_arrays(path, arrays, facts | damage)
        with pytest.raises(ao.convert.ConversionError, match=r"damaged|rule 'adam\('"):
            ao.convert.load(path, ADAM.init(PARAMS))


def test_to_write_a_file_of_pytorch_s_names_its_extra(
    folder: Path, capsys: pytest.CaptureFixture[str], torch_files: dict[str, Any]
) -> None:
    write_torch_file(folder / "fresh.pt", torch_files["optimizer"] | {"state": {}})
    ao.convert.save(folder / "square.safetensors", ADAM.init(SQUARE))
    back = "--to torch --like fresh.pt --names names.json --confirm-order --out new.pt"
    assert run(f"square.safetensors {back}") == 2
    assert "this needs PyTorch: pip install 'adam-optax[torch]'" in capsys.readouterr().err
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"]["torch"]
    assert extra[0] == "adam-optax[convert]"
    assert extra[1].startswith("torch>=")
