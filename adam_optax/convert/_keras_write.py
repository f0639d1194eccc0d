"""From named arrays to values for the variables of a Keras optimizer."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from adam_optax.convert import _checks
from adam_optax.convert._errors import ConversionError, raise_for
from adam_optax.convert._keras_layout import Layout, read_layout
from adam_optax.convert._names import Names
from adam_optax.convert._slots import parameter

_ROUNDED = 1e-5
"""Products of one step differ in dtype at most; a step more multiplies by b1 at most."""


def named_to_keras(
    named: Mapping[str, Any],
    names: Names,
    variables: Iterable[Any],
    *,
    order: Sequence[str] | None = None,
) -> list[Any]:
    """What `to_keras` makes, from named arrays (see `to_named`); arguments as there."""
    named = _checks.arrays(named)
    raise_for(_checks.of_values(named))
    layout = read_layout(variables, names, order)
    raise_for(_problems(named, layout))
    new = {layout.iteration: np.asarray(named[_checks.COUNT])}
    for (theirs, entry), index in layout.moments.items():
        place = layout.places[theirs]
        new[index] = place.to_theirs(named[place.key(entry)])
    if layout.product is not None and layout.places:
        new[layout.product] = _one_product(named, layout)
    raise_for(_misfits(new, layout))
    return [
        _checks.cast(new[i], x.dtype) if i in new else np.array(x)
        for i, x in enumerate(layout.values)
    ]


def _misfits(new: Mapping[int, Any], layout: Layout) -> list[str]:
    return [
        text
        for i, x in new.items()
        if i != layout.iteration
        for text in _checks.misfit(layout.labels[i], x, layout.values[i])
    ]


def _problems(named: Mapping[str, Any], layout: Layout) -> list[str]:
    wanted = {layout.places[theirs].key(entry) for theirs, entry in layout.moments}
    if layout.product is not None:
        wanted |= {place.key("product") for place in layout.places.values()}
    problems = [
        f"Keras's optimizer needs {key}, which the state has not; {_remedy(key)}"
        for key in sorted(wanted - named.keys())
    ]
    paths = {place.path for place in layout.places.values()}
    for key in sorted(named.keys() - wanted - {_checks.COUNT}):
        if parameter(key) in paths:
            problems.append(f"Keras's optimizer has no place for {key}; {_remedy(key)}")
        else:
            problems.append(f"names maps no parameter of Keras's to {parameter(key)!r} ({key})")
    limit = np.iinfo(layout.values[layout.iteration].dtype).max
    if named[_checks.COUNT] > limit:
        problems.append(f"count is {named[_checks.COUNT]}; Keras's iteration ends at {limit}")
    return problems[:10]  # a wrong mapping gives one for each entry


def _remedy(key: str) -> str:
    entry = key.partition("/")[0]
    if entry == "nu_max":
        return "amsgrad=True goes with ao.amsgrad(raw_max=True), and only with it"
    if entry == "product":
        return "keras.optimizers.Nadam goes with ao.conventions.scheduled_nadam, and only with it"
    return "pass the variables of the optimizer that the state is of, and check names"


def _one_product(named: Mapping[str, Any], layout: Layout) -> Any:
    """The product of momenta, which Keras has once for all parameters."""
    products = {place.path: named[place.key("product")] for place in layout.places.values()}
    first = next(iter(products.values()))
    for path, product in products.items():
        if not np.isclose(product, first, rtol=_ROUNDED, atol=0):
            raise ConversionError(
                f"product/{path} is {product}, that of another parameter {first}, and Keras's "
                "Nadam has one for all; convert groups with one number of steps"
            )
    return first
