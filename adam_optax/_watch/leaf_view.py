"""Read the moments of one leaf as the rule that keeps them reads them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from adam_optax._core.numerics import abs_sq, compute_dtype, real_dtype, safe_divide, safe_sqrt
from adam_optax._core.sharing import ALL
from adam_optax._engine.groups import Group
from adam_optax._engine.leaf import (
    allow_complex_promotion,
    compile_step_scalars,
    decode,
    encode,
    promote,
    with_moment,
)
from adam_optax._engine.outside_step import in_memory
from adam_optax._engine.stacked import over_layers
from adam_optax._engine.step_scalars import StepScalars
from adam_optax.couplings import RATE
from adam_optax.directions import denominator
from adam_optax.moments import Leaf
from adam_optax.rules.base import Rule, dynamic_hyperparams
from adam_optax.storage._base import Frame, LeafContext, Values
from adam_optax.storage._dense import Dense
from adam_optax.storage._plan import LeafStorage

NU_LIKE_GRADIENT = frozenset({"adamax"})
"""Rules whose nu has the scale of the gradient, not of its square, and contains eps."""
MU_NORMALISED = frozenset({"adopt", "came", "capped_adafactor", "laprop", "novograd"})
"""Rules whose mu averages gradients that were divided by the root of nu before."""
EPS_HAT = frozenset({"fading_adam"})
"""Rules whose eps is epsilon-hat, beside those that are told so by an argument."""


class LeafView(NamedTuple):
    """Hold what is known of the sampled elements of one leaf; None where it is not known.

    Attributes:
        mu: the mean gradient as the rule reads it, or the gradient if the rule keeps no mean.
        signal_to_noise: `mu^2 / nu`, from 0 to about 1.
        root_nu: the root of nu.
        denominator: what mu is divided by: `root_nu` and epsilon.
        fresh_step: the next step under a typical gradient, from the moments as computed.
        stored_step: the same step, from the moments as they are after storage.
    """

    mu: Array
    signal_to_noise: Array | None = None
    root_nu: Array | None = None
    denominator: Array | None = None
    fresh_step: Array | None = None
    stored_step: Array | None = None


Reader: TypeAlias = Callable[[Array], LeafView]
"""A function from a leaf's sampled gradient to what is known of the sampled elements."""
Sampler: TypeAlias = Callable[[Array], Array]
"""A function from a leaf to its sampled elements."""


def _all(m: Array) -> Array:
    """Sample all elements of a leaf."""
    return m


def stored_reader(encoded: Mapping[str, Any], sample: Sampler) -> Reader:
    """Return a reader of moments of an unknown rule, as they are stored.

    Args:
        encoded: the moments by name; `mu` and `nu` are read, if they are there.
        sample: takes the sampled elements.
    """
    mu, nu = (_sample_wide(encoded.get(n), sample) for n in ("mu", "nu"))
    root_nu = None if nu is None else safe_sqrt(nu)
    return lambda g: LeafView(sample(g) if mu is None else mu, _signal_to_noise(mu, nu), root_nu)


def _sample_wide(m: Any, sample: Sampler) -> Array | None:
    """Return sampled elements in compute precision; None of what is no floating array."""
    if m is None or not jnp.issubdtype(m.dtype, jnp.inexact):
        return None
    return jnp.astype(sample(m), compute_dtype(m))


def _signal_to_noise(mu: Array | None, nu: Array | None) -> Array | None:
    if mu is None or nu is None:
        return None
    return safe_divide(abs_sq(mu), jnp.broadcast_to(nu, mu.shape), 0.0)


def rule_reader(
    group: Group,
    count: Array,
    log_decays: Mapping[str, Array],
    frames: Mapping[str, Frame],
    encoded: Mapping[str, Any],
    leaf: Array,
    sample: Sampler,
) -> Reader:
    """Return a reader of moments of a known rule.

    Args:
        group: how the leaf takes its step.
        count: the steps taken.
        log_decays: what the state keeps of decay rates on schedules.
        frames: what the state keeps to read codes with.
        encoded: the moments as they are kept, by the state's entry.
        leaf: the leaf's gradient.
        sample: takes the sampled elements.
    """
    encoded = jax.tree.map(in_memory, dict(encoded))  # the host may hold it
    if group.layers:  # each layer is read by itself, all of it, and sampled at the end
        whole: Callable[..., LeafView] = lambda g, own: rule_reader(  # noqa: E731
            dataclasses.replace(group, layers=0), count, log_decays, frames, own, g, _all
        )(g)
        by_layer = over_layers(whole, group.layers, 2)
        return lambda _: jax.tree.map(
            lambda x: sample(jnp.broadcast_to(x, leaf.shape)), by_layer(leaf, dict(encoded))
        )
    if any(m.over not in (None, ALL) for m in group.rule.moments.values()) and sample is not _all:
        # Of a number that elements share no sample can be taken: all is read, and sampled last.
        read_all = rule_reader(group, count, log_decays, frames, encoded, leaf, _all)
        return lambda _: jax.tree.map(
            lambda x: sample(jnp.broadcast_to(x, leaf.shape)), read_all(leaf)
        )
    recipe, storage, last = group.recipe, group.storage, count - 1
    hyperparams = dynamic_hyperparams(group.rule, last)
    decays, frames = group.own_log_decays(log_decays), group.own_frames(frames)
    compute = compile_step_scalars(recipe, RATE, storage)
    _, _, _, by_precision = compute(last, hyperparams, None, None, decays, frames, is_past=True)
    moments = recipe.factory(**recipe.constants, **by_precision["float32"].hyperparams).moments
    # A moment may be one number for a leaf that is none; such a moment has nothing to be sampled.
    shape = leaf.shape
    sample_if_array: Sampler = lambda m: m if m.shape == () != shape else sample(m)  # noqa: E731
    # Arrays that are kept as they are can be sampled before anything is computed.
    if all(isinstance(slot.format, Dense) for slot in storage.slots):
        encoded, leaf = {n: sample_if_array(m) for n, m in encoded.items()}, sample(leaf)
    context = LeafContext((), leaf.shape, count, 0)

    def read(g: Array) -> LeafView:
        previous = decode(storage, encoded, moments, context, by_precision["float32"].storage[0])
        dtype = compute_dtype(g, *previous.values())
        scalars = by_precision[real_dtype(dtype).name]
        numbers = recipe.constants | scalars.hyperparams
        rule = recipe.factory(**numbers)
        with allow_complex_promotion(dtype):
            sampled = {n: sample_if_array(m) for n, m in previous.items()}
            x = _as_read(rule, g, sampled, scalars, dtype)
            view = _view(group.rule.name, x, numbers)
            typical = _under_typical_gradient(rule, leaf, previous, scalars, dtype)
            fresh, stored = _next_steps(rule, typical, scalars, storage, context)
            return view._replace(fresh_step=sample(fresh), stored_step=sample(stored))

    return read


def _as_read(
    rule: Rule, g: Array, moments: Values, scalars: StepScalars, dtype: np.dtype[Any]
) -> Leaf:
    """Return the leaf after a step that ended with these moments, with their readings."""
    # How a rule reads its moments does not depend on the parameter, so that zeros stand for it.
    x = promote(g, jnp.zeros_like(g), moments, scalars, dtype)
    return _with_readings(rule, x, x.previous, scalars)


def _with_readings(rule: Rule, x: Leaf, moments: Values, scalars: StepScalars) -> Leaf:
    x = x._replace(current={}, hat={})
    for name, moment in rule.moments.items():
        x = with_moment(x, name, moment, moments[name], scalars)
    return x


def _under_typical_gradient(
    rule: Rule, leaf: Array, previous: Values, scalars: StepScalars, dtype: np.dtype[Any]
) -> Leaf:
    """Return the leaf before a step, under a gradient of the size that its moments expect.

    The gradient of this step would not do: a link before the optimiser may have clipped it.
    """
    x = _as_read(rule, jnp.zeros_like(leaf), previous, scalars, dtype)
    mu, nu = x.hat.get("mu"), _second_moment(x)
    if nu is None:
        return x if mu is None else x._replace(g=mu)
    size = nu if rule.name in NU_LIKE_GRADIENT else safe_sqrt(nu)
    return x._replace(g=jnp.broadcast_to(size, x.g.shape).astype(dtype))


def _second_moment(x: Leaf) -> Array | None:
    """Return the reading whose root is in the denominator."""
    return x.hat.get("nu_max", x.hat.get("nu"))


def _next_steps(
    rule: Rule, x: Leaf, scalars: StepScalars, storage: LeafStorage, context: LeafContext
) -> tuple[Array, Array]:
    """Return the next step, from moments as computed and from the same after storage."""
    after, fresh = context._replace(count=context.count + 1), x._replace(current={}, hat={})
    for name, moment in rule.moments.items():
        new = moment.update(x.previous[name], moment.observe(fresh), x.ages[name])
        fresh = with_moment(fresh, name, moment, new, scalars)
    frame = scalars.storage[1]  # any frame does: the rounding differs as from step to step
    encoded = encode(storage, fresh.current, rule.moments, after, frame)
    decoded = decode(storage, encoded, rule.moments, after, frame)
    stored = {n: m.astype(x.previous[n].dtype) for n, m in decoded.items()}
    return rule.direction(fresh), rule.direction(_with_readings(rule, fresh, stored, scalars))


def _view(name: str, x: Leaf, numbers: Mapping[str, Any]) -> LeafView:
    """Return the view of a leaf, without the steps.

    Args:
        name: the rule's name.
        x: the leaf with its readings.
        numbers: the rule's hyper-parameters at this step.
    """
    mu, nu = x.hat.get("mu"), _second_moment(x)
    view = LeafView(x.g if mu is None else mu)
    if nu is None:
        return view
    nu = jnp.broadcast_to(nu, x.g.shape)
    if name in NU_LIKE_GRADIENT:
        return view._replace(signal_to_noise=_signal_to_noise(mu, nu * nu), root_nu=nu)
    return view._replace(
        signal_to_noise=_signal_to_noise(mu, jnp.ones_like(nu) if name in MU_NORMALISED else nu),
        denominator=_denominator(name, nu, x.scalars, numbers),
        root_nu=safe_sqrt(nu),
    )


def _denominator(
    name: str, nu: Array, rule_scalars: Any, numbers: Mapping[str, Any]
) -> Array | None:
    """Return the root of nu and epsilon, where and as the rule adds epsilon; None without one."""
    eps, eps_root = numbers.get("eps"), numbers.get("eps_root", 0.0)
    if eps is None:
        return None
    if name in EPS_HAT or numbers.get("eps_hat") or numbers.get("correct_nu"):
        eps = eps * (rule_scalars[-1] if isinstance(rule_scalars, tuple) else rule_scalars)
    if numbers.get("eps_in_sqrt"):
        eps, eps_root = 0.0, eps
    return denominator(nu, eps, eps_root)
