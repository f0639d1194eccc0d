"""Be an optimiser's configuration of Levanter that takes the steps of this library."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import optax


def levanter_config(
    base: type, make: Callable[..., optax.GradientTransformation], **defaults: Any
) -> type:
    """Return a subclass of Levanter's `OptimizerConfig` whose fields are an optimiser's arguments.

    Take it where a run of Levanter is described by a file: the class, registered by a name, stands
    in the file as `optimizer: {type: NAME, ...}`, with the learning rate, its schedule, warm-up and
    the mask of the weight decay as Levanter has them for all its optimisers.

    Args:
        base: `levanter.optim.OptimizerConfig`, or a class with its `learning_rate`,
            `weight_decay`, `lr_scheduler(num_train_steps)` and `build_weight_decay_mask()`.
        make: an optimiser of this library, or a function `(learning_rate, *, weight_decay, mask,
            ...)` to a transformation.
        defaults: further arguments of `make`, which become fields with these defaults. What is no
            number, text or bool (a storage format) is no field, and is handed on as it is.

    Returns:
        The class, a dataclass: `OptimizerConfig.register_subclass("NAME")(...)` registers it.

    Raises:
        TypeError: if `base` is no class with these methods, or `make` no function.

    >>> import dataclasses, optax, adam_optax as ao
    >>> @dataclasses.dataclass(frozen=True)
    ... class OptimizerConfig:  # in the place of levanter.optim.OptimizerConfig
    ...     learning_rate: float = 6e-4
    ...     weight_decay: float = 0.1
    ...     def lr_scheduler(self, num_train_steps):
    ...         return optax.cosine_decay_schedule(self.learning_rate, num_train_steps)
    ...     def build_weight_decay_mask(self):
    ...         return None
    >>> Config = ao.adapters.levanter_config(
    ...     OptimizerConfig, ao.adamw, b2=0.95, storage=ao.storage.pair()
    ... )
    >>> Config(learning_rate=1e-3, b2=0.99).build(1000)
    adamw(learning_rate=..., b1=0.9, b2=0.99, ...)

    Reference: `OptimizerConfig` of Levanter, github.com/stanford-crfm/levanter,
    src/levanter/optim/config.py.
    """
    needed = ("lr_scheduler", "build_weight_decay_mask")
    if not isinstance(base, type) or any(not hasattr(base, n) for n in needed):
        raise TypeError(f"base must be levanter.optim.OptimizerConfig, not {base!r}")
    if not callable(make):
        raise TypeError(f"make must be an optimiser, such as ao.adamw, not {make!r}")
    plain = {n: x for n, x in defaults.items() if isinstance(x, int | float | str)}
    fixed: Mapping[str, Any] = {n: x for n, x in defaults.items() if n not in plain}

    def build(self: Any, num_train_steps: int) -> optax.GradientTransformation:
        """Return the transformation for a run of so many steps."""
        given = {n: getattr(self, n) for n in plain}
        return make(
            self.lr_scheduler(num_train_steps),
            weight_decay=self.weight_decay,
            mask=self.build_weight_decay_mask(),
            **given,
            **fixed,
        )

    fields = [(n, type(x), dataclasses.field(default=x)) for n, x in plain.items()]
    return dataclasses.make_dataclass(
        "AdamOptaxConfig", fields, bases=(base,), namespace={"build": build}, frozen=True
    )
