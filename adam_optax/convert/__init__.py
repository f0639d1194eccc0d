"""States from and to optax, PyTorch and Keras, in memory and in files.

    state = ao.convert.from_torch(optimizer.state_dict(), tx.init(params), names)

Between any two is one neutral form, "named arrays" (`to_named`, `from_named`), where everything is
checked: a flat dict of NumPy arrays, `{"count": ..., "mu/dense/kernel": ..., ...}`. `save` and
`load` keep it in a `.safetensors` file. What does not fit raises `ConversionError`, whose text
names the entry and the way out; nothing is half-converted.
"""

from adam_optax.convert._bitsandbytes import bitsandbytes_to_torch as bitsandbytes_to_torch
from adam_optax.convert._bitsandbytes import unquantised as unquantised
from adam_optax.convert._errors import ConversionError as ConversionError
from adam_optax.convert._files import load as load
from adam_optax.convert._files import save as save
from adam_optax.convert._keras import from_keras as from_keras
from adam_optax.convert._keras import keras_to_named as keras_to_named
from adam_optax.convert._keras import to_keras as to_keras
from adam_optax.convert._keras_write import named_to_keras as named_to_keras
from adam_optax.convert._named import from_named as from_named
from adam_optax.convert._named import to_named as to_named
from adam_optax.convert._names import Names as Names
from adam_optax.convert._optax import from_optax as from_optax
from adam_optax.convert._optax import to_optax as to_optax
from adam_optax.convert._torch import from_torch as from_torch
from adam_optax.convert._torch import to_torch as to_torch
from adam_optax.convert._torch_read import torch_to_named as torch_to_named
from adam_optax.convert._torch_write import named_to_torch as named_to_torch
