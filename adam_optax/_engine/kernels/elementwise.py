"""Tell whether a rule does the same to every element of a leaf, whatever the leaf's size."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array, ShapeDtypeStruct
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxprs_in_params

from adam_optax._core.types import PyTree
from adam_optax._engine.kernels.layout import ArrayOrShape
from adam_optax._engine.kernels.tile import shape_of

ELEMENTWISE = frozenset(
    """
    abs add add_any and atan2 bitcast_convert_type broadcast_in_dim cbrt ceil clamp
    convert_element_type copy copy_p cos cosh div eq eq_to erf exp exp2 expm1 floor ge gt
    integer_pow is_finite le le_to lgamma log log1p logistic lt lt_to max min mul ne neg nextafter
    not or population_count pow rem round rsqrt select_n shift_left shift_right_arithmetic
    shift_right_logical sign sin sinh sqrt square stop_gradient sub tan tanh xor
    """.split()  # noqa: SIM905
)
"""The primitives that treat every element by itself; any other is taken to mix them."""


def is_elementwise(
    rule: Callable[..., Any],
    g: ArrayOrShape,
    p: ArrayOrShape | None,
    count: Array,
    scalars: PyTree,
    part: Sequence[int],
    layers: int = 0,
) -> bool:
    """Tell whether a rule's step may be taken part by part.

    The rule is traced on the leaf, or on a layer of it, and on a part. It must mix no elements, and
    do the same on both, which a rule does not that reads `x.g.size` in Python.

    Args:
        rule: the step without storage, of a gradient, a parameter or None, the count and scalars.
        g: the gradient.
        p: the parameter, or None.
        count: the count after the step.
        scalars: the scalars of the step, by precision.
        part: the shape of a part.
        layers: how many leading axes are layers, each of them a leaf to the rule.
    """

    def on(shape: Sequence[int]) -> ClosedJaxpr:
        leaves = [x if x is None else ShapeDtypeStruct(tuple(shape), x.dtype) for x in (g, p)]
        return jax.make_jaxpr(rule)(*leaves, count, scalars)

    whole = on(g.shape[layers:])
    if whole.consts or not _mixes_nothing(whole.jaxpr):  # a part has no arrays but its arguments
        return False
    try:
        return _described(whole.jaxpr) == _described(on(part).jaxpr)
    except Exception:  # the rule wants another shape, and says so as it likes
        return False


def _mixes_nothing(jaxpr: Jaxpr) -> bool:
    """Tell whether no equation on arrays mixes their elements, or asks where they are."""
    return all(_is_elementwise_equation(equation) for equation in jaxpr.eqns)


def _is_elementwise_equation(equation: JaxprEqn) -> bool:
    shapes = {shape_of(v) for v in (*equation.invars, *equation.outvars)} - {()}
    if not shapes:
        return True
    if inner := list(jaxprs_in_params(equation.params)):
        return all(_mixes_nothing(jaxpr) for jaxpr in inner)
    return equation.primitive.name in ELEMENTWISE and len(shapes) == 1


def _described(jaxpr: Jaxpr) -> list[object]:
    """Return all that a jaxpr does, without the shapes of its arrays."""
    return list(_parts(jaxpr))


def _parts(jaxpr: Jaxpr) -> Iterator[object]:
    numbers: dict[Var, int] = {}

    def name(v: Var | Literal) -> object:
        aval: Any = v.aval
        if isinstance(v, Literal):
            return str(aval.dtype), np.asarray(v.val, aval.dtype).tobytes()
        return numbers.setdefault(v, len(numbers)), str(aval.dtype), len(aval.shape) > 0

    for equation in jaxpr.eqns:
        if inner := list(jaxprs_in_params(equation.params)):
            how: object = [_described(x) for x in inner]
        else:
            how = {k: str(v) for k, v in equation.params.items() if k not in ("shape", "sharding")}
        yield equation.primitive.name, how, [name(v) for v in (*equation.invars, *equation.outvars)]
    yield [name(v) for v in jaxpr.outvars]
