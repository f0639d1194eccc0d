"""Ten programs that give groups of parameters hyper-parameters of their own, by optax and by path.

Each is a table of groups, by regular expressions over `a/b/c` of which the first that is found
counts, the transformation that is made of the table by `optax.partition`, `masked` or a mask, and
the one optimiser of this library that has it by path.
`cost` counts what such a transformation costs.
"""

import dataclasses
import functools as ft
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import adam_optax as ao
from adam_optax.aot import hlo

Groups = Mapping[str, Mapping[str, Any] | None]
"""Arguments of AdamW by regular expression; None: the parameters are frozen."""

BASE = {"learning_rate": 1e-2, "b2": 0.95, "weight_decay": 0.1}
"""What a group does not say."""
LAYERS, WIDTH, VOCABULARY = 4, 8, 16


# --- The model ---------------------------------------------------------------------------------


def parameters(width: int = WIDTH, layers: int = LAYERS) -> Any:
    """Return the parameters of a small language model, with LoRA's factors in each layer."""
    rng = np.random.default_rng(0)

    def kernel(*shape: int) -> Any:
        return jnp.asarray(rng.standard_normal(shape) / math.sqrt(shape[0]), jnp.float32)

    def layer() -> Any:
        return {
            "norm": {"scale": jnp.ones(width), "bias": jnp.zeros(width)},
            "mlp": {"kernel": kernel(width, width), "bias": jnp.zeros(width)},
            "lora_a": kernel(width, 2),
            "lora_b": jnp.zeros((2, width)),
        }

    return {
        "embed": {"table": kernel(VOCABULARY, width)},
        **{f"layer_{i}": layer() for i in range(layers)},
        "head": {"kernel": kernel(width, VOCABULARY), "bias": jnp.zeros(VOCABULARY)},
    }


def loss(params: Any) -> Any:
    """Return the loss of predicting each token from the one before, over one fixed text."""
    text = jnp.asarray(np.random.default_rng(1).integers(0, VOCABULARY, 65))
    x = params["embed"]["table"][text[:-1]]
    for name in sorted(n for n in params if n.startswith("layer_")):
        one = params[name]
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        h = (x - mean) / jnp.sqrt(variance + 1e-5) * one["norm"]["scale"] + one["norm"]["bias"]
        h = h @ one["mlp"]["kernel"] + h @ one["lora_a"] @ one["lora_b"] + one["mlp"]["bias"]
        x = x + jnp.tanh(h)
    logits = x @ params["head"]["kernel"] + params["head"]["bias"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, text[1:]).mean()


# --- What optax offers for groups -----------------------------------------------------------------


def label(groups: Groups, params: Any) -> Any:
    """Return the tree of the groups' keys: the first regular expression found in each path."""

    def of(path: Any, _: Any) -> str:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return next(pattern for pattern in groups if re.search(pattern, name))

    return jax.tree.map_with_path(of, params)


def partition(lib: Any, groups: Groups, make: Callable[..., Any] | None = None) -> Any:
    """Return `optax.partition` of an AdamW for each group, and `set_to_zero` for the frozen."""
    made = make or lib.adamw
    transformations = {
        pattern: lib.set_to_zero() if group is None else made(**{**BASE, **group})
        for pattern, group in groups.items()
    }
    return lib.partition(transformations, ft.partial(label, groups))


@dataclasses.dataclass(frozen=True)
class Partitioned:
    """A program with groups.

    Attributes:
        groups: the table.
        today: takes a module like `optax` and the table; returns the transformation.
        wrap: what goes around the transformation, of whatever kind; the second argument makes it.
    """

    groups: Groups
    today: Callable[[Any, Groups], Any] = partition
    wrap: Callable[[Any, Any], Any] = lambda lib, tx: tx

    def make(self, lib: Any) -> Any:
        """Return the transformation as optax has it today."""
        return self.wrap(lib, self.today(lib, self.groups))

    def by_path(self, lib: Any) -> Any:
        """Return the one optimiser of this library whose numbers are by path."""
        own = {
            f".*(?:{pattern}).*": ao.FROZEN if group is None else group
            for pattern, group in self.groups.items()
        }
        return self.wrap(lib, ao.parameter_groups(ao.adamw, own, **BASE))


# --- The programs ------------------------------------------------------------------------------


def _decay_by_mask(lib: Any, groups: Groups) -> Any:
    """One AdamW whose `mask` is where the group has no decay of its own."""
    rests = {key for key, group in groups.items() if "weight_decay" in (group or {})}
    decays = lambda params: jax.tree.map(lambda key: key not in rests, params)  # noqa: E731
    return lib.adamw(**BASE, mask=lambda params: decays(label(groups, params)))


def _train_by_mask(lib: Any, groups: Groups) -> Any:
    """Mask the optimiser to what trains, and set the updates of the rest to zero."""
    (trained,) = [group for group in groups.values() if group is not None]
    trains = lambda params: jax.tree.map(  # noqa: E731
        lambda key: groups[key] is not None, label(groups, params)
    )
    frozen = lambda params: jax.tree.map(lambda train: not train, trains(params))  # noqa: E731
    return lib.chain(
        lib.masked(lib.adamw(**{**BASE, **trained}), trains), lib.masked(lib.set_to_zero(), frozen)
    )


def _inject(lib: Any, groups: Groups) -> Any:
    """Inject each group's numbers, so that a loop can set them in the state."""
    return partition(lib, groups, lib.inject_hyperparams(lib.adamw))


RATE = BASE["learning_rate"]
RATIO = 4.0
"""Of the width to that at which the rates were chosen (muP)."""

PARTITIONED: dict[str, Partitioned] = {
    "layer-wise rate decay": Partitioned(
        {
            "head": {},
            **{f"layer_{i}": {"learning_rate": RATE * 0.75 ** (LAYERS - i)} for i in range(LAYERS)},
            "embed": {"learning_rate": RATE * 0.75 ** (LAYERS + 1)},
        }
    ),
    "frozen backbone": Partitioned({"head": {}, "": None}, _train_by_mask),
    "no decay on norms and biases": Partitioned(
        {"norm|bias": {"weight_decay": 0.0}, "": {}}, _decay_by_mask
    ),
    "another b2 for embeddings": Partitioned({"embed": {"b2": 0.999}, "": {}}),
    "a schedule for each group": Partitioned(
        {
            "embed": {"learning_rate": optax.linear_schedule(0.0, RATE, 10)},
            "head": {"learning_rate": optax.cosine_decay_schedule(RATE, 40)},
            "": {"learning_rate": optax.warmup_cosine_decay_schedule(0.0, RATE, 5, 40)},
        }
    ),
    "muP": Partitioned(
        {  # Yang et al. 2022, table 8, for Adam; the product of rate and decay stays
            r"mlp/kernel|lora": {"learning_rate": RATE / RATIO, "weight_decay": 0.1 * RATIO},
            "head/kernel": {"learning_rate": RATE / RATIO, "weight_decay": 0.1 * RATIO},
            "": {},
        }
    ),
    "LoRA+": Partitioned(
        {"lora_a": {}, "lora_b": {"learning_rate": 16 * RATE, "weight_decay": 0.0}, "": None}
    ),
    "a head with another eps": Partitioned({"head": {"eps": 1e-3}, "": {}}),
    "frozen, with accumulated gradients": Partitioned(
        {"layer_[01]|embed": None, "": {}},
        wrap=lambda lib, tx: lib.MultiSteps(tx, 2).gradient_transformation(),
    ),
    "injected in each group": Partitioned(
        {"norm|bias": {"weight_decay": 0.0}, "head": {"learning_rate": RATE / 2}, "": {}}, _inject
    ),
}


# --- What a transformation costs ------------------------------------------------------------------


class Cost(NamedTuple):
    """Hold what a step `tx.update` and `apply_updates` costs.

    Attributes:
        bytes: of the state.
        kernels: that the compiled step runs one after the other on this machine's CPU.
        equations: of the traced step, those inside calls included.
        seconds: to trace the step, the least of five times.
    """

    bytes: int
    kernels: int
    equations: int
    seconds: float


def cost(tx: Any, params: Any) -> Cost:
    """Return the cost of a transformation for these parameters."""
    state = jax.eval_shape(tx.init, params)

    def step(params: Any, state: Any, grads: Any) -> Any:
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        traced = jax.jit(lambda *args: step(*args)).trace(params, state, params)
        seconds.append(time.perf_counter() - start)
    text = traced.lower().compile().as_text() or ""
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    return Cost(size, hlo.kernels(text), _equations(traced.jaxpr.jaxpr), min(seconds))


def _equations(jaxpr: Any) -> int:
    inner = [
        x for e in jaxpr.eqns for x in jax.tree.leaves(list(e.params.values()), is_leaf=_holds)
    ]
    return len(jaxpr.eqns) + sum(_equations(getattr(x, "jaxpr", x)) for x in inner if _holds(x))


def _holds(x: Any) -> bool:
    return hasattr(x, "eqns") or hasattr(getattr(x, "jaxpr", None), "eqns")
