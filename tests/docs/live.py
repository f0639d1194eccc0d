"""Read what the page `learn/live` has drawn, and compare it with the library, in float64.

Two sets of numbers agree where they differ by 1e-12 of their size: each step rounds a few times by
1e-16. The size of what can cross zero is that of its terms: the largest in the ten steps before,
and, of a gradient near a minimum, the point's coordinates.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import adam_optax as ao
from tests.docs import markdown

NAMES = ("SGD", "momentum", "AdaGrad", "RMSProp", "Adam")
FOLDER = markdown.DOCS / "_static" / "live"
KEPT = {"momentum": {"mu": "trace"}, "AdaGrad": {"nu": "sum_of_squares"}, "RMSProp": {"nu": "nu"}}
KEPT["Adam"] = {"mu": "mu", "nu": "nu"}
"""What the page calls mu and nu, by the names in the library's states."""
READ = """() => {
    const { settings, walks, noise } = window.adamLive;
    const columns = ({ points, steps }) => ({
        points, ...Object.fromEntries(Object.keys(steps[0]).map((k) => [k, steps.map((s) => s[k])]))
    });
    const all = Object.entries(walks).map(([name, walk]) => [name, columns(walk)]);
    return { settings, noise, walks: Object.fromEntries(all) };
}"""
"""Return the settings, the noise and each walk: an array for each quantity, steps by weights."""
Matrix = np.ndarray[Any, np.dtype[np.float64]]


@functools.cache
def example() -> dict[str, Any]:
    """Run the first block of code on the page: the surfaces and the optimisers, in Python."""
    text = (markdown.DOCS / "learn" / "live.md").read_text(encoding="utf-8")
    (first, *_) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    scope: dict[str, Any] = {}
    exec(compile(first, "docs/learn/live.md", "exec"), scope)
    return scope


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Hold the numbers that an optimiser is made with."""

    name: str
    rate: float
    b1: float
    b2: float
    eps: float
    corrected: bool | None


def numbers(name: str, settings: dict[str, Any]) -> Numbers:
    """Take those of one optimiser out of the page's settings."""
    corrected = settings.get(f"correct{name}")
    return Numbers(name, settings[name], settings["b1"], settings["b2"], settings["eps"], corrected)


@functools.cache
def _library(made: Numbers) -> Callable[[Any], Any]:
    """Return the library's steps and moments after each of some gradients, compiled once."""
    tx = example()["make"](**dataclasses.asdict(made))
    kept = KEPT.get(made.name, {})

    def one(state: Any, g: Any) -> Any:
        updates, state = tx.update(g, state)
        found = {ours: optax.tree_utils.tree_get(state, name) for ours, name in kept.items()}
        return state, {"step": updates, **found}

    return jax.jit(lambda grads: jax.lax.scan(one, tx.init(grads[0]), grads)[1])


def _corrections(made: Numbers, steps: int) -> dict[str, Matrix]:
    """Return the factors that correct averages for their start, as the library has them."""
    averages = {"RMSProp": ("nu",), "Adam": ("mu", "nu")}.get(made.name, ())
    ages = jnp.arange(1.0, steps + 1)
    seen = {
        name: ao.moments.ema(b).precompute(ages)[0]
        for name, b in (("mu", made.b1), ("nu", made.b2))
        if name in averages
    }
    return {
        f"{name}Factor": np.repeat(np.asarray(1 / share if made.corrected else share**0), 2)
        for name, share in seen.items()
    }


def differences(drawn: dict[str, Any]) -> Iterator[str]:
    """Yield what the page has drawn and the library says otherwise; nothing if all is right."""
    settings, noise = drawn["settings"], np.array(drawn["noise"])
    yield from _differ("noise", noise, normals(settings["seed"], len(noise)))
    slope = jax.vmap(jax.grad(example()["SURFACES"][settings["surface"]]))
    for name, walk in drawn["walks"].items():
        made = numbers(name, settings)
        found = {key: np.array(x, float) for key, x in walk.items() if x[0][0] is not None}
        points, grads = found.pop("points"), found["g"]
        wanted = {key: np.asarray(x) for key, x in _library(made)(jnp.array(grads)).items()}
        factors = _corrections(made, len(grads))
        wanted |= {key: factor.reshape(-1, 2) for key, factor in factors.items()}
        wanted["g"] = np.asarray(slope(jnp.array(points[:-1]))) + settings["noise"] * noise
        if found.keys() != wanted.keys():
            yield f"{name} has {sorted(found)}, not {sorted(wanted)}"
            continue
        for key, expected in wanted.items():
            terms = points[:-1] if key == "g" else 0.0
            yield from _differ(f"{name}: {key}", found[key], expected, terms)
        yield from _differ(f"{name}: points", points[1:], points[:-1] + found["step"])


def _differ(
    what: str, found: Matrix, expected: Matrix, terms: Matrix | float = 0.0
) -> Iterator[str]:
    if found.shape != expected.shape or not np.isfinite(expected).all():
        yield f"{what}: {found.shape}, {expected.shape}, or not finite"
        return
    size = np.maximum(np.abs(expected), np.abs(terms))
    if (expected < 0).any():
        size = np.array([size[max(0, k - 10) : k + 1].max(axis=0) for k in range(len(size))])
    wrong = ~(np.abs(found - expected) <= 1e-12 * size)
    if wrong.any():
        step, weight = np.argwhere(wrong)[0]
        yield f"{what} of weight {weight} in step {step + 1}: {found[step, weight]!r}, not " + repr(
            expected[step, weight]
        )


def normals(seed: int, steps: int) -> Matrix:
    """Return the page's noise: mulberry32 by Tommy Ettinger, then Box and Muller's formula."""
    state = seed

    def uniform() -> float:
        nonlocal state
        state = (state + 0x6D2B79F5) % 2**32
        z = (state ^ state >> 15) * (state | 1) % 2**32
        z ^= (z + (z ^ z >> 7) * (z | 61)) % 2**32
        return float((z ^ z >> 14) % 2**32) / 2**32

    def pair() -> tuple[float, float]:
        radius, angle = math.sqrt(-2 * math.log(1 - uniform())), 2 * math.pi * uniform()
        return radius * math.cos(angle), radius * math.sin(angle)

    return np.array([pair() for _ in range(steps)])
