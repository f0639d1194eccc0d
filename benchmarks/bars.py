"""Put every format to the bars of FlashOptim's own tests: `python -m benchmarks.bars`.

Its `test_fused_unfused_unquantized_same` takes 10 steps of AdamW on small matrices beside one in
float32, and wants a cosine above .99 and a normalised mean square error below .01 of the moves of
the weights (.975 and .05 with weights in bfloat16). Here the weights are float32, for every format
of the library and of the peers, and the same steps go on to the thousandth. For each of three kinds
of gradients the table shows the error in the worst case of two kinds of weights and three seeds.
"""

import argparse
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import adam_optax as ao
from benchmarks.codecs import CODECS
from tests.support.formats import FORMATS, size

SIDE, STEPS, SEEDS = 12, (10, 1000), 3
COSINE, NMSE = 0.99, 0.01
TWIN = "dense()"
KINDS = ("1 and -1", "0 to 143", "uniform")
"""The kinds of gradients: the first two stay, the last are drawn anew at each step from [0, 1)."""


class Moved(NamedTuple):
    """Measure the moves of the weights beside float32's: the worst case.

    Attributes:
        nmse: the mean square of the difference over that of the float32's moves.
        cosine: of the two moves.
    """

    nmse: float
    cosine: float

    @property
    def passed(self) -> bool:
        """Tell whether both are within FlashOptim's bars for weights in float32."""
        return self.nmse < NMSE and self.cosine > COSINE


def cases(side: int = SIDE) -> tuple[Any, Any, Any]:
    """Return weights of all cases, their gradient where it stays, and where it is drawn anew.

    A case is a row, a flattened matrix. Its weights are small whole numbers or uniform ones, the
    kind of its gradients is that of its place among `KINDS`, over and over.
    """
    n, weights, fixed = side * side, [], []
    whole = np.arange(n) // 2 % 5 - 2.0
    for seed in range(SEEDS):
        drawn = np.random.default_rng(seed).uniform(-2, 2, n)
        for start in (whole, drawn + 0.01 * np.sign(drawn)):
            for gradient in (np.arange(n) % 2 * 2 - 1.0, np.arange(n) * 1.0, np.full(n, np.nan)):
                weights.append(start)
                fixed.append(gradient)
    still = np.array(fixed, np.float32)
    return jnp.asarray(np.array(weights, np.float32)), jnp.asarray(still), jnp.isnan(still)


def moves(storage: Any, side: int = SIDE) -> list[Any]:
    """Return the moves of the weights of every case, after 10 steps and after 1,000."""
    start, still, anew = cases(side)
    tx = ao.adamw(0.1, weight_decay=0.1, storage=storage)

    def body(carry: Any, key: Any) -> Any:
        params, state = carry
        grads = jnp.where(anew, jax.random.uniform(key, start.shape), still)
        updates, state = tx.update(grads, state, params)
        return (params + updates, state), None

    @jax.jit
    def run(carry: Any, keys: Any) -> Any:
        return jax.lax.scan(body, carry, keys)[0]

    carry, keys, moved = (start, tx.init(start)), jax.random.split(jax.random.key(0), STEPS[1]), []
    for part in (keys[: STEPS[0]], keys[STEPS[0] :]):
        carry = run(carry, part)
        moved.append(np.asarray(carry[0] - start, np.float64))
    return moved


def compared(true: Any, found: Any) -> Moved:
    """Measure moves beside the true ones, rows apart, and return the worst of the rows.

    Args:
        true: the moves of float32, a row for each case.
        found: those of a format.
    """
    square = (true * true).sum(1)
    nmse = ((true - found) ** 2).sum(1) / square
    cosine = (true * found).sum(1) / np.sqrt(square * (found * found).sum(1))
    return Moved(float(nmse.max()), float(cosine.min()))


def main(argv: list[str] | None = None) -> None:
    """Measure and print a Markdown table."""
    every = FORMATS | CODECS
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--formats", nargs="+", default=list(every), choices=list(every))
    names = parser.parse_args(argv).formats
    true = moves(every[TWIN])
    heads = [f"{n} steps: {kind}" for n in STEPS for kind in KINDS]
    print(f"| NMSE | B | {' | '.join(heads)} |\n{'|---' * (2 + len(heads))}|")
    for name in (n for n in names if n != TWIN):
        cells = []
        for t, f in zip(true, moves(every[name]), strict=True):
            kinds = [compared(t[k :: len(KINDS)], f[k :: len(KINDS)]) for k in range(len(KINDS))]
            cells += [f"{m.nmse:.2g}{'' if m.passed else ' fails'}" for m in kinds]
        shown = f"`{name}`" if name in FORMATS else name
        print(f"| {shown} | {size(every[name]):.2f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
