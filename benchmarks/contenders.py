"""Step one optimiser on one model, in a process of its own: `python -m benchmarks.contenders`.

The process prints a line of JSON about its set-up; then, for each line on stdin, the seconds and
the CPU seconds of a step. PyTorch's optimisers need PyTorch, those of torchao, DeepSpeed and
bitsandbytes need their package in the Python that runs the process. In JAX an optimiser is `optax`,
or one of ours, named by its format, what `ao.cpu_loops` chooses and whether `ao.step` takes the
step: `pair()|always|step`.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

SMALL = [(8, 8), (16,), (4, 4), (32,), (8, 16), (64,), (2, 2), (5,), (7, 3), (9,), (6, 6), (12,)]
RATE, DECAY, NORM, STEPS = 1e-3, 1e-2, 1.0, 1000
Shapes = list[tuple[int, ...]]


def transformer(width: int, layers: int, words: int) -> Shapes:
    """Return the shapes of a decoder: an embedding, then twelve leaves a layer."""
    layer = [(width, 3 * width), (3 * width,), (width, width), (width,), (width,), (width,)]
    layer += [(width, 4 * width), (4 * width,), (4 * width, width), (width,), (width,), (width,)]
    return [(words, width), *layer * layers, (width,), (width,)]


def shapes(model: str, scale: float) -> Shapes:
    """Return the shapes of a model; a scale below 1 makes the large ones smaller, for a trial."""
    if model == "one":
        return [(int(scale * 64 * 2**10) * 2**10,)]
    if model == "transformer":
        return transformer(256, max(1, int(10 * scale)), int(8192 * scale))
    return [SMALL[i % len(SMALL)] for i in range(max(12, int(1000 * scale)))]


def arrays(of: Shapes, seed: int) -> list[Any]:
    """Draw numbers of the size of weights or gradients."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s, dtype=np.float32) * np.float32(0.02) for s in of]


class Stepper:
    """Hold a step that is timed, and the facts of its set-up.

    Attributes:
        step: The step.
        compiled: Seconds of compiling.
        state: Bytes of the optimiser's state.
        parameters: How many parameters there are.
        leaves: How many leaves they are in.
    """

    step: Callable[[], None]
    compiled: float
    state: int
    parameters: int
    leaves: int


class InJax(Stepper):
    """Step an optimiser of ours or of optax, with parameters and state donated.

    Parameters and state are the first arguments and results: XLA pairs what is donated by order.
    """

    def __init__(self, name: str, model: str, chain: bool, scale: float) -> None:
        import jax

        of = shapes(model, scale)
        params, grads = ([jax.numpy.asarray(x) for x in arrays(of, seed)] for seed in (0, 1))
        self.prepare(name, chain, params, lambda params, batch: (None, batch), grads)

    def prepare(
        self, name: str, chain: bool, params: Any, gradient: Callable[..., Any], batch: Any
    ) -> None:
        """Compile a step from the parameters, a batch and what makes a gradient of the two."""
        import jax

        import adam_optax as ao

        tx, choice, apply = jax_optimizer(name, chain)
        state = jax.jit(tx.init)(params)

        def update(params: Any, state: Any, batch: Any) -> Any:
            loss, grads = gradient(params, batch)
            return *apply(params, state, grads), loss

        began = time.perf_counter()
        with ao.cpu_loops(choice):
            lowered = jax.jit(update, donate_argnums=(0, 1)).lower(params, state, batch)
        compiled = lowered.compile()
        self.compiled = time.perf_counter() - began
        self.state = sum(x.nbytes for x in jax.tree.leaves(state))
        self.parameters = sum(x.size for x in jax.tree.leaves(params))
        self.leaves = len(jax.tree.leaves(params))
        run = [(params, state)]
        del params, state  # else the first step could not reuse their memory

        def step() -> None:
            run[0] = jax.block_until_ready(compiled(*run[0], batch))[:2]

        self.step = step


def formats() -> dict[str, Any]:
    """Return the formats in which moments are kept, by name; float32 is none."""
    import adam_optax as ao
    from tests.support.formats import FORMATS

    blocks = {
        "pair(1, block=128)": ao.storage.pair(1, block=128),
        "int8(block=128)": ao.storage.int8(block=128),
    }
    return {"float32": None, **FORMATS, **blocks}


def jax_optimizer(name: str, chain: bool) -> tuple[Any, Any, Callable[..., Any]]:
    """Return an optimiser, the choice of its loops, and its step to new parameters and state."""
    import optax

    import adam_optax as ao

    storage, choice, how = (*name.split("|"), "auto", "apply")[:3]
    rate: Any = optax.cosine_decay_schedule(RATE, STEPS) if chain else RATE
    if storage == "optax":
        tx, clip = optax.adamw(rate, weight_decay=DECAY), optax.clip_by_global_norm(NORM)
    elif storage == "sgd":  # the least that a training step does
        tx, clip = optax.sgd(rate), optax.clip_by_global_norm(NORM)
    else:
        tx = ao.adamw(rate, weight_decay=DECAY, storage=formats()[storage])
        clip = ao.clip_by_global_norm(NORM)
    tx = optax.chain(clip, tx) if chain else tx

    def apply(params: Any, state: Any, grads: Any) -> Any:
        if how == "step":
            return ao.step(tx, grads, state, params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return tx, choice, apply


class InTorch(Stepper):
    """Step an optimiser of PyTorch, torchao, DeepSpeed or bitsandbytes, on every core."""

    def __init__(self, name: str, model: str, chain: bool, scale: float) -> None:
        import torch

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        of = shapes(model, scale)
        params, grads = ([torch.from_numpy(x) for x in arrays(of, seed)] for seed in (0, 1))
        for p, g in zip(params, grads, strict=True):
            p.requires_grad_(True)
            p.grad = g
        optimizer = torch_optimizer(name, params)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)

        def step() -> None:
            if chain:
                torch.nn.utils.clip_grad_norm_(params, NORM, foreach=True)
            optimizer.step()
            if chain:
                schedule.step()

        began = time.perf_counter()
        step()
        first = time.perf_counter() - began
        began = time.perf_counter()
        step()
        self.compiled = max(0.0, first - (time.perf_counter() - began))
        kept = [t for s in optimizer.state.values() for t in s.values() if torch.is_tensor(t)]
        self.state = sum(tensor_bytes(t) for t in kept)
        self.parameters, self.leaves = sum(p.numel() for p in params), len(params)
        self.step = step


def torch_optimizer(name: str, params: Any) -> Any:
    """Return an AdamW: of PyTorch, `fused` or `foreach`, or of a library for it, `torchao.NAME`."""
    import torch

    how = {"lr": RATE, "weight_decay": DECAY}
    if name.startswith("torchao"):
        from torchao import optim as of_torchao

        return getattr(of_torchao, name.partition(".")[2] or "AdamW8bit")(params, **how)
    if name == "deepspeed":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        from deepspeed.ops.adam import DeepSpeedCPUAdam

        return DeepSpeedCPUAdam(params, adamw_mode=True, **how)
    if name.startswith("bitsandbytes"):
        from bitsandbytes import optim

        return getattr(optim, name.partition(".")[2])(params, **how)
    return torch.optim.AdamW(params, **how, **{name: True})


def tensor_bytes(x: Any) -> int:
    """Return the bytes of a tensor, or of the tensors inside one of torchao's."""
    if hasattr(x, "__tensor_flatten__"):
        return sum(tensor_bytes(getattr(x, name)) for name in x.__tensor_flatten__()[0])
    return int(x.numel() * x.element_size())


def peak() -> int:
    """Return the peak memory of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def seconds(step: Callable[[], None], least: float = 0.2) -> Iterator[tuple[float, float]]:
    """Yield the seconds of a step, and its CPU seconds over all threads.

    Both are means over steps that take `least` seconds together.
    """
    step()
    began = time.perf_counter()
    step()
    repeats = max(1, int(least / (time.perf_counter() - began)))
    while True:
        began, busy = time.perf_counter(), time.process_time()
        for _ in range(repeats):
            step()
        took, busy = time.perf_counter() - began, time.process_time() - busy
        yield took / repeats, busy / repeats


def main() -> None:
    """Set up, then step as often as asked."""
    framework, name, model, chain, scale = sys.argv[1:6]
    sys.stdout, printed = sys.stderr, sys.stdout  # what a package prints is no answer of ours
    kinds = {"torch": InTorch, "jax": InJax}
    if framework == "torch":
        __import__("torch")
    else:
        from benchmarks.trained import InTraining

        kinds["training"] = InTraining
    before = peak()
    made = kinds[framework](name, model, chain == "chain", float(scale))
    times = seconds(made.step)
    next(times)
    facts = {"compiled": made.compiled, "state": made.state, "peak": peak() - before}
    facts |= {"parameters": made.parameters, "leaves": made.leaves}
    print(json.dumps(facts), file=printed, flush=True)
    for _ in sys.stdin:
        print(json.dumps(next(times)), file=printed, flush=True)


if __name__ == "__main__":
    main()
