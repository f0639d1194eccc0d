"""Measure one cost in a fresh process: `python -m benchmarks.costs_probes WHAT SIDE BEGAN`.

`benchmarks.costs` starts these processes. Each prints one line of JSON. Nothing but the standard
library is imported above, for imports are among what is measured.
"""

import json
import os
import pathlib
import re
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

OURS, XLA, PAIR = "adam_optax", "adam_optax, XLA alone", "adam_optax, pair()"
SIDES = {
    "JAX, SGD": "jax",
    "optax": "optax",
    OURS: "adam_optax",
    XLA: "adam_optax",
    PAIR: "adam_optax",
    "PyTorch, fused": "torch",
    "Keras on JAX": "keras",
}
"""Whose first step is measured, and the package that it imports. All but SGD are AdamW."""
LEAVES, SHAPE = 100, (100, 100)
ONE, TWICE = ((1024, 1024),), ((2048, 1024),)
MANY = (SHAPE,) * LEAVES
COPIES = 200
"""How often a hundred arrays are made to see what the process keeps for them."""


class Started(NamedTuple):
    """Hold what makes a side's first step: its compilation, and the step after it."""

    compile: Callable[[], None]
    step: Callable[[], None]


def started(side: str) -> Started:
    """Set a side up: a million parameters in a hundred leaves, their gradients, the state."""
    import numpy as np

    arrays = [np.full(SHAPE, 0.1, np.float32) for _ in range(LEAVES)]
    if side.startswith("PyTorch"):
        return _in_torch(arrays)
    return _in_keras(arrays) if side.startswith("Keras") else _in_jax(side, arrays)


def _in_jax(side: str, arrays: list[Any]) -> Started:
    import jax

    params, grads = ([jax.numpy.asarray(x) for x in arrays] for _ in range(2))
    state, step = _jax_step(side, params)
    ready: list[Any] = []

    def compile_it() -> None:
        lowered = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, grads)
        ready.append(lowered.compile())

    return Started(compile_it, lambda: jax.block_until_ready(ready[0](params, state, grads)))


def _jax_step(side: str, params: Any) -> tuple[Any, Callable[..., Any]]:
    import jax

    if side.startswith("JAX"):
        return (), lambda p, state, g: (jax.tree.map(lambda a, b: a - 1e-3 * b, p, g), state)
    if side == "optax":
        import optax

        theirs = optax.adamw(1e-3)

        def step(p: Any, state: Any, g: Any) -> Any:
            updates, state = theirs.update(g, state, p)
            return optax.apply_updates(p, updates), state

        return theirs.init(params), step
    import adam_optax as ao

    tx = ao.adamw(1e-3, storage=ao.storage.pair() if side == PAIR else None)

    def ours(p: Any, state: Any, g: Any) -> Any:
        with ao.cpu_loops("never" if side == XLA else "auto"):
            return ao.step(tx, g, state, p)

    return tx.init(params), ours


def _in_torch(arrays: list[Any]) -> Started:
    import torch

    params = [torch.nn.Parameter(torch.from_numpy(x.copy())) for x in arrays]
    for p, g in zip(params, arrays, strict=True):
        p.grad = torch.from_numpy(g)
    return Started(lambda: None, torch.optim.AdamW(params, lr=1e-3, fused=True).step)


def _in_keras(arrays: list[Any]) -> Started:
    import jax
    import keras

    variables = [keras.Variable(x) for x in arrays]
    optimizer = keras.optimizers.AdamW(1e-3)
    optimizer.build(variables)
    params = [v.value for v in variables]
    state = [v.value for v in optimizer.variables]
    grads = [jax.numpy.asarray(x) for x in arrays]
    step = jax.jit(lambda p, s, g: optimizer.stateless_apply(s, g, p))
    ready: list[Any] = []
    return Started(
        lambda: ready.append(step.lower(params, state, grads).compile()),
        lambda: jax.block_until_ready(ready[0](params, state, grads)),
    )


def first(side: str, began: float) -> dict[str, float]:
    """Measure the import of a side and its first step, from the start of this process.

    Seconds are CPU seconds of all threads, but for `wall`.

    Args:
        side: one of `SIDES`.
        began: when the process was asked for, by `time.time`.
    """
    before, start = set(sys.modules), time.process_time()
    __import__(SIDES[side])
    took = {"import": time.process_time() - start}
    took |= {"rss": peak(), "modules": len(set(sys.modules) - before)}
    made = started(side)
    start = time.process_time()
    made.compile()
    took["compile"] = time.process_time() - start
    made.step()
    return took | {"first": time.process_time(), "wall": time.time() - began}


def imported() -> dict[str, Any]:
    """Tell which modules this library brings beside those of jax and optax.

    Counts of JAX's own modules differ between versions and with plugins; those of this library do
    not, and neither do the names of other packages.
    """
    import optax  # noqa: F401

    before = set(sys.modules)
    import adam_optax  # noqa: F401

    tops = [name.partition(".")[0] for name in set(sys.modules) - before]
    known = {*sys.stdlib_module_names, "adam_optax"}
    return {"own": tops.count("adam_optax"), "packages": sorted({*tops} - known)}


def state_bytes(side: str) -> dict[str, dict[str, float]]:
    """Return the bytes of Adam's state by format: in one leaf, in twice as large a one, in many.

    With `arrays`, in how many arrays the state of many leaves is.
    """
    if SIDES[side] == "adam_optax":
        return {name: _sizes(tx) for name, tx in formats().items()}
    if side == "optax":
        import optax

        return {side: _sizes(optax.adam(1e-3))}
    count = _torch_bytes if side.startswith("PyTorch") else _keras_bytes
    return {side: {name: count(shapes) for name, shapes in LAYOUTS.items()}}


LAYOUTS = {"one": ONE, "twice": TWICE, "many": MANY}
"""Shapes of parameters, by the name of the layout."""


def formats() -> dict[str, Any]:
    """Return Adam in every format, by the call that makes the format."""
    import adam_optax as ao
    from tests.support.formats import FORMATS

    return {name: ao.adam(1e-3, storage=storage) for name, storage in FORMATS.items()}


def _sizes(tx: Any) -> dict[str, float]:
    import jax

    def state(shapes: Any) -> list[Any]:
        params = [jax.ShapeDtypeStruct(shape, "float32") for shape in shapes]
        return jax.tree.leaves(jax.eval_shape(tx.init, params))

    sizes = {
        name: float(sum(x.size * x.dtype.itemsize for x in state(shapes)))
        for name, shapes in LAYOUTS.items()
    }
    return sizes | {"arrays": len(state(MANY))}


def _torch_bytes(shapes: Any) -> float:
    import torch

    params = [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer = torch.optim.AdamW(params, lr=1e-3, fused=True)
    optimizer.step()
    tensors = [x for state in optimizer.state.values() for x in state.values()]
    return float(sum(x.numel() * x.element_size() for x in tensors))


def _keras_bytes(shapes: Any) -> float:
    import keras
    import numpy as np

    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build([keras.Variable(np.ones(shape, np.float32)) for shape in shapes])
    return float(sum(v.value.nbytes for v in optimizer.variables))


def overhead() -> float:
    """Return the bytes of this process that an array of one number takes, but for the number."""
    import jax

    make = jax.jit(lambda x: [x + i for i in range(LEAVES)])
    kept = [jax.block_until_ready(make(jax.numpy.float32(0))) for _ in range(20)]
    before = now()
    kept += [jax.block_until_ready(make(jax.numpy.float32(1))) for _ in range(COPIES)]
    return (now() - before) / (COPIES * LEAVES) - 4


def operations() -> dict[str, int]:
    """Count StableHLO's operations in the lowered step of a hundred leaves, by XLA alone."""
    import jax

    import adam_optax as ao

    params = [jax.ShapeDtypeStruct(SHAPE, "float32")] * LEAVES
    pair, halves = ao.storage.pair(), ao.storage.stochastic()
    found: dict[str, int] = {}
    for name, storage in {"float32": None, "stochastic()": halves, "pair()": pair}.items():
        tx = ao.adamw(1e-3, storage=storage)
        with ao.cpu_loops("never"):
            step = jax.jit(lambda p, s, g, tx=tx: ao.step(tx, g, s, p))
            text = step.lower(params, jax.eval_shape(tx.init, params), params).as_text()
        found[name] = len(re.findall(r"^\s+%\S+ = ", text, re.MULTILINE))
    state, theirs = _jax_step("optax", [jax.numpy.zeros(SHAPE)] * LEAVES)
    text = jax.jit(theirs).lower(params, state, params).as_text()
    return found | {"optax": len(re.findall(r"^\s+%\S+ = ", text, re.MULTILINE))}


def peak() -> float:
    """Return the peak memory of this process in bytes.

    `getrusage` would count the parent's before the process became this one.
    """
    return _status("VmHWM")


def now() -> float:
    """Return the memory of this process in bytes."""
    return _status("VmRSS")


def _status(field: str) -> float:
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    found = re.search(rf"^{field}:\s+(\d+) kB", status.read_text(), re.MULTILINE)
    return float(found[1]) * 1024 if found else float("nan")


def main() -> None:
    """Measure what is asked, and print it as a line of JSON."""
    what, side, began = sys.argv[1], sys.argv[2], float(sys.argv[3])
    printed = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a package prints is no answer
    kinds: dict[str, Callable[[], Any]] = {
        "first": lambda: first(side, began),
        "imported": imported,
        "state": lambda: state_bytes(side),
        "overhead": overhead,
        "operations": operations,
    }
    print(json.dumps(kinds[what]()), file=printed, flush=True)


if __name__ == "__main__":
    main()
