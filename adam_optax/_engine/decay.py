"""Decoupled weight decay: how much, of which parameters, and how it goes with the learning rate."""

from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jax import Array

from adam_optax.couplings import RATE, Coupling
from adam_optax.rules.base import Rule

Hyper: TypeAlias = Any
"""A number, a scalar array, or a schedule `count -> value`."""


class Decay(NamedTuple):
    """Decoupled weight decay.

    Attributes:
        weight_decay: how much.
        mask: of which parameters: a tree of bools, a prefix of one, or a function from the
            parameters to one. None: all.
        coupling: one of `adam_optax.couplings`.
    """

    weight_decay: Hyper
    mask: Any = None
    coupling: Coupling = RATE


def decoupled(weight_decay: Hyper, mask: Any, coupling: Coupling | None = None) -> Decay | None:
    """The decay that these arguments ask for, if any.

    Raises:
        ValueError: if there is a mask or a coupling but nothing that it could restrict.
    """
    if weight_decay is not None:
        return Decay(weight_decay, mask, coupling or RATE)
    if mask is not None:
        raise ValueError("mask restricts weight_decay, which is not given")
    if coupling is not None:
        raise ValueError("coupling belongs to weight_decay, which is not given")
    return None


def check_coupling(rule: Rule, learning_rate: Hyper, coupling: Coupling) -> None:
    """Refuse a coupling that the rule or the lack of a learning rate makes impossible.

    Raises:
        TypeError: if it is not a coupling.
        ValueError: if the rule averages its decay with the gradient, or no rate is there.
    """
    if not isinstance(coupling, Coupling):
        raise TypeError(f"coupling must be one of adam_optax.couplings, not {coupling!r}")
    if "decay" in rule.inside and (coupling.power == 0 or coupling.cautious):
        raise ValueError(
            f"{rule.name} averages its weight decay with the gradient, so that it can be neither "
            "independent of the learning rate nor cautious; use another coupling"
        )
    if learning_rate is None and coupling.power == 2:
        raise ValueError("this coupling multiplies by the learning rate, which is None")


def spread(mask: Any, params: Any) -> Any:
    """The mask, which may be a prefix or a function of the parameters, at every parameter."""
    if params is None:
        raise ValueError("weight decay needs the parameters: tx.update(grads, state, params)")
    if mask is None:
        return None
    if callable(mask) and not (jax.tree.leaves(mask) and _is_flags(mask)):
        mask = mask(params)
    if not _is_flags(mask):
        raise TypeError("mask must be a tree of bools, or a function from params to one")
    try:
        return jax.tree.map(lambda m, p: jax.tree.map(lambda _: bool(m), p), mask, params)
    except ValueError as error:
        raise ValueError(f"mask is not a prefix of the tree of parameters: {error}") from error


def _is_flags(mask: Any) -> bool:
    """A tree of bools, be it a module that can also be called."""
    return all(isinstance(m, bool | np.bool_) or _is_scalar(m) for m in jax.tree.leaves(mask))


def _is_scalar(m: Any) -> bool:
    return isinstance(m, Array) and m.shape == () and m.dtype == bool
