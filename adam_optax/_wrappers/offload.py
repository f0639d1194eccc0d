"""State in the host's memory, brought to the device for the step."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from adam_optax._transform import Transformation


def offload(tx: Any, always: bool = False) -> Transformation:
    """Keep an optimiser's state in the host's memory, of which there is more.

    The same numbers as `tx`. Between steps, while losses and gradients are computed, the device
    holds no state but scalars. In an update under `jit` XLA brings it over and sends it back: for
    GPUs a few leaves at a time, for TPUs all at once, so that there is room for it then. The link
    between the two is slower than the device's memory. Donate the state, or the host holds it
    twice. Restore a checkpoint to the shardings of a fresh state, which say `pinned_host`. Where
    JAX runs on a CPU, whose memory is the host's, nothing is moved.

    Args:
        tx: any optax transformation.
        always: move it also where JAX's default backend is a CPU: to compile for an accelerator
            that is not there.

    Raises:
        TypeError: if `tx` is no transformation.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.offload(ao.adamw(1e-3))
    >>> params = jnp.ones(3)
    >>> updates, state = tx.update(jnp.ones(3), tx.init(params), params)
    >>> state[0].mu.shape
    (3,)
    """
    if not (callable(getattr(tx, "init", None)) and callable(getattr(tx, "update", None))):
        raise TypeError(f"tx must be an optax transformation, not {type(tx).__name__}")
    whole = optax.with_extra_args_support(tx)

    def moved(state: Any, space: Any) -> Any:
        """All of a state in a memory but its scalars, which are not worth a transfer."""
        if jax.default_backend() == "cpu" and not always:
            return state
        return jax.tree.map(lambda x: jax.device_put(x, space) if jnp.ndim(x) else x, state)

    def init(params: Any) -> Any:
        return moved(whole.init(params), jax.memory.Space.Host)

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        near = moved(state, jax.memory.Space.Device)
        updates, near = whole.update(updates, near, params, **extra_args)
        return updates, moved(near, jax.memory.Space.Host)

    return Transformation(init, update)
