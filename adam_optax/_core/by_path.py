"""Give a hyper-parameter a value by the path of the parameter."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
from jax.tree_util import KeyPath

from adam_optax._core.types import PyTree, ScalarOrSchedule, Schedule

IsLeaf: TypeAlias = Callable[[PyTree], bool] | None
"""What else than an array is a leaf of a tree."""


def path_name(path: KeyPath[Any]) -> str:
    """Write a parameter's path as text: `dense/kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def is_box(node: object) -> bool:
    """Tell whether a node is one of Flax's boxes around an array: `nn.Partitioned`, `nnx.Param`."""
    kind = type(node)
    return hasattr(kind, "get_metadata") or (hasattr(kind, "unbox") and hasattr(kind, "add_axis"))


def named_leaves(tree: PyTree, is_leaf: IsLeaf = None) -> list[tuple[str, Any]]:
    """Return the leaves of a tree with their paths as text; a box is not a part of the path."""
    found: list[tuple[str, Any]] = []
    stop = lambda x: is_box(x) or (is_leaf is not None and is_leaf(x))  # noqa: E731
    for path, node in jax.tree.leaves_with_path(tree, is_leaf=stop):
        name = path_name(path)
        if not is_box(node):
            found.append((name, node))
            continue
        inner = jax.tree.leaves_with_path(node, is_leaf=is_leaf)
        alone = len(inner) == 1
        found += [(name if alone else path_name((*path, *rest)), leaf) for rest, leaf in inner]
    return found


def value_key(value: object) -> object:
    """Return what tells two values of a hyper-parameter apart: 1, 1.0 and True are three."""
    if isinstance(value, int | float | str | tuple | None):
        return type(value), value
    return id(value)


class ByPath:
    """Hold a hyper-parameter's values by path; see `by_path`.

    Attributes:
        resolve: returns the value of every leaf of a tree, in the order of its leaves, given the
            tree, what else is a leaf, and whether the tree is that of all parameters.
        shown: what `repr` shows.
        known: the values that are known before a tree is, so that they can be checked.
    """

    def __init__(
        self,
        resolve: Callable[[PyTree, IsLeaf, bool], list[Any]],
        shown: str,
        known: tuple[Any, ...] = (),
    ) -> None:
        self.resolve = resolve
        self.shown = shown
        self.known = known

    def __repr__(self) -> str:
        """Show the call that made the values."""
        return self.shown

    def map(self, f: Callable[[Any], Any], shown: str | None = None) -> "ByPath":
        """Return the values after a function; equal values are given to the function once.

        Values that are known already are given to the function now, so that it can refuse them.
        """
        done: dict[object, tuple[object, Any]] = {}

        def once(value: Any) -> Any:
            key = value_key(value)
            if key not in done:
                done[key] = value, f(value)  # the value is held, so that its id stays its own
            return done[key][1]

        resolve, known = self.resolve, tuple(once(v) for v in self.known)
        each = lambda *args: [v if v is ABSENT else once(v) for v in resolve(*args)]  # noqa: E731
        return ByPath(each, shown or self.shown, known)

    def __mul__(self, factor: "float | Schedule | ByPath") -> "ByPath":
        """Return the values times a number, a schedule, or other values by path.

        A schedule among the values, or for the factor, gives schedules.
        """
        if isinstance(factor, ByPath):
            mine, other, made = self.resolve, factor.resolve, _Products()
            both = lambda *args: [  # noqa: E731
                made.product(a, b) for a, b in zip(mine(*args), other(*args), strict=True)
            ]
            return ByPath(both, f"{self!r} * {factor!r}")
        product = _Products().product
        name = getattr(factor, "__name__", repr(factor))
        return self.map(lambda value: product(value, factor), f"{name} * {self!r}")

    __rmul__ = __mul__


class _Products:
    """Multiply values, and give equal pairs one product, by which groups of leaves are found."""

    def __init__(self) -> None:
        self.done: dict[tuple[object, object], Any] = {}

    def product(self, a: Any, b: Any) -> Any:
        if a is ABSENT or b is ABSENT:
            return ABSENT
        if a is FROZEN or b is FROZEN:
            return FROZEN
        key = value_key(a), value_key(b)
        if key not in self.done:
            self.done[key] = _product(a, b)
        return self.done[key]


def _product(a: Any, b: Any) -> Any:
    if not callable(a) and not callable(b):
        return a * b
    read = lambda value, count: value(count) if callable(value) else value  # noqa: E731
    return lambda count: read(a, count) * read(b, count)


ABSENT = object()
"""The value at a leaf that is None."""


class Frozen:
    """Mark parameters that are not trained; see `FROZEN`."""

    def __repr__(self) -> str:
        """Show the name of the mark."""
        return "FROZEN"


FROZEN = Frozen()
"""The learning rate of parameters that stay as they are: no moments are kept of these parameters,
and their updates are zero.

>>> import adam_optax as ao
>>> tx = ao.adamw(ao.by_path({"backbone/.*": ao.FROZEN, "head/.*": 1e-3}))
"""


def by_path(
    choice: Mapping[str, Any] | Callable[..., Any] | PyTree, values: Mapping[str, Any] | None = None
) -> ByPath:
    r"""Give a hyper-parameter a value by the path of the parameter.

    Take it wherever an optimiser of this library takes a number or a schedule (the learning rate,
    weight decay, betas, eps), a storage format, or `stacked`: one optimiser with one count and one
    state then has different values at different parameters, at no cost in the step. With
    `ao.FROZEN` as a learning rate, parameters are not trained.

    Args:
        choice: a mapping from regular expressions to values: the first that matches a whole path
            (`"layers/0/kernel"`) gives the value. Or a function `(path, parameter)` to a value; the
            parameter, or its gradient, has a shape and a dtype. Or, with `values`, labels as
            `optax.partition` takes them: a tree of names, a prefix of one, or a function from the
            parameters to one.
        values: from each label to the value.

    Returns:
        The values. Times a number, a schedule or other values by path they are multipliers:
        `schedule * ao.by_path({...})`.

    Raises:
        ValueError: where the optimiser meets the tree: if no expression matches a path, or, in
            `tx.init`, if an expression matches no path.
        TypeError: if `choice` is none of these.

    >>> import jax.numpy as jnp, optax, adam_optax as ao
    >>> decay = ao.by_path({r".*/(bias|scale)": 0.0, ".*": 0.1})
    >>> rate = optax.constant_schedule(1e-3) * ao.by_path({"embed/.*": 0.1, ".*": 1.0})
    >>> tx = ao.adamw(rate, weight_decay=decay)
    >>> params = {"embed": {"w": jnp.ones(2)}, "dense": {"w": jnp.ones(2), "bias": jnp.ones(2)}}
    >>> grads = {"embed": {"w": jnp.ones(2)}, "dense": {"w": jnp.ones(2), "bias": jnp.ones(2)}}
    >>> updates, state = tx.update(grads, tx.init(params), params)
    >>> print(f"{updates['embed']['w'][0]:.6f} {updates['dense']['bias'][0]:.4f}")
    -0.000110 -0.0010
    """
    if values is not None:
        resolve = _by_label(choice, dict(values))
        return ByPath(resolve, f"by_path({choice!r}, {values!r})", tuple(values.values()))
    if isinstance(choice, Mapping):
        resolve = _by_pattern(choice)
        return ByPath(resolve, f"by_path({dict(choice)!r})", tuple(choice.values()))
    if callable(choice):
        name = getattr(choice, "__name__", repr(choice))
        return ByPath(_by_function(choice), f"by_path({name})")
    raise TypeError(
        "by_path takes a mapping from regular expressions to values, a function (path, parameter) "
        f"to a value, or labels and their values; not {type(choice).__name__}"
    )


def by_depth(decay: float, patterns: list[str] | tuple[str, ...]) -> ByPath:
    """Give layers a multiplier that falls from the output to the input: layer-wise rate decay.

    Take it to fine-tune a network whose early layers shall change less: the multiplier is
    `decay^(n - 1 - i)` at the i-th of n depths.

    Args:
        decay: the factor from one depth to the depth before it, positive.
        patterns: a regular expression for each depth, from the input to the output; the first that
            matches a whole path gives the depth.

    Returns:
        Multipliers: times a number or a schedule they are a learning rate.

    Raises:
        ValueError: if `decay` is not positive.

    >>> import adam_optax as ao
    >>> depths = ["embed/.*", *(f"layers/{i}/.*" for i in range(12)), "head/.*"]
    >>> tx = ao.adamw(1e-3 * ao.by_depth(0.75, depths))

    Reference: Clark et al. 2020, "ELECTRA", appendix; Bao et al. 2022, "BEiT".
    """
    if not decay > 0:
        raise ValueError(f"decay must be positive, not {decay}: it is a factor of learning rates")
    last = len(patterns) - 1
    return by_path({pattern: decay ** (last - i) for i, pattern in enumerate(patterns)})


def _by_pattern(values: Mapping[str, Any]) -> Callable[[PyTree, IsLeaf, bool], list[Any]]:
    compiled = []
    for pattern, value in values.items():
        try:
            compiled.append((re.compile(pattern), value))
        except (re.error, TypeError) as error:
            raise ValueError(f"by_path: {pattern!r} is no regular expression: {error}") from error

    def resolve(tree: PyTree, is_leaf: IsLeaf, is_whole: bool) -> list[Any]:
        named = named_leaves(tree, is_leaf)
        names = [name for name, _ in named]
        first = [_first_match(compiled, name) for name in names]
        for i, (name, leaf) in zip(first, named, strict=True):
            if i is None and leaf is not None:
                raise ValueError(
                    f"by_path: no expression matches {name!r} as a whole; the last one can be "
                    "'.*', for all other parameters"
                )
        if is_whole and names and (unused := {*range(len(compiled))} - {*first}):
            idle = compiled[min(unused)][0].pattern
            raise ValueError(
                f"by_path: {idle!r} is the first to match no parameter; the paths are "
                f"{_some(names)}"
            )
        return [ABSENT if i is None else compiled[i][1] for i in first]

    return resolve


def _first_match(compiled: list[tuple[re.Pattern[str], Any]], name: str) -> int | None:
    return next((i for i, (pattern, _) in enumerate(compiled) if pattern.fullmatch(name)), None)


def _by_function(
    choose: Callable[[str, Any], Any],
) -> Callable[[PyTree, IsLeaf, bool], list[Any]]:
    def resolve(tree: PyTree, is_leaf: IsLeaf, is_whole: bool) -> list[Any]:
        del is_whole
        named = named_leaves(tree, is_leaf)
        return [ABSENT if x is None else choose(name, x) for name, x in named]

    return resolve


def _by_label(
    labels: PyTree, values: Mapping[str, Any]
) -> Callable[[PyTree, IsLeaf, bool], list[Any]]:
    def resolve(tree: PyTree, is_leaf: IsLeaf, is_whole: bool) -> list[Any]:
        given = labels(tree) if callable(labels) and not isinstance(labels, str) else labels
        found = at_leaves(given, tree, is_leaf, "the labels of by_path")
        for label in {*found} - {None}:
            if label not in values:
                known = ", ".join(map(repr, values))
                raise ValueError(f"by_path: the label {label!r} has no value; there are {known}")
        if is_whole and found and (unused := values.keys() - {*found}):
            raise ValueError(f"by_path: no parameter has the label {min(unused)!r}")
        return [values.get(label, ABSENT) for label in found]

    return resolve


def at_leaves(prefix: PyTree, tree: PyTree, is_leaf: IsLeaf, what: str) -> list[Any]:
    """Return what a prefix of a tree says of each leaf of the tree.

    Raises:
        ValueError: if it is no prefix of the tree.
    """
    found: list[Any] = []

    def spread(one: Any, below: PyTree) -> None:
        found.extend([one] * len(jax.tree.leaves(below, is_leaf=is_leaf)))

    try:
        jax.tree.map(spread, prefix, tree, is_leaf=is_leaf)
    except ValueError as error:
        raise ValueError(f"{what} are not a prefix of the tree of parameters: {error}") from error
    return found


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:8])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > 8 else shown


Hyperparameter: TypeAlias = ScalarOrSchedule | ByPath
"""A hyper-parameter of an optimiser: a number, a scalar array, a schedule, or these by path."""
