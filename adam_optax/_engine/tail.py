"""What follows a rule's direction: decoupled weight decay, its finish, and the learning rate."""

from jax import Array

from adam_optax._core.numerics import Number
from adam_optax.couplings import Coupling
from adam_optax.moments import Leaf
from adam_optax.rules.base import Rule


def fade(rule: Rule, coupling: Coupling, decay: Array, rate: Array | None) -> Number:
    """What multiplies a parameter beside its step, from the scalars of the step.

    Where the step already has the learning rate in it, so must the decay.
    """
    if rate is None:
        return coupling.amount(decay, 1.0)
    amount = coupling.amount(decay, rate)
    return amount * rate if "rate" in rule.inside and coupling.power > 0 else amount


def update(
    rule: Rule, x: Leaf, coupling: Coupling, amount: Number | None, rate: Array | None
) -> Array:
    """The direction with its weight decay, finished, and downhill by the rate; uphill without.

    Args:
        rule: the variant.
        x: the leaf with its new moments.
        coupling: how decay goes with the learning rate.
        amount: what `fade` gave, or None for no decay.
        rate: the learning rate, or None.
    """
    step, term = rule.direction(x), None
    if amount is not None and "decay" not in rule.inside:
        term = coupling.term(amount, step, x.p)
    if term is not None and coupling.power > 0:
        step = step + term
    step = step if rule.finish is None else rule.finish(step, x)
    if rate is not None and "rate" not in rule.inside:
        step = rate * step
    if term is not None and coupling.power == 0:
        step = step + term
    return step if rate is None else -step
