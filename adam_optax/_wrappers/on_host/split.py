"""Split a traced step into programs that run one after the other, with the same results.

A step is traced once as a whole, so that chains, masks and schedules are what they are. Which parts
of a step go apart is read from the trace: arrays that meet in an operation stay in one program.
Scalars join nothing: those that come of several leaves, such as a global norm, are computed first,
and those of no leaf, such as a schedule, wherever they are needed.
"""

import collections
import dataclasses
import math
from collections.abc import Hashable, Iterable, Iterator, Sequence, Set
from typing import Any

import jax
from jax import Array
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxprs_in_params
from jax.interpreters import partial_eval

from adam_optax._wrappers.on_host.program import (
    Atom,
    Compiled,
    Program,
    Run,
    dtype_of,
    is_large,
    shape_of,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Hold the programs of a step, in the order in which they run.

    Attributes:
        closed: the whole step.
        reduced: computes the scalars that come of several leaves, of what is with the
            accelerator; None: there are none.
        shared: computes the outputs that belong to no leaf, and the step of the smallest leaves.
        groups: each takes the step of a group of leaves.
        passed: for the outputs of the step that are inputs of it, the input.
        readers: how many programs after `reduced` read an input, or pass it on.
        compiled: the programs that were compiled, by program and what is donated to it.
        functions: the compiled functions, of which programs that compute the same have one.
        constants: the arrays that the step closes over, with the host once they were read there.
    """

    closed: ClosedJaxpr
    reduced: Program | None
    shared: Program
    groups: tuple[Program, ...]
    passed: dict[int, Var]
    readers: collections.Counter[Var]
    compiled: dict[Hashable, Compiled] = dataclasses.field(default_factory=dict)
    functions: dict[Hashable, Run] = dataclasses.field(default_factory=dict)
    constants: dict[Var, Array] = dataclasses.field(default_factory=dict)


def split_step(closed: ClosedJaxpr, away: Sequence[bool], group_bytes: int) -> Split:
    """Split a traced step.

    Args:
        closed: the step.
        away: for each input, whether it is with the accelerator and may be read there.
        group_bytes: the bytes of inputs with the accelerator that go over together.

    Returns:
        The programs: one for all where leaves do not go apart, or are one group.
    """
    if closed.jaxpr.effects:  # whose order and number are those of the whole step
        return _whole(closed)
    opened = _open_scalars(closed)
    step = opened.jaxpr
    there = {v for v, is_away in zip(step.invars, away, strict=True) if is_away}
    found = _split(opened, _Parts(step), there, group_bytes)
    reads = () if found.reduced is None else found.reduced.inputs
    local = all(v in there for v in reads if is_large(v) and v not in step.constvars)
    return found if local and len(found.groups) > 1 else _whole(opened)


def _whole(closed: ClosedJaxpr) -> Split:
    """Return the split of a step that stays one program."""
    step = closed.jaxpr
    given = {*step.constvars, *step.invars}
    read = {v for eqn in step.eqns for v in _variables(eqn.invars)}
    inputs = tuple(v for v in (*step.constvars, *step.invars) if v in read)
    passed = {i: v for i, v in enumerate(step.outvars) if isinstance(v, Var) and v in given}
    computed = tuple(i for i in range(len(step.outvars)) if i not in passed)
    one = Program(closed, tuple(step.eqns), inputs, computed)
    return Split(closed, None, one, (), passed, collections.Counter((*inputs, *passed.values())))


def _open_scalars(closed: ClosedJaxpr) -> ClosedJaxpr:
    """Return a step in which functions under `jax.jit` of scalars alone are written out.

    What comes of constants can then be told from what comes of the state. Operations that no output
    needs are left out, and arguments of functions that these only pass to them.
    """

    def run(step: Jaxpr, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        known: dict[Var, Any] = dict(zip(step.constvars, consts, strict=True))
        known |= zip(step.invars, arguments, strict=True)
        value = lambda a: a.val if isinstance(a, Literal) else known[a]  # noqa: E731
        for eqn in step.eqns:
            operands, inner = [value(a) for a in eqn.invars], eqn.params.get("jaxpr")
            is_jit = eqn.primitive.name in ("jit", "pjit")
            if is_jit and isinstance(inner, ClosedJaxpr) and not _has_large(eqn):
                results = run(inner.jaxpr, inner.consts, operands)
            else:
                params = eqn.primitive.get_bind_params(eqn.params)
                with eqn.ctx.manager:
                    made = eqn.primitive.bind(*operands, **params)
                results = made if eqn.primitive.multiple_results else [made]
            known |= zip(eqn.outvars, results, strict=True)
        return [value(a) for a in step.outvars]

    step = closed.jaxpr
    kinds = [
        jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype, weak_type=v.aval.weak_type)
        for v in step.invars
    ]
    opened = jax.make_jaxpr(lambda *arguments: run(step, closed.consts, arguments))(*kinds)
    needed = [True] * len(step.outvars)
    pruned, _ = partial_eval.dce_jaxpr(opened.jaxpr, needed, instantiate=True)
    return ClosedJaxpr(pruned, opened.consts)


def _has_large(eqn: JaxprEqn) -> bool:
    """Tell whether an operation, or one inside it, reads or makes a large array."""
    inner = [e for jaxpr in jaxprs_in_params(eqn.params) for e in jaxpr.eqns]
    return any(map(is_large, (*eqn.invars, *eqn.outvars))) or any(map(_has_large, inner))


class _Parts:
    """Find out which variables of a step belong together.

    Attributes:
        crossing: the small variables that come of one leaf and are read by another, or come of
            several.
    """

    def __init__(self, step: Jaxpr) -> None:
        """Join the large variables that meet, and say where small ones belong."""
        self._parent: dict[Var, Var] = {}
        self._home: dict[Var, Var] = {}
        self.crossing: set[Var] = set()
        for eqn in step.eqns:
            self._join([v for v in _variables((*eqn.invars, *eqn.outvars)) if is_large(v)])
        for eqn in step.eqns:
            self._place(eqn)

    def _join(self, large: Sequence[Var]) -> None:
        for v in large[1:]:
            one, other = self._root(large[0]), self._root(v)
            if one is not other:
                self._parent[other] = one

    def _root(self, v: Var) -> Var:
        while (up := self._parent.get(v)) is not None:
            if (above := self._parent.get(up)) is not None:
                self._parent[v] = above
            v = up
        return v

    def _place(self, eqn: JaxprEqn) -> None:
        """Say to which leaves the small results of an operation belong."""
        large = [v for v in _variables((*eqn.invars, *eqn.outvars)) if is_large(v)]
        small = [v for v in _variables(eqn.invars) if not is_large(v)]
        results = [v for v in eqn.outvars if not is_large(v)]
        if large:
            home: Var | None = self._root(large[0])
            for v in small:
                if self._home.get(v, home) is not home:
                    self.crossing.add(v)
                    del self._home[v]
        else:
            homes = {self._home[v] for v in small if v in self._home}
            home = homes.pop() if len(homes) == 1 else None
            self.crossing |= {*results} if homes else set()
        if home is not None:
            self._home |= dict.fromkeys(results, home)

    def is_common(self, eqn: JaxprEqn) -> bool:
        """Tell whether an operation belongs to no leaf."""
        return all(self.of(v) is None for v in eqn.outvars)

    def of(self, v: Var) -> Var | None:
        """Return what stands for the leaves to which a variable belongs; None: to all."""
        return self._root(v) if is_large(v) else self._home.get(v)


def _variables(atoms: Iterable[Atom]) -> Iterator[Var]:
    return (a for a in atoms if isinstance(a, Var))


def _split(closed: ClosedJaxpr, parts: _Parts, there: set[Var], group_bytes: int) -> Split:
    """Return the programs that compute the outputs of a step, given what belongs together."""
    step = closed.jaxpr
    inputs = {*step.constvars, *step.invars}
    passed, reducing, sharing = {}, [], []
    by_home: dict[Var, list[int]] = {}
    for i, atom in enumerate(step.outvars):
        if isinstance(atom, Literal):
            sharing.append(i)
        elif atom in inputs:
            passed[i] = atom
        elif atom in parts.crossing:
            reducing.append(i)
        elif (home := parts.of(atom)) is None:
            sharing.append(i)
        else:
            by_home.setdefault(home, []).append(i)

    # A scalar that several operations read is computed once. One that comes of constants alone, or
    # that a single group reads, that group computes itself. XLA rewrites an operation where an
    # operand is a constant or has no other reader, and shall do so as in the whole step.
    cut = _Cut(closed, parts)
    packed = _packed(step, parts, by_home, there, group_bytes)
    at_groups = collections.Counter(v for outputs in packed for v in cut.scalars(outputs))
    others = [v for e in step.eqns if parts.is_common(e) for v in {*_variables(e.invars)}]
    readers = at_groups + collections.Counter((*others, *_variables(step.outvars)))
    common = {v for v in at_groups if readers[v] > 1}
    groups = [cut.program(outputs, stops=parts.crossing | common) for outputs in packed]
    exports = [v for v in dict.fromkeys(v for g in groups for v in g.inputs) if v in common]
    shared = cut.program(sharing, exports, parts.crossing)
    read = dict.fromkeys(v for p in (*groups, shared) for v in p.inputs)
    crossing = [v for v in read if v in parts.crossing]
    reduced = cut.program(reducing, crossing) if crossing or reducing else None
    programs = [*groups, shared, *([] if reduced is None else [reduced])]
    counted = collections.Counter(v for p in programs for v in p.inputs)
    for p in programs:
        small = {v for v in p.inputs if not is_large(v)}
        p.public.update(v for v in small if counted[v] > 1 or v not in inputs)
    later = collections.Counter(v for p in (*groups, shared) for v in p.inputs)
    later.update(passed.values())
    return Split(closed, reduced, shared, tuple(groups), passed, later)


def _packed(
    step: Jaxpr, parts: _Parts, by_home: dict[Var, list[int]], there: set[Var], group_bytes: int
) -> list[list[int]]:
    """Return the outputs of each group: neighbours in the tree, up to so many bytes together."""
    sizes: dict[Var, int] = {}
    for v in step.invars:
        if is_large(v) and (home := parts.of(v)) in by_home and home is not None:
            sizes[home] = sizes.get(home, 0) + (nbytes(v) if v in there else 0)
    packed: list[list[int]] = []
    room = 0
    for home in dict.fromkeys((*sizes, *by_home)):  # in the order of the inputs
        if not packed or sizes.get(home, 0) > room:
            packed.append([])
            room = group_bytes
        packed[-1] += by_home[home]
        room -= sizes.get(home, 0)
    return packed


class _Cut:
    """Cut programs out of a step."""

    def __init__(self, closed: ClosedJaxpr, parts: _Parts) -> None:
        """Find out which operation makes a variable, and which variables are constant."""
        self._closed, self._step, self._parts = closed, closed.jaxpr, parts
        self._given = {*self._step.constvars, *self._step.invars}
        self._made_by = {v: i for i, eqn in enumerate(self._step.eqns) for v in eqn.outvars}
        every = (*self._step.constvars, *self._step.invars, *self._made_by)
        self._order = {v: i for i, v in enumerate(every)}
        self._varying = {v for v in self._given if is_large(v) or v not in self._step.constvars}
        for eqn in self._step.eqns:
            if not self._varying.isdisjoint(_variables(eqn.invars)):
                self._varying |= {*eqn.outvars}

    def _needed(self, wanted: Iterable[Var], stops: Set[Var]) -> tuple[list[JaxprEqn], list[Var]]:
        """Return the operations that compute variables, and what is read, both in order."""
        stack = [*wanted]
        seen, read, needed = {*stack}, list[Var](), set[int]()
        while stack:
            v = stack.pop()
            if v in self._given or v in stops:
                read.append(v)
            elif (made := self._made_by[v]) not in needed:
                needed.add(made)
                new = {*_variables(self._step.eqns[made].invars)} - seen
                stack += new
                seen |= new
        eqns = [self._step.eqns[i] for i in sorted(needed)]
        return eqns, sorted(read, key=self._order.__getitem__)

    def program(
        self, positions: Sequence[int], exports: Sequence[Var] = (), stops: Set[Var] = frozenset()
    ) -> Program:
        """Return what computes these outputs of the step, and these variables.

        Args:
            positions: the outputs.
            exports: the variables.
            stops: what is read, and not computed.
        """
        own = _variables(self._step.outvars[i] for i in positions)
        eqns, read = self._needed((*own, *exports), stops)
        return Program(self._closed, tuple(eqns), tuple(read), tuple(positions), tuple(exports))

    def scalars(self, positions: Sequence[int]) -> set[Var]:
        """Return the scalars of no leaf, but constant ones, that the step of some leaves reads."""
        wanted = _variables(self._step.outvars[i] for i in positions)
        eqns, _ = self._needed(wanted, self._parts.crossing)
        read = {v for e in eqns if not self._parts.is_common(e) for v in _variables(e.invars)}
        common = {v for v in read & self._varying if self._parts.of(v) is None}
        return common - self._given - self._parts.crossing


def nbytes(v: Var) -> int:
    """Return the bytes of an array."""
    return math.prod(shape_of(v)) * dtype_of(v).itemsize
