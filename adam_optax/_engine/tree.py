"""From a rule to an optax transformation: the only module that knows optax's states and trees.

`scale_by` is the rule alone, like optax's `scale_by_adam`. `optimizer` adds weight decay and the
learning rate in the same pass over memory, with the state that optax's chain would have.
"""

import functools as ft
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import Array

from adam_optax._core import checks
from adam_optax._core.numerics import compute_dtype, real_dtype
from adam_optax._engine import sharding
from adam_optax._engine.execute import leaf_step, ticker
from adam_optax._engine.kept import carried, started
from adam_optax._optax_interop import marked
from adam_optax.couplings import RATE, Coupling
from adam_optax.moments import Moment
from adam_optax.rules.base import Rule
from adam_optax.storage import MASKED, Codec, Plan, resolve

Transformation: TypeAlias = optax.GradientTransformationExtraArgs


class ScaleByState(NamedTuple):
    """The state of a rule for whose entries optax has no class of its own.

    Attributes:
        count: steps taken, an int32 scalar.
        moments: trees over the parameters, by entry.
    """

    count: Array  # type: ignore[assignment]  # tuple.count: the field's name is optax's
    moments: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        """An entry by its name, as in optax's states: `state.mu`."""
        moments = self.moments
        if isinstance(moments, dict) and name in moments:
            return moments[name]
        raise AttributeError(f"the state has no {name!r}")


OPTAX_STATES = {
    frozenset(kind._fields) - {"count"}: kind
    for kind in (optax.ScaleByAdamState, optax.ScaleByAmsgradState)
}
"""Optax's own states by their entries, so that its tools and checkpoints know ours."""

STATES = (ScaleByState, *OPTAX_STATES.values())


def pack(count: Array, moments: dict[str, Any]) -> Any:
    """The state that holds these entries: optax's own where it has one."""
    if kind := OPTAX_STATES.get(frozenset(moments)):
        return kind(count=count, **moments)
    return ScaleByState(count, moments)


def unpack(state: Any) -> dict[str, Any]:
    """The entries of a state."""
    if isinstance(state, ScaleByState):
        return state.moments
    return {n: getattr(state, n) for n in state._fields if n != "count"}


def _trees(state: Any, entries: tuple[str, ...] | None) -> dict[str, Any]:
    moments = unpack(state) if isinstance(state, STATES) else {}
    if not isinstance(state, STATES) or (entries is not None and moments.keys() != set(entries)):
        holds = f" with {', '.join(moments)}" if moments else ""
        what = "moments" if entries is None else ", ".join(entries)
        raise TypeError(
            f"the state must hold {what}, as tx.init makes it; got {type(state).__name__}{holds}"
        )
    return {n: moments[n] for n in (moments if entries is None else entries)}


class Engine(NamedTuple):
    """A rule and its storage over trees: what `scale_by` and `optimizer` share.

    Attributes:
        rule: the variant.
        plan: which codec a leaf has.
        coupling: how weight decay goes with the learning rate.
        decays: whether there is any.
        interpret: the platform whose kernels are interpreted on another, for tests.
    """

    rule: Rule
    plan: Plan
    coupling: Coupling = RATE
    decays: bool = False
    interpret: str | None = None

    def init(self, params: Any) -> Any:
        """The state before the first step."""
        checks.parameters(params)
        codecs = self.plan.codecs(params)
        blank = ft.partial(self._blank, self.rule.numbers(jnp.zeros((), jnp.int32)))
        pairs = zip(jax.tree.leaves(params), codecs, strict=True)
        rows = iter(_each("params", blank, params, pairs))
        table = jax.tree.map(lambda _: next(rows), params)
        # By entry and by `tree.map` alone: optax may hand in a placeholder for the whole tree.
        pick = lambda n: jax.tree.map(lambda _, row: row.get(n, MASKED), params, table)  # noqa: E731
        return pack(
            jnp.zeros((), jnp.int32),
            {n: pick(n) for n in self.plan.entries() or entries_of(codecs)},
        )

    def _blank(self, numbers: dict[str, Array], p: Any, codec: Codec) -> dict[str, Any]:
        encode = started(self.rule.maker(), self.rule.constants(), codec)
        first = {n: _start(p, moment) for n, moment in self.rule.moments.items()}
        encode = ft.partial(encode, shape=jnp.shape(p))
        kept: dict[str, Any] = sharding.encoded(encode, p, first, numbers)
        return kept

    def update(
        self,
        updates: Any,
        state: Any,
        params: Any = None,
        decay: Array | float | None = None,
        rate: Array | float | None = None,
        mask: Any = None,
        applies: bool = False,
    ) -> tuple[Any, Any]:
        """The step of every leaf; a gradient that is None leaves its moments as they are.

        With `applies` the updates are added to the parameters, which are returned.
        """
        trees = _trees(state, self.plan.entries())
        gs, treedef = jax.tree.flatten(updates, is_leaf=_is_none)
        codecs = self.plan.codecs(updates, _is_none)
        columns = checks.columns(treedef, updates, trees)
        kept = [{n: column[i] for n, column in columns.items()} for i in range(len(gs))]
        ps = _column(treedef, updates, "params", params, len(gs))
        fades = _column(treedef, updates, "mask", mask, len(gs))

        count, leaf = self._stepper(state.count, codecs, decay, rate, applies)
        rows = zip(gs, ps, kept, fades, codecs, strict=True)
        done = _each("updates", leaf, updates, rows, _is_none)
        moments = {n: jax.tree.unflatten(treedef, [new[n] for _, new in done]) for n in trees}
        return jax.tree.unflatten(treedef, [u for u, _ in done]), pack(count, moments)

    def _stepper(
        self, count: Any, codecs: list[Codec], decay: Any, rate: Any, applies: bool
    ) -> tuple[Array, Callable[..., Any]]:
        """The next count, and the step of one leaf from this one."""
        recipe = self.rule.maker(), self.rule.constants()
        distinct = {id(c): c for c in codecs}  # to hash one for every leaf takes time
        tick = ticker(*recipe, self.coupling, tuple(distinct.values()))
        numbers = self.rule.numbers(count)
        count, told = tick(jnp.asarray(count), numbers, decay, rate)
        clocks = dict(zip(distinct, told, strict=True))
        steps = {
            key: leaf_step(*recipe, c, self.coupling, applies, self.interpret)
            for key, c in distinct.items()
        }

        def leaf(g: Any, p: Any, kept: dict[str, Any], fade: bool | None, codec: Codec) -> Any:
            if g is None:
                same = carried(*recipe, codec)(kept, numbers, count) if codec.clocked else kept
                return (p if applies else None), same
            own, others = checks.split(kept, codec.entries())
            step = steps[id(codec)]
            if sharding.is_explicit(g):
                step = sharding.left_to_xla(step, (g, own))
            time = clocks[id(codec)]
            if fade is False:
                time = {name: clock._replace(decay=None) for name, clock in time.items()}
            update, own = step(g, p, own, count, time)
            return update, own | others

        return count, leaf


def entries_of(codecs: Iterable[Codec]) -> tuple[str, ...]:
    """The state's entries: those of every leaf."""
    return tuple(dict.fromkeys(n for codec in dict.fromkeys(codecs) for n in codec.entries()))


def _each(
    what: str,
    leaf: Callable[..., Any],
    tree: Any,
    rows: Iterable[tuple[Any, ...]],
    is_leaf: Callable[[Any], bool] | None = None,
) -> list[Any]:
    """The results over the leaves; an error says at which of them it happened."""
    done: list[Any] = []
    try:
        for row in rows:
            done.append(leaf(*row))
    except Exception as error:
        path, _ = jax.tree.leaves_with_path(tree, is_leaf=is_leaf)[len(done)]
        place = f"{what}{jax.tree_util.keystr(path)}"
        if type(error) in (TypeError, ValueError):
            raise type(error)(f"{place}: {error}") from error
        error.add_note(f"at {place}")  # others cannot be made from a text
        raise
    return done


def _start(p: Any, moment: Moment) -> Array:
    dtype = compute_dtype(p) if moment.signed else real_dtype(compute_dtype(p))
    # XLA would encode a constant while it compiles, one number after the other, for minutes.
    first = jax.lax.optimization_barrier(jnp.full((), moment.init, dtype))
    return first if moment.scalar else sharding.beside(jnp.full_like(p, first, dtype), p)


def _is_none(x: Any) -> bool:
    return x is None


def _column(treedef: Any, updates: Any, name: str, tree: Any, size: int) -> list[Any]:
    """The entries of a tree that may be missing."""
    if tree is None:
        return [None] * size
    return checks.columns(treedef, updates, {name: tree})[name]


def scale_by(
    rule: Rule, *, storage: Any = None, mu_dtype: Any = None, nu_dtype: Any = None
) -> Transformation:
    """Rescale gradients by a rule, the way optax's `scale_by_adam` does by Adam's.

    Args:
        rule: one of `adam_optax.rules`, or your own.
        storage: how its moments are kept: a format of `adam_optax.storage` for all of them, a
            mapping by moment name, or a function from a parameter's path (`"dense/kernel"`) and
            the parameter or its gradient to one of these; None, and what a mapping leaves out:
            float32.
        mu_dtype: short for dense storage of `mu` in this dtype.
        nu_dtype: short for dense storage of `nu` in this dtype.

    Returns:
        A transformation whose updates point uphill, like the gradients. It needs `params` only if
        the rule does.

    Raises:
        ValueError, TypeError: at construction for arguments out of range; at `init` and `update`,
            naming the tree path, for parameters, gradients or states that do not fit.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.scale_by(ao.rules.adam(b2=0.99))
    >>> state = tx.init({"w": jnp.ones(3)})
    >>> updates, state = tx.update({"w": jnp.full(3, 2.0)}, state)
    >>> updates["w"]
    Array([1., 1., 1.], dtype=float32)
    """
    engine = Engine(rule, resolve(storage, rule.moments, mu_dtype, nu_dtype))

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        del extra_args
        return engine.update(updates, state, params)

    return Transformation(engine.init, marked(update, engine))
