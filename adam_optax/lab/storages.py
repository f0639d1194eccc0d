"""Storage formats by name, for the command line."""

import dataclasses
from functools import partial
from typing import Any

from adam_optax import storage
from adam_optax.lab.errors import LabError
from adam_optax.lab.optimizers import Optimizer, check_runs, resolve

STORAGES: dict[str, Any] = {
    "float32": None,
    "bfloat16": storage.dense("bfloat16"),
    "stochastic": storage.stochastic(),
    "pair": storage.pair(),
    "pair3": storage.pair(3),
    "pair4": storage.pair(4),
    "pair-block": storage.pair(block=128),
    "float8": storage.float8(),
    "int8": storage.int8(),
    "int4": storage.int4(),
}
"""How moments are kept, by the name that the command line has for it."""


def stored(optimizer: str | Optimizer, name: str | None) -> Optimizer:
    """The optimiser with its moments kept in a format of `STORAGES`; None: as it is.

    Raises:
      LabError: If there is no such format, or the optimiser does not take it.
    """
    found = resolve(optimizer)
    if name is None:
        return found
    if name not in STORAGES:
        raise LabError(f"unknown storage {name!r}; known: {', '.join(STORAGES)}")
    if found.name.startswith("optax."):
        raise LabError(f"{found.name} takes no storage; {found.name.removeprefix('optax.')} does")
    build = partial(found.build, storage=STORAGES[name])
    kept = dataclasses.replace(found, name=f"{found.name} {name}", build=build)
    check_runs(kept)
    return kept
