"""Which variable of a Keras optimizer is what: by name, as Keras itself gives none by parameter."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from adam_optax.convert._arrays import to_numpy
from adam_optax.convert._errors import ConversionError, listed
from adam_optax.convert._names import Names, Place, matched, ordered

ENTRIES = {"momentum": "mu", "velocity": "nu", "velocity_hat": "nu_max", "norm": "nu"}
_BESIDES = {
    "average": "it was made with use_ema=True; pass [v for v in optimizer.variables if not "
    "v.path.endswith('_average')] and carry the averages over by themselves",
    "gradient_accumulator": "it was made with gradient_accumulation_steps, which has no "
    "counterpart in a state here; build it without, and use optax.MultiSteps",
}
_KNOWN = "Adam, AdamW, Nadam and Adamax"
_ORDER = "order=[v.path for v in model.trainable_variables]"


class Layout(NamedTuple):
    """A Keras optimizer's variables, by what they are.

    Attributes:
        labels: the names of all variables, in their order.
        values: of all variables.
        iteration: the index of the number of steps.
        product: the index of Nadam's product of momenta, if it is one.
        moments: the index by Keras's parameter and our entry.
        places: our places of the parameters.
    """

    labels: list[str]
    values: list[Any]
    iteration: int
    product: int | None
    moments: dict[tuple[str, str], int]
    places: dict[str, Place]


def read_layout(variables: Iterable[Any], names: Names, order: Sequence[str] | None) -> Layout:
    """Tells the variables of an optimizer apart.

    Raises:
        ConversionError: if it is not built or not one of those known, or the names do not fit.
    """
    if not isinstance(variables, Iterable):
        raise ConversionError(f"variables must be optimizer.variables, not {variables!r}")
    every = list(variables)
    values = [to_numpy(_value(v), _path(v)) for v in every]
    labels = [_path(v).rpartition("/")[2] for v in every]
    split = {i: _split(label) for i, label in enumerate(labels)}
    moments = {i: pair for i, pair in split.items() if pair}
    rest = {i: label for i, label in enumerate(labels) if i not in moments}
    iteration, product = _scalars(rest, values, bool(moments))
    parameters = _parameters(moments, names, order)
    places = matched(list(dict.fromkeys(parameters.values())), names, "Keras's optimizer")
    found = {
        (parameters[i], ENTRIES[suffix]): i
        for i, (_, suffix) in moments.items()
        if parameters[i] in places
    }
    return Layout(labels, values, iteration, product, found, places)


def _value(variable: Any) -> Any:
    value = getattr(variable, "value", variable)
    return value() if callable(value) else value


def _path(variable: Any) -> str:
    path = getattr(variable, "path", None) or getattr(variable, "name", None)
    if not isinstance(path, str):
        raise ConversionError(
            f"variables must be a Keras optimizer's, with a path and a value, not "
            f"{type(variable).__name__}"
        )
    return path


def _split(label: str) -> tuple[str, str] | None:
    """The parameter and the kind of a variable's name, `dense_kernel_velocity`."""
    for suffix, problem in _BESIDES.items():
        if label.endswith(f"_{suffix}"):
            raise ConversionError(f"Keras's optimizer keeps {label} besides; {problem}")
    for suffix in ENTRIES:
        if label.endswith(f"_{suffix}"):
            return label.removesuffix(f"_{suffix}"), suffix
    return None


def _scalars(rest: Mapping[int, str], values: list[Any], built: bool) -> tuple[int, int | None]:
    """The indices of the number of steps and of Nadam's product, to which Keras gives no name."""
    steps = [i for i, label in rest.items() if label == "iteration" and _is_count(values[i])]
    others = [i for i, label in rest.items() if label not in ("iteration", "learning_rate")]
    if not built and len(steps) == 1 and not others:
        raise ConversionError(
            "Keras's optimizer is not built, or has no parameters; call "
            "optimizer.build(model.trainable_variables) first"
        )
    if len(steps) != 1 or len(others) > 1 or any(values[i].shape != () for i in others):
        labels = listed(repr(rest[i]) for i in others) or "not one iteration"
        raise ConversionError(f"the variables are not those of one of {_KNOWN}: {labels}")
    return steps[0], others[0] if others else None


def _is_count(x: Any) -> bool:
    return x.shape == () and x.dtype.kind in "iu"


def _parameters(
    moments: Mapping[int, tuple[str, str]], names: Names, order: Sequence[str] | None
) -> dict[int, str]:
    """The parameter of each variable, under the name that `names` has for it."""
    twice = [pair for pair, number in Counter(moments.values()).items() if number > 1]
    if twice or order is not None:
        return _by_order(moments, order)
    given: dict[str, str] = {}
    for name in names if isinstance(names, Mapping) else ():
        if (flat := str(name).replace("/", "_")) in given:
            raise ConversionError(f"Keras calls both {given[flat]!r} and {name!r} {flat!r}")
        given[flat] = name
    return {i: given.get(stem, stem) for i, (stem, _) in moments.items()}


def _by_order(
    moments: Mapping[int, tuple[str, str]], order: Sequence[str] | None
) -> dict[int, str]:
    """The parameters by position: each kind of variable is there once for each of them."""
    kinds: dict[str, list[int]] = {}
    for i, (_, suffix) in moments.items():
        kinds.setdefault(suffix, []).append(i)
    known = ordered(order, max(map(len, kinds.values()), default=0), _ORDER)
    if any(len(indices) != len(known) for indices in kinds.values()):
        sizes = listed(f"{len(indices)} {suffix}" for suffix, indices in kinds.items())
        raise ConversionError(f"the variables are not those of one of {_KNOWN}: {sizes}")
    return {i: name for indices in kinds.values() for i, name in zip(indices, known, strict=True)}
