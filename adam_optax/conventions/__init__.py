"""Write each framework's Adam as arguments of this library: its defaults and its epsilon.

    >>> import adam_optax as ao
    >>> tx = ao.adam(ao.conventions.KERAS.learning_rate, **ao.conventions.KERAS.adam)

A `Convention` holds data and no algorithm: for every optimiser of a framework that this library can
compute exactly, it has the arguments to write here. `adam-optax conventions` prints all of them in
one table. What frameworks do around an optimiser is done by functions: `l2` (coupled weight decay),
`time_decay`, `maximize`. Six optimisers that only frameworks compute are here, too:
`scheduled_nadam` (NAdam of PyTorch and Keras), `simplified_nadam` (NAdamW of timm and MLCommons),
`uncorrected_adam` (BERT, and AdamD), `fading_adam` (Blocks), `constant_adam` (ODL) and
`capped_adafactor` (big_vision and timm).

"Exactly" means in exact arithmetic: the rounding errors of a framework are not imitated, such as
those of Keras and TensorFlow, which raise a rounded beta to a power in float32. MATLAB's is the
solver of 2017, the only one whose source was read: `MATLAB.differs` says what is open.

Not here, because they cannot be expressed exactly or their sources were not read: CNTK; DL4J; AdamW
of MXNet (its bias correction multiplies the decay, too) and of bitsandbytes (whose decay on CUDA
comes after the step); NAdam of MXNet (its schedule runs faster with more parameters); Nesterov in
TensorFlow 1; Adan of optimi (its decay divides); the `clipping_threshold` of AdafactorBigVision
before timm 1.0.30 (it lengthens short steps); and PyTorch on complex parameters, which PyTorch
takes as pairs of real ones.
"""

from adam_optax.conventions._adafactor import capped_adafactor
from adam_optax.conventions._frameworks import (
    ADAMD,
    ALL,
    BERT,
    BIG_VISION,
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
    LEVANTER,
    LUA_TORCH,
    MATLAB,
    MAXTEXT,
    MXNET,
    ODL,
    OPTAX,
    OPTIMI,
    PADDLE,
    PAPER,
    PYTORCH,
    TENSORFLOW1,
    TIMM,
    Convention,
)
from adam_optax.conventions._optimizers import (
    constant_adam,
    fading_adam,
    scheduled_nadam,
    simplified_nadam,
    uncorrected_adam,
)
from adam_optax.conventions._wrappers import l2, maximize, time_decay

__all__ = [
    "ADAMD",
    "ALL",
    "BERT",
    "BIG_VISION",
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
    "LEVANTER",
    "LUA_TORCH",
    "MATLAB",
    "MAXTEXT",
    "MXNET",
    "ODL",
    "OPTAX",
    "OPTIMI",
    "PADDLE",
    "PAPER",
    "PYTORCH",
    "TENSORFLOW1",
    "TIMM",
    "Convention",
    "capped_adafactor",
    "constant_adam",
    "fading_adam",
    "l2",
    "maximize",
    "scheduled_nadam",
    "simplified_nadam",
    "time_decay",
    "uncorrected_adam",
]
