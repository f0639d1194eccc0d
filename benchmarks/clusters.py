"""Compile Adam's step for clusters that need not be there: `python -m benchmarks.clusters`.

    python -m benchmarks.clusters --minutes 30                   # goes on where it stopped
    python -m benchmarks.clusters --minutes 5 --only '70 B/h100' # of the cells that match
    python -m benchmarks.clusters                                # only the table and the figure

The steps are AdamW's, of language models of 7.5 to 663 billion parameters on 16 to 4,096 chips.
Each is one line of `benchmarks/clusters.csv`, written when it is compiled; what is there already is
not compiled again. At the end the table in `docs/measured/clusters.md` and the figure beside it are
made anew. Compiling needs the extra `aot`, the figure the extra `lab`, and none an accelerator.
A step that took too long or failed has a line, too: delete it to try again.

A step is compiled in another process, which is stopped where it takes longer than the limit. A
model whose parameters, gradients and state are larger than the chips' memory is not compiled.
"""

import argparse
import importlib.metadata
import math
import multiprocessing
import multiprocessing.connection
import re
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import adam_optax as ao
from adam_optax.aot import facts, targets
from benchmarks import cluster_results as results
from benchmarks.cluster_cells import (
    FORMATS,
    MEMORY,
    MODELS,
    STEP,
    Cell,
    Shapes,
    cells,
    fitted,
    mesh,
    spec,
    state_layout,
)
from benchmarks.cluster_results import FAILED, NO_ROOM, SLOW, Result

Pipe: TypeAlias = "multiprocessing.connection.Connection[Any, Any]"

jax.config.update("jax_platforms", "cpu")  # accelerators are compiled for, not used


def placed(cell: Cell) -> tuple[Any, Any, Any, Any]:
    """Return the shapes of parameters and state where they are, and two trees of shardings.

    The first tree is where the parameters are between steps, the second where their moments are,
    and where the step is computed.
    """
    over, params = mesh(cell.layout, cell.accelerator, cell.chips), MODELS[cell.model]
    at = _shardings(cell.layout, params, over)
    moments = _shardings(state_layout(cell.layout), params, over)
    state = jax.eval_shape(optimizer(cell).init, params)

    def of_moment(path: Any, x: Any) -> Any:
        names = [getattr(key, "key", None) for key in path]
        given = next((moments[n].spec for n in names if n in moments), PartitionSpec())
        sizes = dict(over.shape)
        sharding = NamedSharding(over, fitted(given, x.shape, sizes))
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    here = {n: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at[n]) for n, x in params.items()}
    return here, jax.tree_util.tree_map_with_path(of_moment, state), at, moments


def _shardings(layout: str, params: Shapes, over: Mesh) -> dict[str, NamedSharding]:
    sizes = dict(over.shape)
    return {n: NamedSharding(over, spec(layout, n, x.shape, sizes)) for n, x in params.items()}


def optimizer(cell: Cell) -> optax.GradientTransformation:
    """Return AdamW in the cell's format."""
    return ao.adamw(1e-4, storage=FORMATS[cell.storage])


def on_a_chip(tree: Any) -> int:
    """Count the bytes of a tree of shapes on one chip."""
    return sum(
        math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree)
    )


def measure(cell: Cell) -> Result:
    """Compile a cell's step, or say why there is none."""
    params, state, at, moments = placed(cell)
    kept, given = on_a_chip(state), on_a_chip((params, params, state))
    if given > (room := MEMORY[cell.accelerator]):
        needed = f"{results.size(given)} of arguments, {results.size(room)} of memory"
        return Result(NO_ROOM, needed, kept, given)
    where = jax.tree.map(lambda x: x.sharding, state)
    begun = time.perf_counter()
    try:
        compiled = compile_step(cell, params, state, at, moments, where)
    except jax.errors.JaxRuntimeError as error:
        short = " ".join(str(error).split())[:200]
        outcome = NO_ROOM if "RESOURCE_EXHAUSTED" in short else FAILED
        return Result(outcome, short, kept, given, versions=versions(cell))
    seconds = round(time.perf_counter() - begun, 1)
    total = sum(math.prod(x.shape) for x in jax.tree.leaves(params))
    found = facts(compiled, total, cell.chips)
    in_all = given + found.scratch + found.copied
    return Result(
        NO_ROOM if in_all > room else results.COMPILED,
        f"{results.size(in_all)} in all" if in_all > room else "",
        kept,
        given,
        moved=round(found.moved * total / cell.chips),
        moved_each=round(found.moved, 3),
        collectives="; ".join(f"{kind} {n}" for kind, n in sorted(found.collectives.items())),
        received=round(sum(found.received.values())),
        scratch=found.scratch,
        copied=found.copied,
        kernels=found.kernels,
        seconds=seconds,
        versions=versions(cell),
    )


def compile_step(
    cell: Cell, params: Any, state: Any, at: Any, moments: Any, where: Any
) -> jax.stages.Compiled:
    """Compile the step of a cell; `at`, `moments` and `where` are as in `placed`."""
    tx = optimizer(cell)

    def step(params: Any, state: Any, grads: Any) -> Any:
        if at != moments:  # ZeRO-1, as docs/how_to/sharding.md has it
            grads, params = jax.lax.with_sharding_constraint((grads, params), (moments, moments))
        if cell.way == STEP:
            return ao.step(tx, grads, state, params, shardings=moments)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    jitted = jax.jit(step, donate_argnums=(0, 1), out_shardings=(at, where))
    platform = targets.platform(cell.accelerator)
    with warnings.catch_warnings(), jax.numpy_dtype_promotion("standard"):  # optax needs it
        warnings.filterwarnings("ignore", "Some donated buffers were not usable")
        traced = jitted.trace(params, state, params)
        compiled: jax.stages.Compiled = traced.lower(lowering_platforms=(platform,)).compile()
    return compiled


def versions(cell: Cell) -> str:
    """Return the versions of jax and of the compiler that a cell needs."""
    compiler = "libtpu" if cell.accelerator in targets.TPUS else "jax-cuda13-pjrt"
    return f"jax {jax.__version__}, {compiler} {importlib.metadata.version(compiler)}"


def work(pipe: Pipe) -> None:
    """Measure each cell that the pipe brings, in a process of its own."""
    jax.config.update("jax_enable_compilation_cache", False)  # seconds are those of compiling
    while (cell := pipe.recv()) is not None:
        try:
            result = measure(cell)
        except Exception as error:
            short = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            result = Result(FAILED, short)
        pipe.send(result)


class Compiler:
    """Measure cells in another process, which is stopped where it takes too long."""

    def __init__(self, limit: float, work: Callable[[Pipe], None] = work) -> None:
        self.limit, self._work = limit, work
        self._start()

    def _start(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=self._work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def measure(self, cell: Cell) -> Result:
        """Return the cell's result; a process that crashes or is stopped is started anew."""
        self._pipe.send(cell)
        try:
            if self._pipe.poll(self.limit):
                found: Result = self._pipe.recv()
                return found
            result = Result(SLOW, f"over {self.limit:g} s")
        except EOFError:
            self._process.join()
            result = Result(FAILED, f"the compiler ended with {self._process.exitcode}")
        self.stop()
        self._start()
        return result

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _asked(given: argparse.Namespace) -> tuple[results.Results, list[Cell]]:
    """Return what is known, and the cells to compile: none without minutes.

    Raises:
        ValueError: if an argument cannot be meant, the file is damaged, or a compiler is missing.
    """
    if not given.minutes >= 0:
        raise ValueError(f"--minutes must be 0 or more, not {given.minutes:g}")
    if not given.limit > 0:
        raise ValueError(f"--limit must be positive, not {given.limit:g}")
    if given.only and not given.minutes:
        raise ValueError("--only says what to compile: write --minutes, too")
    try:
        matching = results.missing({}, given.only)
    except re.error as error:
        raise ValueError(f"--only {given.only!r} is no regular expression: {error}") from error
    if not matching:
        raise ValueError(f"--only {given.only!r} matches no cell, such as {cells()[0]}")
    found = results.read()
    left = [cell for cell in matching if cell not in found] if given.minutes else []
    kinds = dict.fromkeys(cell.accelerator for cell in left)
    if absent := sorted({name for kind in kinds for name in targets.missing(kind)}):
        raise ValueError(f"{', '.join(absent)} is not installed: {targets.INSTALL}")
    return found, left


def main(arguments: list[str] | None = None) -> None:
    """Compile for so many minutes, then make the table and the figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=0.0, help="how long to compile")
    parser.add_argument("--only", default="", metavar="REGEX", help="of the cells that match")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for a cell")
    given = parser.parse_args(arguments)
    try:
        found, left = _asked(given)
    except ValueError as error:
        parser.error(str(error))
    end = time.monotonic() + 60 * given.minutes
    if left:
        compiler = Compiler(given.limit)
        for cell in left:
            if time.monotonic() >= end:
                break
            found[cell] = compiler.measure(cell)
            results.append(cell, found[cell])
            print(cell, *found[cell], flush=True)
        compiler.stop()
    results.write_page(found)
    results.draw(found)
    print(results.summary(found))


if __name__ == "__main__":
    main()
