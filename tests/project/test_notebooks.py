"""The notebooks run as they are, each in a kernel of its own; they are committed with outputs."""

import base64
import importlib.util
import io
import pathlib
from typing import Any

import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure
from nbclient.exceptions import CellExecutionError
from PIL import Image

from tests.support.notebooks import FOLDER, executed, small

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NEEDS = {"port-from-pytorch-and-keras": ("torch", "keras")}
MOST_CHARACTERS = 250_000
"""Of outputs: half a dozen figures of 1,000 pixels, so that a page loads in a second."""
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
    assert _size(notebook) < MOST_CHARACTERS


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the kernel's own
@EACH
def test_it_runs(path: pathlib.Path) -> None:
    for package in NEEDS.get(path.stem, ()):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{path.stem} needs {package}: pip install 'adam-optax[witness]'")
    assert not _errors(executed(path))


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_claim_that_is_not_true_fails(tmp_path: pathlib.Path) -> None:
    cell = nbformat.v4.new_code_cell("import adam_optax as ao\nassert ao.__version__ == 'wrong'")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "wrong.ipynb")
    with pytest.raises(CellExecutionError, match="AssertionError"):
        executed(tmp_path / "wrong.ipynb")


@pytest.mark.quick
def test_a_figure_gets_smaller_and_looks_the_same() -> None:
    figure = Figure(dpi=80)
    axes = figure.add_subplot()
    for phase in range(5):
        axes.plot(np.sin(np.arange(500) / 40 + phase), label=f"{phase}")
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    png = base64.b64encode(buffer.getvalue()).decode()
    assert len(small(png)) < 0.6 * len(png)
    one, other = (np.asarray(_picture(text), "int64") for text in (png, small(png)))
    # Edges of lines, of which there are more shades than colours, are off by some of 255.
    assert np.abs(one - other).max() < 40


def _picture(png: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
