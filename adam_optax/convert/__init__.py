"""Convert optimiser states from and to optax, PyTorch, Keras and bitsandbytes, and to files.

    state = ao.convert.from_torch(optimizer.state_dict(), tx.init(params), names)

Every conversion passes through one neutral form, "named arrays" (`to_named`, `from_named`), where
everything is checked: a flat dict of NumPy arrays, `{"count": ..., "mu/dense/kernel": ..., ...}`.
`save` and `load` store named arrays in a `.safetensors` file, with a checksum. What does not fit
raises `ConversionError`, whose message names the entry and the remedy; nothing is half-converted.
`change_storage` takes a state, wherever it comes from, into another storage format in mid-run.
"""

from adam_optax.convert._bitsandbytes import (
    bitsandbytes_to_torch,
    dequantize_blockwise,
    unquantised,
)
from adam_optax.convert._checks import ConversionError
from adam_optax.convert._files import load, load_params, save
from adam_optax.convert._keras import from_keras, keras_to_named, named_to_keras, to_keras
from adam_optax.convert._named import from_named, to_named
from adam_optax.convert._names import Names
from adam_optax.convert._optax import from_optax, to_optax
from adam_optax.convert._storage import change_storage
from adam_optax.convert._torch import from_torch, named_to_torch, to_torch, torch_to_named
from adam_optax.convert._torch_groups import TorchGroup, groups_from_torch, read_groups
from adam_optax.convert._torch_model import params_from_torch, torch_differences

__all__ = [
    "ConversionError",
    "Names",
    "TorchGroup",
    "bitsandbytes_to_torch",
    "change_storage",
    "dequantize_blockwise",
    "from_keras",
    "from_named",
    "from_optax",
    "from_torch",
    "groups_from_torch",
    "keras_to_named",
    "load",
    "load_params",
    "named_to_keras",
    "named_to_torch",
    "params_from_torch",
    "read_groups",
    "save",
    "to_keras",
    "to_named",
    "to_optax",
    "to_torch",
    "torch_differences",
    "torch_to_named",
    "unquantised",
]
