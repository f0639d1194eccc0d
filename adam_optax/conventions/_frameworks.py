"""The frameworks. `differs` computes what it says of epsilon-hat."""

from typing import Any

from adam_optax.conventions._convention import convention
from adam_optax.couplings import INDEPENDENT


def _hat(eps: float, b2: float = 0.999) -> str:
    """What epsilon-hat amounts to in optax's terms."""
    like = [f"{eps / (1 - b2**t) ** 0.5:.2e}" for t in (1, 100, 10_000)]
    return (
        f"Epsilon-hat: {eps:g} beside the root of the uncorrected nu acts like optax's eps = "
        f"{like[0]} at step 1, {like[1]} at step 100 and {like[2]} at step 10,000."
    )


_SAME = "As optax: eps beside the root of the corrected nu, the same at every step."
_RAW = (
    "AMSGrad's maximum is over the uncorrected nu: where optax's holds the peak of nu / (1 - b2^t) "
    "of an early step, this one divides by 1 - b2^t of the present, .001 at step 1, .095 at step "
    "100 and 1 at step 10,000."
)
_OUTSIDE = (
    "AdaMax adds eps where it divides instead of inside the maximum: the same once |g| >> eps."
)
_MEANS: dict[str, Any] = {"b1": 0.9, "b2": 0.999}
_ALG1: dict[str, Any] = {**_MEANS, "eps": 1e-8, "eps_root": 0.0, "eps_hat": False}
_HAT8: dict[str, Any] = {**_ALG1, "eps_hat": True}
_HAT7: dict[str, Any] = {**_HAT8, "eps": 1e-7}
_PEAK: dict[str, Any] = {"raw_max": True}

PAPER = convention(
    "Kingma & Ba 2015",
    "arXiv:1412.6980, Algorithms 1 and 2",
    f"{_SAME} AdaMax has no eps.",
    rates={"adamax": 2e-3},
    adam=_ALG1,
    adamax={**_MEANS, "eps": 0.0},
)
OPTAX = convention(
    "optax",
    "optax/_src/alias.py",
    "Nothing differs, at any step: these are optax's defaults, spelt out.",
    None,
    adam=_ALG1,
    adamw={**_ALG1, "weight_decay": 1e-4},
    nadam=_ALG1,
    nadamw={**_ALG1, "weight_decay": 1e-4},
    amsgrad={**_ALG1, "raw_max": False},
    adamax={**_MEANS, "eps": 1e-8},
    adamaxw={**_MEANS, "eps": 1e-8, "weight_decay": 1e-4},
    radam={**_ALG1, "threshold": 5.0},
)
PYTORCH = convention(
    "PyTorch",
    "torch/optim/{adam,adamw,nadam,radam,adamax}.py",
    f"{_SAME} AdamW decays by 1e-2 where optax's decays by 1e-4. {_RAW} RAdam: {_hat(1e-8)} "
    "NAdam, `scheduled_nadam`, warms its momentum up from b1 / 2: .4501 at step 1, .457 at "
    "step 100 and .812 at step 10,000. `weight_decay` elsewhere is `l2`.",
    rates={"adamax": 2e-3, "scheduled_nadam": 2e-3},
    adam=_ALG1,
    adamw={**_ALG1, "weight_decay": 1e-2},
    amsgrad={**_ALG1, **_PEAK},
    adamax={**_MEANS, "eps": 1e-8},
    radam={**_HAT8, "threshold": 5.0},
    scheduled_nadam={**_MEANS, "eps": 1e-8, "momentum_decay": 4e-3},
)
TENSORFLOW1 = convention(
    "TensorFlow 1",
    "tensorflow/python/training/adam.py",
    _hat(1e-8),
    adam=_HAT8,
)
KERAS = convention(
    "Keras 3",
    "keras/src/optimizers/{adam,adamw,nadam,adamax}.py",
    f"{_hat(1e-7)} AdamW decays by 4e-3 where optax's decays by 1e-4. {_RAW} {_OUTSIDE} Nadam, "
    "`scheduled_nadam`, warms its momentum up: .468 at step 1, .892 at step 100, .9 at 10,000.",
    adam=_HAT7,
    adamw={**_HAT7, "weight_decay": 4e-3},
    amsgrad={**_HAT7, **_PEAK},
    adamax={**_MEANS, "eps": 1e-7, "eps_outside": True},
    scheduled_nadam={**_MEANS, "eps": 1e-7, "momentum_decay": 1.0},
)
KERAS2 = convention(
    "Keras 2",
    "tensorflow/python/keras/optimizer_v2/adam.py, tf_keras/optimizers/{adam,adamw}.py",
    f"{_hat(1e-7)} Its `decay` is `time_decay`; `adaptive_epsilon=True` is `PAPER`'s form.",
    adam=_HAT7,
    adamw={**_HAT7, "weight_decay": 4e-3},
    amsgrad={**_HAT7, **_PEAK},
)
LUA_TORCH = convention(
    "Lua Torch",
    "torch/optim: adam.lua",
    f"{_hat(1e-8)} Its `learningRateDecay` is `time_decay`, its `weightDecay` is `l2`.",
    adam=_HAT8,
)
LASAGNE = convention(
    "Lasagne",
    "lasagne/updates.py",
    f"{_hat(1e-8)} {_RAW} {_OUTSIDE}",
    rates={"adamax": 2e-3, "adadelta": 1.0},
    adam=_HAT8,
    amsgrad={**_HAT8, **_PEAK},
    adamax={**_MEANS, "eps": 1e-8, "eps_outside": True},
    adadelta={"rho": 0.95, "eps": 1e-6},
)
BLOCKS = convention(
    "Blocks",
    "blocks/algorithms/__init__.py",
    f"{_hat(1e-8)} `fading_adam`: b1 is smaller by a factor 1 - 1e-8 at each step, .01 % less at "
    "step 10,000.",
    2e-3,
    fading_adam={**_MEANS, "eps": 1e-8, "decay_factor": 1 - 1e-8},
)
CAFFE = convention(
    "Caffe",
    "src/caffe/solvers/adam_solver.cpp",
    f"{_hat(1e-8)} b1 is the solver's momentum, which is 0 unless it is set.",
    None,
    adam={**_HAT8, "b1": 0.0},
)
MXNET = convention(
    "MXNet",
    "python/mxnet/optimizer/adam.py",
    f"{_hat(1e-8)} Its `wd` is `l2`.",
    adam=_HAT8,
)
CHAINER = convention(
    "Chainer",
    "chainer/optimizers/adam.py",
    f"{_hat(1e-8)} AdamW's decay is not times the learning rate, and 0 unless told; with another "
    "`eta`, the learning rate is eta times alpha and the coupling `couplings.relative(alpha)`.",
    adam=_HAT8,
    adamw={**_HAT8, "weight_decay": 0.0, "coupling": INDEPENDENT},
)
PADDLE = convention(
    "Paddle",
    "paddle/phi/kernels/funcs/adam_functors.h, cpu/adamw_kernel.cc",
    f"{_SAME} Its documentation prints epsilon-hat; its kernel multiplies it by sqrt(1 - b2^t). "
    "AdamW decays by 1e-2 where optax's decays by 1e-4.",
    adam=_ALG1,
    adamw={**_ALG1, "weight_decay": 1e-2},
)
JAX_EXAMPLES = convention(
    "jax.example_libraries",
    "jax/example_libraries/optimizers.py",
    f"{_SAME} {_OUTSIDE}",
    None,
    adam=_ALG1,
    adamax={**_MEANS, "eps": 1e-8, "eps_outside": True},
)
DEEPSPEED = convention(
    "DeepSpeed",
    "csrc/includes/cpu_adam.h, csrc/adam/cpu_adam_impl.cpp",
    f"{_SAME} Its default is AdamW with a decay of 0.",
    adam=_ALG1,
    adamw={**_ALG1, "weight_decay": 0.0},
)
BITSANDBYTES = convention(
    "bitsandbytes",
    "csrc/kernels.cu",
    f"{_SAME} In 32 bits; `Adam` there decays decoupled, too, by 0 unless told.",
    adam=_ALG1,
)
ODL = convention(
    "ODL",
    "odl/solvers/smooth/gradient.py",
    "`constant_adam`: the bias factors of step 1 for good. From the same moments its step is that "
    f"of epsilon-hat at step 1, 1.02 times that at step 100 and .316 at step 10,000. {_hat(1e-8)}",
    constant_adam={**_MEANS, "eps": 1e-8},
)
H2O = convention(
    "H2O",
    "hex/deeplearning/{DeepLearningModel,Neurons}.java",
    "It has no Adam: ADADELTA with rho .99 and eps 1e-8 for optax's .9 and 1e-6, at every step.",
    None,
    rates={"adadelta": 1.0},
    adadelta={"rho": 0.99, "eps": 1e-8},
)
ALL = (
    PAPER,
    OPTAX,
    PYTORCH,
    TENSORFLOW1,
    KERAS,
    KERAS2,
    LUA_TORCH,
    LASAGNE,
    BLOCKS,
    CAFFE,
    MXNET,
    CHAINER,
    PADDLE,
    JAX_EXAMPLES,
    DEEPSPEED,
    BITSANDBYTES,
    ODL,
    H2O,
)
"""All of them."""
