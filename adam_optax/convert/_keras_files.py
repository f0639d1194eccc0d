"""Read and write the optimizer in Keras's files, `.keras` and `.weights.h5`, with h5py alone.

The files hold `optimizer.variables` by index, without names: the step count, the learning rate
unless it is a schedule, the moments, and Nadam's product. Which is which follows from the order of
the parameters, the number of variables, their shapes, and the sign of squares.

A file may come from anyone, so that nothing in it is trusted: links, external storage, and arrays
that would expand to fill the memory are refused. The checksum that a `.keras` archive has of its
weights must fit. A `.weights.h5` file has none: a wrong number in it cannot be told from a right
one.
"""

import io
import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adam_optax.convert._checks import CONVERT_EXTRA, ConversionError, require_package
from adam_optax.convert._containers import (
    Budget,
    damaged_file_error,
    open_archive,
    read_bytes,
    read_member,
    write_bytes,
)
from adam_optax.convert._keras import ORDER
from adam_optax.convert._names import check_order

if TYPE_CHECKING:
    import h5py

_WEIGHTS_MEMBER = "model.weights.h5"
_GROUP = "optimizer/vars"
_ARCHIVE = "a .keras file"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How members of a `.keras` archive are compressed, by Keras and by those who pack it anew."""
_FILTERS = frozenset({1, 2, 3})
"""How arrays in HDF5 are compressed: deflate, its shuffling, and a checksum."""
_MOST_ATTRIBUTE_BYTES = 64


class StoredVariable(NamedTuple):
    """Hold a variable of an optimizer as a file has it, with the name that Keras would give.

    Attributes:
        path: the name that Keras would give to the variable, `"dense_kernel_momentum"`.
        value: the variable's array.
    """

    path: str
    value: NDArray[Any]


def read_keras(path: Path, order: Sequence[str]) -> list[StoredVariable]:
    """Read the optimizer's variables from a file, for `from_keras`.

    Args:
        path: a `.keras` or `.weights.h5` file.
        order: the paths of all parameters, as in `model.trainable_variables`.

    Raises:
        ConversionError: if the file is damaged, has no optimizer, or has an optimizer of other
            parameters.
    """
    content = read_bytes(path)
    budget = Budget(path, len(content))
    with _open_hdf5(path, _read_weights(path, content, budget)) as file:
        group = _variables_group(path, file)
        values = [_read_array(group, str(i), budget) for i in range(len(group))]
    flat_names = [name.replace("/", "_") for name in check_order(order, len(order), ORDER)]
    fitting = [labels for labels in _possible_labels(flat_names) if _labels_fit(labels, values)]
    if len(fitting) != 1:
        raise _undecided_error(path, len(values), len(order), bool(fitting))
    return [StoredVariable(label.path, x) for label, x in zip(fitting[0], values, strict=True)]


def write_keras(like: Path, out: Path, values: Sequence[NDArray[Any]]) -> None:
    """Write a copy of a Keras file, with other values of the optimizer's variables.

    Args:
        like: a `.keras` or `.weights.h5` file, which is not changed.
        out: the new file.
        values: an array for each variable of the optimizer, in the file's order.
    """
    old = read_bytes(like)
    weights = _read_weights(like, old, Budget(like, len(old)))
    new = bytearray(weights)
    with _open_hdf5(like, weights) as file:
        group = _variables_group(like, file)
        written = [
            _replace_array(new, _member_of(group, str(i)), value) for i, value in enumerate(values)
        ]
    with _open_hdf5(like, bytes(new)) as file:
        # Where an array lies is what the file says: in a forged one, over other parts of the file.
        group = _variables_group(like, file)
        for i, wanted in enumerate(written):
            if np.array(_member_of(group, str(i))).tobytes() != wanted:
                raise ValueError(f"variable {i} lies over another")
    is_archive = like.suffix == ".keras"
    write_bytes(out, _replace_weights(like, old, new) if is_archive else bytes(new))


def _replace_array(new: bytearray, data: "h5py.Dataset", value: NDArray[Any]) -> bytes:
    """Replace an array's bytes in a copy of a file, and return the new ones.

    HDF5's library is not asked to write: in a damaged file it crashes, which no error tells.
    """
    old = np.array(data).tobytes()
    # Of bfloat16, which HDF5 has not, the file has two bytes of no kind.
    stored = value.view("V2") if data.dtype == np.dtype("V2") else value
    content = stored.astype(data.dtype).tobytes()
    start = data.id.get_offset() if data.size else 0
    if start is None or new[start : start + len(old)] != old or len(content) != len(old):
        raise ValueError(
            f"{data.name} is compressed, in pieces or damaged; save the model with Keras itself"
        )
    new[start : start + len(content)] = content
    return content


class _Label(NamedTuple):
    """Hold what a variable is: its parameter's flat name, empty for the optimizer's own; a kind."""

    parameter: str
    kind: str

    @property
    def path(self) -> str:
        """Return the name that Keras would give to the variable."""
        return f"{self.parameter}_{self.kind}" if self.parameter else self.kind


def _possible_labels(parameters: Sequence[str]) -> Iterator[list[_Label]]:
    """Yield the variables of every optimizer that Keras could have made of these parameters."""

    def for_each(*kinds: str) -> list[_Label]:
        return [_Label(parameter, kind) for parameter in parameters for kind in kinds]

    for learning_rate in ([], [_Label("", "learning_rate")]):
        for unsupported in ([], for_each("average"), for_each("gradient_accumulator")):
            moments = for_each("momentum", "velocity")
            start = [_Label("", "iteration"), *learning_rate, *unsupported, *moments]
            yield start
            yield [*start, *for_each("velocity_hat")]
            yield [*start, _Label("", "product")]


def _labels_fit(labels: Sequence[_Label], values: Sequence[NDArray[Any]]) -> bool:
    """Return whether values can be of these variables: their shapes agree, squares have no sign."""
    if len(labels) != len(values) or values[0].dtype.kind not in "iu":
        return False
    shapes: dict[str, tuple[int, ...]] = {"": ()}
    for (parameter, kind), value in zip(labels, values, strict=True):
        if shapes.setdefault(parameter, value.shape) != value.shape:
            return False
        if kind.startswith("velocity") and not np.all(value >= 0):
            return False
    return True


def _undecided_error(
    path: Path, variables: int, parameters: int, is_ambiguous: bool
) -> ConversionError:
    """Return the error for variables that no labels fit, or several."""
    what = "can be told apart in several ways" if is_ambiguous else "are of no optimizer known here"
    return ConversionError(
        f"{path}: the {variables} variables of its optimizer {what}, for these {parameters} "
        "parameters in this order; name all of model.trainable_variables in their order, or pass "
        "optimizer.variables to ao.convert.from_keras"
    )


def _read_weights(path: Path, content: bytes, budget: Budget) -> bytes:
    """Return the part of a file that is HDF5: the whole file, or a member of the archive."""
    if path.suffix != ".keras":
        return content
    with open_archive(path, content, _ARCHIVE) as archive:
        return read_member(archive, archive.getinfo(_WEIGHTS_MEMBER), budget, _METHODS)


def _replace_weights(like: Path, old: bytes, weights: bytearray) -> bytes:
    """Return the bytes of a `.keras` archive with other weights."""
    budget, new = Budget(like, len(old)), io.BytesIO()
    with open_archive(like, old, _ARCHIVE) as members, zipfile.ZipFile(new, "w") as archive:
        for info in members.infolist():
            is_weights = info.filename == _WEIGHTS_MEMBER
            member = read_member(members, info, budget, _METHODS)
            new_member = bytes(weights) if is_weights else member
            archive.writestr(info, new_member, info.compress_type)
    return new.getvalue()


@contextmanager
def _open_hdf5(path: Path, content: bytes) -> Iterator["h5py.File"]:
    """Open HDF5 in memory to read it; any error in it is damage of the file at `path`."""
    with require_package("h5py", CONVERT_EXTRA):
        import h5py
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            yield file
    except ConversionError:
        raise
    except Exception as error:  # HDF5's library and h5py can raise almost any exception.
        raise damaged_file_error(path, "an HDF5 file as Keras writes it", error) from error


def _variables_group(path: Path, file: "h5py.File") -> "h5py.Group":
    """Return the group of the optimizer's variables, if they are named 0, 1, ... without a gap."""
    group = file
    for part in _GROUP.split("/"):
        if part not in group:
            raise ConversionError(
                f"{path} has no optimizer in it; save a compiled model that was trained, with "
                "model.save or model.save_weights"
            )
        group = _member_of(group, part)
    if set(group) != {str(i) for i in range(len(group))}:
        raise ValueError(f"{_GROUP} holds other names than 0, 1, ...")
    return group


def _member_of(group: "h5py.Group", name: str) -> Any:
    """Return a member that is in this file itself: a link could lead to any file of the machine."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is a link")
    return group[name]


def _read_array(group: "h5py.Group", name: str, budget: Budget) -> NDArray[Any]:
    """Read an array that is stored in this file and does not fill the memory."""
    import h5py
    import ml_dtypes

    data = _member_of(group, name)
    if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
        raise ValueError(f"{name} is not an array in this file")
    is_bfloat16 = data.dtype == np.dtype("V2") and _is_bfloat16(data)
    if not is_bfloat16 and data.dtype.kind not in "fiu":
        raise ValueError(f"{name} has dtype {data.dtype}")
    budget.take(_expanded_bytes(data), f"variable {name}")
    x = np.array(data)
    return x.view(ml_dtypes.bfloat16) if is_bfloat16 else x


def _expanded_bytes(data: "h5py.Dataset") -> int:
    """Return how many bytes reading an array takes: its own, or those of its chunks if more.

    A chunk is expanded whole, however few of its numbers are in the array.
    """
    settings = data.id.get_create_plist()
    filters = {settings.get_filter(i)[0] for i in range(settings.get_nfilters())}
    if not filters <= _FILTERS:
        raise ValueError(f"an array is compressed in a way that is not known here ({filters})")
    chunks = 0
    if data.chunks:
        counts = (-(-n // chunk) for n, chunk in zip(data.shape, data.chunks, strict=True))
        chunks = math.prod(counts) * math.prod(data.chunks) * data.dtype.itemsize
    return max(int(data.nbytes), chunks)


def _is_bfloat16(data: "h5py.Dataset") -> bool:
    """Return whether Keras says that an array is bfloat16, which HDF5 has not."""
    if "dtype" not in data.attrs:
        return False
    if data.attrs.get_id("dtype").get_storage_size() > _MOST_ATTRIBUTE_BYTES:
        raise ValueError("an array has an attribute that is too large")
    return bool(data.attrs["dtype"] == "bfloat16")
