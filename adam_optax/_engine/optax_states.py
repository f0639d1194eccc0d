"""Say how optax keeps what our rules remember: its classes of states, and its chains' links.

These are tables. Where a rule, its options and its storage have a `Layout`, the engine packs the
moments in optax's class; what tools know of optax's states, they then know of ours.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import optax

from adam_optax import rules
from adam_optax._core.by_path import ByPath
from adam_optax._engine.groups import Grouping
from adam_optax.moments import Moment
from adam_optax.rules.base import Factory, Recipe
from adam_optax.storage._dense import Dense


class Layout(NamedTuple):
    """Describe one of optax's classes of states.

    Attributes:
        kind: the class.
        fields: its field for each of our moments.
        counts: its fields that count steps; all hold the same number here.
    """

    kind: Any
    fields: Mapping[str, str]
    counts: tuple[str, ...] = ("count",)


def _layout(kind: Any, *names: str, counts: tuple[str, ...] = ("count",)) -> Layout:
    return Layout(kind, {n: n for n in names}, counts)


ADAM = _layout(optax.ScaleByAdamState, "mu", "nu")
AMSGRAD = _layout(optax.ScaleByAmsgradState, "mu", "nu", "nu_max")
LION = _layout(optax.ScaleByLionState, "mu")
BELIEF = _layout(optax.ScaleByBeliefState, "mu", "nu")
NOVOGRAD = _layout(optax.ScaleByNovogradState, "mu", "nu")
ADAN = Layout(optax.ScaleByAdanState, {"mu": "m", "delta": "v", "nu": "n", "g": "g"}, counts=("t",))
ADADELTA = _layout(optax.ScaleByAdaDeltaState, "e_g", "e_x", counts=())
RSS = _layout(optax.ScaleByRssState, "sum_of_squares", counts=())
RMS = _layout(optax.ScaleByRmsState, "nu", counts=())
# optax does not export this class. An array made here would start JAX's backend at import.
RMS_WITH_COUNT = _layout(
    type(jax.eval_shape(optax.scale_by_rms(bias_correction=True).init, {})), "nu"
)
TRACE = _layout(optax.TraceState, "trace", counts=())
NOTHING = _layout(optax.EmptyState, counts=())
ADEMAMIX = Layout(
    optax.contrib.ScaleByAdemamixState,
    {"mu": "m1", "mu_slow": "m2", "nu": "nu"},
    counts=("count", "count_m2"),
)
SIMPLIFIED_ADEMAMIX = Layout(
    optax.contrib.ScaleBySimplifiedAdEMAMixState, {"mu": "m", "nu": "n"}, counts=("t",)
)


def _factory(rule: Any) -> Factory:
    """Return the function that `@variant` decorates: what a rule's recipe names."""
    made: Factory = rule.__wrapped__
    return made


_OF_RULES: dict[Factory, tuple[Layout, ...]] = {
    _factory(rules.acprop): (BELIEF,),
    _factory(rules.adam_mini): (),  # a nu of the class of Adam's has the parameter's shape
    _factory(rules.lion): (LION,),
    _factory(rules.adabelief): (BELIEF,),
    _factory(rules.novograd): (NOVOGRAD,),
    _factory(rules.adan): (ADAN,),
    _factory(rules.adadelta): (ADADELTA,),
    _factory(rules.adagrad): (RSS,),
    _factory(rules.rmsprop): (RMS, RMS_WITH_COUNT),
    _factory(rules.momentum): (TRACE, NOTHING),
    _factory(rules.ademamix): (ADEMAMIX,),
    _factory(rules.simplified_ademamix): (SIMPLIFIED_ADEMAMIX,),
}
"""Layouts by rule, the first that fits; other rules have `ADAM` or `AMSGRAD` by their moments."""

LAYOUTS = {
    layout.kind: layout
    for layout in (ADAM, AMSGRAD, *(one for those in _OF_RULES.values() for one in those))
}
"""Layouts by class."""


def layout_of(grouping: Grouping, moments: Mapping[str, Moment]) -> Layout | None:
    """Return the layout of moments of a rule; None if optax has no class for them.

    Args:
        grouping: the rule, its storage and its rates; the recipe of a rule of which a part was
            replaced names no variant.
        moments: those of the rule's moments that one state holds.
    """
    counted = needs_count(grouping)
    for layout in _OF_RULES.get(grouping.recipe.factory, (ADAM, AMSGRAD)):
        if layout.fields.keys() == moments.keys() and (layout.counts or not counted):
            return layout
    return None


def needs_count(grouping: Grouping) -> bool:
    """Tell whether a step depends on its number: by a correction, a schedule or a dither.

    It is asked of the rules for whose moments optax has a class without a count. What is by path
    may be a schedule, which is read at the count of the moments.
    """
    rule, plan = grouping.rule, grouping.plan
    corrects = grouping.recipe.constants.get("bias_correction", False)
    dynamic = {} if rule.origin is None else rule.origin.dynamic
    scheduled = any(callable(value) for value in dynamic.values())
    numbers = (grouping.learning_rate, grouping.weight_decay, *rule.by_path.values())
    by_path = any(isinstance(value, ByPath) for value in numbers)
    slots = () if plan.uniform is None else plan.uniform.slots
    dithered = plan.uniform is None or any(not isinstance(s.format, Dense) for s in slots)
    return bool(corrects) or scheduled or by_path or dithered


class Links(NamedTuple):
    """Describe the chain of an optimiser of optax, after the link that rescales.

    Attributes:
        decay: whether weight decay, if there is any, is a link of its own.
        before_rate: the number of links without a state before the learning rate.
        after_rate: the number of links after the learning rate; without momentum they are empty.
    """

    decay: bool = True
    before_rate: int = 0
    after_rate: int = 0


_LINKS = {
    _factory(rules.lamb): Links(before_rate=1),
    _factory(rules.novograd): Links(decay=False),
    _factory(rules.rmsprop): Links(after_rate=1),
}


def first_layout(grouping: Grouping) -> tuple[bool, Layout | None]:
    """Return whether the trace of a momentum is in the chain's last link, and the first's layout.

    It is for RMSProp, in a storage that keeps it as one array.
    """
    moments, alike = grouping.rule.moments, grouping.plan.uniform
    kept = () if alike is None else alike.entries
    if not links_of(grouping.recipe).after_rate or "trace" not in moments or {*kept} != {*moments}:
        return False, None
    others = {n: moment for n, moment in moments.items() if n != "trace"}
    return True, layout_of(grouping, others)


def links_of(recipe: Recipe) -> Links:
    """Return the links of the chain that optax makes of a rule."""
    return _LINKS.get(recipe.factory, Links())
