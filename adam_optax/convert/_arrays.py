"""Arrays of any framework as NumPy's, without importing the framework."""

from typing import Any

import numpy as np

from adam_optax.convert._errors import ConversionError


def to_numpy(x: Any, name: str) -> Any:
    """A copy of an array as NumPy's, for its owner may go on to change it in place.

    A bfloat16 tensor, which PyTorch cannot hand over, comes as float32.

    Raises:
        ConversionError: if it is sharded over processes, sparse, or no array at all.
    """
    if hasattr(x, "full_tensor"):
        raise ConversionError(
            f"{name} is sharded over processes; gather the state first, with torch.distributed."
            "checkpoint.state_dict.get_optimizer_state_dict and full_state_dict=True"
        )
    try:
        value = np.array(_from_tensor(x) if hasattr(x, "detach") else x)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConversionError(f"{name} cannot be read as an array: {error}") from error
    if value.dtype.hasobject:
        raise ConversionError(f"{name} is not an array but {type(x).__name__}")
    return value


def _from_tensor(x: Any) -> Any:
    x = x.detach().cpu()
    if getattr(x, "is_conj", lambda: False)():
        x = x.resolve_conj()
    try:
        return x.numpy()
    except TypeError:
        return x.float().numpy()
