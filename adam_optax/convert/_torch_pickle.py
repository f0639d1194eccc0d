"""Read the pickle in a PyTorch file without unpickling: nothing that the file names is called.

PyTorch's own writer uses a small part of pickle's language. This part is read here, opcode by
opcode, into plain values and NumPy arrays; anything else is refused. The functions that a file may
name stand for what is done here in their place.
"""

import operator
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from adam_optax.convert._containers import Budget

_FLOAT8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")
_PAIRS = np.dtype([("real", "f2"), ("imag", "f2")])
"""What PyTorch calls complex32, which NumPy has not."""
_DTYPES: dict[str, np.dtype[Any]] = {
    **{n: np.dtype(getattr(ml_dtypes, n)) for n in ("bfloat16", *_FLOAT8)},
    **{n: np.dtype(n) for n in ("float16", "float32", "float64", "complex64", "complex128")},
    **{n: np.dtype(n) for n in ("int8", "int16", "int32", "int64", "bool")},
    **{n: np.dtype(n) for n in ("uint8", "uint16", "uint32", "uint64")},
    "complex32": _PAIRS,
}
"""NumPy's dtypes by the names of PyTorch's."""
_STORAGES = {
    "BFloat16Storage": "bfloat16",
    "HalfStorage": "float16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
}
_KEYS = (str, int, float, bool, type(None))
"""What a dict may have as a key: hashing nested tuples can take for ever."""


@dataclass(frozen=True)
class Global:
    """Hold the name of a function or class, which is neither imported nor called.

    Attributes:
        name: the module and the name in it, such as `"torch.float32"`.
    """

    name: str


@dataclass(frozen=True)
class _Storage:
    """Hold the numbers that tensors are views of; without a dtype yet, bytes."""

    values: NDArray[Any]


class _Mark:
    """Stand on the stack where a tuple, list or dict begins."""


def read_pickle(data: bytes, records: Mapping[str, bytes], big_endian: bool, budget: Budget) -> Any:
    """Return what a pickle of PyTorch's says, with NumPy arrays for tensors.

    Args:
        data: the pickle.
        records: the bytes of the storages by their names in the pickle.
        big_endian: whether the storages are.
        budget: the file's budget, of which each tensor takes its bytes.

    Raises:
        Exception: of almost any kind, if the pickle is damaged or says anything else.
    """
    return _Reader(records, big_endian, budget).read(data)


class _Reader:
    """Keep the stack and the memo of a pickle that is read."""

    def __init__(self, records: Mapping[str, bytes], big_endian: bool, budget: Budget) -> None:
        self._records, self._big_endian, self._budget = records, big_endian, budget
        self._stored = sum(map(len, records.values()))
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def read(self, data: bytes) -> Any:
        """Return the value that is left when all opcodes have been followed."""
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                value = self._pop()
                if self._stack:
                    raise ValueError("the pickle leaves several values")
                return value
            self._follow(opcode.name, argument)
        raise ValueError("the pickle has no end")

    def _follow(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _LITERALS:
            stack.append(argument)
        elif name in _SMALL_TUPLES:
            size = _SMALL_TUPLES[name]
            stack[-size:] = [tuple(self._top(size))]
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._top(1)[0]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "GLOBAL":
            stack.append(Global(argument.replace(" ", ".")))
        elif name in _METHODS:
            _METHODS[name](self)
        elif name != "PROTO":
            raise ValueError(f"its pickle has the opcode {name}, which PyTorch does not write")

    def _top(self, size: int) -> list[Any]:
        """Return the last values, none of which is a mark."""
        values = self._stack[-size:]
        if len(values) != size or any(isinstance(x, _Mark) for x in values):
            raise ValueError("the pickle takes values that are not there")
        return values

    def _pop(self) -> Any:
        value = self._top(1)[0]
        del self._stack[-1]
        return value

    def _pop_to_mark(self) -> list[Any]:
        """Remove the values above the last mark, and the mark."""
        values: list[Any] = []
        while not isinstance(value := self._stack.pop(), _Mark):
            values.append(value)
        return values[::-1]

    def _tuple(self) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def _append(self) -> None:
        value = self._pop()
        self._extend_list([value])

    def _appends(self) -> None:
        self._extend_list(self._pop_to_mark())

    def _extend_list(self, values: list[Any]) -> None:
        (found,) = self._top(1)
        _expect(found, list).extend(values)

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._update_dict([key, value])

    def _set_items(self) -> None:
        self._update_dict(self._pop_to_mark())

    def _update_dict(self, flat: list[Any]) -> None:
        found = _expect(self._top(1)[0], dict)
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            if not isinstance(key, _KEYS):
                raise ValueError(f"a dict has a {type(key).__name__} as a key")
            found[key] = value

    def _build(self) -> None:
        """Pass over the attributes of an OrderedDict, where modules keep their versions."""
        self._pop()
        _expect(self._top(1)[0], dict)

    def _storage(self) -> None:
        """Replace a persistent id by the storage of this name."""
        kind, type_, name, _, count = _expect(self._pop(), tuple)
        storage = _expect(type_, Global).name
        if kind != "storage" or not isinstance(name, str):
            raise ValueError("a persistent id is not that of a storage")
        values = np.frombuffer(self._records[name], np.uint8)
        if storage != "torch.storage.UntypedStorage":
            values = values.view(self._dtype(_STORAGES[storage.removeprefix("torch.")]))
        if len(values) != operator.index(count):
            raise ValueError(f"storage {name} has {len(values)} values, not {count}")
        self._stack.append(_Storage(values))

    def _dtype(self, name: str) -> np.dtype[Any]:
        return _DTYPES[name].newbyteorder(">" if self._big_endian else "<")

    def _reduce(self) -> None:
        """Replace a function and its arguments by what the function would make."""
        arguments, function = _expect(self._pop(), tuple), _expect(self._pop(), Global).name
        if function not in _FUNCTIONS:
            raise ValueError(f"its pickle calls {function}, and no code of a file is run")
        self._stack.append(_FUNCTIONS[function](self, *arguments))

    def tensor(
        self,
        storage: Any,
        offset: int,
        size: tuple[int, ...],
        stride: tuple[int, ...],
        requires_grad: bool,
        hooks: object,
        *more: Any,
    ) -> NDArray[Any]:
        """Return a view of a storage, for `torch._utils._rebuild_tensor_v2` and `_v3`."""
        del requires_grad, hooks
        values = _expect(storage, _Storage).values
        if more and isinstance(more[0], Global):
            values = values.view(self._dtype(more[0].name.removeprefix("torch.")))
            more = more[1:]
        metadata = more[0] if more else {}
        if len(more) > 1 or _expect(metadata or {}, dict).keys() - {"conj", "neg"}:
            raise ValueError("a tensor has metadata that is not known here")
        x = self._view(values, operator.index(offset), size, stride)
        x = x if not metadata.get("conj") else np.conj(x)
        return x if not metadata.get("neg") else np.negative(x)

    def _view(self, values: NDArray[Any], offset: int, shape: Any, stride: Any) -> NDArray[Any]:
        """Return a view with a shape and strides, all of it inside of the storage."""
        shape = tuple(map(operator.index, _expect(shape, tuple)))
        steps = tuple(map(operator.index, _expect(stride, tuple)))
        spans = zip(shape, steps, strict=True)
        if min((offset, *shape, *steps), default=0) < 0 or offset > len(values):
            raise ValueError("a tensor has a negative shape, or begins outside of its storage")
        count = int(np.prod(np.array(shape, object)))
        if count and offset + sum((n - 1) * step for n, step in spans) >= len(values):
            raise ValueError(f"a tensor of shape {shape} ends outside of its storage")
        if (size := count * values.itemsize) > max(values.nbytes, self._stored):
            raise ValueError(
                f"a tensor of shape {shape} repeats {len(values)} stored numbers, and is larger "
                "than the file; save a copy of it, x.contiguous()"
            )
        self._budget.take(size, f"a tensor of shape {shape}")
        start = offset * values.itemsize if count else 0
        strides = tuple(step * values.itemsize for step in steps)
        x: NDArray[Any] = np.ndarray(shape, values.dtype, values, start, strides)
        if values.dtype.names:
            return x["real"].astype(np.float32) + np.complex64(1j) * x["imag"].astype(np.float32)
        return x.astype(x.dtype.newbyteorder("="), copy=False)


def _expect(value: Any, kind: type[Any]) -> Any:
    """Return a value if it is of a kind."""
    if not isinstance(value, kind):
        raise ValueError(
            f"the pickle has a {type(value).__name__} in the place of a {kind.__name__}"
        )
    return value


def _ordered_dict(_: _Reader, *items: Any) -> dict[Any, Any]:
    if items:
        raise ValueError("an OrderedDict of items")
    return {}


def _parameter(_: _Reader, data: Any, requires_grad: bool, hooks: object) -> Any:
    del requires_grad, hooks
    return _expect(data, np.ndarray)


def _size(_: _Reader, size: Any) -> Any:
    return _expect(size, tuple)


def _device(_: _Reader, *device: Any) -> str:
    return ":".join(map(str, device[:2])) if all(isinstance(x, str | int) for x in device) else ""


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "MARK": _Mark,
}
_LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"}
_SMALL_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_METHODS: dict[str, Callable[[_Reader], None]] = {
    "TUPLE": _Reader._tuple,
    "APPEND": _Reader._append,
    "APPENDS": _Reader._appends,
    "SETITEM": _Reader._set_item,
    "SETITEMS": _Reader._set_items,
    "BUILD": _Reader._build,
    "BINPERSID": _Reader._storage,
    "REDUCE": _Reader._reduce,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor_v2": _Reader.tensor,
    "torch._utils._rebuild_tensor_v3": _Reader.tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": _size,
    "torch.device": _device,
}
"""What is done in the place of the functions that PyTorch's files name."""
