"""Build the kernel for Hopper and later GPUs by Mosaic: a warpgroup works on one block at a time.

It is for a JAX from which Triton is gone. All arrays of a tile, what a block shares too, are
vectors of the block's width: a reduction's result, which Mosaic gives as a scalar, is spread at
once, and every thread computes with it what the block shares.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu
from jax.extend.core import JaxprEqn
from jax.ref import Ref

from adam_optax._engine.kernels.backends import Backend
from adam_optax._engine.kernels.layout import LANES, SHARED, Block, Layout, Place
from adam_optax._engine.kernels.pallas_call import packed, unpacked
from adam_optax._engine.kernels.tile import FlatStep, Special, shape_of, traced

ROWS = (8, 4, 2, 1)
"""How many rows one program may work off, one after the other."""
REDUCTIONS: dict[str, Callable[[Array], Array]] = {
    "reduce_max": jnp.max,
    "reduce_min": jnp.min,
    "reduce_sum": jnp.sum,
}
plgpu: Any = mosaic_gpu  # whose functions have other arguments in each version
RESHAPES = ("broadcast_in_dim", "expand_dims", "reshape", "squeeze")

if jax.__version_info__ < (0, 12):
    raise ImportError(f"Mosaic for GPUs of jax {jax.__version__} lacks a square root")


def block(layout: Layout) -> Block:
    """Return one row of one block."""
    return Block(1, layout.width)


def fits(layout: Layout, device: jax.Device | None) -> bool:
    """Tell whether a GPU is of the Hopper generation or later."""
    del layout
    major, _, _ = str(getattr(device, "compute_capability", "0")).partition(".")
    return int(major) >= 9


def run(
    step: FlatStep,
    layout: Layout,
    arrays: Sequence[Array],
    place: Place,
    aliases: Mapping[int, int],
    interpret: bool = False,
) -> list[Array]:
    """Return the results of a step, as `pallas_step` does."""
    tile = traced(step, layout, 1)
    carried = tile.scalars([x for x in arrays if x.ndim == 0])
    views = [arrays[i].reshape(layout.flat(layout.roles[i])) for i in tile.read]
    results = list(zip(layout.out_roles, layout.out_dtypes, strict=True))
    written = {o: tile.read.index(i) for i, o in aliases.items()}
    apart = [o for o in range(len(results)) if o not in written]
    refs = [jax.new_ref(x) if k in written.values() else x for k, x in enumerate(views)]
    rows = next(n for n in ROWS if layout.rows % n == 0)

    def body(real: Ref, whole: Ref, *rest: Ref) -> None:
        inputs, new = rest[: len(refs)], dict(zip(apart, rest[len(refs) :], strict=True))
        outputs = [new[o] if o in new else inputs[written[o]] for o in range(len(results))]
        known, here = unpacked(tile, place, real, whole)
        column = lax.axis_index("columns") * layout.width
        these = pl.ds(column, layout.width)

        def one(i: Array, _: int) -> int:
            row = lax.axis_index("rows") * rows + i
            found = [
                _spread(ref[row, lax.axis_index("columns")], layout.width)
                if layout.roles[k] == SHARED
                else plgpu.load(ref.at[row, these], layout=_threads(layout.width))
                for ref, k in zip(inputs, tile.read, strict=True)
            ]
            done = tile.step(found, known, here.of(row, column), _on_vectors(layout.width))
            for x, ref, role in zip(done, outputs, layout.out_roles, strict=True):
                if role == SHARED:
                    ref[row, lax.axis_index("columns")] = _single(x)
                else:
                    ref[row, these] = x
            return 0

        lax.fori_loop(0, rows, one, 0)

    kinds = [jax.ShapeDtypeStruct(layout.flat(r), d) for r, d in (results[o] for o in apart)]
    done = plgpu.kernel(
        body,
        out_type=kinds,
        grid=(layout.rows // rows, layout.columns // layout.width),
        grid_names=("rows", "columns"),
        interpret=plgpu.InterpretGPUParams() if interpret else None,
    )(*packed([*carried, *place.start]), *refs)
    new = dict(zip(apart, done, strict=True))
    flat = [new[o] if o in new else refs[written[o]][...] for o in range(len(results))]
    return [x.reshape(layout.full_shape(role)) for x, (role, _) in zip(flat, results, strict=True)]


def _threads(width: int) -> Any:
    """Return how a vector is laid out over the threads of a warpgroup."""
    return plgpu.Layout.WG_STRIDED((width,), vec_size=width // LANES)


def _spread(x: Array, width: int) -> Array:
    """Return a vector of one number."""
    vector: Array = plgpu.layout_cast(jnp.broadcast_to(x, (width,)), _threads(width))
    return vector


def _single(x: Array) -> Array:
    """Return the number of which all elements of a vector are."""
    wide = jnp.float32 if jnp.issubdtype(x.dtype, jnp.floating) else jnp.int32
    return jnp.max(x.astype(wide)).astype(x.dtype)


def _on_vectors(width: int) -> Special:
    """Return the evaluation of the equations that are others on vectors, or unknown to Mosaic."""

    def evaluate(equation: JaxprEqn, values: Sequence[Array]) -> list[Array] | None:
        name, shape = equation.primitive.name, shape_of(equation.outvars[0])
        if name in RESHAPES:
            (x,) = values
            return [_spread(x, width) if shape and not x.ndim else x]
        if name in REDUCTIONS:
            (x,) = values
            mixed = shape_of(equation.invars[0])[-1] == width
            return [_spread(REDUCTIONS[name](x), width) if mixed else x]
        if name == "iota":
            dtype, axis = equation.params["dtype"], equation.params["dimension"]
            if shape[axis] == width:
                return [plgpu.broadcasted_iota(dtype, (width,), 0, layout=_threads(width))]
            return [_spread(jnp.zeros((), dtype), width)]
        if name == "floor":
            (x,) = values
            cut = x.astype(jnp.int32).astype(x.dtype)  # codes and steps are small
            return [jnp.where(cut > x, cut - 1, cut)]
        return None

    return evaluate


BACKEND = Backend(block, run, fits)
