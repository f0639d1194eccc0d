"""Test `adam-optax convert` as a user calls it: Keras's files, and one line for a mistake."""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adam_optax as ao
from adam_optax.cli import main
from adam_optax.convert._keras_files import read_keras
from tests.convert.layouts import KERAS, MEAN, PARAMS, variables
from tests.convert.test_files import keras_file

ADAM = ao.adam(1e-3)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.json").write_text(json.dumps(KERAS))
    keras_file(tmp_path / "model.keras", [v.value for v in variables()])
    ao.convert.save(tmp_path / "old.safetensors", ADAM.init(PARAMS))
    return tmp_path


def run(arguments: str) -> int:
    return main.main(["convert", *shlex.split(arguments)])


@pytest.mark.quick
def test_from_keras_and_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("model.keras --names names.json --out state.safetensors") == 0
    assert capsys.readouterr() == ("Wrote state.safetensors\n", "")
    state = ao.convert.load(folder / "state.safetensors", ADAM.init(PARAMS))
    np.testing.assert_array_equal(state[0].mu["dense"]["kernel"], MEAN)
    blank = [np.zeros_like(v.value) for v in variables()]
    keras_file(folder / "fresh.keras", blank)
    options = "--to keras --like fresh.keras --names names.json --out new.keras"
    assert run(f"state.safetensors {options}") == 0
    found = read_keras(folder / "new.keras", list(KERAS))
    np.testing.assert_array_equal(found[2].value, MEAN)
    assert found[1].value == 0  # the learning rate is that of the fresh one


LONG = "x" * 300
MISTAKES = {
    "": "Missing argument 'SOURCE'; see adam-optax convert --help",
    "model.keras --out a.safetensors": "required: --names",
    "none.keras --names names.json --out a.safetensors": "cannot read none.keras: No such file",
    "model.keras --names none.json --out a.safetensors": "cannot read none.json",
    "model.keras --names model.keras --out a.safetensors": "model.keras is not JSON of names",
    "model.keras --names list.json --out a.safetensors": "list.json must hold an object",
    "model.keras --names twice.json --out a.safetensors": "'a' is there twice",
    "model.npz --names names.json --out a.safetensors": "is none of .pt, .pth, .keras, .h5",
    "model.keras --names names.json --out a.pt": "--out a.pt must end in .safetensors",
    "model.keras --names names.json --out no/a.safetensors": "there is no directory no",
    "model.keras --names names.json --out dir.safetensors": "it is a directory",
    "model.keras --key a --names names.json --out a.safetensors": "--key goes with a file of",
    "model.keras --to keras --names names.json --out a.keras": "--to takes a .safetensors file",
    "model.keras --like model.keras --names names.json --out a.safetensors": "--like goes with",
    "old.safetensors --names names.json --out a.pt": "say --to what",
    "old.safetensors --to keras --names names.json --out a.keras": "--to keras needs --like",
    "old.safetensors --to torch --like model.keras --names names.json --out a.pt": "file of keras",
    "old.safetensors --to keras --like model.keras --names names.json --out model.keras": "input",
    "old.safetensors --to keras --like model.keras --names names.json --out a.h5": "end in .keras",
    "old.safetensors --to jax --names names.json --out a": "'jax' is not one of 'torch', 'keras'",
    "bad.safetensors --to keras --like model.keras --names names.json --out a.keras": "is damaged",
    "pipe.keras --names names.json --out a.safetensors": "cannot read pipe.keras: it is a pipe",
    "model.keras --names pipe.keras --out a.safetensors": "cannot read pipe.keras: it is a pipe",
    "model.keras --names names.json --out pipe.safetensors": "pipe.safetensors: it is a pipe",
    "model.keras --names big.json --out a.safetensors": "its 67108865 bytes are more than",
    f"{LONG}.keras --names names.json --out a.safetensors": "File name too long",
    f"model.keras --names {LONG} --out a.safetensors": "File name too long",
    f"model.keras --names names.json --out {LONG}.safetensors": "File name too long",
    f"model.keras --names names.json --out {LONG}/a.safetensors": "there is no directory",
    f"run.pt --model {LONG}:model --names names.json --out a.safetensors": "File name too long",
    "a\0b.keras --names names.json --out a.safetensors": "null byte",
    "model.keras --names a\0b --out a.safetensors": "null byte",
    "model.keras --names names.json --out a\0b.safetensors": "null byte",
}


def contents(folder: Path) -> dict[Path, Any]:
    """Return what is in a folder; of a file of zeros, that it is one."""
    return {
        path: path.is_file() and path.name != "big.json" and path.read_bytes()
        for path in folder.iterdir()
    }


@pytest.mark.parametrize(("arguments", "text"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_a_mistake_is_one_line_and_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: str, text: str
) -> None:
    (folder / "list.json").write_text("[]")
    (folder / "twice.json").write_text('{"a": "b", "a": "c"}')
    (folder / "dir.safetensors").mkdir()
    (folder / "bad.safetensors").write_bytes(b"bad")
    for name in ("pipe.keras", "pipe.safetensors"):
        os.mkfifo(folder / name)
    (folder / "big.json").touch()
    os.truncate(folder / "big.json", 2**26 + 1)
    before = contents(folder)
    assert run(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("adam-optax: error: ")
    assert output.err.count("\n") == 1
    assert text in output.err
    assert before == contents(folder)


def test_a_file_without_checksums_is_said_to_be_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keras_file(folder / "model.weights.h5", [v.value for v in variables()])
    assert run("model.weights.h5 --names names.json --out state.safetensors") == 0
    text = "model.weights.h5 has no checksums: a wrong number in it would not be seen\n"
    assert capsys.readouterr().out == text + "Wrote state.safetensors\n"


def test_several_problems_are_one_line_too(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {name: name.replace("net/", "wrong/") for name in KERAS}
    (folder / "names.json").write_text(json.dumps(names))
    options = "--to keras --like model.keras --names names.json --out a.keras"
    assert run(f"old.safetensors {options}") == 2
    error = capsys.readouterr().err
    assert error.startswith("adam-optax: error: 8 things do not fit: 1. Keras's optimizer needs")
    assert error.count("\n") == 1


def test_help_shows_examples_and_the_form_of_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    text = capsys.readouterr().out
    for part in ("  adam-optax convert optimizer.pt --names", '["dense/kernel", [1, 0]]', "--like"):
        assert part in text


@pytest.mark.parametrize("package", ["safetensors", "h5py"])
def test_a_missing_extra_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert run("model.keras --names names.json --out state.safetensors") == 2
    assert "pip install 'adam-optax[convert]'" in capsys.readouterr().err


def test_the_lab_extra_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("matplotlib", "rich", "sklearn"):
        monkeypatch.setitem(sys.modules, package, None)
    assert run("model.keras --names names.json --out state.safetensors") == 0
