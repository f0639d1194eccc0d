"""One leaf's moments as the rule that keeps them reads them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import abs_sq, compute_dtype, real_dtype, safe_divide, safe_sqrt
from adam_optax._engine.leaf import (
    StepScalars,
    allow_complex_promotion,
    compile_step_scalars,
    decode,
    encode,
    promote,
    with_moment,
)
from adam_optax._engine.tree import Engine
from adam_optax.directions import denominator
from adam_optax.moments import Leaf
from adam_optax.rules.base import Rule, dynamic_hyperparams
from adam_optax.storage._base import LeafContext, Values
from adam_optax.storage._dense import Dense
from adam_optax.storage._plan import LeafStorage

MAGNITUDES = frozenset({"adamax"})
"""Rules whose nu is on the scale of the gradient, not of its square, and has eps in it."""
NORMALISED = frozenset({"adopt", "laprop", "novograd"})
"""Rules whose mu is of gradients that were divided by the root of nu before."""


class View(NamedTuple):
    """What is known of one leaf, element by element; None where it is not known.

    Attributes:
        mu: the mean gradient as the rule reads it, or the gradient if it keeps none.
        signal: the gradient's signal to noise, `mu^2 / nu`, from 0 to about 1.
        root_nu: the root of nu.
        denominator: what mu is divided by: `root_nu` and epsilon.
        fresh: the next step under this gradient, from moments as computed.
        stored: the same, from moments that have been through storage.
    """

    mu: Array
    signal: Array | None = None
    root_nu: Array | None = None
    denominator: Array | None = None
    fresh: Array | None = None
    stored: Array | None = None


Look = Callable[[Any], View]
"""From a leaf's gradient to what is known of some of its elements."""
Pick = Callable[[Array], Array]
"""From a leaf to the elements that are looked at."""


def raw(row: Mapping[str, Any], pick: Pick) -> Look:
    """A look at moments of an unknown rule, as they are kept."""
    mu, nu = (_wide(row.get(n), pick) for n in ("mu", "nu"))
    denominator = None if nu is None else safe_sqrt(nu)
    return lambda g: View(pick(g) if mu is None else mu, _signal(mu, nu), denominator)


def _wide(m: Any, pick: Pick) -> Array | None:
    if m is None or not jnp.issubdtype(m.dtype, jnp.inexact):
        return None
    return jnp.astype(pick(m), compute_dtype(m))


def _signal(mu: Array | None, nu: Array | None) -> Array | None:
    if mu is None or nu is None:
        return None
    return safe_divide(abs_sq(mu), jnp.broadcast_to(nu, mu.shape), 0.0)


def read(
    engine: Engine,
    count: Array,
    storage: LeafStorage,
    row: Mapping[str, Any],
    like: Array,
    pick: Pick,
) -> Look:
    """A look at moments of a rule of ours, after `count` steps, of a leaf like `like`."""
    recipe, last = engine.recipe, count - 1
    hyperparams = dynamic_hyperparams(engine.rule, last)
    compute = compile_step_scalars(recipe, engine.coupling, (storage,))
    _, (scalars,) = compute(last, hyperparams, None, None)
    moments = recipe.factory(**recipe.constants, **scalars["float32"].hyperparams).moments
    some: Pick = lambda m: m if m.shape == () else pick(m)  # noqa: E731
    # Arrays that are kept as they are can be picked from before anything is computed.
    if all(isinstance(slot.format, Dense) for slot in storage.slots):
        row, like = {n: some(m) for n, m in row.items()}, pick(like)
    context = LeafContext((), like.shape, count, 0)

    def look(g: Array) -> View:
        old = decode(storage, row, moments, context)
        dtype = compute_dtype(g, *old.values())
        clock = scalars[real_dtype(dtype).name]
        known = recipe.constants | clock.hyperparams
        rule = recipe.factory(**known)
        with allow_complex_promotion(dtype):
            x = _as_read(rule, g, {n: some(m) for n, m in old.items()}, clock, dtype)
            view = _view(engine.rule.name, x, known)
            typical = _typical(rule, like, old, clock, dtype)
            both = _directions(rule, typical, clock, storage, context)
            return view._replace(fresh=pick(both[0]), stored=pick(both[1]))

    return look


def _as_read(rule: Rule, g: Array, moments: Values, clock: StepScalars, dtype: Any) -> Leaf:
    """The leaf with these moments as those after the step, and as they are read."""
    # What a rule may do with the parameter is no part of how its moments are read.
    x = promote(g, jnp.zeros_like(g), moments, clock, dtype)
    return _reads(rule, x, x.previous, clock)


def _reads(rule: Rule, x: Leaf, moments: Values, clock: StepScalars) -> Leaf:
    x = x._replace(current={}, hat={})
    for name, moment in rule.moments.items():
        x = with_moment(x, name, moment, moments[name], clock)
    return x


def _typical(rule: Rule, like: Array, old: Values, clock: StepScalars, dtype: Any) -> Leaf:
    """The leaf before a step under a gradient of the size that its moments speak of.

    The real one is of no use here: a link before may have clipped it.
    """
    x = _as_read(rule, jnp.zeros_like(like), old, clock, dtype)
    mu, nu = x.hat.get("mu"), _second(x)
    if nu is None:
        return x if mu is None else x._replace(g=mu)
    size = nu if rule.name in MAGNITUDES else safe_sqrt(nu)
    return x._replace(g=jnp.broadcast_to(size, x.g.shape).astype(dtype))


def _second(x: Leaf) -> Array | None:
    """What is under the root in the denominator."""
    return x.hat.get("nu_max", x.hat.get("nu"))


def _directions(
    rule: Rule, x: Leaf, clock: StepScalars, storage: LeafStorage, context: LeafContext
) -> tuple[Array, Array]:
    """The next step, from moments as computed and from what storage would keep of them."""
    after, fresh = context._replace(count=context.count + 1), x._replace(current={}, hat={})
    for name, moment in rule.moments.items():
        new = moment.update(x.previous[name], moment.observe(fresh), x.t)
        fresh = with_moment(fresh, name, moment, new, clock)
    kept = encode(storage, fresh.current, rule.moments, after)
    back = decode(storage, kept, rule.moments, after)
    seen = {n: m.astype(x.previous[n].dtype) for n, m in back.items()}
    return rule.direction(fresh), rule.direction(_reads(rule, fresh, seen, clock))


def _view(name: str, x: Leaf, numbers: Mapping[str, Any]) -> View:
    mu, nu = x.hat.get("mu"), _second(x)
    view = View(x.g if mu is None else mu)
    if nu is None:
        return view
    nu = jnp.broadcast_to(nu, x.g.shape)
    if name in MAGNITUDES:
        return view._replace(signal=_signal(mu, nu * nu), root_nu=nu)
    signal = _signal(mu, jnp.ones_like(nu) if name in NORMALISED else nu)
    denominator = _denominator(nu, x.scalars, numbers)
    return view._replace(signal=signal, root_nu=safe_sqrt(nu), denominator=denominator)


def _denominator(nu: Array, pace: Any, numbers: Mapping[str, Any]) -> Array | None:
    """The root of nu and epsilon, where and as the rule adds it."""
    eps, below = numbers.get("eps"), numbers.get("eps_root", 0.0)
    if eps is None:
        return None
    if numbers.get("eps_hat"):
        eps = eps * (pace[-1] if isinstance(pace, tuple) else pace)
    if numbers.get("eps_in_sqrt"):
        eps, below = 0.0, eps
    return denominator(nu, eps, below)
