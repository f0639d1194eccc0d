"""Carry a state over to the tree in which another library's optimiser keeps the same moments.

From top to bottom: the walk through two trees at once, the links of a chain in which moments are,
and what optax keeps under other names or in another form.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import Array

from adam_optax._core.numerics import abs_sq
from adam_optax._engine.optax_states import needs_count
from adam_optax._engine.states import STATES, count_of, log_decays_of, repack, unpack
from adam_optax._engine.tree import Engine
from adam_optax._optax_interop import find_optax_updates, find_tags, injected
from adam_optax.convert._checks import ConversionError

Moments: TypeAlias = dict[str, Any]
"""Trees over the parameters by our moments' names."""

CENTERED = (
    optax.ScaleByRStdDevState,
    # optax does not export this class. An array made here would start JAX's backend at import.
    type(jax.eval_shape(optax.scale_by_stddev(bias_correction=True).init, {})),
)
"""optax's classes for centred RMSProp: means of gradients and squares, where ours is a variance."""
_HOMES = (*STATES, *CENTERED, optax.FactoredState, optax.EmaState)


class Source(NamedTuple):
    """Hold what a walk knows of the state that is carried over.

    Attributes:
        tx: the transformation that goes on.
        hyperparams: those of `optax.inject_hyperparams`, inside of which the walk is.
        count: the steps that were taken, if the state counts any.
        log_decays: of the moments whose decay rates follow schedules.
    """

    tx: optax.GradientTransformation
    hyperparams: Mapping[str, Any] = {}
    count: Any = None
    log_decays: Mapping[str, Array] = {}


def carry(state: Any, like: Any, source: Source, path: str = "state") -> Any:
    """Return a state in the tree of another, whose leaves are shapes and dtypes.

    Args:
        state: what is carried over.
        like: the tree to fill: `jax.eval_shape(tx.init, params)`.
        source: what else is known.
        path: where in the state this is, for messages.

    Raises:
        ConversionError: if something has no counterpart, with its path.
    """
    if isinstance(like, _HOMES):
        (filled,) = _carry_links((state,), (like,), source, path)
        return filled
    if _is_plain(like) and any(isinstance(link, _HOMES) for link in like):
        if not _is_plain(state):
            _refuse(state, like, path)
        return _carry_links(state, like, source, path)
    if not jax.tree.leaves(like) and not _arrays_but_counts(state):
        return like
    if not jax.tree.leaves(state) and _only_counts(like):
        return jax.tree.map(lambda c: _count(source, c, path), like)
    if hasattr(like, "dtype") and hasattr(state, "dtype"):
        return _cast(state, like, path)
    kind = type(like)
    if kind is not type(state):
        _refuse(state, like, path)
    if isinstance(like, dict) and like.keys() == state.keys():
        return kind((n, carry(state[n], x, source, f"{path}[{n!r}]")) for n, x in like.items())
    if hasattr(like, "_fields"):
        if isinstance(getattr(state, "hyperparams", None), dict):
            source = source._replace(hyperparams=state.hyperparams)
        fields = zip(like._fields, state, like, strict=True)
        return kind(*(carry(one, x, source, f"{path}.{n}") for n, one, x in fields))
    if isinstance(like, tuple | list) and len(like) == len(state):
        pairs = enumerate(zip(state, like, strict=True))
        return kind(carry(one, x, source, f"{path}[{i}]") for i, (one, x) in pairs)
    if _structure(like) == _structure(state):
        return jax.tree.map(lambda x, y: _cast(x, y, path), state, like)
    return _refuse(state, like, path)


def _carry_links(state: Any, like: Any, source: Source, path: str) -> tuple[Any, ...]:
    """Carry over a chain in some of whose links there are moments."""
    counts = [count for link in state if (count := _first_count(link)) is not None]
    logs, scheduled = _logs(state), _logs(like)
    if logs.keys() != scheduled.keys():
        raise ConversionError(
            f"{path}: tx has schedules as decay rates of {', '.join(scheduled) or 'no moments'}, "
            f"the state of {', '.join(logs) or 'none'}: what its averages have seen is not known; "
            "make tx with a number where the state had one"
        )
    source = source._replace(count=counts[0] if counts else source.count, log_decays=logs)
    moments = {n: tree for link in state for n, tree in _moments_in(link, source, path).items()}
    others = [link for link in state if not isinstance(link, _HOMES)]
    wanted = [link for link in like if not isinstance(link, _HOMES)]
    if len(others) != len(wanted):  # links without arrays come and go, such as that of a decay
        others = [_counterpart(link, others) for link in wanted]
    rest = iter(others)
    filled = []
    for i, link in enumerate(like):
        here = f"{path}[{i}]" if len(like) > 1 else path
        if isinstance(link, _HOMES):
            filled.append(_fill(link, moments, source, here))
        else:
            filled.append(carry(next(rest), link, source, here))
    return tuple(filled)


def _counterpart(link: Any, others: list[Any]) -> Any:
    """Return the next of other links that has a link's structure; none: one without arrays."""
    for i, other in enumerate(others):
        if _structure(other) == _structure(link):
            return others.pop(i)
    return optax.EmptyState()


# --- Links with moments ------------------------------------------------------------------------


def _moments_in(link: Any, source: Source, path: str) -> Moments:
    """Return the moments in a link of a chain, by our names and as we define them."""
    if isinstance(link, optax.FactoredState):
        # Where optax factors, v is a placeholder; elsewhere the other two are.
        factored = jax.tree.map(_is_factored, link.v, link.v_row, link.v_col)
        masked = lambda kept, x: x if kept else optax.MaskedNode()  # noqa: E731
        means = {"nu_row": link.v_row, "nu_col": link.v_col}
        rest = {"nu": jax.tree.map(lambda f, x: masked(not f, x), factored, link.v)}
        return rest | {n: jax.tree.map(masked, factored, x) for n, x in means.items()}
    if isinstance(link, optax.EmaState):
        return {"mu": link.ema}
    if isinstance(link, CENTERED):
        weight = _mean_weight(isinstance(link, CENTERED[1]), source, path)
        variance = jax.tree.map(
            lambda nu, mu: jnp.maximum(jnp.real(nu) - abs_sq(mu) / weight, 0.0), link.nu, link.mu
        )
        return {"variance": variance, "mu": link.mu}
    return dict(unpack(link)) if isinstance(link, STATES) else {}


def _fill(like: Any, moments: Moments, source: Source, path: str) -> Any:
    """Return a link with moments in it, in the dtypes that it has."""
    if isinstance(like, optax.FactoredState):
        kept = {"v": "nu", "v_row": "nu_row", "v_col": "nu_col"}
        unfactored = jax.tree.map(lambda _: optax.MaskedNode(), like.v)
        moments = {"nu_row": unfactored, "nu_col": unfactored, **moments}
        found = {f: _take(moments, n, getattr(like, f), path) for f, n in kept.items()}
        return optax.FactoredState(count=_count(source, like.count, path), **found)
    if isinstance(like, optax.EmaState):
        count = _count(source, like.count, path)
        return optax.EmaState(count, _take(moments, "mu", like.ema, path))
    if isinstance(like, CENTERED):
        counts = isinstance(like, CENTERED[1])
        weight = _mean_weight(counts, source, path)
        if not {"variance", "mu"} <= moments.keys():
            _take(moments, "variance", like.nu, path)
        square = jax.tree.map(
            lambda v, m: v + abs_sq(m) / weight, moments["variance"], moments["mu"]
        )
        count = {"count": _count(source, like.count, path)} if counts else {}
        both = {"mu": moments["mu"], "nu": square}
        return type(like)(**count, **{n: _take(both, n, getattr(like, n), path) for n in both})
    found = {n: _take(moments, n, tree, path) for n, tree in unpack(like).items()}
    filled = repack(like, found, lambda c: _count(source, c, path))
    return filled._replace(log_decays=dict(source.log_decays)) if log_decays_of(like) else filled


def _logs(chain: Any) -> dict[str, Array]:
    """Return the log decays of the moments in a chain."""
    links = [link for link in chain if isinstance(link, STATES)]
    return {n: x for link in links for n, x in log_decays_of(link).items()}


def _take(moments: Moments, name: str, like: Any, path: str) -> Any:
    """Return a moment in the shapes and dtypes of another."""
    if name not in moments:
        raise ConversionError(
            f"{path}: tx keeps {name}, the state holds {', '.join(moments) or 'no moments'}; make "
            "tx with the optimiser and the options that made the state"
        )
    is_leaf = lambda x: isinstance(x, optax.MaskedNode)  # noqa: E731

    def cast(x: Any, y: Any) -> Any:
        if is_leaf(x) and not is_leaf(y) and y.shape == (1,):
            return jnp.zeros(y.shape, y.dtype)  # optax's placeholder, where it factors
        if is_leaf(x) != is_leaf(y):
            raise ConversionError(
                f"{path}: {name} is factored in one of the state and tx, and not in the other; "
                "make tx with the state's factored and min_dim_size_to_factor"
            )
        return x if is_leaf(x) else _cast(x, y, f"{path}: {name}")

    try:
        return jax.tree.map(cast, moments[name], like, is_leaf=is_leaf)
    except ValueError as error:
        if isinstance(error, ConversionError):
            raise
        text = f"{path}: {name} is of other parameters than tx's: {error}"
        raise ConversionError(text) from error


def _is_factored(v: Array, row: Array, col: Array) -> bool:
    return v.shape == (1,) and not row.shape == col.shape == (1,)


def _mean_weight(counts: bool, source: Source, path: str) -> Any:
    """Return `1 - decay^t`, by which a mean of `t` gradients is short; 1 without a correction."""
    if not counts:
        return 1.0
    decays = [*_decays(source)]
    if len({float(d) for d in decays}) != 1:
        raise ConversionError(
            f"{path}: the decay of a centred RMSProp with bias_correction is not found in tx; "
            "pass tx as ao.rmsprop and optax.rmsprop make it, with a number as decay"
        )
    return jnp.where(source.count > 0, 1 - jnp.asarray(decays[0], jnp.float32) ** source.count, 1.0)


def _decays(source: Source) -> Iterator[Any]:
    """Yield the decay rates of the centred RMSProps in a transformation."""
    if "decay" in source.hyperparams:
        yield source.hyperparams["decay"]
        return
    for engine in _engines(source):
        if "variance" in engine.rule.moments and engine.rule.origin:
            yield engine.rule.origin.hyperparams["decay"]
    for name, variables in find_optax_updates(source.tx):
        if name == "scale_by_stddev":
            yield variables["decay"]


# --- Counts, leaves and messages ---------------------------------------------------------------


def _first_count(link: Any) -> Any:
    """Return the first count of steps in a link of a chain, or None."""
    if isinstance(link, STATES):
        return count_of(link)
    if isinstance(link, _HOMES):
        return link.count if "count" in link._fields else None
    counts = [x for x in jax.tree.leaves(link) if _is_count(x)]
    return counts[0] if counts and _only_counts(link) else None


def _engines(source: Source) -> list[Engine]:
    """Return this library's optimisers in a transformation, also behind `inject_hyperparams`."""
    found = find_tags(source.tx)
    for name, variables in find_optax_updates(source.tx):
        if name == "inject_hyperparams" and source.hyperparams:
            found += find_tags(injected(variables, source.hyperparams))
    return [tag for tag in found if isinstance(tag, Engine)]


def _count(source: Source, like: Any, path: str) -> Any:
    if source.count is None:
        engines = _engines(source)
        if engines and not any(needs_count(e.grouping) for e in engines):
            return jnp.zeros(like.shape, like.dtype)
        raise ConversionError(
            f"{path}: tx counts steps, and the state does not; make tx with numbers instead of "
            "schedules and without bias_correction, or with a schedule as the state's optimiser had"
        )
    return jnp.array(source.count, like.dtype)  # a copy, so that each count can be donated


def _is_count(x: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(x), jnp.integer)) and jnp.shape(x) == ()


def _only_counts(tree: Any) -> bool:
    leaves = jax.tree.leaves(tree)
    return bool(leaves) and all(map(_is_count, leaves))


def _arrays_but_counts(tree: Any) -> bool:
    return any(not _is_count(x) for x in jax.tree.leaves(tree))


def _structure(tree: Any) -> Any:
    return jax.tree.structure(tree)


def _is_plain(x: Any) -> bool:
    return isinstance(x, tuple) and not hasattr(x, "_fields")


def _cast(x: Any, like: Any, path: str) -> Any:
    """Return an array in another's dtype; optax's squares of complex numbers have no other part."""
    if jnp.shape(x) != like.shape:
        raise ConversionError(
            f"{path} has shape {jnp.shape(x)} in the state and {like.shape} in tx; pass the "
            "parameters that the state is of"
        )
    x = jnp.asarray(x)
    if jnp.iscomplexobj(x) and not jnp.issubdtype(like.dtype, jnp.complexfloating):
        x = x.real
    return x.astype(like.dtype)


def _refuse(state: Any, like: Any, path: str) -> Any:
    raise ConversionError(
        f"{path} is {_named(state)} in the state and {_named(like)} in tx; make tx of the same "
        "chain and wrappers, with ao's optimisers for optax's or the reverse"
    )


def _named(x: Any) -> str:
    return f"a tuple of {len(x)}" if _is_plain(x) else f"{type(x).__name__}"
