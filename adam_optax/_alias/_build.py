"""Build transformations for the optimisers: the one place where these meet the engine."""

import inspect
import typing
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any, TypeVar, Unpack, cast

from adam_optax._alias._unknown import explain
from adam_optax._alias.options import MomentOptions
from adam_optax._core.by_path import Hyperparameter
from adam_optax._core.types import DTypeLike, Mask
from adam_optax._transform import Decay as Decay
from adam_optax._transform import Transformation as Transformation
from adam_optax._transform import decay_from_arguments as decay_from_arguments
from adam_optax._transform import optimizer as optimizer
from adam_optax._transform import scale_by as scale_by
from adam_optax._transform import with_gradient_decay as with_gradient_decay
from adam_optax.couplings import Coupling
from adam_optax.rules.base import Rule

Function = TypeVar("Function", bound=Callable[..., Any])
Options = TypeVar("Options", bound=Mapping[str, Any])

OPTIMIZERS: dict[str, Callable[..., Transformation]] = {}
"""The optimisers of the top level by name: what is published with a learning rate first."""


def optimizer_function(function: Function) -> Function:
    """Publish a function with `**options`: list each option in the signature that tools read.

    `inspect.signature`, and with it `help` and `optax.inject_hyperparams`, shows the options as
    keyword arguments; the module is the public one, by which pickle finds the function. The
    function itself stays as it is, so that sources and debuggers lead to it.
    """
    signature = inspect.signature(function)
    *explicit, options = signature.parameters.values()
    (shared,) = typing.get_args(typing.get_type_hints(function)[options.name])
    expanded = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=kind.__forward_arg__)
        for name, kind in reversed(shared.__annotations__.items())
    ]
    public: Any = function
    public.__signature__ = signature.replace(parameters=[*explicit, *expanded])
    public.__module__ = function.__module__.partition("._")[0]
    if public.__module__ == "adam_optax" and explicit[0].name == "learning_rate":
        OPTIMIZERS[function.__name__] = function
    return function


def known(function: Callable[..., Any], options: Options) -> Options:
    """Return the options given to a function, and its name, once all options are known.

    Args:
        function: the optimiser, decorated with `optimizer_function`.
        options: what its `**options` caught, which at run time can be anything.

    Returns:
        The same options, and the function's name as `name`, by which `repr` shows the optimiser.

    Raises:
        TypeError: if the function does not take one of them; the message says why.
    """
    parameters = inspect.signature(function).parameters
    for name in options:
        if name not in parameters:
            raise TypeError(explain(function.__name__, name, list(parameters)))
    return cast(Options, {**options, "name": function.__name__})


def optimizer_with_decay(
    rule: Rule,
    learning_rate: Hyperparameter | None,
    weight_decay: Hyperparameter | None,
    mask: Mask,
    *,
    coupling: Coupling | None = None,
    mu_dtype: DTypeLike | None = None,
    **options: Unpack[MomentOptions],
) -> Transformation:
    """Build an optimiser with decoupled weight decay; None: without.

    Raises:
        ValueError: if `mask` or `coupling` is given and `weight_decay` is not.
    """
    decay = decay_from_arguments(weight_decay, mask, coupling)
    return optimizer(rule, learning_rate, decay=decay, mu_dtype=mu_dtype, **options)
