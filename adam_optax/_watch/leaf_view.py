"""One leaf's moments as the rule that keeps them reads them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from adam_optax._core.numerics import abs_sq, compute_dtype, quotient, real_dtype, root
from adam_optax._engine.execute import Clock, mixing, promoted, ticker, values
from adam_optax._engine.tree import Engine
from adam_optax.directions import deviation
from adam_optax.moments import Leaf
from adam_optax.rules.base import Rule
from adam_optax.storage import Codec, Dense, Place
from adam_optax.storage._base import Values

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
    deviation = None if nu is None else root(nu)
    return lambda g: View(pick(g) if mu is None else mu, _signal(mu, nu), deviation)


def _wide(m: Any, pick: Pick) -> Array | None:
    if m is None or not jnp.issubdtype(m.dtype, jnp.inexact):
        return None
    return jnp.astype(pick(m), compute_dtype(m))


def _signal(mu: Array | None, nu: Array | None) -> Array | None:
    if mu is None or nu is None:
        return None
    return quotient(abs_sq(mu), jnp.broadcast_to(nu, mu.shape), 0.0)


def read(
    engine: Engine, count: Array, codec: Codec, row: Mapping[str, Any], like: Array, pick: Pick
) -> Look:
    """A look at moments of a rule of ours, after `count` steps, of a leaf like `like`."""
    make, constants = engine.rule.maker(), engine.rule.constants()
    last = count - 1
    numbers = engine.rule.numbers(last)
    _, (clocks,) = ticker(make, constants, engine.coupling, (codec,))(last, numbers, None, None)
    moments = make(**values(constants), **clocks["float32"].numbers).moments
    some: Pick = lambda m: m if m.shape == () else pick(m)  # noqa: E731
    # Arrays that are kept as they are can be picked from before anything is computed.
    if all(isinstance(shelf.kind, Dense) for shelf in codec.shelves):
        row, like = {n: some(m) for n, m in row.items()}, pick(like)
    place = Place(like.shape, count)

    def look(g: Array) -> View:
        old = codec.decode(row, moments, place)
        dtype = compute_dtype(g, *old.values())
        clock = clocks[real_dtype(dtype).name]
        known = values(constants) | clock.numbers
        rule = make(**known)
        with mixing(dtype):
            x = _as_read(rule, g, {n: some(m) for n, m in old.items()}, clock, dtype)
            view = _view(engine.rule.name, x, known)
            both = _directions(rule, _typical(rule, like, old, clock, dtype), clock, codec, place)
            return view._replace(fresh=pick(both[0]), stored=pick(both[1]))

    return look


def _as_read(rule: Rule, g: Array, moments: Values, clock: Clock, dtype: Any) -> Leaf:
    """The leaf with these moments as those after the step, and as they are read."""
    # What a rule may do with the parameter is no part of how its moments are read.
    x = promoted(g, jnp.zeros_like(g), clock, dict(moments), dtype)
    return _reads(rule, x, x.old, clock)


def _reads(rule: Rule, x: Leaf, moments: Values, clock: Clock) -> Leaf:
    x = x._replace(new={}, hat={})
    for name, moment in rule.moments.items():
        x = x._replace(new=x.new | {name: moments[name]})
        x = x._replace(hat=x.hat | {name: moment.read(moments[name], x, clock.warm[name])})
    return x


def _typical(rule: Rule, like: Array, old: Values, clock: Clock, dtype: Any) -> Leaf:
    """The leaf before a step under a gradient of the size that its moments speak of.

    The real one is of no use here: a link before may have clipped it.
    """
    x = _as_read(rule, jnp.zeros_like(like), old, clock, dtype)
    mu, nu = x.hat.get("mu"), _second(x)
    if nu is None:
        return x if mu is None else x._replace(g=mu)
    size = nu if rule.name in MAGNITUDES else root(nu)
    return x._replace(g=jnp.broadcast_to(size, x.g.shape).astype(dtype))


def _second(x: Leaf) -> Array | None:
    """What is under the root in the denominator."""
    return x.hat.get("nu_max", x.hat.get("nu"))


def _directions(
    rule: Rule, x: Leaf, clock: Clock, codec: Codec, place: Place
) -> tuple[Array, Array]:
    """The next step, from moments as computed and from what storage would keep of them."""
    after = dataclasses.replace(place, count=place.count + 1)
    fresh = rule(x, clock.warm)
    kept = codec.encode(fresh.new, rule.moments, after)
    back = codec.decode(kept, rule.moments, after)
    seen = {n: m.astype(x.old[n].dtype) for n, m in back.items()}
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
    denominator = _denominator(nu, x.pace, numbers)
    return view._replace(signal=signal, root_nu=root(nu), denominator=denominator)


def _denominator(nu: Array, pace: Any, numbers: Mapping[str, Any]) -> Array | None:
    """The root of nu and epsilon, where and as the rule adds it."""
    eps, below = numbers.get("eps"), numbers.get("eps_root", 0.0)
    if eps is None:
        return None
    if numbers.get("eps_hat"):
        eps = eps * (pace[-1] if isinstance(pace, tuple) else pace)
    if numbers.get("eps_in_sqrt"):
        eps, below = 0.0, eps
    return deviation(nu, eps, below)
