"""Build the kernel for GPUs: a tile of a few rows of one block for each program."""

import contextlib
import functools as ft
import warnings
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu
from jax.ref import Ref

from adam_optax._engine.kernels.backends import Backend
from adam_optax._engine.kernels.layout import Block, Layout, Place
from adam_optax._engine.kernels.pallas_call import Flavour, KernelBody, pallas_step, unpacked
from adam_optax._engine.kernels.tile import Tile


def block(layout: Layout) -> Block | None:
    """Return the rows and columns of a tile: powers of two, so that no bound cuts a tile.

    Rows are neighbours in the whole leaf, too: a tile's dither begins at one place.
    """
    if layout.width & (layout.width - 1):
        return None
    rows = next(n for n in (8, 4, 2, 1) if layout.successive % n == 0)
    return Block(rows, layout.width)


def body(tile: Tile, layout: Layout, block: Block, place: Place) -> KernelBody:
    """Return the work on one tile."""
    inputs = len(tile.read)

    def work(real: Ref, whole: Ref, *refs: Ref) -> None:
        carried, here = unpacked(tile, place, real, whole)
        first = here.of(pl.program_id(0) * tile.rows, pl.program_id(1) * block.columns)
        done = tile.step([ref[...] for ref in refs[:inputs]], carried, first)
        for x, ref in zip(done, refs[inputs:], strict=True):
            ref[...] = x

    return work


def fits(layout: Layout, device: jax.Device | None) -> bool:
    """Tell whether a GPU has the eight-bit floats that a kernel casts, if it casts any.

    On others Triton ends the process. Where no GPU is here, jax 0.10.0 takes the target for one.
    """
    if jnp.dtype(jnp.float8_e4m3fn) not in (*layout.dtypes, *layout.out_dtypes):
        return True
    known = str(getattr(device, "compute_capability", "0.0")).split(".")
    told = jax.default_backend() == "gpu" or jax.__version_info__ > (0, 10, 0)
    return told and tuple(map(int, known)) >= (8, 9)


@contextlib.contextmanager
def lowering() -> Iterator[None]:
    """Lower kernels without the warning that they are deprecated, and where no GPU is seen, too.

    The warning, from jax 0.11 on, is to be heeded here and not by users. Since then lowering asks
    for the GPU; where the program is for another machine's, it is told one that has all that
    `fits` asks for.
    """
    mesh = jax.sharding.get_abstract_mesh()
    asks = jax.__version_info__ >= (0, 11) and jax.default_backend() != "gpu"
    if asks and mesh.abstract_device is None:
        gpu = jax.sharding.AbstractDevice("NVIDIA H100", num_cores=None, platform="gpu")
        mesh = mesh.update(abstract_device=gpu)
    with warnings.catch_warnings(), jax.sharding.use_abstract_mesh(mesh):
        warnings.filterwarnings("ignore", "The Pallas Triton backend is deprecated")
        yield


FLAVOUR = Flavour(block, body, pl.BlockSpec(), plgpu.CompilerParams(num_warps=4))
BACKEND = Backend(block, ft.partial(pallas_step, FLAVOUR), fits, lowering)
