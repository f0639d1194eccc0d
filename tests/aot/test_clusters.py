"""Compile a step for a cluster anew, and compare it with the file of `benchmarks.clusters`."""

import pytest

from adam_optax.aot import targets
from benchmarks import cluster_results as results
from benchmarks import clusters
from benchmarks.cluster_cells import FSDP, PARALLEL, Cell

CELLS = [
    Cell("7.5 B", "v5p", 256, FSDP, "float32", "ao.step"),
    Cell("7.5 B", "h100", 256, FSDP, "pair()", "ao.step"),
]


@pytest.mark.heavy
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_step_is_as_the_file_says(cell: Cell) -> None:
    if absent := targets.missing(cell.accelerator):
        pytest.skip(f"{targets.INSTALL} ({', '.join(absent)})")
    kept, found = results.read()[cell], clusters.measure(cell)
    assert (found.outcome, found.state, found.arguments) == kept[:1] + kept[2:4]
    assert found.collectives == kept.collectives == ""
    # Versions of the compiler differ in the bytes of a step's scalars, and in what stays on a chip.
    assert found.moved == pytest.approx(kept.moved, rel=0.01)
    assert found.copied < 1024


@pytest.mark.heavy
def test_what_does_not_fit_is_not_compiled() -> None:
    if absent := targets.missing("v5p"):
        pytest.skip(f"{targets.INSTALL} ({', '.join(absent)})")
    found = clusters.measure(Cell("405 B", "v5p", 16, PARALLEL, "float32", "ao.step"))
    assert found.outcome == results.NO_ROOM
    assert found.reason == "406 GB of arguments, 102 GB of memory"
    assert found.seconds == 0
