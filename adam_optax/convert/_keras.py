"""Convert states from and to the optimizers of Keras 3, with any of its backends.

From top to bottom: the four public functions, how a Keras optimizer's variables are told apart by
their names, and the checks before writing. Keras need not be installed for any of it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import optax
from numpy.typing import NDArray

from adam_optax.convert._checks import (
    COUNT,
    ConversionError,
    NamedArrays,
    cast,
    check_without_template,
    find_shape_problems,
    join_names,
    raise_problems,
    to_named_arrays,
    to_numpy,
)
from adam_optax.convert._named import from_named, to_named
from adam_optax.convert._names import (
    MOST_PROBLEMS,
    Names,
    ParamMapping,
    check_order,
    find_key_problems,
    match_names,
)

ORDER = "order=[v.path for v in model.trainable_variables]"
_MOMENTS = {"momentum": "mu", "velocity": "nu", "velocity_hat": "nu_max", "norm": "nu"}
"""The names of our moments by the endings of Keras's names of variables."""
_UNSUPPORTED = {
    "average": "it was made with use_ema=True; pass [v for v in optimizer.variables if not "
    "v.path.endswith('_average')] and carry the averages over by themselves",
    "gradient_accumulator": "it was made with gradient_accumulation_steps, which has no "
    "counterpart in a state here; build it without, and use optax.MultiSteps",
}
_SUPPORTED = "Adam, AdamW, Nadam and Adamax"
_HINTS = {
    "product": "keras.optimizers.Nadam goes with ao.conventions.scheduled_nadam, and only with it",
    "": "pass the variables of the optimizer that the state is of, and check names",
}
_PRODUCT_RTOL = 1e-5
"""Two products after equally many steps differ by a rounding; one more step multiplies by b1."""


class Variable(Protocol):
    """Declare what is used of a Keras variable: a path and a value."""

    @property
    def path(self) -> str:
        """Return the variable's name, such as `"adam/dense_kernel_momentum"`."""

    @property
    def value(self) -> Any:
        """Return the variable's array, of whatever backend."""


def from_keras(
    variables: Iterable[Variable],
    state: optax.OptState,
    names: Names,
    *,
    order: Sequence[str] | None = None,
    tx: optax.GradientTransformation | None = None,
    params: optax.Params | None = None,
) -> optax.OptState:
    """Build a state from a Keras optimizer's variables, so that this library goes on.

    Use it to continue a Keras run here. Keras need not be installed. For a `.keras` or
    `.weights.h5` file, use the command `adam-optax convert`.

    Args:
        variables: `optimizer.variables` of a built Adam (also with `amsgrad=True`), AdamW, Nadam
            or Adamax: anything with a `path` and a `value`.
        state: the template, `tx.init(params)` of the optimiser that goes on; see `from_named`.
            With Keras's defaults: `conventions.KERAS`. Nadam is `conventions.scheduled_nadam` with
            `momentum_decay=1`, `amsgrad=True` is `amsgrad(raw_max=True)`.
        names: from the paths of Keras's parameters, `[v.path for v in model.trainable_variables]`,
            to our paths, or to a pair of a path and axes; see `from_torch`. None leaves a
            parameter out.
        order: the paths of Keras's parameters in the order in which the optimizer was built.
            Needed only where Keras gives several parameters one name.
        tx: the transformation that made the template; needed, like `params`, where its storage is
            not dense, as with `storage.pair()`.
        params: the parameters.

    Returns:
        The template with Keras's moments and step count, in the template's storage.

    Raises:
        ConversionError: if names, variables or arrays do not fit. Nothing is converted then.

    >>> import jax.numpy as jnp, numpy as np, types, adam_optax as ao
    >>> variable = lambda path, value: types.SimpleNamespace(path=path, value=np.array(value))
    >>> variables = [
    ...     variable("adam/iteration", 5),
    ...     variable("adam/learning_rate", 1e-3),
    ...     variable("adam/dense_kernel_momentum", [1.0, 2.0]),
    ...     variable("adam/dense_kernel_velocity", [1.0, 4.0]),
    ... ]
    >>> state = ao.adam(1e-3, **ao.conventions.KERAS.adam).init({"w": jnp.zeros(2)})
    >>> state = ao.convert.from_keras(variables, state, {"dense/kernel": "w"})
    >>> int(state[0].count), state[0].nu["w"]
    (5, Array([1., 4.], dtype=float32))
    """
    named = keras_to_named(variables, names, order=order)
    return from_named(named, state, tx=tx, params=params)


def to_keras(
    state: optax.OptState,
    names: Names,
    variables: Iterable[Variable],
    *,
    order: Sequence[str] | None = None,
) -> list[NDArray[Any]]:
    """Return values for a Keras optimizer's variables from a state, so that Keras goes on.

        optimizer.build(model.trainable_variables)
        values = ao.convert.to_keras(state, names, optimizer.variables)
        for variable, value in zip(optimizer.variables, values):
            variable.assign(value)

    Args:
        state: a state of `adam`, `adamw`, `amsgrad(raw_max=True)`, `adamax` or
            `conventions.scheduled_nadam`, inside whatever chain or wrapper.
        names: see `from_keras`. The variables of a parameter that is left out keep their values.
        variables: `optimizer.variables`, after `optimizer.build(model.trainable_variables)`. They
            are read and not changed.
        order: see `from_keras`.

    Returns:
        A NumPy array for each variable, in the variables' order and dtypes. The learning rate
        keeps the variable's value.

    Raises:
        ConversionError: if names, state and variables do not fit.

    >>> import jax.numpy as jnp, numpy as np, types, adam_optax as ao
    >>> kinds = ["iteration", "learning_rate", "kernel_momentum", "kernel_velocity"]
    >>> values = [np.int32(0), np.float32(1e-3), np.zeros(2), np.zeros(2)]
    >>> variables = [
    ...     types.SimpleNamespace(path=f"adam/{kind}", value=value)
    ...     for kind, value in zip(kinds, values)
    ... ]
    >>> tx, params = ao.adam(1e-3), {"w": jnp.zeros(2)}
    >>> _, state = tx.update({"w": jnp.ones(2)}, tx.init(params), params)
    >>> [x.tolist() for x in ao.convert.to_keras(state, {"kernel": "w"}, variables)][:1]
    [1]
    """
    return named_to_keras(to_named(state), names, variables, order=order)


def keras_to_named(
    variables: Iterable[Variable], names: Names, *, order: Sequence[str] | None = None
) -> NamedArrays:
    """Convert a Keras optimizer's variables to named arrays, without a template.

    Use it where the optimiser that goes on is not at hand, for example to write the arrays to a
    file. The result is that of `to_named`. Nadam's one product of momenta is given to each
    parameter, as PyTorch has it.

    Args:
        variables: as for `from_keras`.
        names: as for `from_keras`.
        order: as for `from_keras`.

    Raises:
        ConversionError: if names, variables or arrays do not fit.

    >>> import numpy as np, types, adam_optax as ao
    >>> values = {"iteration": 5, "bias_momentum": np.ones(2), "bias_velocity": np.ones(2)}
    >>> variables = [
    ...     types.SimpleNamespace(path=f"adam/{kind}", value=np.array(x))
    ...     for kind, x in values.items()
    ... ]
    >>> sorted(ao.convert.keras_to_named(variables, {"bias": "dense/bias"}))
    ['count', 'mu/dense/bias', 'nu/dense/bias']
    """
    found = _identify(variables, names, order)
    named: NamedArrays = {COUNT: np.asarray(found.values[found.iteration])}
    for (name, moment), index in found.moments.items():
        mapping = found.mappings[name]
        named[mapping.key(moment)] = mapping.to_ours(found.values[index])
    if found.product is not None:
        product = found.values[found.product]
        named |= {m.key("product"): np.array(product) for m in found.mappings.values()}
    check_without_template(named)
    return named


def named_to_keras(
    named: Mapping[str, Any],
    names: Names,
    variables: Iterable[Variable],
    *,
    order: Sequence[str] | None = None,
) -> list[NDArray[Any]]:
    """Convert named arrays (see `to_named`) to values for a Keras optimizer's variables.

    Use it for named arrays from a file. Otherwise as `to_keras`.

    Args:
        named: the arrays by name, as `to_named` returns them.
        names: as for `to_keras`.
        variables: as for `to_keras`.
        order: as for `to_keras`.

    Raises:
        ConversionError: if names, arrays and variables do not fit.
    """
    arrays = to_named_arrays(named)
    check_without_template(arrays)
    found = _identify(variables, names, order)
    raise_problems(_find_problems(arrays, found))
    new: dict[int, NDArray[Any]] = {}
    for (name, moment), index in found.moments.items():
        mapping = found.mappings[name]
        new[index] = mapping.to_theirs(arrays[mapping.key(moment)])
    if found.product is not None and found.mappings:
        new[found.product] = _common_product(arrays, found)
    raise_problems(
        [
            text
            for index, x in new.items()
            for text in find_shape_problems(found.labels[index], x, found.values[index])
        ]
    )
    new[found.iteration] = np.asarray(arrays[COUNT])
    return [cast(new[i], x.dtype) if i in new else np.array(x) for i, x in enumerate(found.values)]


class _OptimizerVariables(NamedTuple):
    """Hold a Keras optimizer's variables, and which of them is what.

    Attributes:
        labels: the last parts of all variables' paths, such as `"dense_kernel_momentum"`.
        values: the values of all variables.
        iteration: the index of the number of steps.
        product: the index of Nadam's product of momenta; None if the optimizer is not Nadam.
        moments: the index of each moment, by Keras's name of the parameter and our name of the
            moment.
        mappings: the parameters' mappings, by Keras's names.
    """

    labels: list[str]
    values: list[NDArray[Any]]
    iteration: int
    product: int | None
    moments: dict[tuple[str, str], int]
    mappings: dict[str, ParamMapping]


def _identify(
    variables: Iterable[Variable], names: Names, order: Sequence[str] | None
) -> _OptimizerVariables:
    """Tell the variables of a Keras optimizer apart, by their names.

    Raises:
        ConversionError: if the optimizer is not built or not supported, or the names do not fit.
    """
    if not isinstance(variables, Iterable):
        raise ConversionError(f"variables must be optimizer.variables, not {variables!r}")
    every = list(variables)
    values = [to_numpy(_value(v), _path(v)) for v in every]
    labels = [_path(v).rpartition("/")[2] for v in every]
    split = {i: _split_label(label) for i, label in enumerate(labels)}
    moments = {i: pair for i, pair in split.items() if pair}
    others = {i: label for i, label in enumerate(labels) if i not in moments}
    iteration, product = _identify_scalars(others, values, bool(moments))
    parameters = _identify_parameters(moments, names, order)
    mappings = match_names(list(dict.fromkeys(parameters.values())), names, "Keras's optimizer")
    found = {
        (parameters[i], _MOMENTS[kind]): i
        for i, (_, kind) in moments.items()
        if parameters[i] in mappings
    }
    return _OptimizerVariables(labels, values, iteration, product, found, mappings)


def _value(variable: Any) -> Any:
    """Return a variable's value, which is a method in some backends."""
    value = getattr(variable, "value", variable)
    return value() if callable(value) else value


def _path(variable: object) -> str:
    """Return a variable's path, or its name if it has no path."""
    known = (getattr(variable, name, None) for name in ("path", "name"))
    path = next((text for text in known if isinstance(text, str) and text), None)
    if path is None:
        raise ConversionError(
            f"variables must be a Keras optimizer's, with a path and a value, not "
            f"{type(variable).__name__}"
        )
    return path


def _split_label(label: str) -> tuple[str, str] | None:
    """Split `"dense_kernel_velocity"` into the parameter and the kind; None for other variables."""
    for kind, problem in _UNSUPPORTED.items():
        if label.endswith(f"_{kind}"):
            raise ConversionError(f"Keras's optimizer keeps {label} besides; {problem}")
    for kind in _MOMENTS:
        if label.endswith(f"_{kind}"):
            return label.removesuffix(f"_{kind}"), kind
    return None


def _identify_scalars(
    others: Mapping[int, str], values: list[NDArray[Any]], is_built: bool
) -> tuple[int, int | None]:
    """Return the indices of the number of steps and, for Nadam, of the product of momenta.

    Args:
        others: the labels of the variables that are no moments, by index. Keras gives Nadam's
            product no label of its own, so that it is the one whose label is unknown.
        values: the values of all variables.
        is_built: whether there are moments.
    """
    steps = [i for i, label in others.items() if label == "iteration" and _is_count(values[i])]
    unknown = [i for i, label in others.items() if label not in ("iteration", "learning_rate")]
    if not is_built and len(steps) == 1 and not unknown:
        raise ConversionError(
            "Keras's optimizer is not built, or has no parameters; call "
            "optimizer.build(model.trainable_variables) first"
        )
    if len(steps) != 1 or len(unknown) > 1 or any(values[i].shape != () for i in unknown):
        labels = join_names(repr(others[i]) for i in unknown) or "not one iteration"
        raise ConversionError(f"the variables are not those of one of {_SUPPORTED}: {labels}")
    return steps[0], unknown[0] if unknown else None


def _is_count(x: NDArray[Any]) -> bool:
    """Return whether an array is an integer scalar."""
    return x.shape == () and x.dtype.kind in "iu"


def _identify_parameters(
    moments: Mapping[int, tuple[str, str]], names: Names, order: Sequence[str] | None
) -> dict[int, str]:
    """Return the parameter of each moment, under the name that `names` has for the parameter.

    Keras writes `"dense_kernel"` in a moment's name for the parameter `"dense/kernel"`, so that
    only `names` or `order` can tell the parameter's path.
    """
    is_ambiguous = any(number > 1 for number in Counter(moments.values()).values())
    if is_ambiguous or order is not None:
        return _parameters_by_order(moments, order)
    given: dict[str, str] = {}
    for name in names if isinstance(names, Mapping) else ():
        if (flat := str(name).replace("/", "_")) in given:
            raise ConversionError(f"Keras calls both {given[flat]!r} and {name!r} {flat!r}")
        given[flat] = name
    return {i: given.get(flat, flat) for i, (flat, _) in moments.items()}


def _parameters_by_order(
    moments: Mapping[int, tuple[str, str]], order: Sequence[str] | None
) -> dict[int, str]:
    """Return the parameter of each moment by position: each kind has one for every parameter."""
    kinds: dict[str, list[int]] = {}
    for i, (_, kind) in moments.items():
        kinds.setdefault(kind, []).append(i)
    known = check_order(order, max(map(len, kinds.values()), default=0), ORDER)
    if any(len(indices) != len(known) for indices in kinds.values()):
        sizes = join_names(f"{len(indices)} {kind}" for kind, indices in kinds.items())
        raise ConversionError(f"the variables are not those of one of {_SUPPORTED}: {sizes}")
    return {i: name for indices in kinds.values() for i, name in zip(indices, known, strict=True)}


def _find_problems(named: NamedArrays, found: _OptimizerVariables) -> list[str]:
    """Describe why Keras's optimizer cannot take these arrays."""
    needed = {found.mappings[name].key(moment) for name, moment in found.moments}
    if found.product is not None:
        needed |= {mapping.key("product") for mapping in found.mappings.values()}
    optimizer = "Keras's optimizer"
    owners = dict.fromkeys((mapping.path for mapping in found.mappings.values()), optimizer)
    needed_by = dict.fromkeys(sorted(needed), optimizer)
    problems = find_key_problems(named, needed_by, owners, "Keras", _HINTS)
    limit = np.iinfo(found.values[found.iteration].dtype).max
    if named[COUNT] > limit:
        problems.append(f"count is {named[COUNT]}; Keras's iteration ends at {limit}")
    return problems[:MOST_PROBLEMS]


def _common_product(named: NamedArrays, found: _OptimizerVariables) -> NDArray[Any]:
    """Return the product of momenta, of which Keras has one for all parameters."""
    products = {m.path: named[m.key("product")] for m in found.mappings.values()}
    first = next(iter(products.values()))
    for path, product in products.items():
        if not np.isclose(product, first, rtol=_PRODUCT_RTOL, atol=0):
            raise ConversionError(
                f"product/{path} is {product}, that of another parameter {first}, and Keras's "
                "Nadam has one for all; convert groups with one number of steps"
            )
    return first
