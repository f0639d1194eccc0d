"""State from and to the optimisers of PyTorch."""

from collections.abc import Mapping, Sequence
from typing import Any

from adam_optax.convert._named import from_named, to_named
from adam_optax.convert._names import Names
from adam_optax.convert._torch_read import torch_to_named
from adam_optax.convert._torch_write import named_to_torch


def from_torch(
    state_dict: Mapping[str, Any], state: Any, names: Names, *, order: Sequence[str] | None = None
) -> Any:
    """The state of a PyTorch run, so that this library can continue it.

    Args:
        state_dict: `optimizer.state_dict()` of Adam (also with `amsgrad=True`), AdamW, NAdam,
            RAdam or Adamax; its tensors may also be NumPy arrays.
        state: the template, `tx.init(params)` of the optimiser that goes on; see `from_named`.
            With PyTorch's numbers: `conventions.PYTORCH`. NAdam is `conventions.scheduled_nadam`,
            `amsgrad=True` is `amsgrad(raw_max=True)`. Adam's and Adamax's states look alike: that
            the template is of the same optimiser is up to you.
        names: from PyTorch's names of parameters to our paths, as `to_named` has them, or to a
            path and axes so that `np.transpose(theirs, axes)` has our shape: `(1, 0)` for the
            weight of a `Linear`, `(2, 3, 1, 0)` for that of a `Conv2d`. None leaves one out.
        order: the names in the order of the optimizer's parameters. Needed only where the
            `state_dict` has no names: if it was not made from `model.named_parameters()`.

    Raises:
        ConversionError: if names, layout, steps or arrays do not fit. Nothing is converted then.

    >>> import jax.numpy as jnp, numpy as np, adam_optax as ao
    >>> mean = np.array([[1.0, 2.0, 3.0]])
    >>> theirs = {"step": 5.0, "exp_avg": mean, "exp_avg_sq": mean**2}
    >>> group = {"params": [0], "param_names": ["fc.weight"]}
    >>> ours = ao.adam(1e-3).init({"kernel": jnp.zeros((3, 1))})
    >>> state_dict = {"state": {0: theirs}, "param_groups": [group]}
    >>> state = ao.convert.from_torch(state_dict, ours, {"fc.weight": ("kernel", (1, 0))})
    >>> int(state[0].count), state[0].mu["kernel"].shape
    (5, (3, 1))
    """
    return from_named(torch_to_named(state_dict, names, order=order), state)


def to_torch(
    state: Any, names: Names, state_dict: Mapping[str, Any], *, order: Sequence[str] | None = None
) -> dict[str, Any]:
    """A `state_dict` of PyTorch with a state of ours in it, so that PyTorch can continue the run.

    Args:
        state: a state of `adam`, `adamw`, `amsgrad(raw_max=True)`, `adamax`, `radam` or
            `conventions.scheduled_nadam`, inside whatever chain or wrapper.
        names: see `from_torch`; of a parameter that is left out, PyTorch starts anew.
        state_dict: `optimizer.state_dict()` of a fresh optimizer over the same parameters. Its
            groups, with the learning rate, are taken over, and tell which optimizer it is. It is
            not changed.
        order: see `from_torch`.

    Returns:
        What `optimizer.load_state_dict` takes, which gives the tensors its dtypes and devices.

    Raises:
        ConversionError: if names, state and optimizer do not fit, or PyTorch is missing.
    """
    return named_to_torch(to_named(state), names, state_dict, order=order)
