"""List the steps that `benchmarks.clusters` compiles: models, clusters, shardings, formats.

A step is a cell of a table of six axes. Each axis begins with what tells most, and the cells that
differ least from the first ones are compiled first.
"""

import functools
import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

import adam_optax as ao
from adam_optax.aot import targets
from benchmarks.sharded_bytes import MODELS as DENSE
from benchmarks.sharded_bytes import Model

Shapes = dict[str, jax.ShapeDtypeStruct]
Axis = str | tuple[str, ...] | None
"""What an axis of an array is spread over: an axis of the mesh, several, or nothing."""

LARGEST = Model(126, 16384, 53248, 1024, 128256)
EXPERTS, OF_EXPERTS = 256, Model(58, 7168, 2048, 1024, 129280)


def _with_experts(model: Model, count: int) -> Shapes:
    """Return the parameters of a model each of whose layers has so many feed-forward networks."""
    shapes = model.shapes()
    for name in ("gate", "up", "down"):
        layers, *matrix = shapes[name].shape
        shapes[name] = jax.ShapeDtypeStruct((layers, count, *matrix), jnp.float32)
    return shapes


MODELS: dict[str, Shapes] = {
    **{name: model.shapes() for name, model in DENSE.items()},
    "405 B": LARGEST.shapes(),
    "663 B, 256 experts": _with_experts(OF_EXPERTS, EXPERTS),
}
"""Shapes of language models whose layers are stacked for a scan."""
CHIPS = (256, 1024, 16, 4096)
SLICES: dict[str, dict[int, tuple[str, int]]] = {
    "v5p": {256: ("8x8x4", 1), 1024: ("8x8x16", 1), 16: ("2x2x4", 1), 4096: ("16x16x16", 1)},
    "h100": {256: ("", 32), 1024: ("", 128), 16: ("", 2)},
    "v6e": {256: ("16x16", 1), 1024: ("16x16", 4), 16: ("4x4", 1), 4096: ("16x16", 16)},
    "v5e": {256: ("16x16", 1), 1024: ("16x16", 4), 16: ("4x4", 1), 4096: ("16x16", 16)},
}
"""For each number of chips the shape and number of slices of TPUs, or the number of nodes."""
GIB = 2**30
MEMORY = {"v5p": 95 * GIB, "h100": 80 * GIB, "v6e": 32 * GIB, "v5e": 16 * GIB}
"""Bytes of memory of a chip, from the data sheets."""
FSDP, BOTH, ZERO, ZERO_WHOLE = "FSDP", "FSDP + tensor", "ZeRO-1 + tensor", "ZeRO-1"
PARALLEL, EXPERT = "tensor", "experts + FSDP"
LAYOUTS = (FSDP, EXPERT, BOTH, ZERO, ZERO_WHOLE, PARALLEL)
"""How a model is spread; see `axes` and `spec`."""
FORMATS = {
    "float32": None,
    "stochastic()": ao.storage.stochastic(),
    "pair()": ao.storage.pair(),
    "pair(1, block=128)": ao.storage.pair(1, block=128),
}
STEP, UPDATE = "ao.step", "update"
WAYS = (STEP, UPDATE)
POD = 256
"""Chips of the first axis of a mesh: rows of matrices divide by it more often than by 1,024."""


class Cell(NamedTuple):
    """Hold what a step is of: a place in the table, as text."""

    model: str
    accelerator: str
    chips: int
    layout: str
    storage: str
    way: str

    def __str__(self) -> str:
        """Return the cell as `--only` reads it."""
        return "/".join(map(str, self))


def cells() -> list[Cell]:
    """Return all cells, the most telling ones first.

    The order is that of the number of ways in which a cell differs from the first of each axis,
    where models and formats count as alike, and so do 256 and 1,024 chips.
    """
    found = [
        Cell(*axes)
        for axes in itertools.product(MODELS, SLICES, CHIPS, LAYOUTS, FORMATS, WAYS)
        if axes[2] in SLICES[axes[1]] and (axes[3] == EXPERT) == ("experts" in axes[0])
    ]
    return sorted(found, key=_distance)  # stable: alike cells stay in the axes' order


def _distance(cell: Cell) -> int:
    """Count how far a cell is from the most telling ones."""
    far_chips = CHIPS.index(cell.chips) // 2
    layout = LAYOUTS.index(cell.layout)
    return list(SLICES).index(cell.accelerator) + far_chips + layout + 3 * (cell.way != STEP)


def axes(layout: str, accelerator: str, chips: int) -> dict[str, int]:
    """Return the axes of the mesh, with their sizes: `model` is a node of GPUs, or 16 TPUs.

    FSDP spreads over `data` and `rest`; experts are spread over `data`.
    """
    if layout in (FSDP, ZERO_WHOLE, EXPERT):
        return {"data": min(chips, POD), "rest": chips // min(chips, POD)}
    node = 8 if accelerator == "h100" else 16
    return {"data": chips // node, "model": node}


@functools.cache
def mesh(layout: str, accelerator: str, chips: int) -> Mesh:
    """Return the mesh, of chips that need not be there."""
    shape, count = SLICES[accelerator][chips]
    if accelerator == "h100":
        found = targets.nodes(accelerator, count)
    else:
        found = targets.topology(f"{accelerator}:{shape}", slices=count)
    sizes = axes(layout, accelerator, chips)
    return Mesh(np.array(found).reshape(tuple(sizes.values())), tuple(sizes))


def spec(layout: str, name: str, shape: tuple[int, ...], sizes: Mapping[str, int]) -> PartitionSpec:
    """Return where a parameter is, or its gradient; `state_layout` says where its moments are.

    Args:
        layout: One of `LAYOUTS`.
        name: The parameter's name, as `Model.shapes` has it.
        shape: Its shape.
        sizes: The mesh's axes with their sizes. An axis of size 1 is left out.
    """
    if layout == ZERO_WHOLE:
        return PartitionSpec()
    over: list[list[str]] = [[] for _ in shape]
    rows, columns = (over[-1] if name == "norms" else over[-2]), over[-1]
    wide: list[str] = [axis for axis in ("data", "rest") if axis in sizes]
    if layout == EXPERT and len(shape) == 4:
        over[1].append(wide.pop(0))
    if "model" in sizes and name != "norms":
        by_rows = name in ("out", "down", "embed", "head")
        (rows if by_rows else columns).append("model")
    for axis in wide if layout not in (PARALLEL, ZERO) else ():
        near, far = (len(shape) - (1 if name == "norms" else 2)), len(shape) - 1
        taken = math.prod(sizes[a] for a in over[near])
        place = near if shape[near] % (taken * sizes[axis]) == 0 else far
        over[place].append(axis)
    return fitted(PartitionSpec(*map(_axis, over)), shape, sizes)


def _axis(names: list[str]) -> Axis:
    return None if not names else names[0] if len(names) == 1 else tuple(names)


def fitted(given: PartitionSpec, shape: tuple[int, ...], sizes: Mapping[str, int]) -> PartitionSpec:
    """Return a parameter's spec for an array of another shape, as units of blocks have it.

    An axis of the array that the mesh's axes do not divide is whole on every chip.
    """
    kept: list[Axis] = []
    for size, entry in zip(shape, given, strict=False):
        names = [a for a in _names(entry) if sizes[a] > 1]
        parts = math.prod(sizes[a] for a in names)
        kept.append(_axis(names) if size % parts == 0 else None)
    return PartitionSpec(*kept)


def _names(entry: Axis) -> tuple[str, ...]:
    return () if entry is None else (entry,) if isinstance(entry, str) else entry


def state_layout(layout: str) -> str:
    """Return how the moments are spread: as parameters are, but for ZeRO-1."""
    return {ZERO: BOTH, ZERO_WHOLE: FSDP}.get(layout, layout)
