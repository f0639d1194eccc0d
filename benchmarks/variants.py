"""The table of all variants. `python -m benchmarks.variants`; the README quotes it."""

import inspect
import re
from typing import Any

import jax
import jax.numpy as jnp
import optax

import adam_optax as ao
from adam_optax._engine.states import unpack

PARAMS = jax.ShapeDtypeStruct((1024, 1024), jnp.dtype("float32"))


def optimisers() -> dict[str, Any]:
    """The public optimisers, by name."""
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
    """Name, step, moments, bytes per float32 parameter, idea, paper, and optax's name for it."""
    state = jax.eval_shape(optimisers()[name](1e-3).init, PARAMS)
    moments = unpack(state[0])
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(moments))
    text = (optimisers()[name].__doc__ or "").strip()
    idea = text.splitlines()[0].rstrip(".").removeprefix("Minimise with ")
    theirs = [f"`{m}{name}`" for m, at in _OPTAX.items() if hasattr(at, name)]
    names = " ".join(f"`{n}`" for n in moments)
    share = f"{size / PARAMS.size:.2g}"
    cells = [f"`{name}`", _step(text), names, share, idea, _paper(text), (theirs or [""])[0]]
    return [cell.replace("|", "\\|") for cell in cells]


def _step(text: str) -> str:
    """The formula in a docstring."""
    (step,) = re.findall(r"Step: `(.*?)`", text, re.DOTALL)
    return f"`{' '.join(step.split())}`"


def _paper(text: str) -> str:
    """The first reference in a docstring: its authors and year, with its link."""
    reference = " ".join(text.partition("References:")[2].split())
    found = re.match(r"(.+?), \[.*?\]\((https:.*?)\), .*?(\d{4})", reference)
    assert found is not None, reference
    authors, link, year = found.groups()
    return f"[{authors} {year}]({link})"


_OPTAX = {"optax.": optax, "optax.contrib.": optax.contrib}


def table() -> str:
    """All variants as a Markdown table."""
    head = ["", "step", "moments", "B", "what it is", "paper", "replaces"]
    rows = [row(name) for name in sorted(optimisers())]
    return "\n".join("| " + " | ".join(r) + " |" for r in (head, ["---"] * len(head), *rows))


if __name__ == "__main__":
    print(table())
