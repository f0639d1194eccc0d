"""Read and write states in files: what is read is what was written, and no file is half-written."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import optax
from numpy.typing import NDArray

from adam_optax._core.by_path import path_name
from adam_optax.convert._checks import (
    CONVERT_EXTRA,
    ConversionError,
    NamedArrays,
    check_without_template,
    raise_problems,
    require_package,
    to_named_arrays,
)
from adam_optax.convert._coded import RULE, decode_named
from adam_optax.convert._containers import damaged_file_error, read_bytes, write_bytes
from adam_optax.convert._named import from_named, put_like, to_named
from adam_optax.convert._torch_model import check_rule, find_param_problems

_CHECKSUM, _COMPLEX, _NARROW = "checksum", "complex", "dtypes"
"""The metadata's keys.

Complex arrays are stored as pairs of real numbers, because the format has no complex128, and the
dtypes of a byte that it has not, or only since lately, as bytes.
"""

_DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
}
_NARROW_DTYPES = {
    name: np.dtype(getattr(ml_dtypes, name))
    for name in dir(ml_dtypes)
    if name.startswith("float") and isinstance(getattr(ml_dtypes, name), type)
    if np.dtype(getattr(ml_dtypes, name)) not in _DTYPES.values()
}
"""The other floats of a byte or less, by name."""


def save(path: str | Path, state: optax.OptState) -> None:
    """Write the moments and the count of a state to a `.safetensors` file.

    Use it to hand a state to another program, or to carry a state into another chain or wrapper.
    For the checkpoints of a run, a checkpoint library such as orbax stores the whole state, also
    what is neither a moment nor a count. The file has a checksum of all that it says (128 bits of
    BLAKE2b), which `load` verifies.

    Args:
        path: the new file; an old file of this name is replaced once the new one is complete, and
            keeps its mode. Of a symbolic link, the file that the link leads to is replaced.
        state: a state of any optimiser of this library; see `to_named`.

    Raises:
        ConversionError: as `to_named`, and if the file cannot be written, or is a pipe or a device.

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
        ConversionError: as `from_named`, and if the file cannot be read, is damaged, or has no
            checksum, as files of other programs; if the file is of AdaMax and `tx` is not, or the
            reverse.
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
    check_without_template(arrays)
    write_arrays(path, arrays, {} if rule is None else {RULE: rule})


def write_arrays(path: Path, arrays: NamedArrays, facts: Mapping[str, str]) -> None:
    """Write arrays to a `.safetensors` file, with facts about them in its metadata.

    Raises:
        ConversionError: if the file cannot be written, or cannot hold an array or its name.
    """
    with require_package("safetensors", CONVERT_EXTRA):
        import safetensors.numpy
    stored: NamedArrays = {}
    kinds = {}
    for key, x in arrays.items():
        stored[key], kind = _to_storable(key, x)
        if kind is not None:
            kinds[key] = kind
    metadata = dict(facts)
    if complex_keys := sorted(key for key, kind in kinds.items() if kind == _COMPLEX):
        metadata[_COMPLEX] = json.dumps(complex_keys)
    if narrow := {key: kind for key, kind in kinds.items() if kind != _COMPLEX}:
        metadata[_NARROW] = json.dumps(narrow, sort_keys=True)
    try:
        metadata[_CHECKSUM] = _checksum(stored, metadata)
        content = safetensors.numpy.save(stored, metadata=metadata)
    except (ValueError, TypeError, safetensors.SafetensorError) as error:  # a name that is no text
        raise ConversionError(f"cannot write {path}: {error}") from error
    write_bytes(path, content)


def _to_storable(key: str, x: NDArray[Any]) -> tuple[NDArray[Any], str | None]:
    """Return an array as the format has it, and what it is if the format does not say that.

    The format stores an array's buffer, whatever its strides and the order of its bytes.
    """
    x = np.array(x, x.dtype.newbyteorder("="), order="C")
    if x.dtype.name in _NARROW_DTYPES:
        return x.view(np.uint8), x.dtype.name
    kind = None
    if np.iscomplexobj(x):
        x, kind = np.stack([x.real, x.imag], axis=-1), _COMPLEX
    if x.dtype not in _DTYPES.values():
        raise ConversionError(f"{key} is {x.dtype}, which no .safetensors file can hold; cast it")
    return x, kind


def _checksum(stored: NamedArrays, metadata: Mapping[str, str]) -> str:
    """Return a checksum of all that a file says: names, dtypes, shapes, numbers and metadata."""
    said = {key: value for key, value in metadata.items() if key != _CHECKSUM}
    digest = hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=16)
    for key in sorted(stored):
        x = stored[key]
        digest.update(json.dumps([key, x.dtype.name, x.shape]).encode())
        digest.update(np.ascontiguousarray(x).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def read_named(path: Path) -> NamedArrays:
    """Read the named arrays (see `to_named`) of a `.safetensors` file, without checking them."""
    return _decoded(path, *read_arrays(path))


def _decoded(path: Path, arrays: NamedArrays, facts: Mapping[str, str]) -> NamedArrays:
    """Return named arrays of floats, whatever storage format the file has."""
    try:
        return decode_named(arrays, facts)
    except ConversionError:
        raise
    except Exception as error:  # A forged description can raise almost any exception.
        raise damaged_file_error(path, "a state in a storage format", error) from error


def read_arrays(path: Path) -> tuple[NamedArrays, dict[str, str]]:
    """Read the arrays of a `.safetensors` file, and the facts in its metadata.

    Raises:
        ConversionError: if the file cannot be read, is damaged, or has no checksum of this library.
    """
    with require_package("safetensors", CONVERT_EXTRA):
        import safetensors
    content = read_bytes(path)
    try:
        entries = safetensors.deserialize(content)
        metadata = _read_metadata(content)
        if _CHECKSUM not in metadata:
            raise ConversionError(
                f"{path} has no checksum: it is damaged, or neither ao.convert.save nor adam-optax "
                "convert wrote it. If it is another program's: ao.convert.from_named("
                "safetensors.numpy.load_file(path), state)"
            )
        stored = {key: _to_array(entry) for key, entry in entries}
        if metadata.pop(_CHECKSUM) != _checksum(stored, metadata):
            raise ValueError("its checksum does not fit")
        complex_keys = _parse(metadata.pop(_COMPLEX, "[]"), list)
        narrow = _parse(metadata.pop(_NARROW, "{}"), dict)
        if len({*complex_keys, *narrow}) < len(complex_keys) + len(narrow):
            raise ValueError("its metadata names an array twice")
        arrays = stored | {key: _to_complex(stored[key]) for key in complex_keys}
        arrays |= {key: stored[key].view(_NARROW_DTYPES[kind]) for key, kind in narrow.items()}
    except ConversionError:
        raise
    except Exception as error:  # A forged header can raise almost any exception.
        raise damaged_file_error(path, "a safetensors file", error) from error
    return arrays, metadata


def _to_array(entry: Mapping[str, Any]) -> NDArray[Any]:
    """Build an array from the bytes, dtype and shape that safetensors reads."""
    return np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])


def _to_complex(pairs: NDArray[Any]) -> NDArray[Any]:
    """Return complex numbers, of pairs of real numbers along the last axis."""
    if pairs.dtype.kind != "f" or pairs.shape[-1] != 2:
        raise ValueError(f"{pairs.dtype}{list(pairs.shape)} are no complex numbers")
    return pairs.view(np.result_type(pairs, np.complex64))[..., 0]


def _parse(text: str, kind: type[Any]) -> Any:
    """Parse what the metadata keeps as JSON."""
    if not isinstance(value := json.loads(text), kind):
        raise ValueError(f"its metadata has {type(value).__name__} for {kind.__name__}")
    return value


def _read_metadata(content: bytes) -> dict[str, str]:
    """Read the metadata in the header of a file that safetensors has already checked."""
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    return {str(key): str(value) for key, value in metadata.items()}
