"""The notebooks run as they are, each in a kernel of its own; they are committed with outputs."""

import importlib.util
import pathlib
from typing import Any

import nbformat
import pytest

from tests.notebooks import FOLDER, executed

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NEEDS = {"port-from-pytorch-and-keras": ("torch", "keras")}
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def _read(path: pathlib.Path) -> Any:
    return nbformat.read(path, as_version=4)


def _code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _size(notebook: Any) -> int:
    return sum(len(str(cell.outputs)) for cell in _code(notebook))


def _errors(notebook: Any) -> list[str]:
    """What cells say on stderr, warnings among it, and errors."""
    outputs = [output for cell in _code(notebook) for output in cell.outputs]
    return [str(o) for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]


@EACH
def test_it_can_be_read_without_running(path: pathlib.Path) -> None:
    notebook = _read(path)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in _code(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "run it from the top, once"
    assert any(cell.outputs for cell in _code(notebook))
    assert not _errors(notebook)
    assert _size(notebook) < 100_000


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the kernel's own
@EACH
def test_it_runs(path: pathlib.Path) -> None:
    for package in NEEDS.get(path.stem, ()):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{path.stem} needs {package}: pip install 'adam-optax[witness]'")
    assert not _errors(executed(path))
