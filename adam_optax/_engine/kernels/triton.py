"""Build the kernel for GPUs: a tile of a few rows of one block for each program."""

from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu
from jax.ref import Ref

from adam_optax._engine.kernels.layout import Layout
from adam_optax._engine.kernels.pallas_call import Backend, KernelBody, unpacked
from adam_optax._engine.kernels.tile import Tile


def block(layout: Layout) -> tuple[int, int] | None:
    """Return the rows and columns of a tile: powers of two, so that no bound cuts a tile."""
    if layout.width & (layout.width - 1):
        return None
    rows = next(n for n in (8, 4, 2, 1) if layout.rows % n == 0)
    return rows, layout.width


def body(tile: Tile, layout: Layout, columns: int) -> KernelBody:
    """Return the work on one tile."""
    inputs = len(tile.read)

    def work(real: Ref, whole: Ref, *refs: Ref) -> None:
        carried, (row, column) = unpacked(tile, real, whole)
        place = row + pl.program_id(0) * tile.rows, column + pl.program_id(1) * columns
        done = tile.step([ref[...] for ref in refs[:inputs]], carried, place)
        for x, ref in zip(done, refs[inputs:], strict=True):
            ref[...] = x

    return work


BACKEND = Backend(block, body, pl.BlockSpec(), plgpu.CompilerParams(num_warps=4))
