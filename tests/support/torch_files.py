"""Write files as `torch.save` lays them out, of NumPy arrays and without PyTorch."""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

STORAGES = {
    "float16": "HalfStorage",
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "complex64": "ComplexFloatStorage",
    "int64": "LongStorage",
    "bfloat16": "BFloat16Storage",
}


class Name:
    """Stand for a function or class of PyTorch's, which a pickle names."""

    def __init__(self, name: str) -> None:
        self.name = name


class Call:
    """Stand for what a function of PyTorch's makes of arguments."""

    def __init__(self, function: str, *arguments: Any) -> None:
        self.function, self.arguments = Name(function), arguments


class View:
    """Stand for a tensor that is a view of an array: any shape and strides, right or wrong."""

    def __init__(
        self,
        base: Any,
        shape: tuple[int, ...],
        stride: tuple[int, ...],
        offset: int = 0,
        dtype: str | None = None,
        **metadata: bool,
    ) -> None:
        self.base, self.shape, self.stride, self.offset = np.asarray(base), shape, stride, offset
        self.dtype = self.base.dtype.name if dtype is None else dtype
        self.metadata = metadata


class _Pickler(pickle._Pickler):
    """Pickle tensors as PyTorch does, and keep their numbers apart."""

    save: Callable[[Any], None]  # unknown to typeshed, as is `write`
    write: Callable[[bytes], object]
    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, protocol=2)
        self.records: list[bytes] = []

    def save_name(self, name: Name) -> None:
        """Write a name."""
        self.write(b"c" + name.name.replace(" ", "\n").encode() + b"\n")

    def save_call(self, call: Call) -> None:
        """Write a function, its arguments and that it is called."""
        self.save(call.function)
        self.save(call.arguments)
        self.write(pickle.REDUCE)

    def save_view(self, view: View) -> None:
        """Write a tensor, with its numbers in a record."""
        x, dtype = view.base, view.dtype
        key, known = str(len(self.records)), dtype in STORAGES
        kind = f"torch {STORAGES[dtype]}" if known else "torch.storage UntypedStorage"
        self.records.append(np.ascontiguousarray(x).tobytes())
        count = x.size if known else x.nbytes
        storage = Storage(("storage", Name(kind), key, "cpu", count))
        hooks = Call("collections OrderedDict")
        more: tuple[Any, ...] = () if known else (Name(f"torch {dtype}"),)
        more += (view.metadata,) if view.metadata else ()
        arguments = (storage, view.offset, view.shape, view.stride, False, hooks, *more)
        self.save(Call(f"torch._utils _rebuild_tensor_v{2 if known else 3}", *arguments))

    def save_array(self, x: Any) -> None:
        """Write an array as a tensor of its own."""
        x = np.ascontiguousarray(x).reshape(np.shape(x))
        self.save_view(View(x, x.shape, tuple(step // x.itemsize for step in x.strides)))

    def save_storage(self, storage: "Storage") -> None:
        """Write what stands for a record."""
        self.save(storage.key)
        self.write(pickle.BINPERSID)

    dispatch |= {Name: save_name, Call: save_call, View: save_view}
    dispatch |= {np.ndarray: save_array, np.float32: save_array}


class Storage:
    """Stand for a record of numbers."""

    def __init__(self, key: tuple[Any, ...]) -> None:
        self.key = key


_Pickler.dispatch[Storage] = _Pickler.save_storage


def torch_bytes(value: Any) -> bytes:
    """Return the bytes of a file of PyTorch's with a value in it."""
    stream = io.BytesIO()
    pickler = _Pickler(stream)
    pickler.dump(value)
    return archive_bytes(stream.getvalue(), pickler.records)


def archive_bytes(data: bytes, records: list[bytes]) -> bytes:
    """Return the bytes of a file of PyTorch's with a pickle and records in it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("run/data.pkl", data)
        archive.writestr("run/byteorder", "little")
        for i, record in enumerate(records):
            archive.writestr(f"run/data/{i}", record)
        archive.writestr("run/version", "3\n")
    return stream.getvalue()


def write_torch_file(path: Path, value: Any) -> Path:
    """Write a file of PyTorch's with a value in it."""
    path.write_bytes(torch_bytes(value))
    return path
