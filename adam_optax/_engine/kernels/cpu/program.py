"""Flatten a leaf's step into straight-line operations on one unit of the leaf.

A unit is what a loop works on at a time: a block of neighbours along the last axis or, where
neighbours share nothing, a vector's worth of elements. The step is traced on one unit, so that a
program does for leaves of any size. Inner functions are inlined, equal operations are found once,
and operations whose results nobody reads are dropped.
"""

import dataclasses
import enum
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxprs_in_params

from adam_optax._engine.kernels.layout import LEAF, SCALAR, SHARED

FLOATS = ("float32", "float16", "bfloat16")
"""The dtypes of numbers with a fraction in which a program computes; wider ones are XLA's."""


class UntranslatableError(Exception):
    """Say which primitive, dtype or shape of a step no program can have."""


class Level(enum.IntEnum):
    """Say how many numbers a value has: one for all units, one for each, or one for each element.

    An operation's result has the highest level of its operands; a lower level is spread.
    """

    SCALAR = 0
    UNIT = 1
    ELEMENT = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """Describe an operand or a result.

    Attributes:
        name: a name that no other value of the program has.
        dtype: the name of the dtype.
        level: how many numbers there are.
        constant: the number, where the value is known; then the level is `SCALAR`.
    """

    name: str
    dtype: str
    level: Level
    constant: np.ndarray[Any, Any] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Operation:
    """Hold one operation.

    Attributes:
        primitive: the name of JAX's primitive.
        operands: the operands.
        result: the result.
        parameter: the one parameter that matters to some primitives: a power.
        evaluate: computes the result by JAX, for an operation on scalars.
    """

    primitive: str
    operands: tuple[Value, ...]
    result: Value
    parameter: int = 0
    evaluate: Callable[..., Array] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """Hold the operations of a step on one unit.

    Attributes:
        width: how many elements a unit has.
        scalars: the arguments that all units share, in the order of `scalar_places`.
        scalar_places: the places of these among the flat arguments.
        arrays: the other arguments.
        start: the row-major index of the unit's first element in the leaf, as uint32.
        results: the results, in order, but for `leaf_results`.
        result_levels: whether a result is kept for each unit or for each element.
        operations: the operations in an order in which they can be done.
        of_leaf: the scalars that follow from the whole leaf and that operations read, by the number
            of the equation that computes them.
        leaf_results: the results that are one number for the whole leaf: their places, by the same.
        equations: the names of all equations of the step.
    """

    width: int
    scalars: tuple[Value, ...]
    scalar_places: tuple[int, ...]
    arrays: tuple[Value, ...]
    start: Value
    results: tuple[Value, ...]
    result_levels: tuple[Level, ...]
    operations: tuple[Operation, ...]
    of_leaf: tuple[tuple[int, Value], ...] = ()
    leaf_results: tuple[tuple[int, int], ...] = ()
    equations: tuple[str, ...] = ()

    @property
    def has_sums(self) -> bool:
        """Tell whether something follows from the whole leaf."""
        return bool(self.of_leaf or self.leaf_results)

    @property
    def has_places(self) -> bool:
        """Tell whether an operation asks where in the leaf its elements are, as dithers do."""
        return any(self.start in operation.operands for operation in self.operations)


Memo: TypeAlias = dict[tuple[object, ...], Value]
"""The value of each operation that was met, by what it is."""

INNER = frozenset({"jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "remat"})
"""The primitives that call an inner function, which is inlined."""
SAME = frozenset({"copy", "copy_p", "stop_gradient", "optimization_barrier"})
"""The primitives that return their operands."""
RESHAPES = frozenset({"broadcast_in_dim", "reshape", "squeeze", "expand_dims", "slice"})
"""The primitives that return the same numbers in another shape, of a unit's shapes."""
REDUCTIONS = frozenset({"reduce_max", "reduce_min"})
"""The reductions over the elements of a unit, of numbers that are not negative."""


def traced(
    step: Callable[..., list[Array]],
    roles: Sequence[str],
    types: Sequence[jax.ShapeDtypeStruct],
    rank: int,
    width: int,
) -> Program:
    """Trace a step on one unit, and flatten it.

    Args:
        step: from flat arguments and the unit's first index to flat results.
        roles: the roles of the arguments, as `layout` has them.
        types: the dtypes of the arguments; their shapes are not read.
        rank: how many axes the leaf has.
        width: how many elements a unit has.

    Raises:
        UntranslatableError: if something in the step has no operation here.
    """
    ones = (1,) * (rank - 1)
    shapes = {LEAF: (*ones, width), SHARED: (*ones, 1), SCALAR: ()}
    arguments = [
        jax.ShapeDtypeStruct(shapes[role], x.dtype, weak_type=x.weak_type)
        for role, x in zip(roles, types, strict=True)
    ]
    start = jax.ShapeDtypeStruct((), jnp.uint32)
    return _renamed(_Flattener(rank, width).program(jax.make_jaxpr(step)(*arguments, start)))


def _renamed(program: Program) -> Program:
    """Return a program whose values are named in order: equal programs have equal texts."""
    inputs = *program.scalars, *(x for _, x in program.of_leaf), *program.arrays, program.start
    made = *inputs, *(operation.result for operation in program.operations)
    new = {x: dataclasses.replace(x, name=f"v{i}") for i, x in enumerate(made)}
    of = lambda values: tuple(new.get(x, x) for x in values)  # noqa: E731  # constants stay
    operations = tuple(
        dataclasses.replace(x, operands=of(x.operands), result=new[x.result])
        for x in program.operations
    )
    return dataclasses.replace(
        program,
        scalars=of(program.scalars),
        arrays=of(program.arrays),
        start=new[program.start],
        results=of(program.results),
        operations=operations,
        of_leaf=tuple((number, new[x]) for number, x in program.of_leaf),
    )


class _Flattener:
    """Collect the operations of a jaxpr on one unit."""

    def __init__(self, rank: int, width: int) -> None:
        self._rank, self._width = rank, width
        self._operations: list[Operation] = []
        self._by_what: Memo = {}
        self._of_leaf: dict[Value, int] = {}
        self._of_scalars: dict[Value, int] = {}
        self._equations: list[str] = []
        self._count = 0

    def program(self, closed: ClosedJaxpr) -> Program:
        """Return the program of a jaxpr whose last argument is the unit's first index."""
        if closed.consts:
            raise UntranslatableError("an array that is no argument")
        avals: list[Any] = [v.aval for v in closed.jaxpr.invars[:-1]]
        arguments = [self._new(x.dtype, self._level(x)) for x in avals]
        start = self._new("uint32", Level.UNIT)
        results = self._inlined(closed.jaxpr, [*arguments, start])
        levels = [self._level(v.aval) for v in closed.jaxpr.outvars]
        known = self._of_scalars | self._of_leaf
        of_leaf = {i: known.get(x) for i, x in enumerate(results) if levels[i] == Level.SCALAR}
        if None in of_leaf.values():
            raise UntranslatableError("a result that is an argument")
        kept = [
            (x, level)
            for i, (x, level) in enumerate(zip(results, levels, strict=True))
            if i not in of_leaf
        ]
        operations = tuple(needed(self._operations, [x for x, _ in kept]))
        read = {x for operation in operations for x in operation.operands}
        places = [i for i, x in enumerate(arguments) if x.level == Level.SCALAR]
        return Program(
            self._width,
            tuple(arguments[i] for i in places),
            tuple(places),
            tuple(x for x in arguments if x.level != Level.SCALAR),
            start,
            tuple(x for x, _ in kept),
            tuple(level for _, level in kept),
            operations,
            tuple((number, x) for x, number in self._of_leaf.items() if x in read),
            tuple((i, number) for i, number in of_leaf.items() if number is not None),
            tuple(self._equations),
        )

    def _level(self, aval: Any) -> Level:
        """Return the level of an array of a unit's shapes: of the leaf's rank, or by blocks."""
        shape = tuple(aval.shape)
        if not shape:
            return Level.SCALAR
        if len(shape) in (self._rank, self._rank + 1) and set(shape[:-1]) <= {1}:
            if shape[-1] == self._width:
                return Level.ELEMENT
            if shape[-1] == 1:
                return Level.UNIT
        raise UntranslatableError(f"an array of shape {shape}")

    def _new(
        self, dtype: object, level: Level, constant: np.ndarray[Any, Any] | None = None
    ) -> Value:
        self._count += 1
        return Value(f"v{self._count}", str(dtype), level, constant)

    def _constant(self, x: Any, dtype: Any) -> Value:
        number = np.asarray(x, dtype)
        if number.ndim:
            raise UntranslatableError("an array that is no argument")
        key = "constant", str(dtype), number.tobytes()
        if key not in self._by_what:
            self._by_what[key] = self._new(dtype, Level.SCALAR, number)
        return self._by_what[key]

    def _operation(
        self,
        primitive: str,
        operands: tuple[Value, ...],
        dtype: object,
        parameter: int = 0,
        evaluate: Callable[..., Array] | None = None,
        level: Level | None = None,
    ) -> Value:
        """Return the result of an operation, which is added unless an equal one was."""
        if (simple := self._simplified(primitive, operands)) is not None:
            return simple
        key = primitive, operands, str(dtype), parameter
        if key not in self._by_what:
            highest = max((x.level for x in operands), default=Level.SCALAR)
            result = self._new(dtype, highest if level is None else level)
            self._operations.append(Operation(primitive, operands, result, parameter, evaluate))
            self._by_what[key] = result
        return self._by_what[key]

    def _simplified(self, primitive: str, operands: tuple[Value, ...]) -> Value | None:
        """Return the result of a sum or product of integers with 0 or 1, or of two constants.

        So leaves with more axes, whose elements have longer indices, have the same program.
        """
        if primitive not in ("add", "mul") or operands[0].dtype not in ("int32", "uint32"):
            return None
        constants = [x.constant for x in operands]
        for x, constant in zip(operands, reversed(constants), strict=True):
            if constant is not None and constant == (primitive == "mul"):
                return x
        one, other = constants
        if one is None or other is None:
            return None
        number = int(one) + int(other) if primitive == "add" else int(one) * int(other)
        limit = 2**31 if operands[0].dtype == "int32" else 0
        wrapped = (number + limit) % 2**32 - limit
        return self._constant(wrapped, np.dtype(operands[0].dtype))

    def _inlined(self, jaxpr: Jaxpr, arguments: Sequence[Value]) -> list[Value]:
        """Return the results of a jaxpr of these arguments."""
        known: dict[Var, Value] = dict(zip(jaxpr.invars, arguments, strict=True))

        def read(v: Any) -> Value:
            if not isinstance(v, Literal):
                return known[v]
            aval: Any = v.aval
            return self._constant(v.val, aval.dtype)

        for equation in jaxpr.eqns:
            operands = tuple(read(v) for v in equation.invars)
            known |= zip(equation.outvars, self._equation(equation, operands), strict=True)
        return [read(v) for v in jaxpr.outvars]

    def _equation(self, equation: JaxprEqn, operands: tuple[Value, ...]) -> Sequence[Value]:
        """Return the results of an equation."""
        name, outs = equation.primitive.name, equation.outvars
        number = len(self._equations)
        self._equations.append(name)
        inner = list(jaxprs_in_params(equation.params))
        if inner and name not in REDUCTIONS:
            if name not in INNER or len(inner) != 1:
                raise UntranslatableError(name)
            return self._inlined(inner[0], operands)
        if name in SAME:
            return operands
        if len(outs) != 1:
            raise UntranslatableError(name)
        aval: Any = outs[0].aval
        level, dtype = self._level(aval), str(aval.dtype)
        if name in RESHAPES:
            self._check_reshape(equation, level)
            return operands[:1]
        if name == "iota":
            if level != Level.ELEMENT or equation.params["dimension"] != len(aval.shape) - 1:
                return [self._constant(0, aval.dtype)]
            return [self._operation("iota", (), dtype, level=Level.ELEMENT)]
        if name in REDUCTIONS and level != Level.SCALAR:
            return [self._reduction(equation, operands[0], level, dtype)]
        if level == Level.SCALAR and (
            any(x.level != Level.SCALAR or x in self._of_leaf for x in operands)
        ):
            found = self._new(dtype, Level.SCALAR)
            self._of_leaf[found] = number
            return [found]
        if name == "convert_element_type" and operands[0].dtype == dtype:
            return operands
        parameter = equation.params["y"] if name == "integer_pow" else 0
        if all(x.level == Level.SCALAR for x in operands):
            primitive, params = (
                equation.primitive,
                equation.primitive.get_bind_params(equation.params),
            )
            evaluate = lambda *values: primitive.bind(*values, **params)  # noqa: E731
            found = self._operation(name, operands, dtype, parameter, evaluate)
            self._of_scalars.setdefault(found, number)
            return [found]
        return [self._elementwise(name, operands, dtype, parameter)]

    def _elementwise(
        self, name: str, operands: tuple[Value, ...], dtype: str, parameter: int
    ) -> Value:
        """Return the result of an operation on arrays, computed as XLA computes it."""
        one = self._constant(1, operands[0].dtype) if operands[0].dtype in FLOATS else None
        if name == "div" and one is not None and operands[1].level == Level.SCALAR:
            # What all elements are divided by, XLA inverts once.
            inverse = self._operation("div", (one, operands[1]), dtype, evaluate=jax.lax.div)
            name, operands = "mul", (operands[0], inverse)
        narrow = [x for x in operands if x.dtype in ("bfloat16", "float16")]
        if narrow and name not in ("convert_element_type", "select_n", "bitcast_convert_type"):
            # XLA for CPUs computes in float32 and rounds once.
            wide = tuple(self._widened(x) if x in narrow else x for x in operands)
            if dtype not in ("bfloat16", "float16"):
                return self._operation(name, wide, dtype, parameter)
            result = self._operation(name, wide, "float32", parameter)
            return self._operation("convert_element_type", (result,), dtype)
        return self._operation(name, operands, dtype, parameter)

    def _widened(self, x: Value) -> Value:
        if x.constant is not None:
            return self._constant(x.constant.astype(np.float32), np.dtype(np.float32))
        evaluate = lambda value: jax.lax.convert_element_type(value, jnp.float32)  # noqa: E731
        return self._operation("convert_element_type", (x,), "float32", evaluate=evaluate)

    def _reduction(self, equation: JaxprEqn, operand: Value, level: Level, dtype: str) -> Value:
        """Return the largest or least number of each unit; a rule's own sums are not taken."""
        shape = equation.invars[0].aval.shape  # type: ignore[attr-defined]  # an array's
        by_unit = len(shape) == self._rank + 1 and tuple(equation.params["axes"]) == (self._rank,)
        if level != Level.UNIT or not by_unit or dtype != "float32":
            raise UntranslatableError(f"{equation.primitive.name} over an axis of the leaf")
        if operand.level != Level.ELEMENT:
            return operand
        return self._operation(equation.primitive.name, (operand,), dtype, level=Level.UNIT)

    def _check_reshape(self, equation: JaxprEqn, level: Level) -> None:
        """Refuse what takes a part of an array or turns a lower level into another array's."""
        before: Any = equation.invars[0].aval
        if len(equation.invars) != 1 or level < self._level(before):
            raise UntranslatableError(f"{equation.primitive.name} to another shape")
        after: Any = equation.outvars[0].aval
        if equation.primitive.name == "slice" and before.shape != after.shape:
            raise UntranslatableError("a part of an array")


def needed(operations: Sequence[Operation], results: Sequence[Value]) -> Iterator[Operation]:
    """Return the operations on which results depend."""
    needed = set(results)
    for operation in reversed(operations):
        if operation.result in needed:
            needed.update(operation.operands)
    return (operation for operation in operations if operation.result in needed)
