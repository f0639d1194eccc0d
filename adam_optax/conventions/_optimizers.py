"""Optimisers that frameworks compute and no paper writes."""

from adam_optax import rules
from adam_optax._alias.made import made

HOME = "adam_optax.conventions"

scheduled_nadam = made(
    "scheduled_nadam",
    rules.scheduled_nadam,
    "learning_rate b1 b2 eps momentum_decay weight_decay mask",
    module=HOME,
)
fading_adam = made(
    "fading_adam", rules.fading_adam, "learning_rate b1 b2 eps decay_factor", module=HOME
)
constant_adam = made("constant_adam", rules.constant_adam, "learning_rate b1 b2 eps", module=HOME)
