"""Write a valid file of each format, and read it as the command and the functions do."""

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import adam_optax as ao
from adam_optax.cli.convert import _read_names
from adam_optax.convert._coded import encode_named
from adam_optax.convert._files import write_arrays, write_named
from adam_optax.convert._keras_files import read_keras, write_keras
from adam_optax.convert._torch_files import read_torch
from tests.convert.layouts import KERAS, MEAN, PARAMS, TORCH, named, state_dict, variables
from tests.support.torch_files import torch_bytes

TEMPLATE = ao.adam(1e-3).init(PARAMS)


def weights_bytes(values: list[Any]) -> bytes:
    """Return HDF5 as Keras writes it, with these variables of an optimizer."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["layers/dense/vars/0"] = MEAN
        group = file.create_group("optimizer/vars")
        for i, value in enumerate(values):
            group[str(i)] = value
    return stream.getvalue()


def keras_bytes(values: list[Any], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a `.keras` archive, with these variables of an optimizer."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("config.json", '{"module": "keras", "class_name": "Sequential"}')
        archive.writestr("model.weights.h5", weights_bytes(values))
    return stream.getvalue()


def same(one: Any, other: Any) -> bool:
    """Return whether two trees of arrays and plain values are the same to the bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and type(one) is type(other):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    return type(one) is type(other) and bool(one == other)


@dataclasses.dataclass(frozen=True)
class Kind:
    """Hold a kind of file: how a valid one is made, and how one is read.

    Attributes:
        name: the file's name, whose suffix says the format.
        content: the bytes of a valid file.
        read: what the library makes of the file at a path.
        proven: whether the format has checksums, so that what is read is true or refused.
    """

    name: str
    content: bytes
    read: Callable[[Path], Any]
    proven: bool = True


def _load(path: Path) -> Any:
    return ao.convert.to_named(ao.convert.load(path, TEMPLATE))


def _from_torch(path: Path) -> Any:
    return ao.convert.torch_to_named(read_torch(path), TORCH)


def _from_keras(path: Path) -> Any:
    return ao.convert.keras_to_named(read_keras(path, list(KERAS)), KERAS)


def _copy(path: Path) -> Any:
    """Take a file for a template, and read what was written after it."""
    out = path.with_name(f"new{path.suffix}")
    values = ao.convert.named_to_keras(named(), KERAS, read_keras(path, list(KERAS)))
    write_keras(path, out, values)
    found = _from_keras(out)
    out.unlink()
    return found


def _match(path: Path) -> Any:
    """Read names, and take the parameters of PyTorch's optimizer by them."""
    return ao.convert.torch_to_named(state_dict(), _read_names(path))


def _bytes_of(write: Callable[[Path], object], folder: Path) -> bytes:
    path = folder / "valid.safetensors"
    write(path)
    content = path.read_bytes()
    path.unlink()
    return content


def valid_files(folder: Path) -> list[Kind]:
    """Return the kinds of files.

    Args:
        folder: where some are written meanwhile.
    """
    values = [v.value for v in variables()]
    arrays, facts = encode_named(named(), "pair", "adam")
    dense = _bytes_of(lambda path: write_named(path, named(), "adam"), folder)
    coded = _bytes_of(lambda path: write_arrays(path, arrays, facts), folder)
    return [
        Kind("state.safetensors", dense, _load),
        Kind("coded.safetensors", coded, _load),
        Kind("run.pt", torch_bytes(state_dict()), _from_torch),
        Kind("model.keras", keras_bytes(values), _from_keras),
        Kind("packed.keras", keras_bytes(values, zipfile.ZIP_DEFLATED), _from_keras),
        Kind("like.keras", keras_bytes(values), _copy),
        Kind("model.weights.h5", weights_bytes(values), _from_keras, proven=False),
        Kind("names.json", json.dumps(TORCH).encode(), _match, proven=False),
    ]
