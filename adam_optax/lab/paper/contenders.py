"""Define the paper's optimisers, each with the learning rates that are tried."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import optax
from jax import Array

import adam_optax as ao
from adam_optax._core.numerics import Number
from adam_optax.lab.optimizers import Optimizer


@dataclass(frozen=True)
class Contender:
    """Describe an optimiser and the decades of learning rates that are tried.

    Attributes:
        optimizer: The optimiser.
        lowest: Exponent of the lowest learning rate, a power of ten.
        highest: Exponent of the highest learning rate, a power of ten.
    """

    optimizer: Optimizer
    lowest: int
    highest: int

    def rates(self, per_decade: int) -> list[float]:
        """Return the learning rates, rounded to three digits.

        Args:
            per_decade: Number of learning rates in a decade.
        """
        places = range(per_decade * self.lowest, per_decade * self.highest + 1)
        return [float(f"{10 ** (place / per_decade):.3g}") for place in places]

    def over(self, lowest: int, highest: int) -> "Contender":
        """Return the same optimiser with other decades of learning rates."""
        return replace(self, lowest=lowest, highest=highest)


def decayed(contender: Contender, lowest: int, highest: int) -> Contender:
    """Return a contender whose rate falls with the root of the step's number (section 6.1).

    Args:
        contender: The contender with a constant learning rate.
        lowest: Exponent of the lowest learning rate, a power of ten.
        highest: Exponent of the highest learning rate, a power of ten.
    """
    build = contender.optimizer.build

    def slower(rate: Any, **others: Any) -> optax.GradientTransformation:
        return build(lambda count: rate * _over_root(count), **others)

    return Contender(replace(contender.optimizer, build=slower), lowest, highest)


def _over_root(count: Any) -> Array:
    return 1.0 / jnp.sqrt(jnp.asarray(count, jnp.float32) + 1.0)


@ao.variant
def uncorrected(b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-8) -> ao.Rule:
    """Build Adam without bias correction, which the paper calls RMSProp with momentum.

    Step: `μ / (√ν + eps)`.
    """
    moments = {
        "mu": ao.moments.ema(b1, corrected=False),
        "nu": ao.moments.ema(b2, ao.moments.square, signed=False, corrected=False),
    }
    return ao.Rule(moments, ao.directions.ratio(eps))


def _uncorrected(learning_rate: Any, **numbers: Any) -> optax.GradientTransformation:
    return ao.optimizer(uncorrected(**numbers), learning_rate)


def _contender(
    name: str, make: Callable[..., Any], lowest: int, highest: int, **arguments: Any
) -> Contender:
    def build(rate: Any, **others: Any) -> optax.GradientTransformation:
        tx: optax.GradientTransformation = make(learning_rate=rate, **arguments, **others)
        return tx

    return Contender(Optimizer(name, build), lowest, highest)


ADAM = _contender("Adam", ao.adam, -4, -2)
UNCORRECTED = _contender("Adam, uncorrected", _uncorrected, -4, -2)
NESTEROV = _contender("SGD Nesterov", ao.sgd, -3, 0, momentum=0.9, nesterov=True)
# This is Duchi's AdaGrad, whose accumulator starts at 0: optax's start of 0.1 would outweigh rare
# gradients.
ADAGRAD = _contender("AdaGrad", ao.adagrad, -3, -1, initial_accumulator_value=0.0, eps=1e-8)
# Section 6.1 lets the rate decay on top of AdaGrad's own decay; here the rate is constant.
ADAGRAD_CONSTANT = replace(
    ADAGRAD, optimizer=replace(ADAGRAD.optimizer, name="AdaGrad, constant rate")
)
RMSPROP = _contender("RMSProp", ao.rmsprop, -4, -2)
ADADELTA = _contender("AdaDelta", ao.adadelta, -1, 1, rho=0.95)
