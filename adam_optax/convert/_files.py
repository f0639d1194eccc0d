"""States in files, read without running code from them and never half-written."""

import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from adam_optax._core.files import write_atomically
from adam_optax.convert import _checks
from adam_optax.convert._errors import EXTRA, ConversionError, needs, raise_for
from adam_optax.convert._named import Named, from_named, to_named

_COMPLEX = "complex"
"""The metadata that lists arrays stored as pairs of real ones: the format has no complex128."""

_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "I64": np.int64,
    "I32": np.int32,
}


def save(path: str | Path, state: Any) -> None:
    """Writes the moments and the count of a state to a `.safetensors` file.

    Args:
        path: the file; one that is there is replaced when the new one is complete.
        state: see `to_named`.

    Raises:
        ConversionError: as `to_named`, and if the file cannot be written.

    >>> import tempfile, jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.adam(1e-3)
    >>> state = tx.init({"w": jnp.ones(3)})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ao.convert.save(f"{folder}/state.safetensors", state)
    ...     state = ao.convert.load(f"{folder}/state.safetensors", state)
    """
    write_named(Path(path), to_named(state))


def load(path: str | Path, state: Any) -> Any:
    """The state with the moments and the count of a file in it.

    Args:
        path: a file that `save` or the command `adam-optax convert` wrote.
        state: the template; see `from_named`.

    Raises:
        ConversionError: as `from_named`, and if the file cannot be read or is damaged.
    """
    return from_named(read_named(Path(path)), state)


def write_named(path: Path, named: Mapping[str, Any]) -> None:
    """Writes named arrays (see `to_named`) to a `.safetensors` file."""
    with needs("safetensors", EXTRA):
        import safetensors.numpy
    named = _checks.arrays(named)
    raise_for(_checks.of_values(named))
    pairs = sorted(name for name, x in named.items() if np.iscomplexobj(x))
    arrays = {name: _contiguous(x) for name, x in named.items()}
    metadata = {_COMPLEX: json.dumps(pairs)} if pairs else None
    write(path, safetensors.numpy.save(arrays, metadata=metadata))


def _contiguous(x: Any) -> Any:
    """The format stores the buffer, whatever its strides; complex numbers as pairs."""
    x = np.array(x, order="C")
    if np.iscomplexobj(x):
        return np.stack([x.real, x.imag], axis=-1)
    return x


def read_named(path: Path) -> Named:
    """The named arrays (see `to_named`) of a `.safetensors` file, not yet checked."""
    with needs("safetensors", EXTRA):
        import safetensors
    content = read(path)
    try:
        arrays = {name: _array(entry) for name, entry in safetensors.deserialize(content)}
        for name in json.loads(_metadata(content).get(_COMPLEX, "[]")):
            pairs = arrays[name]
            arrays[name] = pairs.view(np.result_type(pairs, np.complex64))[..., 0]
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise unreadable(path, "a safetensors file", error) from error
    return arrays


def _array(entry: Mapping[str, Any]) -> Any:
    return np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])


def _metadata(content: bytes) -> dict[str, str]:
    """What the header says besides the arrays; the library has checked it by now."""
    length = int.from_bytes(content[:8], "little")
    found: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return found


def read_torch(path: Path) -> Any:
    """What is in a file of PyTorch's, if it is tensors and plain values alone."""
    with needs("PyTorch", "torch"):
        import torch
    content = read(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of storages that PyTorch itself deprecates
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # from a damaged pickle comes almost any
        what = "a PyTorch file of tensors and plain values alone, as torch.save(state_dict) writes"
        raise unreadable(path, what, error) from error


def write_torch(path: Path, state_dict: Any) -> None:
    """Writes a `state_dict` as `torch.save` does."""
    with needs("PyTorch", "torch"):
        import torch
    buffer = io.BytesIO()
    torch.save(state_dict, buffer)
    write(path, buffer.getvalue())


def read(path: Path) -> bytes:
    """The content of a file.

    Raises:
        ConversionError: if it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConversionError(f"cannot read {path}: {error.strerror or error}") from error


def write(path: Path, content: bytes) -> None:
    """Writes a file at once, or not at all.

    Raises:
        ConversionError: if it cannot be written.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise ConversionError(f"cannot write {path}: {error.strerror or error}") from error


def unreadable(path: Path, what: str, error: Exception) -> ConversionError:
    """The error for a file that is damaged or not what it seems, in one line."""
    reason = str(error).strip().partition("\n")[0].partition(". ")[0]
    return ConversionError(f"{path} is damaged, or not {what} ({reason or type(error).__name__})")
