"""Test files: a round trip to the bit, nothing half-written, and one clear error for damage."""

import json
import os
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chex
import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao
from adam_optax.convert._files import read_named, write_named
from adam_optax.convert._keras_files import read_keras, write_keras
from tests.convert.layouts import BIAS, KERAS, MEAN, PARAMS, variables

ADAM = ao.adam(1e-3)


def refused(text: str, call: Callable[..., object]) -> None:
    """Assert that a call raises an error with this text in it."""
    with pytest.raises(ao.convert.ConversionError, match=re.escape(text)):
        call()


@pytest.mark.quick
def test_save_and_load_is_a_round_trip_to_the_bit(tmp_path: Path, x64: None) -> None:
    path = tmp_path / "state.safetensors"
    params = {
        "b16": jnp.ones(3, jnp.bfloat16),
        "f64": jnp.ones((2, 3)).T,
        "c64": jnp.ones((2, 2), jnp.complex64),
        "c128": jnp.ones((), jnp.complex128),
        "scalar": jnp.ones((), jnp.float32),
        "empty": jnp.ones((0, 3), jnp.float32),
    }
    for tx in (ADAM, ao.adam(1e-3, nu_dtype="bfloat16"), ao.adam(1e-3, nu_dtype="float8_e4m3fn")):
        grads = jax.tree.map(lambda p: p * 0.3, params)
        with jax.numpy_dtype_promotion("standard"):
            _, state = tx.update(grads, tx.init(params), params)
        ao.convert.save(path, state)
        again = ao.convert.load(path, tx.init(params))
        chex.assert_trees_all_equal_shapes_and_dtypes(again, state)
        chex.assert_trees_all_equal(again, state)
    assert os.listdir(tmp_path) == ["state.safetensors"]


def test_a_matrix_in_another_memory_order_is_stored_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    entries = {"count": np.array(1), "mu/w": MEAN.T, "nu/w": np.asfortranarray(MEAN.T**2)}
    state = ao.convert.from_named(entries, ADAM.init({"w": jnp.ones((3, 2))}))
    write_named(path, entries)
    chex.assert_trees_all_equal(read_named(path), entries)
    chex.assert_trees_all_equal(ao.convert.load(path, state), state)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, state = tmp_path / "state.safetensors", ADAM.init(PARAMS)
    ao.convert.save(path, state)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    text = f"cannot write {path}: No space left on device"
    refused(text, lambda: ao.convert.save(path, state))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["state.safetensors"]


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path, state = tmp_path / "state.safetensors", ADAM.init(PARAMS)
    refused(f"cannot read {path}: No such file", lambda: ao.convert.load(path, state))
    ao.convert.save(path, state)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    unknown = content.replace(b"F32", b"F31")
    header["mu/dense/bias"]["data_offsets"] = [0, 2**40]
    beyond = json.dumps(header).encode()
    outside = len(beyond).to_bytes(8, "little") + beyond + content[8 + length :]
    for damaged in (b"", b"\x80\x04.", content[:-1], content[:40], unknown, outside, b"\xff" * 99):
        path.write_bytes(damaged)
        refused(
            f"{path} is damaged, or not a safetensors file", lambda: ao.convert.load(path, state)
        )


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    ao.convert.save(path, ADAM.init({"w": jnp.ones(2)}))
    refused("extra mu/w, nu/w", lambda: ao.convert.load(path, ADAM.init(PARAMS)))


def keras_file(path: Path, values: list[Any]) -> Path:
    """Write a file as Keras does, with these variables of an optimizer."""
    weights = path if path.suffix == ".h5" else path.with_suffix(".inner.h5")
    with h5py.File(weights, "w") as file:
        file["layers/dense/vars/0"] = MEAN
        group = file.create_group("optimizer/vars")
        for i, value in enumerate(values):
            group[str(i)] = value
    if weights != path:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")
            archive.write(weights, "model.weights.h5")
        weights.unlink()
    return path


VALUES = {
    "adam": variables(),
    "schedule": [v for v in variables() if "learning_rate" not in v.path],
    "amsgrad": variables(hat=True),
    "nadam": variables(product=0.25),
}


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
@pytest.mark.parametrize("kind", VALUES)
def test_keras_files_are_told_apart_by_shape_and_sign(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    path = keras_file(tmp_path / f"model{suffix}", [v.value for v in VALUES[kind]])
    found = read_keras(path, list(KERAS))
    entries = ao.convert.keras_to_named(found, KERAS)
    chex.assert_trees_all_equal(entries, ao.convert.keras_to_named(VALUES[kind], KERAS))


def test_a_copy_of_a_keras_file_has_the_new_values_alone(tmp_path: Path) -> None:
    for suffix in (".keras", ".weights.h5"):
        like = keras_file(tmp_path / f"model{suffix}", [v.value for v in variables()])
        before, out = like.read_bytes(), tmp_path / f"new{suffix}"
        write_keras(like, out, [v.value * 2 for v in variables()])
        assert like.read_bytes() == before
        for one, other in zip(read_keras(out, list(KERAS)), variables(), strict=True):
            np.testing.assert_array_equal(one.value, other.value * 2)
    with zipfile.ZipFile(tmp_path / "new.keras") as archive:
        assert archive.read("config.json") == b"{}"


def test_what_cannot_be_told_apart_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    keras_file(path, [v.value for v in variables()])
    text = f"{path}: the 6 variables of its optimizer are of no optimizer known here, for these"
    refused(text, lambda: read_keras(path, list(KERAS)[:1]))
    scalars = [np.int32(1), *[np.float32(0.1)] * 3]
    keras_file(path, scalars)
    refused("can be told apart in several ways", lambda: read_keras(path, ["w"]))


def test_hostile_keras_files_are_refused(tmp_path: Path) -> None:
    path, other = tmp_path / "model.weights.h5", tmp_path / "other.h5"
    good = [v.value for v in variables()]
    keras_file(other, good)

    def replaced(make: Any) -> None:
        keras_file(path, good)
        with h5py.File(path, "r+") as file:
            del file["optimizer/vars/2"]
            make(file["optimizer/vars"])

    space = h5py.VirtualLayout((2, 3), np.float32)
    space[:] = h5py.VirtualSource(str(other), "optimizer/vars/2", (2, 3))
    external = [(str(tmp_path / "secret"), 0, 24)]
    (tmp_path / "secret").write_bytes(b"x" * 24)
    hostile = {
        "is a link": lambda g: g.__setitem__("2", h5py.ExternalLink(str(other), "/layers")),
        "2 is a link": lambda g: g.__setitem__("2", h5py.SoftLink("/layers/dense/vars/0")),
        "not an array in this file": lambda g: g.create_virtual_dataset("2", space),
        "2 is not an array": lambda g: g.create_dataset("2", (2, 3), "f4", external=external),
        "is not an array in": lambda g: g.create_group("2"),
        "would expand to": lambda g: g.create_dataset("2", (2**40,), "f4", chunks=(2**10,)),
        "has dtype": lambda g: g.create_dataset("2", data=["a", "b"]),
        "other names than 0, 1": lambda g: g.create_dataset("two", data=MEAN),
    }
    for text, make in hostile.items():
        replaced(make)
        refused(text, lambda: read_keras(path, list(KERAS)))


def test_damaged_keras_files_are_refused(tmp_path: Path) -> None:
    for suffix, what in [(".keras", "a .keras file"), (".weights.h5", "an HDF5 file as Keras")]:
        path = keras_file(tmp_path / f"model{suffix}", [BIAS])
        content = path.read_bytes()
        for damaged in (b"", b"\x80\x04.", content[: len(content) // 2]):
            path.write_bytes(damaged)
            text = f"{path} is damaged, or not {what}"
            refused(text, lambda p=path: read_keras(p, list(KERAS)))
    path = tmp_path / "plain.weights.h5"
    h5py.File(path, "w").close()
    refused(f"{path} has no optimizer in it", lambda: read_keras(path, list(KERAS)))


def test_a_missing_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = keras_file(tmp_path / "model.weights.h5", [BIAS])
    calls: dict[str, Any] = {
        "safetensors": lambda: ao.convert.save(tmp_path / "a.safetensors", ADAM.init(PARAMS)),
        "h5py": lambda: read_keras(keras, list(KERAS)),
    }
    for package, call in calls.items():
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            refused(f"this needs {package}: pip install 'adam-optax[convert]'", call)
