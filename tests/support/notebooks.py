"""Runs notebooks from the top and writes them back: `python -m tests.support.notebooks NAME ...`.

Figures become PNGs of 256 colours, a third of the size and alike to the eye: a notebook with its
outputs stays small. Without names, all notebooks are run.
"""

import base64
import io
import os
import pathlib
import sys
import tempfile
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = pathlib.Path(__file__).parents[2] / "notebooks"
PNG = "image/png"


def executed(path: pathlib.Path) -> Any:
    """The notebook after it ran in a kernel of its own, with this package, on the CPU.

    It runs in an empty folder, as one does that a reader has downloaded.

    Raises:
        CellExecutionError: if a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    paths = [str(FOLDER.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"}
    with tempfile.TemporaryDirectory() as empty:
        resources = {"metadata": {"path": empty}}
        client = NotebookClient(notebook, timeout=300, record_timing=False, resources=resources)
        client.execute(env=env)
    return notebook


def small(png: str) -> str:
    """A figure, as notebooks hold it, in 256 colours."""
    figure = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    buffer = io.BytesIO()
    few = figure.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    few.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _main(names: list[str]) -> None:
    for path in [FOLDER / f"{name}.ipynb" for name in names] or sorted(FOLDER.glob("*.ipynb")):
        notebook = executed(path)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        for output in (output for cell in cells for output in cell.outputs):
            if PNG in output.get("data", {}):
                output.data[PNG] = small(output.data[PNG])
        nbformat.write(notebook, path)


if __name__ == "__main__":
    _main(sys.argv[1:])
