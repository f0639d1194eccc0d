"""Compare steps with those of the CPU and of float64, and kernels with XLA's plain step."""

import concurrent.futures
import contextlib
import functools
import re
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

import adam_optax as ao
from adam_optax._engine.kernels import primitive
from adam_optax._engine.leaf import compile_leaf_step
from benchmarks.contenders import formats
from benchmarks.gpu.case import Case, Measured, Part, Setup, need
from benchmarks.gpu.timing import compiled
from tests.support import cases as adams
from tests.support import family, oracle
from tests.support.formats import FORMATS

KERNELS = (
    "pair()",
    "pair(block=128)",
    "pair(1, block=128)",
    "pair(3)",
    "pair(4)",
    "int8(block=128)",
    "float8()",
    "int8()",
    "int4()",
)
"""Formats that have a kernel."""
TARGET = re.compile(r'custom_call_target="([^"]+)"')
STEPS, SHAPE, TILES = 20, (8, 256), (512, 1024)
"""Of the leaf with which variants are compared; and of the one that has a kernel."""
Variant = adams.Case | family.Member


def cases(setup: Setup) -> list[Case]:
    """List kernels, then float32 of every variant, then all formats of Adam and of the others."""
    everyone: list[Variant] = [*adams.CASES, *family.MEMBERS]
    variants = {one.id: one for one in everyone}
    one_each = list({one.name: one for one in reversed(variants.values())}.values())[::-1]
    kernels, dtypes = list(KERNELS), ["float32", "bfloat16"]
    if setup.miniature:
        kernels, dtypes = ["pair()"], ["float32"]
        variants, one_each = {"adamw": adams.Case("adamw", oracle.Adam)}, one_each[:1]
    found = [
        Case(f"kernel: {name}, {dtype}", functools.partial(of_kernel, name, dtype))
        for dtype in dtypes
        for name in kernels
    ]
    found += [
        Case(f"float64: {key}", functools.partial(of_oracle, one)) for key, one in variants.items()
    ]
    names = ["pair()", "int8()"] if setup.miniature else list(FORMATS)
    return found + [
        Case(f"formats: {one.name}", functools.partial(of_formats, one, names)) for one in one_each
    ]


@functools.cache
def numbers(shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return gradients of many sizes with zeros among them, and parameters."""
    grads = adams.gradients(STEPS, int(np.prod(shape))).reshape(STEPS, *shape)
    start = np.linspace(-1.0, 1.0, int(np.prod(shape))) + 0.03
    return grads.astype(np.float32), start.astype(np.float32).reshape(shape)


def trajectory(tx: Any, shape: tuple[int, ...], device: Any, dtype: str = "float32") -> Any:
    """Compile for a device and run steps; return parameters, state, and the compiled text."""
    grads, params = (jax.device_put(jnp.asarray(x, dtype), device) for x in numbers(shape))

    def step(g: Any, state: Any, params: Any) -> Any:
        return ao.step(tx, g, state, params)

    with jax.default_device(device):
        state = jax.jit(tx.init)(params)
        made, _ = compiled(step, grads[0], state, params)
        for g in grads:
            params, state = made(g, state, params)
    return np.asarray(params), jax.tree.map(np.asarray, state), made.as_text()


def apart(one: Any, other: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return how far two ways from one start are apart, over their length; and the equal share.

    The share is that of the elements of the state that have the same bits.
    """
    start = numbers(shape)[1].astype(one[0].dtype).astype(np.float64)
    far = oracle.relative_rms(*(np.asarray(x[0], np.float64) - start for x in (one, other)))
    pairs = list(zip(_leaves(one), _leaves(other), strict=True))
    same = sum(int(np.sum(_bits(a) == _bits(b))) for a, b in pairs)
    return far, same / sum(a.size for a, _ in pairs)


def _leaves(found: Any) -> list[Any]:
    """Return the arrays of the state of a trajectory."""
    return [np.asarray(x) for x in jax.tree.leaves(found[1])]


def _bits(x: Any) -> Any:
    return x.view(np.dtype(f"u{x.dtype.itemsize}")) if x.dtype.itemsize < 16 else x


def of_kernel(name: str, dtype: str) -> Iterator[Measured]:
    """Compare a step by the kernel with the same by XLA alone, on the device."""
    tx, device, found = ao.adamw(1e-2, storage=formats()[name]), jax.devices()[0], []
    if device.platform == "cpu":  # whose kernels are loops that LLVM compiles
        need("llvmlite")
    for kernels in (True, False):
        compile_leaf_step.cache_clear()  # what is compiled does not know of the choice
        plain = contextlib.nullcontext() if kernels else _plain()
        with plain, ao.cpu_loops("auto" if kernels else "never"):
            found.append(trajectory(tx, TILES, device, dtype))
    compile_leaf_step.cache_clear()
    far, same = apart(found[0], found[1], TILES)
    calls = [set(TARGET.findall(one[2])) for one in found]
    kernel = ", ".join(sorted(calls[0] - calls[1])) or "no kernel here: XLA's step ran twice"
    yield Measured("from XLA", "relative", far, note=kernel)
    yield Measured("equal bits of the state", "share", same)


def _plain() -> Any:
    """Lower steps without kernels."""
    return mock.patch.object(primitive, "backend", return_value=None)


def of_oracle(one: Variant) -> Iterator[Measured]:
    """Compare float32 on the device and on the CPU with float64."""
    grads, start = numbers(SHAPE)
    right = one.oracle(grads, start)["params"][-1] - start
    bound = getattr(one, "rounding", 3e-6)
    for title, device in _devices().items():
        found = trajectory(one.ours(), SHAPE, device)[0]
        far = oracle.relative_rms(found.astype(np.float64) - start, right)
        note = "" if far <= bound else f"{title}: beyond {bound:.1g}, the bound of the tests"
        yield Measured(f"{title} from float64", "relative", far, note=note)


def _devices() -> dict[str, Any]:
    return {"device": jax.devices()[0], "CPU": jax.devices("cpu")[0]}


def of_formats(one: Variant, names: list[str]) -> Iterator[Measured]:
    """Compare each format on the device with the same on the CPU."""
    with concurrent.futures.ThreadPoolExecutor() as pool:  # XLA compiles on many cores
        pairs = list(pool.map(functools.partial(_on_both, one), names))
    shares = {}
    for name, found in zip(names, pairs, strict=True):
        if isinstance(found, str):
            yield Measured(name, note=found)
        else:
            far, shares[name] = found
            yield Measured(name, "relative", far)
    if not shares:
        raise RuntimeError(f"no format could be compared: {pairs[0]}")
    least = min(shares, key=lambda name: shares[name])
    yield Measured("least equal bits of a state", "share", shares[least], note=f"in {least}")
    same = [name for name, share in shares.items() if share == 1.0]
    yield Measured("states of the CPU's bits", note=", ".join(same) or "in no format")


def _on_both(one: Variant, name: str) -> tuple[float, float] | str:
    """Return how far the device is from the CPU, and the equal share; or why there is no such."""
    try:
        with ao.cpu_loops("never"):
            tx = one.ours(storage=FORMATS[name])
            found = [trajectory(tx, SHAPE, device) for device in _devices().values()]
    except (TypeError, ValueError) as refusal:
        return f"refused: {refusal}"[:80]
    except Exception as error:  # of the device or its compiler: the other formats stay
        return f"failed: {type(error).__name__}: {error}"[:80]
    return apart(found[0], found[1], SHAPE)


NOTES = (
    "A distance is that of parameters after twenty steps, root mean square, over how far they went"
    " (*relative*); a *share* is that of the elements of the state that have the same bits.",
    "What it says: whether steps are right here. What it does not say: whether training is the same"
    " where a distance is more than rounding: few bits make a step of a last bit.",
)
TITLE = "Equality: beside the CPU's bits, float64, and kernels beside XLA"
PART = Part("equality", TITLE, 0.2, cases, NOTES)
