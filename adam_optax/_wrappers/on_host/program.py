"""Hold a part of a traced step, and compile it.

Parts that do the same on the same shapes, as those of the layers of a model, are compiled once.
"""

import dataclasses
import functools as ft
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

Atom: TypeAlias = Var | Literal
"""What an operation reads: a variable or a constant."""

Run: TypeAlias = Callable[..., tuple[list[Array], list[Array]]]
"""A compiled program: from its inputs to its outputs, and to copies of its public inputs."""

SMALL = 16
"""The elements up to which an array joins nothing: scalars, keys, what a few scalars are kept as.

Leaves of so few elements take their step together, where scalars are computed.
"""


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """Hold a part of a step.

    Attributes:
        closed: the whole step.
        eqns: the operations of the part, in order.
        inputs: the variables that the part reads.
        positions: which outputs of the step the part computes.
        exports: the variables that the part computes for others.
        public: the small inputs that other parts read, too.
    """

    closed: ClosedJaxpr
    eqns: tuple[JaxprEqn, ...]
    inputs: tuple[Var, ...]
    positions: tuple[int, ...]
    exports: tuple[Var, ...] = ()
    public: set[Var] = dataclasses.field(default_factory=set)

    @ft.cached_property
    def outputs(self) -> tuple[Atom, ...]:
        """Return what the part computes: outputs of the step, then what others read."""
        return (*(self.closed.jaxpr.outvars[i] for i in self.positions), *self.exports)

    @ft.cached_property
    def reads(self) -> frozenset[Var]:
        """Return the inputs as a set."""
        return frozenset(self.inputs)

    @ft.cached_property
    def constants(self) -> dict[Var, Any]:
        """Return the scalars among the step's constants."""
        pairs = zip(self.closed.jaxpr.constvars, self.closed.consts, strict=True)
        return {v: x for v, x in pairs if not is_large(v)}

    def key(self, inputs: Sequence[Var], outputs: Sequence[Atom]) -> Hashable:
        """Return what is equal for parts that compute the same of arrays of the same shapes."""
        numbers: dict[Var, int] = {}

        def name(atom: Atom) -> Hashable:
            if isinstance(atom, Literal):
                is_scalar = getattr(atom.val, "ndim", 0) == 0
                return atom.aval, repr(atom.val) if is_scalar else id(atom.val)
            constant = self.constants.get(atom)
            number = numbers.setdefault(atom, len(numbers))
            what = atom in self.public if constant is None else id(constant)
            return atom.aval, number, what

        def of(eqn: JaxprEqn) -> Hashable:
            params = tuple((n, _by_value(x)) for n, x in sorted(eqn.params.items()))
            names = tuple(name(a) for a in (*eqn.invars, *eqn.outvars))
            return eqn.primitive, names, len(eqn.invars), params, _by_value(eqn.ctx)

        return (
            tuple(name(v) for v in inputs),
            tuple(of(eqn) for eqn in self.eqns),
            tuple(name(a) for a in outputs),
        )

    def compiled(self, donated: Mapping[int, Var], known: dict[Hashable, Run]) -> "Compiled":
        """Return the compiled part.

        Args:
            donated: for outputs, by their number, the input in whose place the output is written.
            known: what was compiled for other parts.
        """
        numbers = [*donated, *(i for i in range(len(self.outputs)) if i not in donated)]
        outputs = [self.outputs[i] for i in numbers]
        given = {*donated.values()}
        consts = [v for v in self.inputs if v in self.constants]
        # JAX pairs donated arrays with results by type and order, the first with the first.
        inputs = [*donated.values(), *(v for v in self.inputs if v not in given)]
        inputs = [v for v in inputs if v not in self.constants]
        key = self.key(inputs, outputs), len(donated)
        if key not in known:
            part = self.closed.jaxpr.replace(
                constvars=consts, invars=inputs, outvars=outputs, eqns=[*self.eqns]
            )
            run = jaxpr_as_fun(ClosedJaxpr(part, [self.constants[v] for v in consts]))
            public = [i for i, v in enumerate(inputs) if v in self.public]

            def host_step(*arguments: Array) -> tuple[list[Array], list[Array]]:
                # XLA rewrites x / s to x (1 / s) where s has no other reader: here it has one.
                return run(*arguments), [jnp.copy(arguments[i]) for i in public]

            known[key] = jax.jit(host_step, donate_argnums=tuple(range(len(donated))))
        return Compiled(known[key], tuple(inputs), tuple(numbers))


class Compiled(NamedTuple):
    """Hold a compiled part of a step.

    Attributes:
        run: the function.
        inputs: its arguments.
        numbers: its results, as numbers of the part's outputs.
    """

    run: Run
    inputs: tuple[Var, ...]
    numbers: tuple[int, ...]


def _by_value(x: object) -> Hashable:
    try:
        hash(x)
    except TypeError:
        return id(x)
    return type(x), x


def shape_of(atom: Atom) -> tuple[int, ...]:
    """Return the shape of what an operation reads or makes."""
    shape: tuple[int, ...] = atom.aval.shape  # type: ignore[attr-defined]  # all are arrays
    return shape


def dtype_of(atom: Atom) -> np.dtype[Any]:
    """Return the dtype of what an operation reads or makes."""
    dtype: np.dtype[Any] = atom.aval.dtype  # type: ignore[attr-defined]  # all are arrays
    return dtype


def is_large(atom: Atom) -> bool:
    """Tell whether an array joins the leaves that it meets."""
    return math.prod(shape_of(atom)) > SMALL
