"""Measure where our numbers and optax's differ: `python -m benchmarks.differences`.

`docs/measured/numbers.md` has the table, and a test compares it with a new measurement.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import adam_optax as ao
from tests.support import oracle


class Difference(NamedTuple):
    """Hold one quantity, with optax's number, our number and the right one."""

    what: str
    optax: str
    ours: str
    right: str


def first_update(module: Any, g: Any, **how: Any) -> float:
    """Return the first update of Adam with learning rate 1e-3, on parameters of ones."""
    grads, params = jnp.asarray(g), jnp.ones((), how.pop("params", jnp.float32))
    tx = module.adam(1e-3, **how)
    return float(tx.update(grads, tx.init(params), params)[0])


def bias_correction() -> Iterator[Difference]:
    """Measure the error of the factor 1 - b2, which is the error of the first nu_hat."""
    for b2 in (0.999, 0.99999, 1 - 1e-7):

        def off(module: Any, b2: float = b2) -> str:
            update = first_update(module, 1.0, b1=0.0, b2=b2, eps=0.0)
            error = abs((1e-3 / update) ** 2 - 1)
            return "< 1e-6" if error < 1e-6 else f"{error:.0e}"

        yield Difference(
            f"error of the bias-corrected nu, step 1, b2 = {b2}", off(optax), off(ao), "0"
        )


def low_precision() -> Iterator[Difference]:
    """Measure moments of bfloat16 parameters, and updates of float16 gradients."""
    falling = np.repeat([1.0, 0.01], [1000, 4000])

    def nu(module: Any) -> str:
        tx, p = module.adam(1e-3), jnp.zeros((), jnp.bfloat16)
        step = lambda s, g: (tx.update(g, s, p)[1], None)  # noqa: E731
        state, _ = jax.lax.scan(step, tx.init(p), jnp.asarray(falling, jnp.bfloat16))
        return f"{float(state[0].nu):.4f}"

    rule = oracle.Adam()
    oracle.optimise(rule, falling, np.zeros(()), 1e-3)
    what = "nu of a bfloat16 parameter after the gradients fell from 1 to .01, 4,000 steps later"
    yield Difference(what, nu(optax), nu(ao), f"{rule.moments['nu']:.4f}")
    for g, right in ((1e-3, "-0.001"), (300.0, "-0.001")):
        what = f"first update on a float16 gradient of {g:g}, learning rate .001"
        theirs, mine = (first_update(m, jnp.float16(g)) for m in (optax, ao))
        yield Difference(what, _text(theirs), _text(mine), right)
    what = "first update on a float16 gradient of exactly 0"
    theirs, mine = (first_update(m, jnp.float16(0), params=jnp.float16) for m in (optax, ao))
    yield Difference(what, _text(theirs), _text(mine), "0")
    what = "first update with `inject_hyperparams`, bfloat16 parameters, learning rate .001"
    yield Difference(what, _text(injected(optax)), _text(injected(ao)), "-0.001")


def scheduled_betas() -> Iterator[Difference]:
    """Measure steps under a constant gradient of 1, at the end of a warm-up of a decay rate."""

    def last(module: Any, steps: int, **rates: Any) -> str:
        tx = optax.inject_hyperparams(module.scale_by_adam) if module is optax else None
        made = (tx or module.scale_by_adam)(eps=0.0, **rates)
        step = lambda s, _: made.update(jnp.ones(()), s)[::-1]  # noqa: E731
        updates = jax.lax.scan(step, made.init(jnp.ones(())), None, length=steps)[1]
        return f"{float(updates[-1]):.3f}"

    for name, start, end, steps in (("b2", 0.95, 0.999, 1000), ("b1", 0.5, 0.99, 100)):
        schedule = optax.linear_schedule(start, end, steps)
        what = f"step under a constant gradient of 1, {name} from {start} to {end} in {steps} steps"
        theirs, mine = (last(module, steps, **{name: schedule}) for module in (optax, ao))
        yield Difference(what, theirs, mine, "1")
    palm = lambda n: 1 - (n + 1.0) ** -0.8  # noqa: E731
    what = "the same at step 10, PaLM's b2 = 1 - t^-0.8"
    yield Difference(what, last(optax, 10, b2=palm), last(ao, 10, b2=palm), "1")


def injected(module: Any) -> float:
    """Return the first update of an Adam whose numbers optax passes as bfloat16 arrays."""
    tx, p = optax.inject_hyperparams(module.adam)(1e-3), jnp.bfloat16(1)
    return float(tx.update(jnp.bfloat16(1), tx.init(p), p)[0])


def _text(number: float) -> str:
    return f"{number + 0.0:.3g}"  # a zero without its sign


def everything() -> list[Difference]:
    """Measure all differences, under the dtype promotion that optax needs."""
    with jax.numpy_dtype_promotion("standard"):
        return [*bias_correction(), *scheduled_betas(), *low_precision()]


def table() -> str:
    """Return the differences as a Markdown table."""
    lines = ["| | optax | adam_optax | exact |", "|---|---|---|---|"]
    lines += ["| " + " | ".join(difference) + " |" for difference in everything()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
