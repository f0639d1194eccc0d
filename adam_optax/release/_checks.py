"""Refuse optimisers that need all gradients first, and losses that use released layers wrongly."""

from collections.abc import Sequence

import jax
import optax
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var, jaxprs_in_params

from adam_optax import _optax_interop
from adam_optax._core.by_path import path_name
from adam_optax._core.types import PyTree
from adam_optax._step import step
from adam_optax.release._layers import Released
from adam_optax.release._plan import Plan, is_none

CALLS = frozenset({"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2"})
"""The primitives whose one jaxpr takes their arguments and returns their results."""


_BY_LEAF = "ao.clip_by_block_rms(..., stacked=1), which clips each layer by itself"
_BY_HISTORY = "ao.rules.clip_step_by_history, which clips each layer's step by its own lengths"
INSTEAD = {
    "clip_by_global_norm": ("the norm of all gradients", _BY_LEAF),
    "zclip": ("the norm of all gradients", _BY_HISTORY),
    "adagc": ("the norm of all gradients, in its warm-up", _BY_HISTORY),
    "clip_by_block_rms": ("to be told what a layer is, as optax's is not", _BY_LEAF),
    "skip_spikes": ("the norm of all gradients", "clipping by layer"),
}
"""What links need that a released step does not have, and what to write in their place."""


def check_links(tx: optax.GradientTransformation) -> None:
    """Refuse links of which it is not known that they treat every layer by itself.

    Raises:
        ValueError: naming the link, and another one that does.
    """
    links = _optax_interop.links_that_may_mix(tx)
    for link in links:
        if link in INSTEAD:
            needs, instead = INSTEAD[link]
            raise ValueError(
                f"ao.release.step takes the step of a layer before other gradients exist, and "
                f"{link} needs {needs}: take {instead}, or ao.step(tx, grads, state, params) with "
                "all gradients"
            )
    if links:
        raise ValueError(
            f"ao.release.step takes the step of a layer before other gradients exist, and cannot "
            f"tell that {', '.join(links)} needs no more than that: leave it out, or take "
            "ao.step(tx, grads, state, params) with all gradients"
        )


def check_local(plan: Plan, state: PyTree, params: PyTree) -> None:
    """Refuse an optimiser in which the step of a parameter needs the gradients of others.

    Raises:
        ValueError: naming a parameter, or a part of the state, and the gradient that it needs.
    """
    n = len(plan.whole)
    closed, (_, new_state) = jax.make_jaxpr(
        lambda grads, state, params: step(plan.tx, grads, state, params), return_shape=True
    )(params, state, params)
    needs = _needs(closed.jaxpr, [1 << k if k < n else 0 for k in range(len(closed.jaxpr.invars))])
    names = [path_name(path) for path in plan.whole]
    results = [(f"params/{name}", k) for k, name in enumerate(names)]
    paths = [p for p, x in jax.tree.leaves_with_path(new_state, is_leaf=is_none) if x is not None]
    held = jax.tree.leaves(state, is_leaf=is_none)
    mine = [k for k, x in zip(plan.owners, held, strict=True) if x is not None]
    results += [
        (f"state/{path_name(path)}", -1 if k is None else k)
        for path, k in zip(paths, mine, strict=True)
    ]
    for (what, k), need in zip(results, needs, strict=True):
        if others := need & ~(0 if k < 0 else 1 << k):
            other = names[(others & -others).bit_length() - 1]
            raise ValueError(
                f"ao.release.step takes the step of a layer before other gradients exist, but "
                f"{what} needs the gradient of params/{other}, as where gradients are clipped by "
                "their global norm, or a step is skipped: leave that out, or take ao.step(tx, "
                "grads, state, params) with all gradients"
            )


def _needs(jaxpr: Jaxpr, given: Sequence[int]) -> list[int]:
    """Return for each result of a jaxpr which gradients it needs, as bits of an integer."""
    known: dict[Var, int] = dict(zip(jaxpr.invars, given, strict=True))
    need = lambda v: 0 if isinstance(v, Literal) else known.get(v, 0)  # noqa: E731
    for equation in jaxpr.eqns:
        here = [need(v) for v in equation.invars]
        inner = _called(equation)
        if inner is not None:
            out = _needs(inner, here)
        else:
            together = 0
            for x in here:
                together |= x
            out = [together] * len(equation.outvars)
        known |= zip(equation.outvars, out, strict=True)
    return [need(v) for v in jaxpr.outvars]


def _called(equation: JaxprEqn) -> Jaxpr | None:
    """Return the jaxpr that an equation calls with its arguments, if that is what it does."""
    inner = list(jaxprs_in_params(equation.params))
    if equation.primitive.name not in CALLS or len(inner) != 1:
        return None
    return inner[0] if len(inner[0].invars) == len(equation.invars) else None


def check_uses(jaxpr: Jaxpr, leaves: Sequence[PyTree]) -> None:
    """Refuse a loss that uses released layers never, more than once, or in another way.

    A loss in which the cotangent of a layer were a sum would return a sum of parameters.

    Args:
        jaxpr: the loss.
        leaves: its arguments: parameters, and layers that are released.

    Raises:
        ValueError: naming the layers.
    """
    variables = iter(jaxpr.invars)
    for x in leaves:
        own = [next(variables) for _ in jax.tree.leaves(x)]
        if not isinstance(x, Released):
            continue
        # What the state keeps, and a parameter, go to the layer's own function and nowhere else.
        for v in own[: len(own) - len(x.shared)]:
            users = _users(jaxpr, v)
            if users != ["custom_vjp_call"]:
                how = "never" if not users else f"{len(users)} times, by {', '.join(users)}"
                raise ValueError(
                    f"the loss must hand {x!r} to ao.release.scan or ao.release.call once, outside "
                    f"of loops and branches, and use it nowhere else; it is used {how}"
                )


def _users(jaxpr: Jaxpr, variable: Var) -> list[str]:
    """Return the primitives that take a variable, those inside of calls in place of the calls."""
    found = ["the result"] * sum(v is variable for v in jaxpr.outvars)
    for equation in jaxpr.eqns:
        inner = _called(equation)
        for i, v in enumerate(equation.invars):
            if v is variable:
                found += (
                    [equation.primitive.name] if inner is None else _users(inner, inner.invars[i])
                )
    return found
