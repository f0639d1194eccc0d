"""Programs after the optimiser code of others, in words of our own: what it asks of optax."""

import inspect
import operator
import re
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

from tests.programs.packages import ROUNDED
from tests.programs.program import EQUINOX, FLAX, ORBAX, Program, X, Y

KEYS = iter(jax.random.split(jax.random.key(0), 16))
WEIGHTS: Any = {
    "embed": {"kernel": jax.random.normal(next(KEYS), (6, 8)) / 2},
    "block": {
        "kernel": jax.random.normal(next(KEYS), (8, 8)) / 3,
        "bias": jnp.zeros(8),
        "norm": {"scale": jnp.ones(8)},
    },
    "head": {"kernel": jax.random.normal(next(KEYS), (8, 2)) / 3, "bias": jnp.zeros(2)},
}


def loss(params: Any) -> Any:
    block, head = params["block"], params["head"]
    x = X @ params["embed"]["kernel"]
    x = x + jnp.tanh(x @ block["kernel"] + block["bias"]) * block["norm"]["scale"]
    return jnp.mean((x @ head["kernel"] + head["bias"] - Y) ** 2)


def by_path(function: Any, tree: Any) -> Any:
    """Map a function of `a/b/c` over a tree."""
    name = lambda path: jax.tree_util.keystr(path, simple=True, separator="/")  # noqa: E731
    return jax.tree.map_with_path(lambda path, _: function(name(path)), tree)


def no_bias_or_norm(tree: Any) -> Any:
    return by_path(lambda path: not re.search("bias|norm", path), tree)


# --- t5x: the axes of a state are found by the classes in it --------------------------------------

T5X_RULES: dict[type, Any] = {
    optax.EmptyState: lambda state, axes: state,
    optax.ScaleByScheduleState: lambda state, axes: type(state)(count=None),
    optax.ScaleByAdamState: lambda state, axes: type(state)(count=None, mu=axes, nu=axes),
    optax.ScaleByBeliefState: lambda state, axes: type(state)(count=None, mu=axes, nu=axes),
    optax.ScaleByAmsgradState: lambda state, axes: type(state)(None, axes, axes, axes),
    optax.ScaleByAdanState: lambda state, axes: type(state)(axes, axes, axes, axes, None),
    optax.ScaleByAdaDeltaState: lambda state, axes: type(state)(e_g=axes, e_x=axes),
    optax.ScaleByNovogradState: lambda state, axes: type(state)(None, mu=axes, nu=None),
    optax.ScaleByLionState: lambda state, axes: type(state)(count=None, mu=axes),
    optax.ScaleByRmsState: lambda state, axes: type(state)(nu=axes),
    optax.ScaleByRssState: lambda state, axes: type(state)(sum_of_squares=axes),
    optax.TraceState: lambda state, axes: type(state)(trace=axes),
    optax.MaskedState: lambda state, axes: type(state)(t5x_axes(state.inner_state, axes)),
    optax.MultiStepsState: lambda state, axes: type(state)(
        None, None, t5x_axes(state.inner_opt_state, axes), axes, ()
    ),
}


def t5x_axes(state: Any, axes: Any) -> Any:
    """Return the logical axes of a state, given the parameters', as T5X's partition rules do.

    They go by `type(state)`, and know the classes of optax alone.
    """
    if type(state) is tuple:
        return tuple(t5x_axes(part, axes) for part in state)
    if type(state) not in T5X_RULES:
        raise ValueError(f"unregistered optax state type {type(state).__name__}")
    return T5X_RULES[type(state)](state, axes)


AXES: Any = by_path(lambda path: ("embed", "mlp") if "kernel" in path else ("mlp",), WEIGHTS)


def t5x_partitioned(lib: Any) -> Any:
    """Train under `jax.jit` with the shardings of `t5x_axes`, as T5X does (its `OptaxWrapper`)."""
    schedule = lib.warmup_cosine_decay_schedule(0.0, 1e-2, 5, 40)
    tx = lib.chain(
        lib.clip_by_global_norm(1.0), lib.adamw(schedule, weight_decay=1e-2, mask=no_bias_or_norm)
    )
    mesh = jax.make_mesh((1, 1), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    to_mesh = {"embed": "data", "mlp": "model"}
    is_axes = lambda x: x is None or (type(x) is tuple and all(isinstance(a, str) for a in x))  # noqa: E731

    def sharding(axes: Any) -> NamedSharding:
        return NamedSharding(mesh, PartitionSpec(*(to_mesh[a] for a in axes or ())))

    def step(params: Any, state: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params)
        return (lib.apply_updates(params, updates), state), value

    axes = (AXES, t5x_axes(jax.eval_shape(tx.init, WEIGHTS), AXES))
    shardings = jax.tree.map(
        lambda axes: sharding(axes) if is_axes(axes) else axes,
        axes,
        is_leaf=lambda x: is_axes(x) and x != (),
    )
    run = jax.jit(step, in_shardings=shardings, out_shardings=(shardings, None))
    return (WEIGHTS, tx.init(WEIGHTS)), lambda carry, t: run(*carry)


# --- MaxText: a mask, steps skipped on spikes, and parameters that do not train -------------------


class SpikeState(NamedTuple):
    """Hold the optimiser's state and the last losses."""

    inner: Any
    losses: Any
    count: Any


def skip_on_spikes(lib: Any, inner: Any, window: int = 8, deviations: float = 6.0) -> Any:
    """Take no step, by `lax.cond`, where the loss is far above those before."""

    def init(params: Any) -> SpikeState:
        return SpikeState(inner.init(params), jnp.zeros(window), jnp.zeros((), jnp.int32))

    def update(updates: Any, state: Any, params: Any = None, *, loss: Any, **extra: Any) -> Any:
        limit = jnp.mean(state.losses) + deviations * jnp.std(state.losses)
        spike = (state.count >= window) & (loss > limit)
        skip = lambda: (jax.tree.map(jnp.zeros_like, updates), state.inner)  # noqa: E731
        step = lambda: inner.update(updates, state.inner, params, **extra)  # noqa: E731
        updates, new = jax.lax.cond(spike, skip, step)
        losses = state.losses.at[state.count % window].set(jnp.where(spike, limit, loss))
        return updates, SpikeState(new, losses, state.count + 1)

    return lib.GradientTransformationExtraArgs(init, update)


def maxtext_optimizer(lib: Any) -> Any:
    """Build the optimiser as MaxText's `get_optimizer` does: AdamW, spikes, a trainable mask."""
    tx = lib.adamw(
        lib.warmup_cosine_decay_schedule(0.0, 1e-2, 5, 60),
        b1=0.9,
        b2=0.95,
        eps=1e-8,
        eps_root=0.0,
        weight_decay=0.1,
        mask=no_bias_or_norm,
    )
    labels = by_path(lambda p: "frozen" if p.startswith("embed") else "trainable", WEIGHTS)
    groups = {"trainable": skip_on_spikes(lib, tx), "frozen": lib.set_to_zero()}
    tx = lib.multi_transform(groups, labels)

    @jax.jit
    def step(params: Any, state: Any, noise: Any) -> Any:
        value, grads = jax.value_and_grad(lambda p: noise * loss(p))(params)
        updates, state = tx.update(grads, state, params, loss=value)
        return (lib.apply_updates(params, updates), state), value

    noise = lambda t: 100.0 if t in (12, 30) else 1.0  # noqa: E731
    return (WEIGHTS, tx.init(WEIGHTS)), lambda carry, t: step(*carry, noise(t))


# --- Levanter: a chain whose builder is injected with hyper-parameters ---------------------------


class Block(eqx.Module):
    """A layer; all layers are kept in one, with an axis more (Levanter's `Stacked`)."""

    linear: eqx.nn.Linear
    norm: eqx.nn.LayerNorm

    def __init__(self, key: Any) -> None:
        self.linear, self.norm = eqx.nn.Linear(6, 6, key=key), eqx.nn.LayerNorm(6)

    def __call__(self, x: Any) -> Any:
        """Return what the layer makes of one example."""
        return x + jnp.tanh(self.linear(self.norm(x)))


def levanter_adam(lib: Any) -> Any:
    """Build the optimiser as Levanter's `AdamConfig` does, for stacked Equinox layers."""
    layers = eqx.filter_vmap(Block)(jax.random.split(jax.random.key(3), 3))

    def decays(tree: Any) -> Any:
        return by_path(lambda path: re.search("linear/weight", path) is not None, tree)

    def build(learning_rate: Any) -> Any:
        return lib.chain(
            lib.clip_by_global_norm(1.0),
            lib.scale_by_adam(0.9, 0.95, 1e-8),
            lib.add_decayed_weights(0.1, decays),
            lib.scale(-learning_rate),
        )

    tx = lib.inject_hyperparams(build)(lib.warmup_cosine_decay_schedule(0.0, 1e-2, 5, 40))

    def forward(layers: Any, x: Any) -> Any:
        arrays, static = eqx.partition(layers, eqx.is_array)
        layer = lambda x, one: (eqx.combine(one, static)(x), None)  # noqa: E731
        return jax.lax.scan(layer, x, arrays)[0]

    @eqx.filter_jit
    def step(carry: Any) -> Any:
        layers, state = carry
        value, grads = eqx.filter_value_and_grad(
            lambda layers: jnp.mean((jax.vmap(lambda x: forward(layers, x))(X)[:, :2] - Y) ** 2)
        )(layers)
        params = eqx.filter(layers, eqx.is_inexact_array)
        updates, state = tx.update(grads, state, params)
        return (eqx.apply_updates(layers, updates), state), value

    state = tx.init(eqx.filter(layers, eqx.is_inexact_array))
    return (layers, state), lambda carry, t: step(carry)


# --- tunix: any optimiser by its name, with a rate that is set in the state -----------------------


def tunix_optimizer(name: str) -> Any:
    """Return the program that makes an optimiser as tunix's `create_optimizer` does.

    The function is looked up by name, given the arguments that its signature has, and wrapped by
    `inject_hyperparams` with float32 numbers; the rate is set in the state at each step.
    """

    def make(lib: Any) -> Any:
        config = {"learning_rate": 1e-2, "b1": 0.9, "b2": 0.95, "decay_rate": 0.8}
        function = getattr(lib, name)
        known = inspect.signature(function).parameters
        arguments = {n: value for n, value in config.items() if n in known}
        tx = lib.inject_hyperparams(function, hyperparam_dtype=jnp.float32)(**arguments)

        @jax.jit
        def step(params: Any, state: Any, rate: Any) -> Any:
            state = lib.tree.set(state, learning_rate=rate)
            value, grads = jax.value_and_grad(loss)(params)
            updates, state = tx.update(grads, state, params)
            return (lib.apply_updates(params, updates), state), value

        rate = lambda t: jnp.float32(1e-2 / (1 + t / 10))  # noqa: E731
        return (WEIGHTS, tx.init(WEIGHTS)), lambda carry, t: step(*carry, rate(t))

    return make


# --- big_vision: an optimiser spelt out in a configuration of regular expressions -----------------

BIG_VISION: dict[str, Any] = {
    "optax_name": "scale_by_adam",
    "optax": {"b2": 0.95, "mu_dtype": "bfloat16"},
    "grad_clip_norm": 1.0,
    "wd": 1e-3,
    "wd_mults": [(".*/kernel", 1.0)],
    "lr": 1e-2,
    "lr_mults": [("head/.*", 0.5), (".*", 1.0)],
    "schedule": [("embed/.*", None), (".*", (5, 40))],
}


def big_vision_make(lib: Any, **options: Any) -> Any:
    """Build a chain as big_vision's `optax.make` does: multipliers, schedules, freezing by path.

    The mean gradient is kept in bfloat16, as in its configurations.
    """
    config = BIG_VISION
    first = lambda pairs, path: next((i for i, (p, _) in enumerate(pairs) if re.match(p, path)), -1)  # noqa: E731
    masks = lambda pairs: [  # noqa: E731
        by_path(lambda path, i=i: first(pairs, path) == i, WEIGHTS) for i in range(len(pairs))
    ]
    masked = lambda pairs, make: [  # noqa: E731
        lib.masked(make(value), mask) for (_, value), mask in zip(pairs, masks(pairs), strict=True)
    ]

    def schedule(of: Any) -> Any:
        if of is None:
            return lib.set_to_zero()
        return lib.scale_by_schedule(lib.warmup_cosine_decay_schedule(0.0, config["lr"], *of))

    tx = lib.chain(
        lib.clip_by_global_norm(config["grad_clip_norm"]),
        operator.attrgetter(config["optax_name"])(lib)(**config["optax"] | options),
        *masked(config["lr_mults"], lib.scale),
        *masked(config["wd_mults"], lambda by: lib.add_decayed_weights(config["wd"] * by)),
        *masked(config["schedule"], schedule),
        lib.scale(-1.0),
    )

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params)
        return (lib.apply_updates(params, updates), state), value

    return (WEIGHTS, tx.init(WEIGHTS)), lambda carry, t: step(*carry)


OF_OPTAX = (
    *("adam", "adamw", "nadam", "nadamw", "adamax", "adamaxw", "amsgrad", "radam", "adabelief"),
    *("yogi", "lion", "rmsprop", "adagrad", "sgd", "lamb", "adan", "adadelta", "novograd"),
)
"""The optimisers whose states are optax's own."""
PATTERNS = {
    "t5x": Program(t5x_partitioned, FLAX, ROUNDED),
    "maxtext": Program(maxtext_optimizer, ORBAX, ROUNDED),
    "levanter": Program(levanter_adam, EQUINOX, ROUNDED),
    **{f"tunix {name}": Program(tunix_optimizer(name), FLAX, ROUNDED) for name in OF_OPTAX},
    # optax rounds b1 to mu's dtype: 0.9 is 0.8984 in bfloat16, and mu up to 1.6 % too small.
    "big_vision": Program(big_vision_make, FLAX, 1.6e-2),
}
