"""Measure torchao and bitsandbytes on our gradient streams, by hand in their own environment.

    python -m venv peers
    peers/bin/pip install torch==2.13.0 torchao==0.18.0 bitsandbytes==0.50.2 numpy
    python -m benchmarks.peers streams.npz        # here: the gradients, from this package
    peers/bin/python benchmarks/peers.py streams.npz peers.json

The second command writes the file that `python -m benchmarks.streams` quotes. torchao compiles its
step, which takes a minute. Everything runs on a CPU. There, bitsandbytes gives zeros and the
smallest numbers the eighth code instead of code 0; its update therefore freezes, where rounding to
the nearest code, as torchao does, explodes. The learning rate is 1 and each step begins with
parameters of zero, so that the parameters hold the update without rounding.
"""

import argparse
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

N, STEPS = 32768, 2000
PHASES = {"warm-up": (5, 200), "steady": (500, 1500), "decayed": (1600, 2000)}
STREAMS = ("rows", "iid", "sparse", "bursty")


def write(path: pathlib.Path) -> None:
    """Write the gradients of every stream and step, as float32."""
    import jax
    import jax.numpy as jnp

    from tests.support.streams import gradients

    def every(stream: str) -> Any:
        return jax.jit(jax.vmap(gradients(stream, N)))(jnp.arange(STEPS))

    rows: dict[str, Any] = {stream: np.asarray(every(stream)) for stream in STREAMS}
    np.savez(path, **rows)


def peers() -> dict[str, Callable[[Any], Any]]:
    """Return functions that build the peers' optimisers, by name."""
    import bitsandbytes as bnb
    import torchao.optim as ao

    how = {"lr": 1.0, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    return {
        "torchao 0.18 AdamW8bit": lambda p: ao.AdamW8bit([p], **how),
        "torchao 0.18 AdamW4bit": lambda p: ao.AdamW4bit([p], **how),
        "torchao 0.18 AdamWFp8": lambda p: ao.AdamWFp8([p], **how),
        "bitsandbytes 0.50.2 AdamW8bit (on a CPU)": lambda p: bnb.optim.AdamW8bit([p], **how),
    }


def updates(make: Callable[[Any], Any], grads: Any) -> Any:
    """Return the updates of every step, with the sign of the gradients."""
    import torch

    p = torch.nn.Parameter(torch.zeros(N))
    optimizer, steps = make(p), np.zeros_like(grads)
    for t, g in enumerate(grads):
        with torch.no_grad():
            p.zero_()
        p.grad = torch.from_numpy(g)
        optimizer.step()
        steps[t] = -p.detach().numpy()
    return steps


def exact(grads: Any) -> Any:
    """Compute Adam's updates in float64."""
    mu, nu, steps = np.zeros(N), np.zeros(N), np.zeros_like(grads)
    for t, g in enumerate(grads.astype(np.float64), 1):
        mu, nu = 0.9 * mu + 0.1 * g, 0.999 * nu + 0.001 * g * g
        steps[t - 1] = (mu / (1 - 0.9**t)) / (np.sqrt(nu / (1 - 0.999**t)) + 1e-8)
    return steps


def measured(u: Any, v: Any) -> dict[str, dict[str, float]]:
    """Measure the updates by phase, as `tests.support.streams` does."""
    table = {}
    for phase, (a, b) in PHASES.items():
        x, y = u[a:b].astype(np.float64), v[a:b].astype(np.float64)
        norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        table[phase] = {
            "rms": float(np.linalg.norm(x - y) / np.linalg.norm(y)),
            "peak": float(abs(x).max() / abs(y).max()),
            "l1": float(abs(x).sum() / abs(y).sum()),
            "cosine": float(np.mean((x * y).sum(1) / np.maximum(norms, 1e-37))),
        }
    return table


def main() -> None:
    """Write the gradients, or the measurements of the peers' updates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gradients", type=pathlib.Path)
    parser.add_argument("results", type=pathlib.Path, nargs="?")
    args = parser.parse_args()
    if args.results is None:
        return write(args.gradients)
    table: dict[str, Any] = {}
    with np.load(args.gradients) as streams:
        for stream in STREAMS:
            grads = streams[stream]
            right = exact(grads)
            for name, make in peers().items():
                table.setdefault(name, {})[stream] = measured(updates(make, grads), right)
                print(stream, name, table[name][stream], flush=True)
    args.results.write_text(json.dumps(table, indent=1) + "\n")
    return None


if __name__ == "__main__":
    main()
