"""Convert PyTorch's parameters, and compare an optimizer of PyTorch's with what goes on here."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from adam_optax._core.by_path import FROZEN, ByPath, path_name
from adam_optax._engine.tree import TAG, Engine
from adam_optax._optax_interop import unfold_injected, walk_closures
from adam_optax._transform import ARGUMENTS, CALL
from adam_optax.convert._checks import (
    ArrayOrShape,
    ConversionError,
    NamedArrays,
    find_shape_problems,
    join_names,
    raise_problems,
    suggest_name,
    to_numpy,
)
from adam_optax.convert._named import put_like
from adam_optax.convert._names import Names, ParamMapping, parse_names
from adam_optax.convert._torch_groups import (
    group_hyperparams,
    identify_optimizer,
    split_state_dict,
)

RULES = {
    "Adam": "adam",
    "Adam(amsgrad=True)": "amsgrad",
    "NAdam": "scheduled_nadam",
    "RAdam": "radam",
    "Adamax": "adamax",
}
"""Our rules by PyTorch's optimizers."""
_NUMBERS = ("learning_rate", "b1", "b2", "eps", "weight_decay")
_CLOSE = 1e-6
"""Numbers that passed through float32 are within 6e-8 of themselves."""


def params_from_torch(model: Mapping[str, Any], params: optax.Params, names: Names) -> optax.Params:
    """Build parameters from a PyTorch model's `state_dict`, with the mapping of its optimizer.

    Use it beside `from_torch`, so that parameters and moments go the same way.

    Args:
        model: `model.state_dict()`; its tensors may also be NumPy arrays. Entries that `names` does
            not have, such as buffers, are left out.
        params: the parameters to replace, such as a freshly initialised model's: any tree.
        names: see `from_torch`.

    Returns:
        A tree like `params`, in the dtypes and shardings of `params`.

    Raises:
        ConversionError: if a name is not in `model`, a parameter has no name, or a shape differs.

    >>> import jax.numpy as jnp, numpy as np, adam_optax as ao
    >>> model = {"fc.weight": np.ones((1, 3), np.float32)}
    >>> params = {"kernel": jnp.zeros((3, 1))}
    >>> ao.convert.params_from_torch(model, params, {"fc.weight": ("kernel", (1, 0))})["kernel"].T
    Array([[1., 1., 1.]], dtype=float32)
    """
    arrays = model_to_named(model, names)
    wanted: dict[str, ArrayOrShape] = {
        path_name(path): p for path, p in jax.tree.leaves_with_path(params)
    }
    raise_problems(find_param_problems(arrays, wanted))
    return jax.tree.map_with_path(lambda path, p: put_like(arrays[path_name(path)], p), params)


def find_param_problems(arrays: NamedArrays, wanted: Mapping[str, ArrayOrShape]) -> list[str]:
    """Describe where arrays by path do not fit the parameters by path."""
    problems = [f"missing {path}: map a name to it" for path in wanted if path not in arrays]
    for path, x in arrays.items():
        if path in wanted:
            problems += find_shape_problems(path, x, wanted[path])
        else:
            problems.append(f"there is no parameter {path!r}; {suggest_name(path, wanted)}")
    return problems


def model_to_named(model: Mapping[str, Any], names: Names) -> NamedArrays:
    """Return the parameters of a PyTorch model's `state_dict` by our paths, with our axes."""
    arrays: NamedArrays = {}
    for name, mapping in parse_names(names).items():
        if mapping is not None:
            arrays[mapping.path] = mapping.to_ours(to_numpy(_of_model(model, name), name))
    return arrays


def check_model_shapes(
    model: Mapping[str, Any], mappings: Mapping[str, ParamMapping], moments: Mapping[str, Any]
) -> None:
    """Refuse moments whose shape is not that of the model's parameter of the same name.

    Args:
        model: `model.state_dict()`.
        mappings: the mappings of the parameters, by PyTorch's name.
        moments: a moment of each parameter as PyTorch has it, by PyTorch's name.
    """
    raise_problems(
        [
            f"{name!r} has shape {shape} in the model, but its moments {x.shape}: the order of the "
            "names is not that of the optimizer's parameter groups"
            for name in mappings
            if (shape := tuple(_of_model(model, name).shape)) != (x := moments[name]).shape
        ]
    )


def _of_model(model: Mapping[str, Any], name: str) -> Any:
    """Return an entry of a model's `state_dict`."""
    if not isinstance(model, Mapping):
        raise ConversionError(f"model must be model.state_dict(), not {type(model).__name__}")
    if name not in model:
        raise ConversionError(f"the model has no {name!r}; {suggest_name(name, list(model))}")
    return model[name]


# --- What is done with the moments ---------------------------------------------------------------


def torch_differences(
    state_dict: Mapping[str, Any], tx: optax.GradientTransformation, state: optax.OptState
) -> list[str]:
    """Return what PyTorch's optimizer does otherwise than a transformation, a line each.

    Use it to see whether a run goes on with the same numbers; `from_torch` warns of the lines.

    Args:
        state_dict: `optimizer.state_dict()`.
        tx: the transformation that goes on. Where it has several optimisers, as
            `optax.partition` has, a group of PyTorch's is compared with the most similar one.
        state: the state of `tx`, in which injected numbers are; schedules are read at PyTorch's
            number of steps.

    Returns:
        Lines such as `"group 1: b2 is 0.95 in PyTorch, 0.999 in tx"`; none if all are the same.

    Raises:
        ConversionError: if this is no optimizer's `state_dict`, or one of the two is AdaMax and the
            other is not, so that the moments mean different things.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> group = {"params": [0], "lr": 1e-3, "betas": (0.9, 0.95), "eps": 1e-8, "amsgrad": False}
    >>> tx = ao.adam(1e-3)
    >>> state = tx.init(jnp.ones(3))
    >>> ao.convert.torch_differences({"state": {}, "param_groups": [group]}, tx, state)
    ['group 0: b2 is 0.95 in PyTorch, 0.999 in tx']
    """
    groups, states = split_state_dict(state_dict)
    ours = list(_settings(tx, state))
    if not ours:
        return []
    steps = [kept.get("step", 0) for kept in states.values() if isinstance(kept, Mapping)]
    count = max(map(_count, steps), default=0)
    lines = []
    for number, group in enumerate(groups):
        kind = _kind(group, [states.get(i) for i in group["params"]])
        theirs = group_hyperparams(group)
        each = [_compare(kind, theirs, rule, mine, count) for rule, mine in ours]
        lines += [f"group {number}: {text}" for text in min(each, key=len)]
    kinds = {_kind(group, [states.get(i) for i in group["params"]]) for group in groups}
    _check_adamax({RULES[kind] for kind in kinds if kind}, {rule for rule, _ in ours})
    return lines


def _count(step: Any) -> int:
    """Return a number of steps; of what is none, 0."""
    try:
        return max(int(step), 0)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return 0


def check_rule(text: str, tx: Any, state: Any) -> None:
    """Refuse a file's moments for a transformation, if only one of the two is of AdaMax.

    Args:
        text: the rule of the file, such as `adamax(b1=0.9, b2=0.999)`; empty if it is not known.
        tx: the transformation, or None if it is not known.
        state: the state of `tx`.
    """
    theirs = {text.partition("(")[0]} - {""}
    if tx is not None:
        _check_adamax(theirs, {rule for rule, _ in _settings(tx, state)})
    elif theirs == {"adamax"}:
        raise ConversionError(
            "the moments are AdaMax's, whose state looks like Adam's here; pass tx= and params= as "
            "well, so that tx is seen to be ao.adamax"
        )


def _check_adamax(theirs: set[str], ours: set[str]) -> None:
    """Refuse to take an infinity norm for a mean of squares, or the reverse."""
    if not theirs or not ours or (theirs == {"adamax"}) == (ours == {"adamax"}):
        return
    if theirs == {"adamax"}:
        raise ConversionError(
            "the moments are AdaMax's (PyTorch's Adamax keeps exp_inf), and tx is "
            f"{join_names(sorted(ours))}, whose nu is no infinity norm; make tx with ao.adamax"
        )
    raise ConversionError(
        "tx is adamax, whose nu is an infinity norm, and the source keeps a mean of squares "
        "(PyTorch's exp_avg_sq); make tx with ao.adam or ao.adamw"
    )


def describe_rule(state_dict: Mapping[str, Any]) -> str | None:
    """Return our rule of a PyTorch optimizer as text, such as `adam(b1=0.9, b2=0.999)`.

    None if the groups differ, or the optimizer is not known.
    """
    groups, states = split_state_dict(state_dict)
    found = set()
    for group in groups:
        kind, numbers = (
            _kind(group, [states.get(i) for i in group["params"]]),
            group_hyperparams(group),
        )
        b1, b2 = numbers.get("b1"), numbers.get("b2")
        if kind is None or not all(isinstance(beta, int | float) for beta in (b1, b2)):
            return None
        more = ", raw_max=True" if kind == "Adam(amsgrad=True)" else ""
        found.add(f"{RULES[kind]}(b1={b1!r}, b2={b2!r}{more})")
    return found.pop() if len(found) == 1 else None


def _kind(group: Mapping[str, Any], states: list[Any]) -> str | None:
    """Return which optimizer a group is of: by what is kept, and then by the group's options."""
    kept = {entry for state in states if isinstance(state, Mapping) for entry in state}
    if "exp_inf" in kept:
        return "Adamax"
    try:
        kind = identify_optimizer(group)
    except ConversionError:  # bitsandbytes' optimizers have other options
        return "Adam" if "exp_avg_sq" in kept else None
    return "Adam" if kind == "Adamax" and "exp_avg_sq" in kept else kind


def _settings(tx: Any, state: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rule and the numbers of each optimiser of this library in a transformation."""
    parts = [f for part in unfold_injected(tx, state) for f in walk_closures(part)]
    calls: list[tuple[str, dict[str, Any]]] = [getattr(f, CALL, ("", {})) for f in parts]
    l2 = [given["weight_decay"] for name, given in calls if name == "l2"]
    for function, (_, given) in zip(parts, calls, strict=True):
        engine = getattr(function, TAG, None)
        if isinstance(engine, Engine):
            rule, given = engine.rule, getattr(function, ARGUMENTS, given)
            numbers = {} if rule.origin is None else dict(rule.origin.hyperparams)
            numbers |= {n: given[n] for n in ("learning_rate", "weight_decay") if n in given}
            yield rule.name, numbers | {"l2": l2[0] if l2 else 0.0}


def _compare(
    kind: str | None, theirs: Mapping[str, Any], rule: str, mine: Mapping[str, Any], count: int
) -> list[str]:
    """Return how a group of PyTorch's differs from one optimiser of ours."""
    lines = []
    if kind is not None and RULES[kind] != rule:
        lines.append(f"the optimizer is {kind} in PyTorch, {rule} in tx")
    coupled = theirs.get("decoupled_weight_decay") is False
    for name in _NUMBERS:
        own = mine.get("l2" if name == "weight_decay" and coupled else name)
        own = 0.0 if own is None and name == "weight_decay" else own
        if own is None or not isinstance(theirs.get(name), int | float):
            continue
        values = [_at(value, count) for value in (own.known if isinstance(own, ByPath) else [own])]
        if values and not any(math.isclose(v, theirs[name], rel_tol=_CLOSE) for v in values):
            what = f"{name} (added to the gradient)" if name == "weight_decay" and coupled else name
            known = " or ".join(f"{value:g}" for value in values)
            lines.append(f"{what} is {theirs[name]:g} in PyTorch, {known} in tx")
    return lines


def _at(value: Any, count: int) -> float:
    """Return a hyper-parameter at a count; that of parameters that are not trained is NaN."""
    if value is FROZEN:
        return math.nan
    return float(jnp.asarray(value(count) if callable(value) else value))
