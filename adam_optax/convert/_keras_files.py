"""The optimizer in Keras's files, `.keras` and `.weights.h5`, read with h5py alone.

They hold `optimizer.variables` by index, without names: the step count, the learning rate unless it
is a schedule, the moments, and Nadam's product. Which is which follows from the parameters' order,
the number of variables, their shapes, and that squares are not negative.
"""

import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from adam_optax.convert._errors import EXTRA, ConversionError, needs
from adam_optax.convert._files import read, unreadable, write
from adam_optax.convert._keras_guess import fitting
from adam_optax.convert._names import ordered

_MEMBER = "model.weights.h5"
_GROUP = "optimizer/vars"
_LARGE, _EXPANSION = 2**26, 1000
"""Above 64 MiB, what claims to be a thousand times its stored size is there to fill the memory."""
_ORDER = "order=[v.path for v in model.trainable_variables]"


class Stored(NamedTuple):
    """A variable of an optimizer as it is in a file."""

    path: str
    value: Any


def read_keras(path: Path, order: Sequence[str]) -> list[Stored]:
    """The optimizer's variables in a file, for `from_keras`.

    Args:
        path: a `.keras` or `.weights.h5` file.
        order: the paths of all parameters, as in `model.trainable_variables`.

    Raises:
        ConversionError: if the file is damaged, has no optimizer, or not one of those parameters.
    """
    with _opened(path, _weights(path), "r") as file:
        group = _group(path, file)
        values = [_value(group, str(i)) for i in range(len(group))]
    stems = [name.replace("/", "_") for name in ordered(order, len(order), _ORDER)]
    found = fitting(values, stems)
    if len(found) != 1:
        raise _undecided(path, len(values), len(order), bool(found))
    return [Stored(label.path, x) for label, x in zip(found[0], values, strict=True)]


def _undecided(path: Path, variables: int, parameters: int, several: bool) -> ConversionError:
    what = "can be told apart in several ways" if several else "are of no optimizer known here"
    return ConversionError(
        f"{path}: the {variables} variables of its optimizer {what}, for these {parameters} "
        "parameters in this order; name all of model.trainable_variables in their order, or pass "
        "optimizer.variables to ao.convert.from_keras"
    )


def write_keras(like: Path, out: Path, values: Sequence[Any]) -> None:
    """Writes a copy of a file of Keras's, with other values of the optimizer's variables."""
    content = io.BytesIO(_weights(like))
    with _opened(like, content, "r+") as file:
        group = _group(like, file)
        for i, value in enumerate(values):
            group[str(i)][...] = value
    if like.suffix == ".keras":
        content = _archive(like, content.getvalue())
    write(out, content.getvalue())


def _archive(like: Path, weights: bytes) -> io.BytesIO:
    """The archive with other weights."""
    new = io.BytesIO()
    with zipfile.ZipFile(like) as old, zipfile.ZipFile(new, "w") as archive:
        for info in old.infolist():
            part = weights if info.filename == _MEMBER else _unpacked(old, info)
            archive.writestr(info, part, info.compress_type)
    return new


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.file_size > max(_LARGE, _EXPANSION * info.compress_size):
        raise ConversionError(f"{info.filename} would expand to {info.file_size} bytes")
    return archive.read(info)


def _weights(path: Path) -> bytes:
    """The part of a file that is HDF5."""
    content = read(path)
    if path.suffix != ".keras":
        return content
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _unpacked(archive, archive.getinfo(_MEMBER))
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, RuntimeError) as error:
        raise unreadable(path, "a .keras file", error) from error


@contextmanager
def _opened(path: Path, content: bytes | io.BytesIO, mode: str) -> Iterator[Any]:
    with needs("h5py", EXTRA):
        import h5py
    stream = io.BytesIO(content) if isinstance(content, bytes) else content
    try:
        with h5py.File(stream, mode) as file:
            yield file
    except ConversionError:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise unreadable(path, "an HDF5 file as Keras writes it", error) from error


def _group(path: Path, file: Any) -> Any:
    """The group of the optimizer's variables, be they named 0, 1, ... without a gap."""
    group = file
    for part in _GROUP.split("/"):
        if part not in group:
            raise ConversionError(
                f"{path} has no optimizer in it; save a compiled model that was trained, with "
                "model.save or model.save_weights"
            )
        group = _inside(group, part)
    if set(group) != {str(i) for i in range(len(group))}:
        raise ValueError(f"{_GROUP} holds other names than 0, 1, ...")
    return group


def _inside(group: Any, name: str) -> Any:
    """A member that is in this file itself: a link could lead to any file of the machine."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is a link")
    return group[name]


def _value(group: Any, name: str) -> Any:
    import h5py
    import ml_dtypes

    data = _inside(group, name)
    if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
        raise ValueError(f"{name} is not an array in this file")
    if data.nbytes > max(_LARGE, _EXPANSION * data.id.get_storage_size()):
        raise ValueError(f"{name} would expand to {data.nbytes} bytes")
    if data.attrs.get("dtype") == "bfloat16":
        return np.array(data).view(ml_dtypes.bfloat16)
    if data.dtype.kind not in "fiu":
        raise ValueError(f"{name} has dtype {data.dtype}")
    return np.array(data)
