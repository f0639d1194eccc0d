"""Say what a program is: how it begins, what one step is, and how it keeps its checkpoints."""

import dataclasses
import pickle
import types
from collections.abc import Callable
from typing import Any

import chex
import equinox as eqx
import flax.serialization
import jax
import numpy as np
import optax

import adam_optax as ao

OURS = types.SimpleNamespace(
    **{n: getattr(ao if n in ao.__all__ else optax, n) for n in dir(optax) if n[0] != "_"}
)
"""What the program would find in `optax` if our functions stood there under their names."""

STEPS = 20
"""Enough for schedules, spikes and restarts to be met, and for rounding to be all that differs."""

DATA = np.random.default_rng(0)
X = DATA.standard_normal((32, 6)).astype(np.float32)
Y = np.tanh(X @ DATA.standard_normal((6, 2)).astype(np.float32))
"""Thirty-two examples of a function from six numbers to two."""


def save_by_flax(carry: Any, path: Any) -> None:
    path.write_bytes(flax.serialization.to_bytes(carry))


def load_by_flax(template: Any, path: Any) -> Any:
    return flax.serialization.from_bytes(template, path.read_bytes())


def load_by_equinox(template: Any, path: Any) -> Any:
    return eqx.tree_deserialise_leaves(path, template)


def save_by_orbax(carry: Any, path: Any) -> None:
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, carry)


def load_by_orbax(template: Any, path: Any) -> Any:
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(path, jax.eval_shape(lambda: template))


def save_by_pickle(carry: Any, path: Any) -> None:
    path.write_bytes(pickle.dumps(carry))


def load_by_pickle(template: Any, path: Any) -> Any:
    """Read a pickle, whose classes are those that were saved: they must be the template's."""
    carry = pickle.loads(path.read_bytes())
    chex.assert_trees_all_equal_structs(carry, template)
    return carry


FLAX = (save_by_flax, load_by_flax)
EQUINOX = (lambda carry, path: eqx.tree_serialise_leaves(path, carry), load_by_equinox)
ORBAX = (save_by_orbax, load_by_orbax)
PICKLE = (save_by_pickle, load_by_pickle)


@dataclasses.dataclass(frozen=True)
class Program:
    """A program that trains something with what it finds in `optax`.

    Attributes:
        make: takes a module like `optax`; returns what is carried from step to step, and the step:
            a function from the carry and the number of the step to the carry and the loss.
        store: how the program writes a carry to a path, and reads it into a template.
        rtol: by how much the losses may differ, relatively; the program says why.
    """

    make: Callable[[Any], tuple[Any, Callable[[Any, int], tuple[Any, Any]]]]
    store: tuple[Callable[[Any, Any], object], Callable[[Any, Any], Any]]
    rtol: float

    def run(self, lib: Any, carry: Any = None, first: int = 0) -> tuple[list[float], Any]:
        """Return the losses of `STEPS` steps, and the carry after them."""
        start, step = self.make(lib)
        carry, losses = start if carry is None else carry, []
        for t in range(first, first + STEPS):
            carry, loss = step(carry, t)
            losses.append(float(loss))
        return losses, carry
