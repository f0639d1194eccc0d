"""Trace a leaf's step on a tile: equations on arrays, and the scalars that feed them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var, jaxprs_in_params

from adam_optax._engine.kernels.layout import LEAF, SCALAR, SHARED, Layout

FlatStep: TypeAlias = Callable[..., list[Array]]
"""A function from flat arguments, and their row and column in the leaf, to flat results."""

Special: TypeAlias = Callable[[JaxprEqn, Sequence[Array]], list[Array] | None]
"""A function that evaluates an equation in a way of its own, or None to evaluate it as it is."""

Atom: TypeAlias = Var | Literal
"""An operand of an equation: a variable or a constant scalar."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tile:
    """Hold a step traced on a tile: `(rows, width)` of the leaf, `(rows, 1)` of what blocks share.

    Equations on scalars alone are taken out, because they are the same for every tile.

    Attributes:
        rows: the rows of the tile.
        jaxpr: the step, of the arguments and the tile's place.
        scalar_eqns: the equations among scalars.
        tile_eqns: the other equations.
        scalar_vars: the scalars that tile equations need.
    """

    rows: int
    jaxpr: Jaxpr
    scalar_eqns: tuple[JaxprEqn, ...]
    tile_eqns: tuple[JaxprEqn, ...]
    scalar_vars: tuple[Var, ...]

    @property
    def read(self) -> list[int]:
        """Return the positions of the arguments that are arrays and are used."""
        used = {v for e in self.tile_eqns for v in e.invars if not isinstance(v, Literal)}
        pairs = enumerate(self.jaxpr.invars[:-2])
        return [i for i, v in pairs if shape_of(v) != () and v in used]

    def scalars(self, values: Sequence[Array]) -> list[Array]:
        """Return the scalars that tile equations need, given the scalar arguments in order."""
        names = [v for v in self.jaxpr.invars[:-2] if shape_of(v) == ()]
        known = _evaluate(self.scalar_eqns, dict(zip(names, values, strict=True)))
        return [known[v] for v in self.scalar_vars]

    def step(
        self,
        arrays: Sequence[Array],
        carried: Sequence[Array],
        place: Sequence[Array],
        special: Special | None = None,
    ) -> list[Array]:
        """Return the results, given the arrays that are read in their order."""
        known = dict(zip([self.jaxpr.invars[i] for i in self.read], arrays, strict=True))
        known |= dict(zip(self.scalar_vars, carried, strict=True))
        known |= dict(zip(self.jaxpr.invars[-2:], place, strict=True))
        done = _evaluate(self.tile_eqns, known, special)
        return [_read(done, v) for v in self.jaxpr.outvars]


def traced(step: FlatStep, layout: Layout, rows: int) -> Tile:
    """Trace a step on tiles of so many rows."""
    shapes = {LEAF: (rows, layout.width), SHARED: (rows, 1), SCALAR: ()}
    pairs = zip(layout.roles, layout.dtypes, strict=True)
    arguments = [jax.ShapeDtypeStruct(shapes[role], dtype) for role, dtype in pairs]
    place = [jax.ShapeDtypeStruct((), jnp.int32)] * 2
    closed = jax.make_jaxpr(step)(*arguments, *place)
    assert not closed.consts, "a format's arrays cannot be read in a kernel: compute them"
    return Tile(rows, closed.jaxpr, *_split(closed.jaxpr))


def _split(
    jaxpr: Jaxpr,
) -> tuple[tuple[JaxprEqn, ...], tuple[JaxprEqn, ...], tuple[Var, ...]]:
    known = {v for v in jaxpr.invars[:-2] if shape_of(v) == ()}
    before, within = [], []
    for equation in jaxpr.eqns:
        needs = {v for v in equation.invars if not isinstance(v, Literal)}
        if needs <= known and all(shape_of(v) == () for v in equation.outvars):
            before.append(equation)
            known |= set(equation.outvars)
        else:
            within.append(equation)
    used = [*(v for equation in within for v in equation.invars), *jaxpr.outvars]
    carried = dict.fromkeys(v for v in used if not isinstance(v, Literal) and v in known)
    return tuple(before), tuple(within), tuple(carried)


def _read(known: Mapping[Var, Array], v: Atom) -> Array:
    return v.val if isinstance(v, Literal) else known[v]


def _evaluate(
    equations: Sequence[JaxprEqn], known: Mapping[Var, Array], special: Special | None = None
) -> dict[Var, Array]:
    known = dict(known)
    for e in equations:
        values = [_read(known, v) for v in e.invars]
        done = None if special is None else _evaluate_specially(e, values, special)
        if done is None:
            bound = e.primitive.bind(*values, **e.primitive.get_bind_params(e.params))
            done = bound if e.primitive.multiple_results else [bound]
        known |= zip(e.outvars, done, strict=True)
    return known


def _evaluate_specially(
    equation: JaxprEqn, values: Sequence[Array], special: Special
) -> list[Array] | None:
    inner = list(jaxprs_in_params(equation.params))
    if not inner:
        return special(equation, values)
    (jaxpr,) = inner
    known = _evaluate(jaxpr.eqns, dict(zip(jaxpr.invars, values, strict=True)), special)
    return [_read(known, v) for v in jaxpr.outvars]


def shape_of(v: Atom) -> tuple[int, ...]:
    """Return the shape of an operand or a result of an equation on arrays."""
    shape: tuple[int, ...] = v.aval.shape  # type: ignore[attr-defined]  # all are arrays
    return shape


def dtype_of(v: Atom) -> np.dtype[Any]:
    """Return the dtype of an operand or a result of an equation on arrays."""
    dtype: np.dtype[Any] = v.aval.dtype  # type: ignore[attr-defined]  # all are arrays
    return dtype
