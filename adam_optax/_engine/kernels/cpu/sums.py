"""Compute what a step needs of a whole leaf, such as a norm, before the loop.

A loop goes once over a leaf, and a rule may ask for a sum over the leaf first. JAX computes such
sums, and the scalars that follow from them, by the equations of the step itself; of the rest of
these equations XLA compiles none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from jax import Array
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var, jaxprs_in_params

from adam_optax._engine.kernels.cpu.program import INNER, UntranslatableError


def scalars_of_leaf(
    step: Callable[..., list[Array]],
    operands: Sequence[Array],
    wanted: Mapping[int, object],
    equations: Sequence[str],
) -> dict[int, Array]:
    """Return scalars of a step, by the number of the equation that computes them.

    Args:
        step: the step of the whole leaf, from flat arguments to flat results.
        operands: the flat arguments.
        wanted: the numbers of equations.
        equations: the names of all equations, as they were when the step was traced on a unit.

    Raises:
        UntranslatableError: if the step of the whole leaf has other equations.
    """
    closed = jax.make_jaxpr(step)(*operands)
    if closed.consts or [e.primitive.name for e in flat_equations(closed.jaxpr)] != list(equations):
        raise UntranslatableError("other equations for the whole leaf than for a part of it")
    found: dict[int, Array] = {}
    count = iter(range(len(equations)))

    def run(jaxpr: Jaxpr, values: Sequence[Any]) -> list[Any]:
        known: dict[Var, Any] = dict(zip(jaxpr.invars, values, strict=True))
        read = lambda v: v.val if isinstance(v, Literal) else known[v]  # noqa: E731
        for equation in jaxpr.eqns:
            number, operands = next(count), [read(v) for v in equation.invars]
            if inner := inner_function(equation):
                results = run(inner, operands)
            else:
                params = equation.primitive.get_bind_params(equation.params)
                bound = equation.primitive.bind(*operands, **params)
                results = bound if equation.primitive.multiple_results else [bound]
            known |= zip(equation.outvars, results, strict=True)
            if number in wanted:
                (found[number],) = results
        return [read(v) for v in jaxpr.outvars]

    run(closed.jaxpr, operands)
    return found


def inner_function(equation: JaxprEqn) -> Jaxpr | None:
    """Return the function that an equation calls, if it is one that is inlined."""
    if equation.primitive.name not in INNER:
        return None
    (inner,) = jaxprs_in_params(equation.params)
    return inner


def flat_equations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """Yield the equations of a jaxpr in the order in which they are met, those within after."""
    for equation in jaxpr.eqns:
        yield equation
        if inner := inner_function(equation):
            yield from flat_equations(inner)
