"""Write each framework's Adam as arguments of this library: its defaults and its epsilon.

    >>> import adam_optax as ao
    >>> tx = ao.adam(ao.conventions.KERAS.learning_rate, **ao.conventions.KERAS.adam)

A `Convention` holds data and no algorithm: for every optimiser that a framework has and that this
library computes exactly, the arguments that make the optimiser that framework's. The rest of what
frameworks do around an optimiser are functions: `l2` (coupled weight decay), `time_decay`,
`maximize`. Three optimisers that only frameworks compute are here, too: `scheduled_nadam` (NAdam of
PyTorch and Keras), `fading_adam` (Blocks) and `constant_adam` (ODL).

"Exactly" means in exact arithmetic: the rounding errors of a framework are not imitated, such as
those of Keras and TensorFlow, which raise a rounded beta to a power in float32.

Not here, because they cannot be expressed exactly or their sources were not read: MATLAB; CNTK;
DL4J; AdamW of MXNet (its bias correction multiplies the decay, too) and of bitsandbytes (whose
decay on CUDA comes after the step); NAdam of MXNet (its schedule runs faster with more parameters);
Nesterov in TensorFlow 1; and PyTorch on complex parameters, which PyTorch takes as pairs of real
ones.
"""

from adam_optax.conventions._frameworks import (
    ALL,
    BITSANDBYTES,
    BLOCKS,
    CAFFE,
    CHAINER,
    DEEPSPEED,
    H2O,
    JAX_EXAMPLES,
    KERAS,
    KERAS2,
    LASAGNE,
    LUA_TORCH,
    MXNET,
    ODL,
    OPTAX,
    PADDLE,
    PAPER,
    PYTORCH,
    TENSORFLOW1,
    Convention,
)
from adam_optax.conventions._optimizers import constant_adam, fading_adam, scheduled_nadam
from adam_optax.conventions._wrappers import l2, maximize, time_decay

__all__ = [
    "ALL",
    "BITSANDBYTES",
    "BLOCKS",
    "CAFFE",
    "CHAINER",
    "DEEPSPEED",
    "H2O",
    "JAX_EXAMPLES",
    "KERAS",
    "KERAS2",
    "LASAGNE",
    "LUA_TORCH",
    "MXNET",
    "ODL",
    "OPTAX",
    "PADDLE",
    "PAPER",
    "PYTORCH",
    "TENSORFLOW1",
    "Convention",
    "constant_adam",
    "fading_adam",
    "l2",
    "maximize",
    "scheduled_nadam",
    "time_decay",
]
