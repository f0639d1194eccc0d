"""Estimate the bytes of an optimiser's state before any array is allocated."""

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.tree_util import KeyPath


@dataclasses.dataclass(frozen=True)
class Memory:
    """Hold the bytes of an optimiser's state; `print` shows them as a table.

    Attributes:
        by_entry: bytes by the name of the entry: a moment (`mu`, `nu_row`), or the last name on
            the way to another part of the state (`ema`, `count`); parts of one name are added.
        dtypes: the names of the dtypes of each entry.
        parameters: the number of parameters.
    """

    by_entry: Mapping[str, int]
    dtypes: Mapping[str, tuple[str, ...]]
    parameters: int

    @property
    def total(self) -> int:
        """Return the bytes of all entries together."""
        return sum(self.by_entry.values())

    @property
    def per_parameter(self) -> float:
        """Return the bytes for each parameter; 0 if there are no parameters."""
        return self.total / self.parameters if self.parameters else 0.0

    def __str__(self) -> str:
        """Return the table of entries."""
        rows = [(n, ", ".join(self.dtypes[n]), b) for n, b in self.by_entry.items()]
        cells = [("entry", "dtype", "size", "B/parameter")]
        cells += [(n, d, *self._sizes(b)) for n, d, b in [*rows, ("total", "", self.total)]]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(_line(row, widths) for row in cells)

    def _sizes(self, size: int) -> tuple[str, str]:
        each = size / self.parameters if self.parameters else 0.0
        return format_bytes(size), "< 0.0001" if 0 < each < 1e-4 else f"{each:.4g}"


def memory(tx: optax.GradientTransformation, params: Any) -> Memory:
    """Return the bytes that `tx.init(params)` will allocate, by entry of the state.

    Use it to choose between optimisers and between formats of `adam_optax.storage` before a model
    is loaded.

    No array is allocated: `jax.eval_shape` runs `tx.init`. The bytes are those of the arrays over
    all devices together. What a step needs beside the state is up to the compiler
    (`adam-optax compile-report` shows it); if the state is donated, the new one takes its place.

    Args:
        tx: any optax transformation.
        params: the parameters, or `jax.ShapeDtypeStruct`s in their place: any tree, any shapes.

    Returns:
        A record with `total`, `by_entry`, `per_parameter`, `dtypes` and a table as its text.

    Raises:
        TypeError: if `tx` has no `init`. Besides, whatever `tx.init` raises for parameters that do
            not fit it.

    >>> import jax, adam_optax as ao
    >>> params = {"w": jax.ShapeDtypeStruct((7000, 1000, 1000), "bfloat16")}  # 7 billion
    >>> print(ao.memory(ao.adam(1e-3), params))
    entry  dtype       size  B/parameter
    count  int32        4 B     < 0.0001
    mu     float32  28.0 GB            4
    nu     float32  28.0 GB            4
    total           56.0 GB            8
    >>> ao.memory(ao.adam(1e-3, mu_dtype="bfloat16"), params).by_entry["mu"]
    14000000000
    >>> print(ao.memory(ao.adafactor(1e-3), params).per_parameter < 0.01)
    True
    """
    if not callable(init := getattr(tx, "init", None)):
        raise TypeError(f"tx must be an optax transformation, not {type(tx).__name__}")
    state = jax.eval_shape(init, params)
    param_paths = {path for path, _ in jax.tree.leaves_with_path(params)}
    by_entry: dict[str, int] = {}
    dtypes: dict[str, set[str]] = {}
    for path, leaf in jax.tree.leaves_with_path(state):
        name = _entry_name(path, param_paths)
        by_entry[name] = by_entry.get(name, 0) + _nbytes(leaf)
        dtypes.setdefault(name, set()).add(str(leaf.dtype))
    sizes = {n: tuple(sorted(kinds)) for n, kinds in dtypes.items()}
    parameters = sum(math.prod(jnp.shape(p)) for p in jax.tree.leaves(params))
    return Memory(MappingProxyType(by_entry), MappingProxyType(sizes), parameters)


def _entry_name(path: KeyPath[Any], param_paths: set[KeyPath[Any]]) -> str:
    """Return the last name in a leaf's path, without the part that is the path of a parameter."""
    lengths = (n for n in range(len(path), 0, -1) if path[len(path) - n :] in param_paths)
    param_length = next(lengths, 0)
    for key in reversed(path[: len(path) - param_length]):
        for attribute in ("name", "key"):  # of a field, of a dictionary
            if isinstance(name := getattr(key, attribute, None), str):
                return name
    return jax.tree_util.keystr(path) or "state"


def _nbytes(leaf: Array | jax.ShapeDtypeStruct) -> int:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    return int(math.prod(leaf.shape)) * int(leaf.dtype.itemsize)


def format_bytes(size: int) -> str:
    """Return a number of bytes as text, to three digits, in powers of a thousand.

    >>> format_bytes(999), format_bytes(1500), format_bytes(56 * 10**9)
    ('999 B', '1.50 kB', '56.0 GB')
    """
    power = 0
    value = float(size)
    while value >= 999.5 and power < 6:
        value, power = value / 1000, power + 1
    if power == 0:
        return f"{size} B"
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {' kMGTPE'[power]}B"


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    """Return a row of the table: names aligned to the left, numbers to the right."""
    name, dtype, *numbers = (
        cell.ljust(w) if i < 2 else cell.rjust(w)
        for i, (cell, w) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([name, dtype, *numbers])
