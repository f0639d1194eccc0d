"""Whether a step treats every element by itself, read off its equations."""

from typing import Any

from jax.extend.core import jaxprs_in_params

NAMES = frozenset(
    """
    abs add add_any and atan2 bitcast_convert_type broadcast_in_dim cbrt ceil clamp
    convert_element_type copy copy_p cos cosh div eq eq_to erf exp exp2 expm1 floor ge gt
    integer_pow is_finite le le_to lgamma log log1p logistic lt lt_to max min mul ne neg nextafter
    not or population_count pow rem round rsqrt select_n shift_left shift_right_arithmetic
    shift_right_logical sign sin sinh sqrt square stop_gradient sub tan tanh xor
    """.split()  # noqa: SIM905
)
"""Of the primitives that do; one that is not here is taken for one that does not."""


def elementwise(jaxpr: Any) -> bool:
    """Whether no equation on arrays mixes their elements, or asks where they are."""
    return all(_fine(equation) for equation in jaxpr.eqns)


def _fine(equation: Any) -> bool:
    shapes = {v.aval.shape for v in (*equation.invars, *equation.outvars)} - {()}
    if not shapes:
        return True
    if inner := list(jaxprs_in_params(equation.params)):
        return all(elementwise(jaxpr) for jaxpr in inner)
    return equation.primitive.name in NAMES and len(shapes) == 1
