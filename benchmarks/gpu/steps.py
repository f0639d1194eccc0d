"""Time the steps of all formats and of other libraries, as a share of the device's copy rate."""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from adam_optax.aot import hlo
from benchmarks.contenders import Shapes, jax_optimizer, tensor_bytes, torch_optimizer, transformer
from benchmarks.gpu.case import AbsentError, Case, Measured, Part, Setup, need
from benchmarks.gpu.timing import compiled, copy_rate, spent, timed

FORMATS = (
    "float32",
    "pair()",
    "stochastic()",
    "pair(1, block=128)",
    "int8(block=128)",
    "float8()",
    "int4()",
    "pair(block=128)",
    "pair(3)",
    "pair(4)",
    "dense('bfloat16')",
    "int8()",
    "factored()",
)
PEERS = {
    "PyTorch, fused": ("torch", "fused"),
    "PyTorch, foreach": ("torch", "foreach"),
    "torchao, 8-bit": ("torchao", "torchao.AdamW8bit"),
    "torchao, 4-bit": ("torchao", "torchao.AdamW4bit"),
    "torchao, float8": ("torchao", "torchao.AdamWFp8"),
    "bitsandbytes, 8-bit": ("bitsandbytes", "bitsandbytes.AdamW8bit"),
}
"""The package that each needs beside PyTorch, and its name in `contenders`."""
FIRST = (
    "float32",
    "optax",
    "pair()",
    "PyTorch, fused",
    "stochastic()",
    "bitsandbytes, 8-bit",
    "int8(block=128)",
    "pair(1, block=128)",
    "torchao, 8-bit",
)
"""Of all kinds of parameters before the others: a state of 8, 4, 2 and 1 bytes beside its peers."""
KINDS = (
    ("one leaf", "float32", "step"),
    ("GPT-2's leaves", "float32", "step"),
    ("one leaf", "bfloat16", "step"),
    ("one leaf", "float32", "update"),
    ("GPT-2's leaves", "bfloat16", "step"),
    ("GPT-2's leaves", "float32", "update"),
    ("one leaf", "bfloat16", "update"),
    ("GPT-2's leaves", "bfloat16", "update"),
)
"""Parameters, their dtype, and whether `ao.step` is called, or `tx.update` and its result added."""


def shapes(setup: Setup, tree: str) -> Shapes:
    """Return the shapes: 268 M parameters in one leaf, or GPT-2's 124 M in 148 leaves."""
    if tree == "one leaf":
        return [(64 if setup.miniature else 2**18, 1024)]
    width, layers, words, length = (16, 1, 64, 8) if setup.miniature else (768, 12, 50304, 1024)
    return [*transformer(width, layers, words), (length, width)]


def cases(setup: Setup) -> list[Case]:
    """List the copy and, for each kind of parameters, ours, optax's and the others'."""
    found = [Case("copy, device to device", lambda: [copied(setup)])]
    small = KINDS[:2] + KINDS[6:7], FORMATS[:2]
    kinds, formats = small if setup.miniature else (KINDS, FORMATS)
    everyone = dict.fromkeys([*FIRST, *FORMATS, *PEERS])
    passes = FIRST, [name for name in everyone if name not in FIRST]
    measure: Callable[..., Iterator[Measured]]
    for names, (tree, dtype, how) in itertools.product(passes, kinds):
        for name in names:
            if name in formats:
                title, measure = f"{name}, {how}", of_jax
            elif how == "step" and (name in PEERS or name == "optax"):
                title, measure = name, of_torch if name in PEERS else of_jax
            else:
                continue
            one = functools.partial(measure, setup, tree, dtype, title)
            found.append(Case(f"{tree}, {dtype}: {title}", one))
    return found


def copied(setup: Setup) -> Measured:
    """Measure the rate with which the steps of this process are compared."""
    return Measured("rate", "GB/s", copy_rate(setup) / 1e6)


@functools.partial(jax.jit, static_argnums=(1, 2))
def drawn(seed: int, shape: tuple[int, ...], dtype: str) -> Any:
    """Draw numbers of the size of weights or gradients, on the device."""
    return jax.random.normal(jax.random.key(seed), shape, dtype) * jnp.asarray(0.02, dtype)


def of_jax(setup: Setup, tree: str, dtype: str, name: str) -> Iterator[Measured]:
    """Measure a step of ours, or of optax."""
    of = shapes(setup, tree)
    params, grads = ([drawn(seed, shape, dtype) for shape in of] for seed in (0, 1))
    tx, _, apply = jax_optimizer(_contender(name), chain=False)
    run = [(params, jax.jit(tx.init)(params))]
    step, took = compiled(apply, *run[0], grads, donate=(0, 1))
    state, text = sum(x.nbytes for x in jax.tree.leaves(run[0][1])), step.as_text()
    held = sum(x.nbytes for x in params), state, sum(x.size for x in params)
    del params  # else the first step could not reuse their memory

    def dispatch() -> Any:
        run[0] = step(*run[0], grads)
        return run[0]

    yield from _step(timed(setup, dispatch), setup, *held)
    yield Measured("compile", "s", took)
    yield Measured("moved", "B/parameter", hlo.moved(text) / held[2])
    yield Measured("kernels", "count", float(hlo.kernels(text)))


def _contender(name: str) -> str:
    """Name one of `contenders`: its format, its loops on a CPU, and how it applies updates."""
    storage, _, how = name.rpartition(", ")
    return "optax" if name == "optax" else f"{storage}|auto|{how}"


def of_torch(setup: Setup, tree: str, dtype: str, title: str) -> Iterator[Measured]:
    """Measure a step of PyTorch's or of a library for it."""
    package, name = PEERS[title]
    need("torch", package)
    import torch

    on_gpu = torch.cuda.is_available()
    if not (on_gpu or setup.miniature):  # a CPU's step has no place in a GPU's table
        raise AbsentError(f"PyTorch {torch.__version__} sees no GPU here")
    how: dict[str, Any] = {"device": "cuda" if on_gpu else "cpu", "dtype": getattr(torch, dtype)}
    of = shapes(setup, tree)
    params = [torch.nn.Parameter(0.02 * torch.randn(*shape, **how)) for shape in of]
    for p in params:
        p.grad = 0.02 * torch.randn_like(p)
    optimizer = torch_optimizer(name, params)

    def wait(_: object) -> None:
        if on_gpu:
            torch.cuda.synchronize()

    _, first = spent(lambda: wait(optimizer.step()))  # makes the state, and compiles torchao's
    taken = timed(setup, optimizer.step, wait)
    kept = [t for s in optimizer.state.values() for t in s.values() if torch.is_tensor(t)]
    held = sum(tensor_bytes(p) for p in params), sum(tensor_bytes(t) for t in kept)
    yield from _step(taken, setup, *held, sum(p.numel() for p in params))
    yield Measured("compile", "s", first, note="compile: of PyTorch, the first step")
    if not on_gpu:
        yield Measured("on", note="a CPU")


def _step(taken: Measured, setup: Setup, params: int, state: int, count: int) -> Iterator[Measured]:
    """Yield the time of a step and its rate: of the bytes that any step must read and write."""
    least, ms = 3 * params + 2 * state, taken.median or 0.0
    yield taken
    yield Measured("rate", "GB/s", least / ms / 1e6)
    yield Measured("of the copy rate", "ratio", least / ms / copy_rate(setup))
    yield Measured("state", "B/parameter", state / count)


NOTES = (
    "*step*, with the least and the largest in parentheses, is the median over seven samples of"
    " steps handed out one after the other; *rate* counts parameters and state read and written"
    " and gradients read, so that 1.0 *of the copy rate* is a step without a wasted byte; *moved*"
    " is what the compiled code moves, by its text.",
    "What it says: what a step of AdamW costs here by itself. What it does not say: what it costs"
    " in a training, beside whose gradients XLA may hide or fuse it, nor anything of several GPUs.",
)
PART = Part("steps", "Steps: times, bytes a second, compile times", 0.3, cases, NOTES)
