"""Write the files, folders and modules that hostile command lines name."""

import gzip
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp

import adam_optax as ao
from adam_optax.lab._problems.mnist import MNIST_FILES
from tests.lab.idx_files import write_mnist

MODULES = {
    "hostile_code": """
import functools, sys
import flax.linen as nn
import jax, jax.numpy as jnp, numpy as np
from adam_optax.lab import MLP, Data, Problem

def load(place):
    x = np.ones((20, 3), np.float32)
    return Data(x, np.zeros(20, np.int32), x, np.zeros(20, np.int32))

class Odd(BaseException):
    def __str__(self): raise ValueError

def fails(*_): raise OSError("no " * 3000)
def exits(*_): sys.exit(7)
def odd(*_): raise Odd
def deep(*_): return deep()
nothing = lambda: None
number = 3
model = functools.partial(MLP, (2,), 2)
plain = dict(name="tiny", description="", load=load, model=model, batch_size=8, epochs=1,
    target_loss=0.1, learning_rate=1e-2)
make = lambda **changes: Problem(**{**plain, **changes})
tiny = make
outside = lambda: make(name="../../outside")
nameless = lambda: make(name="")
batches = lambda: make(batch_size="8")
epochs = lambda: make(epochs=0)
rates = lambda: make(learning_rate=float("nan"))
unloaded = lambda: make(load=fails)
exiting = lambda: make(load=exits)
no_data = lambda: make(load=nothing)
none = lambda: make(load=lambda _: None)
ragged = lambda: make(load=lambda _: Data(np.ones((3, 2)), np.zeros(2), np.ones((3, 2)), None))
no_model = lambda: make(model=fails)
no_module = lambda: make(model=lambda: 3)
no_loss = lambda: make(losses=fails)
shapes = lambda: {"w": jax.ShapeDtypeStruct((64, 128), "float32"), "b": jnp.zeros(128)}
huge = lambda: {"w": jax.ShapeDtypeStruct((2**40, 2**20), "float32")}
empty = dict
whole = lambda: jnp.zeros(3, "int32")
text = lambda: "no tree"
""",
    "hostile_raises": "raise RuntimeError('at import')",
    "hostile_exits": "import sys; sys.exit(3)",
    "hostile_syntax": "def (",
    "hostile_nul": "a = '\0'",
    "hostile_loop": "import hostile_loop.deeper",
}
"""Modules of a user's own by name."""

FUNCTIONS = sorted(
    line.split()[1].split("(")[0] if line.startswith("def ") else line.split(" = ")[0]
    for line in MODULES["hostile_code"].splitlines()
    if line.startswith("def ") or (" = " in line and not line.startswith(" "))
)

_ZEROS = 1 << 26
_DATA = (*MNIST_FILES, "data_batch_1.bin", "test_batch.bin", "all.txt", "reviews.csv")
_HOSTILE_IDX = struct.pack(">HBB4I", 0, 8, 4, 0, 2**32 - 1, 2**32 - 1, 2**32 - 1)


def write_all(folder: Path) -> list[str]:
    """Write everything into a folder, and return the paths to name, relative to the folder."""
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text)
    for name in ("fifo", "fifo.pt", "fifo.keras", "fifo.safetensors", "fifo.json"):
        os.mkfifo(folder / name)
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    for name in ("text.txt", "text.pt", "text.keras", "text.h5", "text.safetensors", "text.json"):
        (folder / name).write_text("not what it should be")
    state = ao.adam(1e-3).init({"w": jnp.zeros((2, 3))})
    ao.convert.save(folder / "state.safetensors", state)
    (folder / "names.json").write_text(json.dumps({"fc.weight": ["w", [1, 0]]}))
    _write_data(folder)
    _write_checkpoints(folder)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def _write_data(folder: Path) -> None:
    zeros = gzip.compress(bytes(_ZEROS), compresslevel=1)
    table = gzip.compress(b"text,label\n" + b"x,y\n" * (_ZEROS >> 4), compresslevel=1)
    fill: dict[str, Callable[[Path], object]] = {
        "fifos": os.mkfifo,
        "devices": lambda path: path.symlink_to("/dev/zero"),
        "bombs": lambda path: path.write_bytes(table if path.suffix == ".csv" else zeros),
        "shapes": lambda path: path.write_bytes(_HOSTILE_IDX),
        "empty": lambda path: path.touch(),
        "folders": lambda path: path.mkdir(),
        "loops": lambda path: path.symlink_to(path.name),
    }
    for name, write in fill.items():
        (folder / name).mkdir()
        for file in _DATA:
            write(folder / name / file)
    (folder / "mnist").mkdir()
    write_mnist(folder / "mnist")


def _write_checkpoints(folder: Path) -> None:
    for name in ("checkpoint_garbage", "checkpoint_fifo"):
        (folder / name).mkdir()
        for file in ("_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt"):
            if name.endswith("fifo"):
                os.mkfifo(folder / name / file)
            else:
                (folder / name / file).write_text('{"tree_metadata": [' * 1000)
