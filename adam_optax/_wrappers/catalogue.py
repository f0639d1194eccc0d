"""Make an optimiser by its name, as configurations have it, and list the names."""

import inspect
from typing import Any

from adam_optax._alias._build import OPTIMIZERS
from adam_optax._alias._unknown import did_you_mean, explain
from adam_optax._transform import Transformation


def create(name: str, **arguments: Any) -> Transformation:
    """Make an optimiser by its name: `ao.create("adamw", learning_rate=1e-3)`.

    Take it where a configuration, a command line or a sweep names the optimiser; in a program,
    `ao.adamw(...)` is shorter, and its arguments are known to type checkers.

    Args:
        name: one of `ao.available()`.
        **arguments: what that optimiser takes, each by its name; `learning_rate` among them.

    Returns:
        The optimiser, as its own function returns it.

    Raises:
        ValueError: if there is no such optimiser, with the name that is like it; if a number is out
            of range.
        TypeError: if the optimiser does not take an argument, or one without a default is missing.

    Example:
        >>> import adam_optax as ao
        >>> config = {"name": "adamw", "learning_rate": 1e-3, "weight_decay": 0.1}
        >>> repr(ao.create(**config)) == repr(ao.adamw(1e-3, weight_decay=0.1))
        True
        >>> ao.create("AdamW", learning_rate=1e-3)
        Traceback (most recent call last):
        ...
        ValueError: no optimiser is called 'AdamW', did you mean adamw? ao.available() lists all
    """
    if name not in OPTIMIZERS:
        raise ValueError(
            f"no optimiser is called {name!r}{did_you_mean(str(name), OPTIMIZERS) or ';'} "
            "ao.available() lists all"
        )
    parameters = inspect.signature(OPTIMIZERS[name]).parameters
    for argument in arguments:
        if argument not in parameters:
            raise TypeError(explain(name, argument, list(parameters)))
    missing = [
        n
        for n, parameter in parameters.items()
        if parameter.default is parameter.empty and n not in arguments
    ]
    if missing:
        raise TypeError(f"create({name!r}) needs {', '.join(missing)}")
    return OPTIMIZERS[name](**arguments)


def available() -> dict[str, str]:
    """Return the names of all optimisers, each with a line that says what it is.

    Take it to choose a name for `ao.create`, or to show users of a program what they can choose.

    Returns:
        From names, in the order of the alphabet, to descriptions.

    Example:
        >>> import adam_optax as ao
        >>> ao.available()["adamw"]
        'AdamW: Adam with decoupled weight decay.'
    """
    return {name: _description(name) for name in sorted(OPTIMIZERS)}


def _description(name: str) -> str:
    line = (inspect.getdoc(OPTIMIZERS[name]) or "").splitlines()[0].removeprefix("Minimise with ")
    return line[:1].upper() + line[1:]
