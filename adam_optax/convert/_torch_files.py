"""Read and write PyTorch's files. PyTorch is imported to write one, and not to read one.

A file is a zip archive of a pickle and of the tensors' numbers, with a checksum for each. No code
from the file is run: see `adam_optax.convert._torch_pickle`.
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adam_optax.convert._checks import TORCH_EXTRA, ConversionError, cast, require_package
from adam_optax.convert._containers import (
    Budget,
    open_archive,
    read_bytes,
    read_member,
    write_bytes,
)
from adam_optax.convert._torch_pickle import Global, read_pickle

_WHAT = "a PyTorch file of tensors and plain values alone, as torch.save(state_dict) writes"
_PICKLE, _DATA = "data.pkl", "data/"


def read_torch(path: Path) -> Any:
    """Read a PyTorch file that holds nothing but tensors and plain values.

    Returns:
        What was saved, with NumPy arrays for tensors and parameters, and dicts for ordered ones.

    Raises:
        ConversionError: if the file cannot be read, is damaged, holds anything else, or was written
            before PyTorch 1.6, without checksums.
    """
    content = read_bytes(path)
    budget = Budget(path, len(content))
    if content and not content.startswith(b"PK"):
        raise ConversionError(
            f"{path} is damaged, or not {_WHAT}: it is no zip archive. A file from before PyTorch "
            "1.6 has no checksums: write it anew by torch.save(torch.load(path, weights_only=True)"
            ", new_path)"
        )
    with open_archive(path, content, _WHAT) as archive:
        members = {
            # Stored as they are: PyTorch compresses nothing.
            info.filename.partition("/")[2]: read_member(
                archive, info, budget, [zipfile.ZIP_STORED]
            )
            for info in archive.infolist()
        }
        records = {n.removeprefix(_DATA): x for n, x in members.items() if n.startswith(_DATA)}
        order = members.get("byteorder", b"little")
        if order not in (b"little", b"big"):
            raise ValueError("its byteorder is neither little nor big")
        return read_pickle(members[_PICKLE], records, order == b"big", budget)


def write_torch(path: Path, state_dict: Mapping[str, Any]) -> None:
    """Write a `state_dict` as `torch.save` does, with tensors for NumPy arrays.

    Raises:
        ConversionError: if the file cannot be written, or PyTorch is not installed.
    """
    with require_package("PyTorch", TORCH_EXTRA):
        import torch
    buffer = io.BytesIO()
    torch.save(_to_tensors(state_dict), buffer)
    write_bytes(path, buffer.getvalue())


def _to_tensors(value: Any) -> Any:
    """Return what `read_torch` returned as PyTorch has it."""
    import torch

    if isinstance(value, Mapping):
        return {key: _to_tensors(x) for key, x in value.items()}
    if isinstance(value, list):
        return [_to_tensors(x) for x in value]
    if isinstance(value, tuple):
        return tuple(_to_tensors(x) for x in value)
    if isinstance(value, np.ndarray):
        known = value.dtype.kind in "biufc" and value.dtype.name in dir(torch)
        return torch.tensor(np.array(value if known else cast(value, np.float32)))
    if isinstance(value, Global):
        found = getattr(torch, value.name.removeprefix("torch."), None)
        return found if isinstance(found, torch.dtype) else None
    return value
