"""Put odd values into states in memory, and look for one that is not refused well.

Whatever stands in a `state_dict`, among Keras's variables, in named arrays, in names or in an
order: the conversion gives whole named arrays, or the library's own error.
"""

import collections
import copy
import random
import time
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np

import adam_optax as ao
from adam_optax.convert._checks import COUNT
from tests.convert.layouts import KERAS, PARAMS, TORCH, named, state_dict, variable, variables


class Broken(AssertionError):
    """Report a mutant that broke the claim."""


ODD: list[Callable[[], Any]] = [
    lambda: None,
    lambda: 5,
    lambda: -1.5,
    lambda: float("nan"),
    lambda: 10**400,
    lambda: 1j,
    lambda: True,
    lambda: "x",
    lambda: b"x",
    list,
    dict,
    lambda: [[1, 2], [3]],
    lambda: {"a": 1},
    object,
    lambda: np.ones(3, np.float32),
    lambda: np.ones((2, 3), ">f8"),
    lambda: np.array(7, ">i8"),
    lambda: np.array([1, 2, 3], object),
    lambda: np.array(["a", "b", "c"]),
    lambda: np.zeros(3, [("a", "f4")]),
    lambda: np.zeros(3, "M8[s]"),
    lambda: np.ma.masked_array(np.ones(3), [True, False, False]),
    lambda: np.full((2, 3), np.inf, np.float32),
    lambda: np.full((2, 3), -1, np.float32),
    lambda: np.ones((2, 3), np.longdouble),
    lambda: np.ones((2, 3), ml_dtypes.float8_e8m0fnu),
    lambda: np.ones((2, 3), np.complex64),
    lambda: np.uint64(2**64 - 1),
    lambda: np.empty((0, 3), np.float32),
    lambda: jnp.ones((2, 3), jnp.bfloat16),
    lambda: np.broadcast_to(np.float32(1), (2, 3)),
]
"""What may stand where an array, a number, a name or a list should."""
_TEMPLATE = ao.adam(1e-3).init(PARAMS)


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Return the containers of a tree with each of their keys."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    found = []
    for key, value in items:
        found.append((tree, key))
        if isinstance(value, dict | list):
            found += _places(value)
    return found


def _spoil(random_: random.Random, tree: Any) -> Any:
    """Return a copy of a tree with odd values, and without some entries."""
    tree = copy.deepcopy(tree)
    for _ in range(random_.choice((1, 1, 2))):
        if not (places := _places(tree)):
            break
        container, key = random_.choice(places)
        if random_.random() < 0.2:
            del container[key]
        else:
            container[key] = random_.choice(ODD)()
    return tree


def _convert(random_: random.Random) -> Any:
    """Convert something spoiled, and return named arrays."""
    way = random_.randrange(6)
    order = random_.choice((None, list(TORCH), random_.choice(ODD)()))
    if way == 0:
        return ao.convert.torch_to_named(_spoil(random_, state_dict()), TORCH, order=order)
    if way == 1:
        theirs = _spoil(random_, state_dict(named=False))
        return ao.convert.torch_to_named(theirs, TORCH, order=order)
    if way == 2:
        return ao.convert.torch_to_named(state_dict(), _spoil(random_, dict(TORCH)))
    if way == 3:
        values = [[v.path, v.value] for v in variables()]
        spoiled = [pair for pair in _spoil(random_, values) if isinstance(pair, list)]
        made = [variable(p[0], 0) for p in spoiled if len(p) == 2]
        for v, pair in zip(made, (p for p in spoiled if len(p) == 2), strict=True):
            v.value = pair[1]
        return ao.convert.keras_to_named(made, KERAS)
    arrays = _spoil(random_, named())
    state = ao.convert.from_named(arrays, _TEMPLATE)
    return ao.convert.to_named(state)


def is_whole(named: Any) -> bool:
    """Return whether named arrays have a count, and moments of one shape for each parameter.

    Nadam's product is one number for all.
    """
    shapes: dict[str, set[tuple[int, ...]]] = {}
    for key, x in named.items():
        moment, _, path = key.partition("/")
        if moment != "product":
            shapes.setdefault(path, set()).add(x.shape)
    return named[COUNT].shape == () and all(len(found) == 1 for found in shapes.values())


def attack(seed: int, conversions: int, seconds: float = 1e9) -> collections.Counter[str]:
    """Convert spoiled states, and return how many were refused and how many were taken.

    Args:
        seed: which ones.
        conversions: how many at most.
        seconds: for how long at most.

    Raises:
        Broken: for the first that broke the claim.
    """
    found, start = collections.Counter[str](), time.monotonic()
    for number in range(conversions):
        if time.monotonic() - start > seconds:
            break
        random_ = random.Random(f"memory {seed} {number}")
        which = f"conversion in memory, seed {seed}, {number}"
        try:
            got = _convert(random_)
        except ao.convert.ConversionError:
            found["refused"] += 1
            continue
        except Exception as error:
            raise Broken(f"{which}: {type(error).__name__}: {str(error)[:200]}") from error
        if not is_whole(got):
            raise Broken(f"{which}: {got}")
        found["taken"] += 1
    return found
