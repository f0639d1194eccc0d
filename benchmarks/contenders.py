"""Step one optimiser on one model, in a process of its own: `python -m benchmarks.contenders`.

The process prints a line of JSON about its set-up; then, for each line on stdin, the seconds of a
step. PyTorch's optimisers need PyTorch, torchao's need torchao in the Python that runs the process.
"""

import json
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
    """

    step: Callable[[], None]
    compiled: float
    state: int


class InJax(Stepper):
    """Step an optimiser of ours or of optax, with parameters and state donated."""

    def __init__(self, name: str, of: Shapes, chain: bool) -> None:
        import jax
        import optax

        params, grads = ([jax.numpy.asarray(x) for x in arrays(of, seed)] for seed in (0, 1))
        tx = _jax_optimizer(name, chain)
        state = jax.jit(tx.init)(params)

        def update(params: Any, state: Any, grads: Any) -> Any:
            updates, state = tx.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        began = time.perf_counter()
        compiled = jax.jit(update, donate_argnums=(0, 1)).lower(params, state, grads).compile()
        self.compiled = time.perf_counter() - began
        self.state = sum(x.nbytes for x in jax.tree.leaves(state))
        run = [(params, state)]
        del params, state  # else the first step could not reuse their memory

        def step() -> None:
            run[0] = jax.block_until_ready(compiled(*run[0], grads))

        self.step = step


def _jax_optimizer(name: str, chain: bool) -> Any:
    import optax

    import adam_optax as ao

    rate: Any = optax.cosine_decay_schedule(RATE, STEPS) if chain else RATE
    if name == "optax":
        tx, clip = optax.adamw(rate, weight_decay=DECAY), optax.clip_by_global_norm(NORM)
    else:
        formats = {"ours": None, "pair": ao.storage.pair(), "stochastic": ao.storage.stochastic()}
        tx = ao.adamw(rate, weight_decay=DECAY, storage=formats[name])
        clip = ao.clip_by_global_norm(NORM)
    return optax.chain(clip, tx) if chain else tx


class InTorch(Stepper):
    """Step an optimiser of PyTorch or torchao."""

    def __init__(self, name: str, of: Shapes, chain: bool) -> None:
        import torch

        params, grads = ([torch.from_numpy(x) for x in arrays(of, seed)] for seed in (0, 1))
        for p, g in zip(params, grads, strict=True):
            p.requires_grad_(True)
            p.grad = g
        optimizer = _torch_optimizer(name, params)
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
        self.state = sum(_bytes(t) for t in kept)
        self.step = step


def _torch_optimizer(name: str, params: Any) -> Any:
    import torch

    if name == "torchao":
        from torchao.optim import AdamW8bit

        return AdamW8bit(params, lr=RATE, weight_decay=DECAY)
    return torch.optim.AdamW(params, lr=RATE, weight_decay=DECAY, **{name: True})


def _bytes(x: Any) -> int:
    """Return the bytes of a tensor, or of the tensors inside one of torchao's."""
    if hasattr(x, "__tensor_flatten__"):
        return sum(_bytes(getattr(x, name)) for name in x.__tensor_flatten__()[0])
    return int(x.numel() * x.element_size())


def peak() -> int:
    """Return the peak memory of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def seconds(step: Callable[[], None], least: float = 0.2) -> Iterator[float]:
    """Yield the seconds of a step: the mean over steps that take `least` seconds together."""
    step()
    began = time.perf_counter()
    step()
    repeats = max(1, int(least / (time.perf_counter() - began)))
    while True:
        began = time.perf_counter()
        for _ in range(repeats):
            step()
        yield (time.perf_counter() - began) / repeats


def main() -> None:
    """Set up, then step as often as asked."""
    framework, name, model, chain, scale = sys.argv[1:6]
    of = shapes(model, float(scale))
    kind: Callable[..., Stepper] = InTorch if framework == "torch" else InJax
    __import__("torch" if framework == "torch" else "adam_optax")
    before = peak()
    made = kind(name, of, chain == "chain")
    times = seconds(made.step)
    next(times)
    number = sum(int(np.prod(s)) for s in of)
    facts = {"compiled": made.compiled, "state": made.state, "peak": peak() - before}
    print(json.dumps(facts | {"parameters": number, "leaves": len(of)}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(next(times)), flush=True)


if __name__ == "__main__":
    main()
