"""Run one leaf's step: scalars of the step, decode, rule, weight decay, learning rate, encode.

Every dtype of a step is decided here. The compiled functions outlive the transformation: a thousand
leaves of twelve shapes are traced twelve times, a transformation made anew with the same constants
is not traced again, and un-jitted use runs compiled.
"""

import contextlib
import functools as ft
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from adam_optax._core import checks
from adam_optax._core.dither import TileOffset, at_base
from adam_optax._core.log_decay import add_decay, effective_age
from adam_optax._core.numerics import (
    Number,
    compute_dtype,
    real_dtype,
    safe_increment,
    scaled,
    sign_agreement,
)
from adam_optax._core.sharing import any_over, spread
from adam_optax._core.types import PyTree
from adam_optax._engine.kernels.cpu.looped_step import looped
from adam_optax._engine.kernels.fused_step import LeafResult, LeafStep, fuse
from adam_optax._engine.stacked import over_layers
from adam_optax._engine.step_scalars import (
    NO_FRAMES,
    NO_LOG_DECAYS,
    ByPrecision,
    Frames,
    LogDecays,
    StepScalars,
)
from adam_optax.couplings import RATE, Coupling
from adam_optax.moments import Leaf, Moment
from adam_optax.rules.base import Recipe, Rule
from adam_optax.storage._base import Entry, Frame, LeafContext, Moments, Resting
from adam_optax.storage._plan import LeafStorage, Slot, plan_storage

MAX_SQUARABLE = 1.8e19
"""The largest gradient whose square is finite in float32; beyond, some formats take no step."""

COMPILED = 64
"""How many compiled functions of a kind are kept; used outside jit, one holds megabytes."""


# --- What all leaves share ---------------------------------------------------------------------


@ft.lru_cache(maxsize=COMPILED)
def compile_step_scalars(
    recipe: Recipe, coupling: Coupling, storage: LeafStorage
) -> Callable[..., tuple[Array, LogDecays, Frames, ByPrecision]]:
    """Compile the function from a count to the next count and the scalars of that step.

    The function takes the count, the rule's hyper-parameters of the step, the weight decay and the
    learning rate (each a scalar or None), and the log decays and frames before the step; `is_past`
    says that the step was taken, and that the log decays are those after it. The function returns
    the next count, the log decays and frames after the step, and the scalars.
    """

    def step_scalars(
        count: Array,
        hyperparams: Mapping[str, Array],
        weight_decay: Array | float | None,
        learning_rate: Array | float | None,
        log_decays: LogDecays = NO_LOG_DECAYS,
        frames: Frames = NO_FRAMES,
        is_past: bool = False,
    ) -> tuple[Array, LogDecays, Frames, ByPrecision]:
        checks.check_count(count)
        count = safe_increment(count)
        past, log_decays = log_decays, dict(log_decays)
        found: ByPrecision = {}
        moments: Moments = {}
        double = jax.config.read("jax_enable_x64")
        for dtype in (jnp.float64, jnp.float32) if double else (jnp.float32,):
            t = count.astype(dtype)
            numbers = recipe.in_precision(hyperparams, dtype) if hyperparams else {}
            rule = recipe.factory(**recipe.constants, **numbers)
            if past and not (moments or is_past):  # once, in the first and widest precision
                log_decays = _after_step(past, rule.moments)
            moments = rule.moments
            ages = dict.fromkeys(moments, t)
            if log_decays:
                ages |= _effective_ages(moments, log_decays, dtype)
            decay, rate = (
                None if x is None else jnp.asarray(x, dtype) for x in (weight_decay, learning_rate)
            )
            found[jnp.dtype(dtype).name] = StepScalars(
                t,
                ages,
                numbers,
                {name: moment.precompute(ages[name]) for name, moment in moments.items()},
                rule.precompute(t, ages),
                None if decay is None else _decay_factor(rule, coupling, decay, rate),
                rate,
            )
        if storage.has_frame:
            new_frames = storage_frames(storage, moments, count, log_decays)
            both = storage_scalars(storage, frames, new_frames)
        else:
            new_frames, both = NO_FRAMES, _nothing(storage)
        found = {name: one._replace(storage=both) for name, one in found.items()}
        return count, log_decays, new_frames, found

    return jax.jit(step_scalars, static_argnames="is_past")


def _after_step(log_decays: LogDecays, moments: Moments) -> dict[str, Array]:
    """Return the log decays after a step with the decay rates of these moments."""
    rates = {n: rate for n in log_decays if (rate := moments[n].decay) is not None}
    return {n: add_decay(log_decays[n], b) for n, b in rates.items()}


def _effective_ages(moments: Moments, log_decays: LogDecays, dtype: DTypeLike) -> dict[str, Array]:
    """Return the ages of the moments whose age follows from a log decay."""
    ages = {}
    for name, moment in moments.items():
        own = moment.age_of or name
        if own in log_decays and (rate := moments[own].decay) is not None:
            ages[name] = effective_age(log_decays[own], rate, dtype)
    return ages


def _decay_factor(rule: Rule, coupling: Coupling, decay: Array, rate: Array | None) -> Number:
    """Return what multiplies a parameter beside its step, before the last factor `rate`.

    A rule that applies the learning rate itself gets a decay that is already multiplied by the
    rate, for its step is.
    """
    factor: Number = decay * rate if coupling.power == 2 and rate is not None else decay
    factor = factor if coupling.peak == 1 else factor / coupling.peak
    if rate is not None and "learning_rate" in rule.handles and coupling.power > 0:
        factor = factor * rate
    return factor


# --- One leaf's step ---------------------------------------------------------------------------


@ft.lru_cache(maxsize=COMPILED)
def compile_leaf_step(
    recipe: Recipe,
    storage: LeafStorage,
    coupling: Coupling = RATE,
    applies: bool = False,
    layers: int = 0,
    cpu_loops: str = "never",
) -> LeafStep:
    """Compile the step of any leaf, as `leaf_step` has it; with a kernel where that saves passes.

    Where the leading axes of a leaf are layers, each layer is a leaf by itself.

    The function takes the gradient, the parameter or None, the encoded moments by entry, the new
    count and its scalars; and, where there is a kernel, as `where` the leaf's `NamedSharding` if
    the leaf's type says it (explicit sharding).

    Args:
        recipe: how to build the rule.
        storage: how the leaf's moments are kept.
        coupling: how weight decay goes with the learning rate.
        applies: whether the step ends with the new parameter instead of the update.
        layers: how many leading axes of the leaf are layers.
        cpu_loops: where steps on CPUs are loops, as `kernels.cpu.choice` has it.
    """
    step = ft.partial(leaf_step, recipe, storage, coupling, applies)
    whole = over_layers(step, layers, 3) if layers else step
    platforms = storage.kernel_platforms[applies]
    otherwise: LeafStep = whole

    unstored = ft.partial(unstored_step, recipe, coupling, applies)
    if accelerators := platforms - {"cpu"}:
        otherwise = fuse(step, unstored, storage.block, accelerators, applies, layers, whole)
    fused = otherwise
    if cpu_loops == "always" or (cpu_loops == "auto" and "cpu" in platforms):
        formats = [slot.format for slot in storage.slots]
        are_own = all(_is_own(type(x)) for x in formats)
        if are_own or all(_is_own(type(x)) or "cpu" in x.kernel_platforms for x in formats):
            is_known = _is_own(recipe.factory) and not (
                recipe.reads_rank or any(map(callable, recipe.constants.values()))
            )
            rule = None if is_known else unstored
            is_own = is_known and are_own
            fused = looped(
                step, otherwise, storage.block, applies, layers, is_own, rule, bool(accelerators)
            )
    if fused is whole:
        return jax.jit(whole)
    return jax.jit(fused, static_argnames="where" if accelerators else ())


def unstored_step(
    recipe: Recipe,
    coupling: Coupling,
    applies: bool,
    g: Array,
    p: Array | None,
    count: Array,
    scalars: ByPrecision,
) -> LeafResult:
    """Take a rule's step without storage, by which it is told whether the rule mixes elements."""
    numbers = scalars["float32"].hyperparams
    moments = recipe.factory(**recipe.constants, **numbers).moments
    dense = plan_storage(None, moments).uniform
    assert dense is not None
    bare = {name: one._replace(storage=_nothing(dense)) for name, one in scalars.items()}
    zeros = {n: jnp.zeros(m.kept_shape(g.shape), jnp.float32) for n, m in moments.items()}
    return leaf_step(recipe, dense, coupling, applies, g, p, zeros, count, bare)


def _is_own(maker: Callable[..., object]) -> bool:
    """Tell whether a function or a class is this library's, and no method of a user's object."""
    own = __name__.partition(".")[0]
    return not hasattr(maker, "__self__") and maker.__module__.partition(".")[0] == own


def leaf_step(
    recipe: Recipe,
    storage: LeafStorage,
    coupling: Coupling,
    applies: bool,
    g: Array,
    p: Array | None,
    encoded: Mapping[str, Entry],
    count: Array,
    scalars: ByPrecision,
    offset: TileOffset | None = None,
) -> LeafResult:
    """Take the step of a leaf, or of the tile of it that begins at an offset.

    Args:
        recipe: how to build the rule.
        storage: how the leaf's moments are kept.
        coupling: how weight decay goes with the learning rate.
        applies: whether to return the new parameter instead of the update.
        g: the gradient.
        p: the parameter, or None.
        encoded: the moments as they are kept, by the state's entry.
        count: the count after this step.
        scalars: the scalars of this step, by precision.
        offset: where a tile begins in the leaf; None: the whole leaf.

    Returns:
        The update or the new parameter, and the encoded new moments.
    """
    # Build the rule with the hyper-parameters of this step, and decode what it remembers.
    checks.check_present(encoded)
    shared = scalars["float32"]
    if shared.factor is not None:
        g = scaled(g, shared.factor)
    rule = recipe.factory(**recipe.constants, **shared.hyperparams)
    before, now = shared.storage
    if shared.base is not None:
        offset = at_base(jnp.shape(g), shared.base, offset)
    past = LeafContext((), jnp.shape(g), count - 1, 0, offset=offset)
    decoded = decode(storage, encoded, rule.moments, past, before)

    # Decide the precision: the widest of all that meet, and at least float32.
    dtype = compute_dtype(g, *([] if p is None else [p]), *decoded.values())
    real = real_dtype(dtype)
    floors = {n: recipe.constants[n] for n in recipe.non_negative if n in recipe.constants}
    checks.check_leaf(g, p, decoded, rule.moments, floors, real)
    shared = scalars[real.name]
    if real != jnp.float32 and shared.hyperparams:
        rule = recipe.factory(**recipe.constants, **shared.hyperparams)
    x = promote(g, p, decoded, shared, dtype)
    finite = abs(x.g) < MAX_SQUARABLE if storage.skips_nonfinite else None
    here = past._replace(count=count)
    kept: dict[str, Entry] = {}

    def keep(new: Mapping[str, Array]) -> dict[str, Entry]:
        """Encode new moments; where the gradient is not finite, the old ones."""
        values = {}
        for n, m in new.items():
            if finite is not None:
                sound = finite if rule.moments[n].over is None else jnp.isfinite(m)
                m = jnp.where(sound, m, decoded[n].astype(m.dtype))
            values[n] = m.astype(decoded[n].dtype)
        resting = None if finite is None else (~finite, encoded, before)
        return encode(storage, values, rule.moments, here, now, resting)

    with allow_complex_promotion(dtype):
        # Remember this gradient: each moment in turn, since a later one may use an earlier one.
        for name, moment in rule.moments.items():
            new = moment.update(x.previous[name], moment.observe(x), x.ages[name])
            if shared.taken is not None and name in storage.uncoded:
                # Here, so that XLA goes on from what it writes in place, and copies nothing.
                new = select(shared.taken, new, x.previous[name].astype(new.dtype))
            if name in storage.read_back:  # the step goes on with the stored value
                kept |= (stored := keep({name: new}))
                new = decode(storage, stored, rule.moments, here, now)[name].astype(new.dtype)
            x = with_moment(x, name, moment, new, shared)
            if finite is not None and moment.over is not None:  # who shares a number rests with it
                finite = finite & spread(jnp.isfinite(new), x.g.shape, moment.over)

        # Turn the moments into a step; add weight decay, and multiply by the learning rate.
        step, decay, rate = rule.direction(x), shared.weight_decay, shared.learning_rate
        term = None
        if decay is not None and "weight_decay" not in rule.handles:
            term = decay * x.p
            if coupling.cautious:
                term = jnp.where(sign_agreement(step, x.p) >= 0, term, jnp.zeros_like(term))
        if term is not None and coupling.power > 0:
            step = step + term
        if rule.postprocess is not None:
            step = rule.postprocess(step, x)
        if rate is not None and "learning_rate" not in rule.handles:
            step = rate * step
        if term is not None and coupling.power == 0:
            step = step + term
        update = step if rate is None else -step
        if finite is not None:
            update = jnp.where(finite, update, 0.0)

        # Encode the moments that are not encoded yet.
        kept |= keep({n: m for n, m in x.current.items() if n not in storage.read_back})

    checks.check_step(update, g, kept, encoded)
    # An update has the gradient's dtype, or the parameter's where that is wider.
    wider = p is not None and jnp.finfo(g.dtype).bits < jnp.finfo(p.dtype).bits
    update = update.astype(p.dtype if wider and p is not None else g.dtype)
    result = _applied(p, update) if applies else update
    if shared.taken is not None:  # codes are not those of the same numbers anew, but the same bits
        still = p if applies and p is not None else -jnp.zeros_like(update)
        result = select(shared.taken, result, still)
        codes = {n: new for n, new in kept.items() if n not in storage.uncoded}
        kept |= select(shared.taken, codes, {n: encoded[n] for n in codes})
    return result, kept


def select(taken: Array, new: PyTree, old: PyTree) -> Any:
    """Return a tree as it is after a step, or as it was where `taken` is 0."""
    return jax.tree.map(lambda a, b: jnp.where(taken > 0, a, b), new, old)


def _applied(p: Array | None, update: Array) -> Array:
    """Return the new parameter as `optax.apply_updates` adds; XLA may round once less."""
    assert p is not None
    with jax.numpy_dtype_promotion("standard"):
        return (p + update).astype(p.dtype)


def with_moment(x: Leaf, name: str, moment: Moment, new: Array, scalars: StepScalars) -> Leaf:
    """Return the leaf with a new moment, and with that moment as the rule reads it."""
    x = x._replace(current=x.current | {name: new})
    return x._replace(hat=x.hat | {name: moment.read(new, x, scalars.moments[name])})


def promote(
    g: Array,
    p: Array | None,
    decoded: Mapping[str, Array],
    scalars: StepScalars,
    dtype: np.dtype[Any],
) -> Leaf:
    """Return the leaf in compute precision; real moments stay real beside a complex gradient."""
    real = real_dtype(dtype)
    moments = {n: m.astype(dtype if jnp.iscomplexobj(m) else real) for n, m in decoded.items()}
    p = None if p is None else jnp.astype(p, dtype)
    x = Leaf(jnp.astype(g, dtype), p, scalars.t, moments, scalars=scalars.rule, ages=scalars.ages)
    if scalars.weight_decay is not None:
        x = x._replace(weight_decay=scalars.weight_decay)
    if scalars.learning_rate is not None:
        x = x._replace(learning_rate=scalars.learning_rate)
    return x


def allow_complex_promotion(dtype: np.dtype[Any]) -> contextlib.AbstractContextManager[object]:
    """Let real and complex arrays of one precision meet, which strict promotion would refuse."""
    if jnp.issubdtype(dtype, jnp.complexfloating):
        standard: contextlib.AbstractContextManager[object]
        standard = jax.numpy_dtype_promotion("standard")
        return standard
    return contextlib.nullcontext()


# --- Storage of a leaf -------------------------------------------------------------------------


def storage_frames(
    storage: LeafStorage, moments: Moments, count: Array, log_decays: LogDecays
) -> dict[str, Frame]:
    """Return the frames of codes that are written at a count, by the name of their slot."""
    frames = {}
    for slot in storage.slots:
        if slot.format.has_frame:
            own, logs = zip(*((moments[n], log_decays.get(n)) for n in slot.names), strict=True)
            frames[slot.name] = slot.format.frame(own, count, slot.key, logs)
    return frames


def storage_scalars(storage: LeafStorage, *frames: Frames) -> tuple[tuple[Any, ...], ...]:
    """Return what codes need, for each of these frames, slot by slot."""
    return tuple(
        tuple(
            slot.format.scalars(one[slot.name]) if slot.format.has_frame else ()
            for slot in storage.slots
        )
        for one in frames
    )


def decode(
    storage: LeafStorage,
    encoded: Mapping[str, Entry],
    moments: Moments,
    context: LeafContext,
    scalars: tuple[Any, ...],
) -> dict[str, Array]:
    """Return the moments whose entries are all in `encoded`, in compute precision.

    Args:
        storage: how the leaf's moments are kept.
        encoded: what `encode` returned, by the state's entry.
        moments: the rule's moments.
        context: the leaf's shape and offset.
        scalars: what `storage_scalars` returned for the frames of the codes.
    """
    values: dict[str, Array] = {}
    for i, slot in enumerate(storage.slots):
        if all(entry in encoded for _, entry in slot.entries):
            own = {component: encoded[entry] for component, entry in slot.entries}
            here = _in_slot(slot, moments, context, scalars[i])
            values |= zip(slot.names, slot.format.decode(own, here), strict=True)
    return values


def encode(
    storage: LeafStorage,
    values: Mapping[str, Array],
    moments: Moments,
    context: LeafContext,
    scalars: tuple[Any, ...],
    resting: tuple[Array, Mapping[str, Entry], tuple[Any, ...]] | None = None,
) -> dict[str, Entry]:
    """Return what is kept of moments in compute precision, by the state's entry.

    Args:
        storage: how the leaf's moments are kept.
        values: moments by name; a slot some of whose moments are missing is left out.
        moments: the rule's moments.
        context: the leaf's shape, offset, and the count of this step.
        scalars: what `storage_scalars` returned for the frames of this step.
        resting: which elements take no step, what is kept of the leaf, and the scalars of that.
    """
    kept: dict[str, Entry] = {}
    for i, slot in enumerate(storage.slots):
        if all(name in values for name in slot.names):
            here = _in_slot(slot, moments, context, scalars[i])
            if resting is not None and slot.format.has_frame:
                mask, encoded, before = resting
                if (over := here.moments[0].over) is not None:  # who shares a number rests with it
                    mask = any_over(mask, over)
                own = {component: encoded[entry] for component, entry in slot.entries}
                here = here._replace(resting=Resting(mask, own, before[i]))
            parts = slot.format.encode([values[name] for name in slot.names], here)
            kept |= {entry: parts[component] for component, entry in slot.entries}
    return kept


def _in_slot(slot: Slot, moments: Moments, context: LeafContext, scalars: Any) -> LeafContext:
    own = tuple(moments[name] for name in slot.names)
    here = context._replace(moments=own, key=slot.key, scalars=scalars)
    if own[0].over is None:
        return here
    return here._replace(shape=own[0].kept_shape(context.shape), offset=None)


def _nothing(storage: LeafStorage) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    return ((),) * len(storage.slots), ((),) * len(storage.slots)
