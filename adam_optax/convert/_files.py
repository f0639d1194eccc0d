"""Read and write states in files: no code from a file is run, and no file is half-written."""

import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import optax
from numpy.typing import NDArray

from adam_optax._core.by_path import path_name
from adam_optax._core.files import write_atomically
from adam_optax.convert._checks import (
    CONVERT_EXTRA,
    TORCH_EXTRA,
    ConversionError,
    NamedArrays,
    find_value_problems,
    raise_problems,
    require_package,
    to_named_arrays,
)
from adam_optax.convert._coded import RULE, decode_named
from adam_optax.convert._named import from_named, put_like, to_named
from adam_optax.convert._torch_model import check_rule, find_param_problems

_COMPLEX = "complex"
"""The metadata's key for the list of complex arrays.

Complex arrays are stored as pairs of real numbers, because the format has no complex128.
"""

_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "I64": np.int64,
    "I32": np.int32,
    "I8": np.int8,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
}


def save(path: str | Path, state: optax.OptState) -> None:
    """Write the moments and the count of a state to a `.safetensors` file.

    Use it to hand a state to another program, or to carry a state into another chain or wrapper.
    For the checkpoints of a run, a checkpoint library such as orbax stores the whole state, also
    what is neither a moment nor a count.

    Args:
        path: the new file; an old file of this name is replaced once the new one is complete.
        state: a state of any optimiser of this library; see `to_named`.

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


def load(
    path: str | Path,
    state: optax.OptState,
    *,
    tx: optax.GradientTransformation | None = None,
    params: optax.Params | None = None,
) -> optax.OptState:
    """Build a state from a template, with the moments and the count of a `.safetensors` file.

    Use it after `save` or the command `adam-optax convert`; the example is with `save`.

    Args:
        path: a file that `save` or `adam-optax convert` wrote.
        state: the template, `tx.init(params)`; see `from_named`.
        tx: the transformation that made the template; needed, like `params`, where its storage is
            not dense, as with `storage.pair()`.
        params: the parameters.

    Returns:
        The template with the file's moments and count, in the template's storage and sharding.

    Raises:
        ConversionError: as `from_named`, and if the file cannot be read or is damaged; if the file
            is of AdaMax and `tx` is not, or the reverse.
    """
    arrays, facts = read_arrays(Path(path))
    check_rule(facts.get(RULE, ""), tx, state)
    return from_named(_decoded(Path(path), arrays, facts), state, tx=tx, params=params)


def load_params(path: str | Path, params: optax.Params) -> optax.Params:
    """Build parameters from the file that `adam-optax convert --params` wrote.

    Use it beside `load`, which reads the optimiser's state.

    Args:
        path: the file.
        params: the parameters to replace, such as a freshly initialised model's: any tree.

    Returns:
        A tree like `params`, in the dtypes and shardings of `params`.

    Raises:
        ConversionError: if the file cannot be read, or does not have these parameters.
    """
    arrays, _ = read_arrays(Path(path))
    wanted = {path_name(p): x for p, x in jax.tree.leaves_with_path(params)}
    raise_problems(find_param_problems(arrays, wanted))
    return jax.tree.map_with_path(lambda p, x: put_like(arrays[path_name(p)], x), params)


def write_named(path: Path, named: Mapping[str, Any], rule: str | None = None) -> None:
    """Write named arrays (see `to_named`) to a `.safetensors` file.

    Args:
        path: the file.
        named: the arrays.
        rule: the rule whose moments they are, as text, if that is known.
    """
    arrays = to_named_arrays(named)
    raise_problems(find_value_problems(arrays))
    write_arrays(path, arrays, {} if rule is None else {RULE: rule})


def write_arrays(path: Path, arrays: NamedArrays, facts: Mapping[str, str]) -> None:
    """Write arrays to a `.safetensors` file, with facts about them in its metadata."""
    with require_package("safetensors", CONVERT_EXTRA):
        import safetensors.numpy
    complex_keys = sorted(key for key, x in arrays.items() if np.iscomplexobj(x))
    metadata = {_COMPLEX: json.dumps(complex_keys)} if complex_keys else {}
    stored = {key: _to_storable(x) for key, x in arrays.items()}
    content = safetensors.numpy.save(stored, metadata={**metadata, **facts} or None)
    write_bytes(path, content)


def _to_storable(x: NDArray[Any]) -> NDArray[Any]:
    """Return an array in row-major order, of real numbers.

    The format stores an array's buffer whatever its strides, and has no complex128: complex
    numbers become pairs along a new last axis.
    """
    x = np.array(x, order="C")
    if np.iscomplexobj(x):
        return np.stack([x.real, x.imag], axis=-1)
    return x


def read_named(path: Path) -> NamedArrays:
    """Read the named arrays (see `to_named`) of a `.safetensors` file, without checking them."""
    return _decoded(path, *read_arrays(path))


def _decoded(path: Path, arrays: NamedArrays, facts: Mapping[str, str]) -> NamedArrays:
    """Return named arrays of floats, whatever storage format the file has."""
    try:
        return decode_named(arrays, facts)
    except ConversionError:
        raise
    except (KeyError, ValueError, TypeError) as error:
        raise damaged_file_error(path, "a state in a storage format", error) from error


def read_arrays(path: Path) -> tuple[NamedArrays, dict[str, str]]:
    """Read the arrays of a `.safetensors` file, and the facts in its metadata."""
    with require_package("safetensors", CONVERT_EXTRA):
        import safetensors
    content = read_bytes(path)
    try:
        arrays = {key: _to_array(entry) for key, entry in safetensors.deserialize(content)}
        facts = _read_metadata(content)
        for key in json.loads(facts.get(_COMPLEX, "[]")):
            pairs = arrays[key]
            arrays[key] = pairs.view(np.result_type(pairs, np.complex64))[..., 0]
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise damaged_file_error(path, "a safetensors file", error) from error
    return arrays, facts


def _to_array(entry: Mapping[str, Any]) -> NDArray[Any]:
    """Build an array from the bytes, dtype and shape that safetensors reads."""
    return np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])


def _read_metadata(content: bytes) -> dict[str, str]:
    """Read the metadata in the header of a file that safetensors has already checked."""
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return metadata


def read_torch(path: Path) -> Any:
    """Read a PyTorch file that holds nothing but tensors and plain values."""
    with require_package("PyTorch", TORCH_EXTRA):
        import torch
    content = read_bytes(path)
    try:
        with warnings.catch_warnings():
            # PyTorch warns of storages that PyTorch itself deprecates.
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # A damaged pickle can raise almost any exception.
        what = "a PyTorch file of tensors and plain values alone, as torch.save(state_dict) writes"
        raise damaged_file_error(path, what, error) from error


def write_torch(path: Path, state_dict: Mapping[str, Any]) -> None:
    """Write a `state_dict` as `torch.save` does."""
    with require_package("PyTorch", TORCH_EXTRA):
        import torch
    buffer = io.BytesIO()
    torch.save(state_dict, buffer)
    write_bytes(path, buffer.getvalue())


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        ConversionError: if the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConversionError(f"cannot read {path}: {error.strerror or error}") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file completely, or leave the old one as it is.

    Raises:
        ConversionError: if the file cannot be written.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise ConversionError(f"cannot write {path}: {error.strerror or error}") from error


def damaged_file_error(path: Path, what: str, error: Exception) -> ConversionError:
    """Return the error, in one line, for a file that is damaged or of another format."""
    reason = str(error).strip().partition("\n")[0].partition(". ")[0]
    return ConversionError(f"{path} is damaged, or not {what} ({reason or type(error).__name__})")
