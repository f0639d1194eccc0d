"""Compare later members of the family with packages that others maintain, in float64.

The oracles are the truth; a witness shows that others read the paper alike. Where witnesses differ
from a paper, or from one another:

* `adamp` 0.3 (the authors'), and timm's and pytorch-optimizer's copies: all channels must be nearly
  orthogonal to their gradient for any of them to be projected, where the paper's Algorithm 2 has
  one weight vector; its look-ahead is `(b1 mu + (1-b1) g) / (1 - b1^t)`, without Dozat's `t + 1`.
* `came-pytorch` 0.1: parameters of one axis have no confidence; the last two axes are factored,
  here the two longest, as optax factors them.
* `adam-mini` 1.1 (the authors'): blocks are found by parts of names, so that a `c_attn` has one
  number for queries, keys and values together; biases are Adam's; `dim` and `n_heads` are the
  optimiser's, so that heads of another length are cut wrongly. pytorch-optimizer 4.1 has the
  paper's first version, in which embeddings are Adam's.
* `pytorch-optimizer` 3.10: Grams averages with `b1` and `1 - b1` exchanged, and divides nu by the
  root of its correction; 4.1 is right. Its QHAdam keeps the sum of an average's weights in float32.
* optax's ACProp is in `test_family`, with the mean of the step before in place of the paper's.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import adam_optax as ao
from tests.support.cases import gradients, run
from tests.support.oracle import relative_rms

torch = pytest.importorskip("torch", reason="pip install 'adam-optax[witness]'")

SHAPE = (6, 4)
STEPS, RATE = 500, 0.01
GRADS = gradients(STEPS, 24).reshape(STEPS, *SHAPE)
START = (np.linspace(-1.0, 1.0, 24) + 0.03).reshape(SHAPE)
ROUNDING = 1e-11
"""Some 500 roundings of 1.1e-16, and PyTorch's `1 - b**t`, which cancels to 1e-13 at first."""
IN_FLOAT32 = 2e-7
"""A few roundings of 6e-8, for pytorch-optimizer's QHAdam."""


def theirs(module: str, make: Callable[[Any, Any], Any]) -> Any:
    """Run another package's optimiser, and return the parameters after each step."""
    package = pytest.importorskip(module, reason="pip install 'adam-optax[witness]'")
    p = torch.nn.Parameter(torch.tensor(START))
    optimizer, path = make(package, p), []
    for g in GRADS:
        p.grad = torch.tensor(g)
        optimizer.step()
        path.append(p.detach().numpy().copy())
    return np.stack(path)


def ours(tx: Any) -> Any:
    """Run our optimiser, and return the parameters after each step."""
    updates, _, _ = run(tx, jnp.asarray(GRADS), jnp.asarray(START))
    return START + np.cumsum(np.asarray(updates), 0)


DECAY: Any = {"weight_decay": 0.1}
BOTH: Mapping[str, tuple[str, Callable[[Any, Any], Any], Callable[[], Any]]] = {
    "adamp": (
        "adamp",
        lambda a, p: a.AdamP([p], RATE, delta=0.8, **DECAY),
        lambda: ao.adamp(RATE, delta=0.8, channel_axis=0, **DECAY),
    ),
    "adamp, nesterov": (
        "adamp",
        lambda a, p: a.AdamP([p], RATE, delta=0.5, nesterov=True),
        lambda: ao.adamp(RATE, delta=0.5, channel_axis=0, nesterov=True),
    ),
    "came": (
        "came_pytorch",
        lambda a, p: a.CAME([p], RATE, **DECAY),
        lambda: ao.came(RATE, **DECAY),
    ),
    "came of pytorch-optimizer": (
        "pytorch_optimizer",
        lambda a, p: a.CAME([p], RATE, betas=(0.8, 0.99, 0.995), clip_threshold=0.5),
        lambda: ao.came(RATE, 0.8, 0.99, 0.995, clipping_threshold=0.5),
    ),
    "qhadam": (
        "pytorch_optimizer",
        lambda a, p: a.QHAdam([p], RATE, betas=(0.995, 0.999), nus=(0.7, 1.0)),
        lambda: ao.qhadam(RATE),
    ),
    "qhadam, v2": (
        "pytorch_optimizer",
        lambda a, p: a.QHAdam([p], RATE, nus=(0.3, 0.6), weight_decouple=True, **DECAY),
        lambda: ao.qhadam(RATE, 0.9, v1=0.3, v2=0.6, **DECAY),
    ),
    "grams": (
        "pytorch_optimizer",
        lambda a, p: a.Grams([p], RATE, **DECAY),
        lambda: ao.grams(RATE, **DECAY),
    ),
    "adam_mini, neurons": (
        "adam_mini",
        lambda a, p: a.Adam_mini([("mlp.weight", p)], RATE, verbose=False, **DECAY),
        lambda: ao.adam_mini(RATE, over=(1,), **DECAY),
    ),
    "adam_mini, heads": (
        "adam_mini",
        lambda a, p: a.Adam_mini([("wq.weight", p)], RATE, verbose=False, dim=4, n_heads=2),
        lambda: ao.adam_mini(RATE, over=((0, 2), 1)),
    ),
    "adam_mini, whole": (
        "adam_mini",
        lambda a, p: a.Adam_mini([("norm.weight", p)], RATE, verbose=False),
        lambda: ao.adam_mini(RATE, over="all"),
    ),
    "adam_mini, bias": (
        "adam_mini",
        lambda a, p: a.Adam_mini([("mlp.bias", p)], RATE, verbose=False),
        lambda: ao.adam_mini(RATE, over=None),
    ),
}


@pytest.mark.parametrize("name", BOTH)
def test_another_package_takes_the_same_steps(name: str, x64: None) -> None:
    module, make, mine = BOTH[name]
    expected = theirs(module, make)
    assert np.any(expected[-1] != START)
    near = IN_FLOAT32 if name.startswith("qhadam") else ROUNDING
    assert relative_rms(ours(mine()), expected) < near


def test_a_witness_that_is_off_is_seen(x64: None) -> None:
    expected = theirs(*BOTH["adamp"][:2])
    assert relative_rms(ours(ao.adamp(RATE, delta=0.8, **DECAY)), expected) > 1e-3  # -1 for 0
