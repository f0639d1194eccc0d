"""Keep an optimiser's state in the host's memory, and bring it to the device for the step."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from adam_optax._core.checks import check_transformation
from adam_optax._transform import Transformation, named


def offload(tx: optax.GradientTransformation, always: bool = False) -> Transformation:
    """Keep an optimiser's state in the host's memory, which is larger than the device's.

    Use it where the state does not fit beside activations and gradients, and after smaller formats
    of `adam_optax.storage` were tried: the link between host and device is slower than the device's
    memory. Its steps have the numbers of `tx`. `offload_step` leaves the state on the host even
    during a step, and moves gradients and parameters instead.

    Between steps, while losses and gradients are computed, the device holds no state but scalars.
    In an update under `jit` XLA brings the state over and sends it back: for GPUs a few leaves at
    a time; for TPUs all at once, so that the device's memory must hold the state during an update.
    Donate the state, in the order that `ao.step` shows, or the host holds it twice. Restore a
    checkpoint to the shardings of a fresh state, which say `pinned_host`. Where JAX runs on a CPU,
    whose memory is the host's, no array is moved.

    Args:
        tx: any optax transformation.
        always: move the state also where JAX's default backend is a CPU: to compile for an
            accelerator that is not there.

    Returns:
        A transformation with the state of `tx`.

    Raises:
        TypeError: if `tx` is no transformation.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.offload(ao.adamw(1e-3))
    >>> params = jnp.ones(3)
    >>> updates, state = tx.update(jnp.ones(3), tx.init(params), params)
    >>> state[0].mu.shape
    (3,)
    """
    check_transformation(tx)
    inner = optax.with_extra_args_support(tx)

    def move(state: Any, space: Any) -> Any:
        """Move a state to a memory, except scalars, which are not worth a transfer."""
        if jax.default_backend() == "cpu" and not always:
            return state
        return jax.tree.map(lambda x: jax.device_put(x, space) if jnp.ndim(x) else x, state)

    def init(params: Any) -> Any:
        return move(inner.init(params), jax.memory.Space.Host)

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        on_device = move(state, jax.memory.Space.Device)
        updates, on_device = inner.update(updates, on_device, params, **extra_args)
        return updates, move(on_device, jax.memory.Space.Host)

    return named(Transformation(init, update), "offload", tx=tx, always=always or None)
