"""Take each layer's step inside the backward pass, so that one layer's gradients exist at a time.

A training step holds all gradients at once before the first parameter moves: four bytes for each
parameter in float32. An optimiser whose step of a parameter needs that parameter's gradient alone
can go first: the backward pass of each layer ends with the layer's step, and the next layer's
gradient takes the memory of this one's (Lv et al. 2023, "Full Parameter Fine-tuning for Large
Language Models with Limited Resources", call it fused backward; PyTorch's users know it as gradient
release).

| function | what it does |
|---|---|
| `step(tx, loss, state, params, ..., layers=)` | return new parameters, state and loss |
| `scan(f, init, xs)` | be `jax.lax.scan` in the loss, over layers that `step` releases |
| `call(f, layer, *args)` | call one layer of a list in the loss, which `step` releases |

The arithmetic is `ao.step`'s, in the same order. What needs all gradients before the first step
cannot be released, and is refused: clipping by a global norm, steps that are skipped by a norm,
accumulated gradients.
"""

from adam_optax.release._layers import call, scan
from adam_optax.release._step import step

__all__ = ["call", "scan", "step"]
