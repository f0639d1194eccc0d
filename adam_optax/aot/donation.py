"""Say what became of donated arrays: JAX gives their buffers to results by type and order.

A compiled module's text says which result is written over which parameter, and what XLA copies for
it. Which result an argument belongs to is read off the trees: it has the argument's structure and
shapes, as the new state has those of the old one.
"""

import math
from typing import NamedTuple

import jax

from adam_optax._wrappers.memory import format_bytes
from adam_optax.aot import pairing
from adam_optax.aot.places import Places

SHOWN = 8
"""Number of arrays that a report names, at most."""
_WHY = "JAX gives donated buffers to results of the same type in order"


class Donated(NamedTuple):
    """Hold what became of one donated array.

    Attributes:
        argument: The array's place in the arguments, as `state[0].mu['w']`.
        size: Its bytes, of all devices together.
        result: The place of the result that is written over it, as `result[1][0].mu['w']`; `None`:
            its buffer is not used.
        own: The place of the result that belongs to it; `None`: the step returns none.
        copied: Whether XLA copies the array before it is overwritten, or that result to its place.
    """

    argument: str
    size: int
    result: str | None
    own: str | None
    copied: bool

    @property
    def crossed(self) -> bool:
        """Tell whether another result than its own is written over the array, or none is."""
        return self.own is not None and self.result != self.own


class Donation(NamedTuple):
    """Hold what became of all donated arrays; `print` it to see what to mend.

    Attributes:
        arrays: What became of each array of more than one element; numbers cost nothing.
        advice: What to write instead, or an empty text.
    """

    arrays: tuple[Donated, ...]
    advice: str = ""

    @property
    def crossed(self) -> tuple[Donated, ...]:
        """Return the arrays that other results than their own are written over, or none are."""
        return tuple(one for one in self.arrays if one.crossed)

    def __str__(self) -> str:
        """Format a line for each array that is crossed, and what to write instead."""
        crossed = sorted(self.crossed, key=lambda one: (not one.copied, -one.size))
        copied = [one.size for one in self.arrays if one.copied]
        if not self.arrays:
            return "donated: no arrays"
        head = f"donated: {len(self.arrays)} array{'s' * (len(self.arrays) > 1)}, "
        head += f"{len(crossed)} not reused for their own results" if crossed else "in place"
        if copied:
            head += f"; XLA copies {len(copied)} ({format_bytes(sum(copied))})"
        more = [f"  and {len(crossed) - SHOWN} more"] if len(crossed) > SHOWN else []
        return "\n".join([head, *map(_line, crossed[:SHOWN]), *more, *filter(None, [self.advice])])


def donation(compiled: jax.stages.Compiled) -> Donation:
    """Say which results a compiled step writes over its donated arguments, and what is copied.

    JAX gives the buffers of donated arguments to results of the same shape and dtype, both in
    order, whatever is computed of them. A step of `(grads, state, params)` that donates the last
    two and returns `(params, state)` has its new parameters written over `mu`, the new `mu` over
    `nu` and the new `nu` over the parameters: XLA for CPUs and GPUs then copies what is still to be
    read, with any optimiser whose moments have the parameters' dtype. Call `donation` for your own
    training step, once or in a test: `assert not aot.donation(compiled).crossed`.

    Args:
        compiled: The result of `jax.jit(step, donate_argnums=...).lower(...).compile()`, for any
            platform.

    Raises:
        ValueError: If the compiled module has no text, or other arguments and results than the
            function; if the step has ordered effects (`jax.debug.print(..., ordered=True)`).

    >>> import jax, jax.numpy as jnp, optax, adam_optax as ao
    >>> tx, params = optax.adamw(1e-3), {"w": jnp.zeros((64, 32))}
    >>> state = tx.init(params)
    >>> def step(grads, state, params):
    ...     return ao.step(tx, grads, state, params)
    >>> jitted = jax.jit(step, donate_argnums=(1, 2))
    >>> print(donation(jitted.lower(params, state, params).compile()))
    donated: 3 arrays, 3 not reused for their own results; XLA copies 2 (16.4 kB)
      state[0].nu['w'] is overwritten by result[1][0].mu['w'], not by result[1][0].nu['w']: copied
      params['w'] is overwritten by result[1][0].nu['w'], not by result[0]['w']: copied
      state[0].mu['w'] is overwritten by result[0]['w'], not by result[1][0].mu['w']: not copied
    JAX gives donated buffers to results of the same type in order: take the arguments
    in the order (params, state), or return the new values in the order (state, params).
    """
    places = Places.read(compiled.as_text() or "")
    made = pairing.results(compiled, places)
    arguments = pairing.arguments(compiled, places)
    given = [one for one in arguments if one.donated]
    pairs = pairing.pair(given, made, places)
    own = {x.position: y.name for one in pairs for x, y in one.leaves}
    names = {one.number: one.name for one in made}
    found = []
    for one in given:
        out = places.aliases.get(one.number)
        result = None if out is None else names.get(out)
        copied = out is not None and places.copies(one.number, out)
        if (elements := math.prod(one.shape)) > 1:
            size = elements * one.dtype.itemsize
            found.append(Donated(one.name, size, result, own.get(one.position), copied))
    if not any(one.crossed for one in found):
        return Donation(tuple(found))
    belonging = set(own.values())
    kept = [one for one in arguments if not one.donated]
    others = [one for one in made if one.name not in belonging]
    return Donation(tuple(found), _advice(pairs, pairing.pair(kept, others, places)))


def _line(one: Donated) -> str:
    copied = "copied" if one.copied else "not copied"
    if one.result is None:
        return f"  {one.argument} is not reused: {one.own} is written elsewhere"
    return f"  {one.argument} is overwritten by {one.result}, not by {one.own}: {copied}"


def _advice(pairs: list[pairing.Pair], others: list[pairing.Pair]) -> str:
    """Say how to write a step some of whose donated arrays are crossed.

    Args:
        pairs: Donated arguments and the results that belong to them.
        others: Other arguments and the results that may belong to them.
    """
    names = ["".join(pair.tree.keys) for pair in pairs]
    order = sorted(range(len(pairs)), key=lambda i: pairs[i].own.leaves[0].position)
    if order == list(range(len(pairs))):
        first = pairs[0].tree.leaves[0].position if pairs else 0
        before = ["".join(x.tree.keys) for x in others if x.tree.leaves[0].position < first]
        too = f"; or donate {', '.join(before[:SHOWN])}, too" if before else ""
        return (
            f"{_WHY}: return the new values of\ndonated arguments in their dtypes, and first{too}."
        )
    there, here = _listed([names[i] for i in order]), _listed(names)
    return (
        f"{_WHY}: take the arguments\n"
        f"in the order {there}, or return the new values in the order {here}."
    )


def _listed(names: list[str]) -> str:
    return f"({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})"
