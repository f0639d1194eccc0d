"""Print the table of all variants, which the README quotes: `python -m benchmarks.variants`."""

import inspect
import re
from typing import Any

import jax
import jax.numpy as jnp
import optax

import adam_optax as ao
from adam_optax._engine.tree import unpack

PARAMS = jax.ShapeDtypeStruct((1024, 1024), jnp.dtype("float32"))


def optimisers() -> dict[str, Any]:
    """Return the public optimisers, by name."""
    return {
        name: thing
        for name, thing in vars(ao).items()
        if callable(thing) and next(iter(_parameters(thing)), "") == "learning_rate"
    }


def _parameters(thing: Any) -> Any:
    try:
        return inspect.signature(thing).parameters
    except (TypeError, ValueError):  # a class, or a type alias
        return {}


def row(name: str) -> list[str]:
    """Return name, step, moments, bytes per float32 parameter, paper, and optax's name."""
    state = jax.eval_shape(optimisers()[name](1e-3).init, PARAMS)
    moments = unpack(state[0])
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(moments))
    text = (optimisers()[name].__doc__ or "").strip()
    paper = text.splitlines()[0].rstrip(".")
    theirs = [f"`{m}{name}`" for m, at in _OPTAX.items() if hasattr(at, name)]
    names = " ".join(f"`{n}`" for n in moments)
    cells = [f"`{name}`", _step(name, text), names, f"{size / PARAMS.size:.2g}", paper]
    return [cell.replace("|", "\\|") for cell in (*cells, (theirs or [""])[0])]


def _step(name: str, text: str) -> str:
    """Return the formula in a docstring, as it is with the optimiser's own defaults."""
    (step,) = re.findall(r"Step: `(.*?)`", text, re.DOTALL)
    parameters = inspect.signature(optimisers()[name]).parameters
    if "nesterov" in parameters and parameters["nesterov"].default:
        step = step.replace("μ̂", "(b1 μ / (1-b1^{t+1}) + (1-b1) g / (1-b1^t))")
    decays = "weight_decay" in parameters and parameters["weight_decay"].default
    if decays and "λ" not in step:  # the step ends where the first moment is explained
        head, comma, rest = step.partition(", ")
        step = f"{head} + λ p{comma}{rest}"
    return f"`{step}`"


_OPTAX = {"optax.": optax, "optax.contrib.": optax.contrib}


def table() -> str:
    """Return all variants as a Markdown table."""
    head = ["", "step", "moments", "B", "what it is", "replaces"]
    rows = [row(name) for name in sorted(optimisers())]
    return "\n".join("| " + " | ".join(r) + " |" for r in (head, ["---"] * len(head), *rows))


if __name__ == "__main__":
    print(table())
