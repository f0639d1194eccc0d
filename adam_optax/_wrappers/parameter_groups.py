"""Build an optimiser from groups of parameters, as PyTorch's users write them."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from adam_optax._alias._unknown import explain
from adam_optax._core.by_path import FROZEN, Frozen, by_path
from adam_optax._transform import ARGUMENTS, Transformation, named


def parameter_groups(
    optimizer: Callable[..., Transformation],
    groups: Mapping[str, Mapping[str, Any] | Frozen],
    /,
    **defaults: Any,
) -> Transformation:
    """Build one optimiser whose groups of parameters have hyper-parameters of their own.

    Take it where most hyper-parameters differ among the same groups, as in PyTorch's
    `param_groups`; where one differs, `by_path` at that argument is shorter. There is one count and
    one state, and the step is no slower than with the same numbers everywhere.

    Args:
        optimizer: an optimiser of this library, such as `ao.adamw`.
        groups: from regular expressions to the arguments of `optimizer` that the group has for
            itself. The first expression that matches a parameter's whole path (`"dense/kernel"`)
            gives its group. `ao.FROZEN`: the group is not trained.
        **defaults: the arguments of all groups that do not have their own.

    Returns:
        The optimiser.

    Raises:
        TypeError: if a group names an argument that the optimiser does not take, or has no value
            for an argument without a default.
        ValueError: if there is no group.

    >>> import adam_optax as ao
    >>> groups = {
    ...     "backbone/.*": ao.FROZEN,
    ...     "embed/.*": {"learning_rate": 1e-4, "b2": 0.95},
    ...     ".*/bias": {"weight_decay": 0.0},
    ...     ".*": {},
    ... }
    >>> tx = ao.parameter_groups(ao.adamw, groups, learning_rate=1e-3, weight_decay=0.1)
    """
    if not groups:
        raise ValueError("parameter_groups needs a group; '.*' is all parameters")
    parameters = inspect.signature(optimizer).parameters
    own: dict[str, Mapping[str, Any]] = {}
    for pattern, group in groups.items():
        own[pattern] = {"learning_rate": FROZEN} if isinstance(group, Frozen) else group
        if unknown := sorted({*own[pattern]} - {*parameters}):
            name = getattr(optimizer, "__name__", "this optimiser")
            raise TypeError(f"group {pattern!r}: {explain(name, unknown[0], list(parameters))}")
    given = dict(defaults)
    for argument in dict.fromkeys(name for group in own.values() for name in group):
        default = defaults.get(argument, parameters[argument].default)
        values = {pattern: group.get(argument, default) for pattern, group in own.items()}
        for pattern, value in values.items():
            if value is inspect.Parameter.empty:
                raise TypeError(
                    f"group {pattern!r} has no {argument}, and there is none for all groups: "
                    f"parameter_groups(..., {argument}=...)"
                )
        given[argument] = by_path(values)
    tx = optimizer(**given)
    setattr(tx.update, ARGUMENTS, given)
    return named(tx, "parameter_groups", optimizer=optimizer, groups=dict(groups), **defaults)
