"""Take an optimiser's step on the host: gradients go there, and parameters come back."""

import functools as ft
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from adam_optax._core.checks import check_transformation
from adam_optax._core.types import PyTree
from adam_optax._engine.tree import APPLY
from adam_optax._transform import Transformation, named
from adam_optax._wrappers.on_host.one_step import Given
from adam_optax._wrappers.on_host.run import HostRun

GROUP_BYTES = 2**26
"""The bytes of gradients and parameters that go over together, if nothing else is said."""


class OffloadStepState(NamedTuple):
    """Hold the state of `offload_step(tx, keep_params=True)`, all of it with the host.

    Attributes:
        inner_state: the state of `tx`.
        params: the parameters, which the step reads instead of those that it is given.
    """

    inner_state: Any
    params: Any


def offload_step(
    tx: optax.GradientTransformation,
    *,
    keep_params: bool = False,
    donate: bool = False,
    group_bytes: int = GROUP_BYTES,
    device: jax.Device | None = None,
) -> Transformation:
    """Take an optimiser's step on the host's CPU, beside the state, which never leaves the host.

    Use it where the state does not fit on the accelerator: gradients go to the host and parameters
    come back, four bytes a parameter in bfloat16, whatever the state's format. `offload` moves the
    state instead, both ways, and leaves the step to the accelerator; with few bytes of state
    (`ao.storage.pair()`) that is as little.

    The step is a program of its own. Compute the gradients in a function under `jax.jit`, and call
    `ao.step` or `tx.update` outside: a call hands out its work, and waits only where JAX copies
    synchronously between two platforms. Leaves go over in groups, so that one group is on its way
    while the step of the one before runs. Nothing is late or approximate: the numbers are those of
    `tx` compiled for a CPU. A global norm is computed where the gradients are, before they go over,
    so that it has the last bit of the accelerator's arithmetic. A chain whose links mix leaves in
    other ways is sent as one group. Updates and parameters return to where gradients and parameters
    were. Where JAX runs on a CPU, nothing is moved.

    Args:
        tx: any optax transformation.
        keep_params: keep the parameters in the state as well, so that they are not sent to the
            host: the step, which must then be `ao.step`, takes those of the state. With
            `ao.precision.split_master` as the last link, bfloat16 parameters have float32 masters
            there. Parameters that are set from outside go into the state, too:
            `state._replace(params=params)`.
        donate: delete the state, and in `ao.step` the parameters, that the step is given, as
            `donate_argnums` of `jax.jit` does; otherwise the host holds both the old and the new.
        group_bytes: how many bytes of gradients and parameters go over together; default 64 MiB.
            A larger leaf is a group.
        device: the CPU device; None: this process's first.

    Returns:
        A transformation with the state of `tx`, on the CPU device, or an `OffloadStepState`. A
        state that was restored to another place is moved there by the next step.

    Raises:
        TypeError: if `tx` is no transformation, or `device` no device.
        ValueError: if `group_bytes` is not positive or `device` no CPU. At a step: inside a
            transformation of JAX, such as `jax.jit`; for arrays that are spread over processes; if
            `keep_params` and parameters, or `tx.update`, do not fit.
        RuntimeError: if JAX has no CPU device beside the accelerator.

    >>> import jax.numpy as jnp, adam_optax as ao
    >>> tx = ao.offload_step(ao.adamw(1e-3, storage=ao.storage.stochastic()), donate=True)
    >>> params = jnp.ones(3)
    >>> state = tx.init(params)
    >>> params, state = ao.step(tx, jnp.ones(3), state, params)
    >>> params
    Array([0.9989999, 0.9989999, 0.9989999], dtype=float32)

    Reference: Ren et al. 2021, "ZeRO-Offload: Democratizing Billion-Scale Model Training".
    """
    check_transformation(tx)
    if isinstance(group_bytes, bool) or not hasattr(group_bytes, "__index__"):
        raise TypeError(f"group_bytes must be an integer, not {group_bytes!r}")
    if operator.index(group_bytes) < 1:
        raise ValueError(f"group_bytes must be at least 1, not {group_bytes}; default: 2**26")
    _check_device(device)
    inner = optax.with_extra_args_support(tx)
    host = HostRun(device, donate, group_bytes)

    def init(params: PyTree) -> PyTree:
        if any(isinstance(p, jax.core.Tracer) for p in jax.tree.leaves(params)):
            state = inner.init(params)  # what is abstract is nowhere, as under jax.eval_shape
            return OffloadStepState(state, params) if keep_params else state
        with host.context():
            near = host.bring(params)
            state = host.bring(inner.init(near))
            given = {id(x) for x in jax.tree.leaves(near)}  # are not given away with the state
            copy = ft.partial(jax.tree.map, lambda x: jnp.copy(x) if id(x) in given else x)
            return OffloadStepState(copy(state), copy(near)) if keep_params else copy(state)

    def update(
        updates: PyTree, state: PyTree, params: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        if keep_params:
            raise ValueError(
                "with keep_params=True the host makes the new parameters, not updates: write "
                "params, state = ao.step(tx, grads, state, params)"
            )
        updates, state, _ = host.run(inner, False, Given(updates, state, params, None, extra_args))
        return updates, state

    def apply(
        grads: PyTree, state: PyTree, params: PyTree, shardings: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        if shardings is not None:
            raise ValueError(
                "the step of offload_step is taken on one device, the host's, and parameters go "
                "back to where they were: leave out shardings"
            )
        held = None
        if keep_params:
            if not isinstance(state, OffloadStepState):
                raise TypeError(
                    "with keep_params=True the state must be an OffloadStepState, as "
                    f"tx.init(params) makes it, not {type(state).__name__}"
                )
            state, held = state
        params, state, held = host.run(inner, True, Given(grads, state, params, held, extra_args))
        return params, OffloadStepState(state, held) if keep_params else state

    setattr(update, APPLY, apply)
    return named(
        Transformation(init, update),
        "offload_step",
        tx=tx,
        keep_params=keep_params or None,
        donate=donate or None,
        group_bytes=None if group_bytes == GROUP_BYTES else group_bytes,
        device=device,
    )


def _check_device(device: object) -> None:
    if device is None:
        return
    if not isinstance(device, jax.Device):
        raise TypeError(f"device must be a jax.Device, not {device!r}")
    if device.platform != "cpu":
        raise ValueError(
            f"device must be a CPU, not {device}: leave it out, or write jax.devices('cpu')[0]"
        )
