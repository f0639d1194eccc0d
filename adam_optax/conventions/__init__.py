"""How each framework writes Adam: its defaults and its epsilon, as arguments of this library's own.

    >>> import adam_optax as ao
    >>> tx = ao.adam(ao.conventions.KERAS.learning_rate, **ao.conventions.KERAS.adam)

A `Convention` holds data and no algorithm: for every optimiser that a framework has and that this
library computes exactly, the arguments that make it that framework's. What else a framework does
around its optimiser are functions: `l2` (coupled weight decay), `time_decay`, `maximize`. Three
optimisers that only frameworks compute are here too: `scheduled_nadam` (NAdam of PyTorch and
Keras), `fading_adam` (Blocks) and `constant_adam` (ODL).

Exactly means in exact arithmetic: that Keras and TensorFlow raise a rounded beta to a power in
float32, say, is not imitated. Not here, because they cannot be expressed exactly or their sources
were not read: MATLAB; CNTK; DL4J; AdamW of MXNet (its bias correction multiplies the decay, too)
and of bitsandbytes (whose decay on CUDA comes after the step); NAdam of MXNet (its schedule runs
faster with more parameters); Nesterov in TensorFlow 1; and PyTorch on complex parameters, which it
takes as pairs of real ones.
"""

from adam_optax.conventions._convention import Convention as Convention
from adam_optax.conventions._frameworks import ALL as ALL
from adam_optax.conventions._frameworks import BITSANDBYTES as BITSANDBYTES
from adam_optax.conventions._frameworks import BLOCKS as BLOCKS
from adam_optax.conventions._frameworks import CAFFE as CAFFE
from adam_optax.conventions._frameworks import CHAINER as CHAINER
from adam_optax.conventions._frameworks import DEEPSPEED as DEEPSPEED
from adam_optax.conventions._frameworks import H2O as H2O
from adam_optax.conventions._frameworks import JAX_EXAMPLES as JAX_EXAMPLES
from adam_optax.conventions._frameworks import KERAS as KERAS
from adam_optax.conventions._frameworks import KERAS2 as KERAS2
from adam_optax.conventions._frameworks import LASAGNE as LASAGNE
from adam_optax.conventions._frameworks import LUA_TORCH as LUA_TORCH
from adam_optax.conventions._frameworks import MXNET as MXNET
from adam_optax.conventions._frameworks import ODL as ODL
from adam_optax.conventions._frameworks import OPTAX as OPTAX
from adam_optax.conventions._frameworks import PADDLE as PADDLE
from adam_optax.conventions._frameworks import PAPER as PAPER
from adam_optax.conventions._frameworks import PYTORCH as PYTORCH
from adam_optax.conventions._frameworks import TENSORFLOW1 as TENSORFLOW1
from adam_optax.conventions._optimizers import constant_adam as constant_adam
from adam_optax.conventions._optimizers import fading_adam as fading_adam
from adam_optax.conventions._optimizers import scheduled_nadam as scheduled_nadam
from adam_optax.conventions._wrappers import l2 as l2
from adam_optax.conventions._wrappers import maximize as maximize
from adam_optax.conventions._wrappers import time_decay as time_decay
