"""Run the links before an optimiser on the gradients, to see what arrives at it."""

from collections.abc import Mapping
from typing import Any

from adam_optax._core.types import UpdateFn
from adam_optax._engine.states import states_with_moments
from adam_optax._engine.tree import INNER, TAG, Engine
from adam_optax._optax_interop import chain_links, walk_closures


def gradients_that_arrive(
    update: UpdateFn, grads: Any, state: Any, params: Any, extra: Mapping[str, Any]
) -> Any:
    """Return the gradients as they arrive at the first link that keeps moments.

    Args:
        update: the transformation's.
        grads: the gradients that come in.
        state: the transformation's state before the step.
        params: the parameters, or None.
        extra: further arguments of `update`.
    """
    if (inner := getattr(update, INNER, None)) is not None:
        return gradients_that_arrive(inner, grads, state.inner_state, params, extra)
    links = chain_links(update)
    if not links or len(links) != len(state):
        return grads
    for link, kept in zip(links, state, strict=True):
        if _is_optimiser(link, kept):
            return gradients_that_arrive(link, grads, kept, params, extra)
        grads, _ = link(grads, kept, params, **extra)
    return grads


def _is_optimiser(update: UpdateFn, state: Any) -> bool:
    """Tell whether a link keeps moments, or is a rule of this library that keeps none."""
    own = any(isinstance(getattr(f, TAG, None), Engine) for f in walk_closures(update))
    return own or bool(states_with_moments(state))
