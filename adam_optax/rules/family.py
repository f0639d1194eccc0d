"""The rest of the family: other memories, other orders."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import (
    Number,
    abs_sq,
    is_python_number,
    safe_divide,
    safe_sqrt,
    update_ema,
)
from adam_optax.directions import denominator, ratio
from adam_optax.moments import Leaf, ema, previous, square, trace
from adam_optax.rules.base import Rule, variant


@variant(decay_rates=("b1", "b2", "b3"), non_negative=("eps", "eps_root"))
def adan(
    b1: Number = 0.98,
    b2: Number = 0.92,
    b3: Number = 0.99,
    eps: Number = 1e-8,
    eps_root: Number = 1e-8,
    paper: bool = False,
) -> Rule:
    """Adan (Xie et al. 2022, Algorithm 1): Adam on the gradient and its change.

    Step: `(μ̂ + k δ̂) / (√(ν̂ + eps_root) + eps), ν of |g + k Δ|², δ of Δ = g - g_{t-1}`.
    `k` is `b2` in the paper, whose b's are 1 minus these, and `1 - b2` in optax.
    """
    k = b2 if paper else 1 - b2
    change = lambda x: jnp.where(x.t > 1, x.g - x.previous["g"], jnp.zeros_like(x.g))  # noqa: E731
    nu = ema(b3, lambda x: abs_sq(x.g + k * change(x)), signed=False)
    moments = {"mu": ema(b1), "delta": ema(b2, change), "nu": nu, "g": previous()}
    return Rule(moments, ratio(eps, eps_root, num=lambda x: x.hat["mu"] + k * x.hat["delta"]))


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "eps_root", "weight_decay"))
def novograd(
    b1: Number = 0.9,
    b2: Number = 0.25,
    eps: Number = 1e-6,
    eps_root: Number = 0.0,
    nesterov: bool = False,
    weight_decay: Number = 0.0,
) -> Rule:
    """NovoGrad (Ginsburg et al. 2019, Algorithm 1): one nu for the leaf, decay in the average.

    Step: `μ = b1 μ + g / (√(ν + eps_root) + eps) + λ p, ν of Σ|g|²`.
    """

    def update(m: Array, x: Array, t: Array) -> Array:
        return jnp.where(t > 1, update_ema(b2, m, x), x)

    def scaled(x: Leaf) -> Array:
        unit = safe_divide(x.g, denominator(x.current["nu"], eps, eps_root), least=eps)
        unit = unit if isinstance(x.weight_decay, float) else unit + x.weight_decay * x.p
        none = is_python_number(weight_decay) and weight_decay == 0
        return unit if none else unit + weight_decay * x.p

    nu = ema(b2, lambda x: jnp.sum(square(x)), signed=False)
    nu = dataclasses.replace(nu, update=update, scalar=True)
    mu = trace(scaled, b1, nesterov=nesterov)
    return Rule({"nu": nu, "mu": mu}, lambda x: x.hat["mu"], handles=("weight_decay",))


@variant(decay_rates=("b1", "b2"), non_negative=("smooth_beta",))
def lion(
    b1: Number = 0.9, b2: Number = 0.99, mode: str = "hard", smooth_beta: Number = 1.0
) -> Rule:
    """Lion (Chen et al. 2023, Algorithm 2): the sign of an average.

    Step: `sign(b1 μ_{t-1} + (1-b1) g), μ = b2 μ + (1-b2) g`.
    For the sign of `c` stands, as in optax, `tanh(smooth_beta c)` if `mode` is "smooth", and `c`
    itself where `|c| < 1` if it is "refined".
    """
    if mode not in ("hard", "smooth", "refined"):
        raise ValueError(f"mode must be 'hard', 'smooth' or 'refined', not {mode!r}")

    def direction(x: Leaf) -> Array:
        c = update_ema(b1, x.previous["mu"], x.g)
        if mode == "smooth":
            if jnp.iscomplexobj(c):
                raise TypeError("lion cannot smooth complex numbers; set mode='refined' or 'hard'")
            return jnp.tanh(smooth_beta * c)
        return jnp.sign(c) if mode == "hard" else jnp.where(abs(c) < 1, c, jnp.sign(c))

    return Rule({"mu": ema(b2)}, direction)


def fourth_root(count: Array) -> Array:
    """ADOPT's bound on a normalised gradient."""
    return safe_sqrt(safe_sqrt(count))


@variant(decay_rates=("b1", "b2"), non_negative=("eps",), functions=("clip_value_fn",))
def adopt(
    b1: Number = 0.9,
    b2: Number = 0.9999,
    eps: Number = 1e-6,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[Array], Array] | None = None,
) -> Rule:
    """ADOPT (Taniguchi et al. 2024, Algorithm 2): normalised by the nu of the step before.

    Step: `μ = b1 μ + (1-b1) clip(g / max(√ν_{t-1}, eps), ±t^¼)`.
    `clip_value_fn` bounds a normalised gradient by a function of the count; None: `count**.25`.
    """

    def update(m: Array, x: Array, t: Array) -> Array:
        return jnp.where(t > 1, update_ema(b2, m, x, signed=False), x)

    def unit(x: Leaf) -> Array:
        u = safe_divide(x.g, jnp.maximum(safe_sqrt(x.previous["nu"]), eps), least=eps)
        if use_clipping and jnp.iscomplexobj(u):
            raise TypeError("adopt cannot clip complex numbers; set use_clipping=False")
        u = jnp.clip(u, -x.scalars, x.scalars) if use_clipping else u
        return jnp.where(x.t > 1, u, jnp.zeros_like(u))

    nu = dataclasses.replace(ema(b2, square, signed=False), update=update)
    moments = {"mu": ema(b1, unit, corrected=False, nesterov=nesterov), "nu": nu}
    return Rule(moments, lambda x: x.hat["mu"], lambda t: (clip_value_fn or fourth_root)(t - 1))


@variant(decay_rates=("b1", "b2", "b3"), non_negative=("eps", "eps_root"))
def ademamix(
    b1: Number = 0.9,
    b2: Number = 0.999,
    b3: Number = 0.9999,
    alpha: Number = 5.0,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    nesterov: bool = False,
) -> Rule:
    """AdEMAMix (Pagliardini et al. 2024, Algorithm 1): a fast mean and a slow one.

    Step: `(μ̂ + alpha μ_slow) / (√(ν̂ + eps_root) + eps)`.
    """
    moments = {
        "mu": ema(b1, nesterov=nesterov),
        "mu_slow": ema(b3, corrected=False),
        "nu": ema(b2, square, signed=False),
    }
    num = lambda x: x.hat["mu"] + alpha * x.hat["mu_slow"]  # noqa: E731
    return Rule(moments, ratio(eps, eps_root, num=num))


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "eps_root"))
def simplified_ademamix(
    b1: Number = 0.99,
    b2: Number = 0.95,
    alpha: Number = 0.0,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
) -> Rule:
    """Simplified AdEMAMix (Morwani et al. 2025): a sum of gradients and the newest.

    Step: `(μ + alpha g) / (√(ν̂ + eps_root) + eps), μ = b1 μ + g`.
    """
    moments = {"mu": trace(b=b1), "nu": ema(b2, square, signed=False)}
    return Rule(moments, ratio(eps, eps_root, num=lambda x: x.current["mu"] + alpha * x.g))


@variant(decay_rates=("b1", "b2"), non_negative=("eps", "eps_root"))
def laprop(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-15,
    eps_root: Number = 0.0,
    nesterov: bool = False,
) -> Rule:
    """LaProp (Ziyin et al. 2020, Algorithm 1): normalise first, then average.

    Step: `μ̂, μ = b1 μ + (1-b1) g / (√(ν̂ + eps_root) + eps)`.
    """
    unit = ratio(eps, eps_root, num=lambda x: x.g)
    moments = {"nu": ema(b2, square, signed=False), "mu": ema(b1, unit, nesterov=nesterov)}
    return Rule(moments, lambda x: x.hat["mu"])
