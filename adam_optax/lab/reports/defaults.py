"""Find the defaults of an optimiser by its name, to mark them in figures."""

import inspect

from adam_optax.lab._problems.problem import Problem
from adam_optax.lab.errors import LabError
from adam_optax.lab.grid import LEARNING_RATE
from adam_optax.lab.optimizers import PRESETS, Preset, find_factory


def default_rate(name: str) -> float | None:
    """Return an optimiser's default learning rate, as a multiple of the problem's.

    Args:
        name: Name of the optimiser; a storage format may follow it.

    Returns:
        The factor; `None` if no optimiser of the library or of optax has that name.
    """
    base = name.split(" ")[0]
    try:
        find_factory(base)
    except LabError:
        return None
    return PRESETS.get(base.removeprefix("optax."), Preset()).rate


def default_numbers(name: str, problem: Problem) -> dict[str, float]:
    """Return the defaults of an optimiser's hyper-parameters by name; empty for an unknown name.

    Args:
        name: Name of the optimiser; a storage format may follow it.
        problem: The problem, whose learning rate is the default's.
    """
    rate = default_rate(name)
    if rate is None:
        return {}
    base = name.split(" ")[0]
    parameters = inspect.signature(find_factory(base)).parameters.values()
    known = {p.name: p.default for p in parameters} | dict(
        PRESETS.get(base.removeprefix("optax."), Preset()).arguments
    )
    numbers = {
        key: float(value)
        for key, value in known.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return numbers | {LEARNING_RATE: rate * problem.learning_rate}
