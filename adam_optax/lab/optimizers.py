"""Find an optimiser by its name, with a fair default learning rate."""

import difflib
import functools
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import optax

from adam_optax.lab.errors import LabError, first_line

DEFAULT_OPTIMIZERS = (
    "adam",
    "nadam",
    "adamw",
    "amsgrad",
    "adamax",
    "optax.adam",
    "optax.sgd",
)
"""The optimisers of a comparison for which none are named."""


@dataclass(frozen=True)
class Preset:
    """Describe how an optimiser departs from Adam's defaults when the user gives no rate.

    Attributes:
        rate: Learning rate as a multiple of the problem's rate, which is Adam's.
        arguments: Keyword arguments beside the learning rate.
    """

    rate: float = 1.0
    arguments: dict[str, Any] = field(default_factory=dict)


# Adam's step has the size of the learning rate, whatever the gradient's size. The step of an
# optimiser below has another size, which the factor makes up for.
PRESETS = {
    "adamax": Preset(rate=2.0),  # the paper's 0.002 beside Adam's 0.001
    "adamaxw": Preset(rate=2.0),
    "adagrad": Preset(rate=10.0),  # the sum under the root only grows
    "adadelta": Preset(rate=1000.0),  # AdaDelta has a scale of its own; Zeiler's rate is 1
    "sgd": Preset(rate=30.0, arguments={"momentum": 0.9}),
    "lion": Preset(rate=0.1),  # every element moves by the full rate
}
"""Presets by the name of the optimiser, without `optax.`."""


@dataclass(frozen=True)
class Optimizer:
    """Describe an optimiser that the lab can train.

    Attributes:
        name: Label in tables, figures and files.
        build: Maps a learning rate, and by name the other hyper-parameters of a sweep, to the
            gradient transformation. The hyper-parameters may be traced.
        rate: Default learning rate as a multiple of the problem's rate.
    """

    name: str
    build: Callable[..., optax.GradientTransformation]
    rate: float = 1.0


def resolve(optimizer: str | Optimizer) -> Optimizer:
    """Find an optimiser of `adam_optax` (`adam`) or of optax (`optax.adam`).

    Args:
        optimizer: A name, or the caller's own `Optimizer`, which is returned as it is.

    Raises:
        LabError: If no optimiser has that name, or it cannot train from gradients alone.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    found = _by_name(optimizer)
    check_runs(found)
    return found


def resolve_all(optimizers: Sequence[str | Optimizer]) -> list[Optimizer]:
    """Find each optimiser, and refuse an empty list and repeated names.

    Raises:
        LabError: If `resolve` refuses an optimiser, a name is given twice, or none is given.
    """
    found = [resolve(optimizer) for optimizer in optimizers]
    names = [optimizer.name for optimizer in found]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated or not names:
        what = f"{repeated[0]!r} is named twice" if repeated else "no optimiser is named"
        raise LabError(f"{what}; give each optimiser once")
    return found


class _Named:
    """Build an optimiser that is found by its name; other processes find it by the name, too."""

    def __init__(self, name: str) -> None:
        self._name, self._make = name, find_factory(name)
        self.preset = PRESETS.get(name.removeprefix("optax."), Preset())
        functools.update_wrapper(self, self._make)  # from its signature defaults are read

    def __call__(self, rate: float, **others: Any) -> optax.GradientTransformation:
        tx = self._make(learning_rate=rate, **{**self.preset.arguments, **others})
        return _allow_promotion(tx) if self._name.startswith("optax.") else tx

    def __reduce__(self) -> tuple[type["_Named"], tuple[str]]:
        return _Named, (self._name,)


def _by_name(name: str) -> Optimizer:
    build = _Named(name)
    return Optimizer(name, build, build.preset.rate)


def build(optimizer: Optimizer, numbers: Mapping[str, float]) -> optax.GradientTransformation:
    """Build an optimiser from numbers, all of which the library can look at and refuse.

    Args:
        optimizer: The optimiser.
        numbers: Hyper-parameters by name, among them `learning_rate`.

    Raises:
        LabError: If the optimiser refuses a number.
    """
    others = {name: value for name, value in numbers.items() if name != "learning_rate"}
    try:
        return optimizer.build(numbers["learning_rate"], **others)
    except Exception as error:
        given = ", ".join(f"{name}={value:g}" for name, value in numbers.items())
        raise LabError(f"{optimizer.name} with {given}: {first_line(error)}") from error


def optimizer_names() -> list[str]:
    """Return the names of the optimisers of `adam_optax` that the lab can train."""
    return list(_factories(importlib.import_module("adam_optax")))


def default_numbers(optimizer: Optimizer, names: Sequence[str]) -> dict[str, float]:
    """Return the defaults of an optimiser's hyper-parameters, read from the signature of `build`.

    Args:
        optimizer: The optimiser.
        names: Names of hyper-parameters; those that the optimiser does not have are left out.
    """
    parameters = inspect.signature(optimizer.build).parameters
    found = {name: parameters[name].default for name in names if name in parameters}
    return {name: float(value) for name, value in found.items() if isinstance(value, float)}


def find_factory(name: str) -> Callable[..., optax.GradientTransformation]:
    """Find the function that builds an optimiser from a learning rate and other arguments.

    Args:
        name: The name of the optimiser, `adam` or `optax.adam` say.

    Raises:
        LabError: If no optimiser has that name.
    """
    module = "optax" if name.startswith("optax.") else "adam_optax"
    short = name.removeprefix("optax.")
    factories = _factories(importlib.import_module(module))
    if short not in factories:
        raise LabError(_unknown(name, short, list(factories)))
    return factories[short]


def _allow_promotion(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """Let optax mix dtypes in programs that forbid implicit promotion elsewhere."""

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        with jax.numpy_dtype_promotion("standard"):
            updates, state = tx.update(updates, state, params)
            return updates, state

    return optax.GradientTransformation(tx.init, update)


def _factories(module: ModuleType) -> dict[str, Callable[..., optax.GradientTransformation]]:
    public = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    return {
        name: value
        for name, value in public.items()
        if isinstance(value, FunctionType | functools.partial)
        and not name.startswith("scale_by")
        and next(iter(inspect.signature(value).parameters), None) == "learning_rate"
    }


def _unknown(name: str, short: str, known: list[str]) -> str:
    prefix = name[: len(name) - len(short)]
    close = difflib.get_close_matches(short.lower(), known, n=1)
    hint = f"; did you mean {prefix}{close[0]}?" if close else ""
    listed = ", ".join(prefix + other for other in known)
    return f"unknown optimiser {name!r}{hint}; known: {listed}" + (
        "" if prefix else ", and optax.<name>"
    )


def check_runs(optimizer: Optimizer) -> None:
    """Trace one update, so that an optimiser that cannot run is refused before any training.

    Raises:
        LabError: If the update cannot be traced.
    """

    def update(params: jax.Array) -> Any:
        tx = optimizer.build(1e-3)
        return tx.update(params, tx.init(params), params)

    try:
        jax.eval_shape(update, jnp.zeros((2, 2)))
    except Exception as error:
        reason = first_line(error)
        raise LabError(f"optimiser {optimizer.name!r} cannot be used here: {reason}") from error
