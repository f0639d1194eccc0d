"""Hand out the programs of one step, and the transfers between them."""

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Literal, Var
from jax.sharding import NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from adam_optax._core.checks import has_explicit_sharding
from adam_optax._core.types import PyTree
from adam_optax._wrappers.on_host.program import Atom, Compiled, Program, dtype_of, shape_of
from adam_optax._wrappers.on_host.split import Split


class Given(NamedTuple):
    """Hold the arguments of a step.

    Attributes:
        grads: the gradients.
        state: the state of the transformation, with the host.
        params: the parameters, or None.
        held: the parameters with the host, which are read instead; None: there are none.
        extra: further arguments of `tx.update`.
    """

    grads: PyTree
    state: PyTree
    params: PyTree
    held: PyTree
    extra: Mapping[str, Any]


class OneStep:
    """Hand out the programs of one step, and the transfers between them; nothing waits.

    Attributes:
        held: the new parameters with the host, if the state holds them.
    """

    def __init__(
        self,
        host: jax.Device,
        donates: bool,
        split: Split,
        applies: bool,
        given: Given,
        arguments: PyTree,
    ) -> None:
        """Name the arguments by the variables of the traced step."""
        self._host, self._donates, self._split = host, donates, split
        self._deletes, self._holds = donates and applies, given.held is not None
        whole = split.closed.jaxpr
        values = jax.tree.leaves(arguments)
        self._given: dict[Var, Any] = dict(zip(whole.invars, values, strict=True))
        self._given |= zip(whole.constvars, split.closed.consts, strict=True)
        self._constants = {*whole.constvars}
        rest = iter(whole.invars)
        grads, state, params, _ = ([next(rest) for _ in jax.tree.leaves(x)] for x in arguments)
        self._grads, self._state, self._away = {*grads}, state, {*grads}
        self._like = jax.tree.leaves(given.params if applies else given.grads)
        self._own = params if applies else grads
        self.held: list[Any] = [None] * len(self._like) if self._holds else []
        if not self._holds:
            self._away |= {*params}
        self._times = collections.Counter(map(id, (*values, *(self._like if self._holds else ()))))
        self._near = dict(split.constants)
        self._moved: set[Var] = set()
        self._outputs: dict[int, Any] = {}

    def run(self) -> tuple[list[Any], list[Any]]:
        """Return the results, where the given arrays are, and the arrays of the new state.

        A group is sent back after the next one is on its way: between some platforms JAX copies
        synchronously, and the step of a group then runs while the next one is copied.
        """
        reduced, shared, groups = self._split.reduced, self._split.shared, self._split.groups
        if reduced is not None:
            found = self._reduce(reduced)
            if groups:
                self._fetch(groups[0].inputs)
            self._keep(reduced, self._bring(found))
            self._send_back(reduced.positions)
        self._keep(shared, self._take(shared))
        done = shared.positions
        for group in groups:
            self._fetch(group.inputs)
            self._keep(group, self._take(group))
            self._send_back(done)
            done = group.positions
        self._send_back(done)
        self._pass()
        outputs = [self._outputs[i] for i in range(len(self._outputs))]
        return outputs[: len(self._like)], outputs[len(self._like) :]

    def _bring(self, arrays: Sequence[Any]) -> list[Array]:
        found: list[Array] = jax.device_put(arrays, SingleDeviceSharding(self._host))
        return found

    def _reduce(self, program: Program) -> list[Array]:
        """Compute what comes of several leaves, where these are, if that is one place."""
        place = _common_place(self._given[v] for v in program.inputs if v in self._away)
        if place is None:
            return self._take(program)
        code = self._compiled(program, {})
        others = [v for v in code.inputs if v not in self._away]
        sent = jax.device_put([self._given[v] for v in others], place)
        there = dict(zip(others, sent, strict=True))
        found, _ = code.run(*(there[v] if v in there else self._given[v] for v in code.inputs))
        return found

    def _fetch(self, wanted: Iterable[Var]) -> None:
        """Send arguments to the host."""
        missing = [v for v in wanted if v not in self._near and v in self._given]
        for v, x in zip(missing, self._bring([self._given[v] for v in missing]), strict=True):
            given = self._given[v]
            if isinstance(given, Array) and self._host not in given.devices():
                self._moved.add(v)
            self._near[v] = x
            if v in self._constants:
                self._split.constants[v] = x

    def _take(self, program: Program) -> list[Array]:
        """Run a program on the host."""
        self._fetch(program.inputs)
        donated = self._donated(program)
        code = self._compiled(program, donated)
        found, _ = code.run(*(self._near[v] for v in code.inputs))
        for v in donated.values():
            del self._near[v]
        outputs = dict(zip(code.numbers, found, strict=True))
        return [outputs[i] for i in range(len(found))]

    def _compiled(self, program: Program, donated: dict[int, Var]) -> Compiled:
        known, key = self._split.compiled, (program, *donated.items())
        if key not in known:
            known[key] = program.compiled(donated, self._split.functions)
        return known[key]

    def _keep(self, program: Program, outputs: Sequence[Array]) -> None:
        """Remember what a program computed."""
        n = len(program.positions)
        self._outputs |= zip(program.positions, outputs[:n], strict=True)
        self._near |= zip(program.exports, outputs[n:], strict=True)

    def _donated(self, program: Program) -> dict[int, Var]:
        """Return, for outputs of a program, the input in whose place the output is written."""
        found: dict[int, Var] = {}
        for number, (position, output) in enumerate(
            zip(program.positions, program.outputs, strict=False)
        ):
            for v in self._before(position):
                if v in program.reads and _is_alike(v, output) and self._may_donate(v):
                    found[number] = v
                    break
        return found

    def _before(self, position: int) -> list[Var]:
        """Return the argument whose place an output of the step may take."""
        i = position - len(self._like)
        return self._own[position : position + 1] if i < 0 else self._state[i : i + 1]

    def _may_donate(self, v: Var) -> bool:
        """Tell whether nobody reads an array on the host after the program that gets it."""
        if self._split.readers[v] != 1:
            return False
        x, is_owned = self._given[v], self._donates and v not in self._grads
        return v in self._moved or (is_owned and isinstance(x, Array) and self._times[id(x)] == 1)

    def _send_back(self, positions: Iterable[int]) -> None:
        """Send results to where the given arrays are, which are then deleted if they may be."""
        sent = [i for i in positions if i < len(self._like)]
        places = [_place_of(self._like[i], self._host) for i in sent]
        back = jax.device_put([self._outputs[i] for i in sent], places)
        for i, x in zip(sent, back, strict=True):
            given = self._like[i]
            if self._holds:
                self.held[i] = self._outputs[i]
                x = jnp.copy(x) if x is self.held[i] else x
            self._outputs[i] = x
            if self._deletes and isinstance(given, Array) and self._times[id(given)] == 1:
                given.delete()

    def _pass(self) -> None:
        """Return arguments that a step does not change."""
        for i, v in self._split.passed.items():
            if i < len(self._like) and v is self._own[i]:
                self._outputs[i] = self._like[i]
                if self._holds:
                    self.held[i] = self._given[v]
            else:
                self._fetch([v])
                self._outputs[i] = self._near[v]
                self._send_back([i])


def _is_alike(v: Var, output: Atom) -> bool:
    same = shape_of(v) == shape_of(output) and dtype_of(v) == dtype_of(output)
    return same and not isinstance(output, Literal)


def _place_of(x: Any, host: jax.Device) -> Sharding:
    return x.sharding if isinstance(x, Array) else SingleDeviceSharding(host)


def _common_place(arrays: Iterable[Any]) -> Sharding | None:
    """Return where numbers must be to meet arrays; None if that is not one place.

    Where types say at which place an array is, the traced step does not fit the array.
    """
    places: list[Sharding] = []
    for x in arrays:
        if not isinstance(x, Array) or has_explicit_sharding(x):
            return None
        place = x.sharding
        if isinstance(place, NamedSharding):
            place = NamedSharding(place.mesh, PartitionSpec())
        elif not isinstance(place, SingleDeviceSharding):
            return None
        places.append(place)
    return places[0] if places and len({*places}) == 1 else None
