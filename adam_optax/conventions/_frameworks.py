"""Describe how each framework writes Adam: the defaults and epsilons of its optimisers, as data."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp

from adam_optax.couplings import INDEPENDENT


@dataclasses.dataclass(frozen=True, eq=False)
class Convention:
    """Describe one framework's Adam family: `KERAS.adam` are the arguments of `ao.adam`, and so on.

    Attributes:
        name: the framework.
        source: where in its source code the formulas stand.
        differs: what differs from optax, and by how much.
        learning_rate: the framework's default for Adam; None if there is no default.
        options: the arguments by optimiser; each is an attribute, too.
        rates: default learning rates of the optimisers whose default is another.
    """

    name: str
    source: str
    differs: str
    learning_rate: float | None
    options: Mapping[str, Mapping[str, Any]]
    rates: Mapping[str, float]

    def __getattr__(self, name: str) -> Mapping[str, Any]:
        options = self.__dict__.get("options", {})
        if name in options:
            arguments: Mapping[str, Any] = options[name]
            return arguments
        raise AttributeError(
            f"the convention {self.__dict__.get('name')} has no {name}, or none that can be "
            f"expressed exactly; it has {', '.join(options)}"
        )

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.options]


def _convention(
    name: str,
    source: str,
    differs: str,
    learning_rate: float | None = 1e-3,
    rates: Mapping[str, float] = MappingProxyType({}),
    **options: dict[str, Any],
) -> Convention:
    """Build a `Convention` whose mappings are read-only."""
    frozen = MappingProxyType({n: MappingProxyType(dict(o)) for n, o in options.items()})
    return Convention(name, source, differs, learning_rate, frozen, MappingProxyType(dict(rates)))


def _describe_eps_hat(eps: float, b2: float = 0.999) -> str:
    """Say to which `eps` of optax an epsilon-hat amounts at a few steps."""
    like = [f"{eps / (1 - b2**t) ** 0.5:.2e}" for t in (1, 100, 10_000)]
    return (
        f"Epsilon-hat: {eps:g} beside the root of the uncorrected nu acts like optax's eps = "
        f"{like[0]} at step 1, {like[1]} at step 100 and {like[2]} at step 10,000."
    )


_HAT_NOTE_8, _HAT_NOTE_7 = (_describe_eps_hat(eps) for eps in (1e-8, 1e-7))
_AS_OPTAX = "As optax: eps beside the root of the corrected nu, the same at every step."
_RAW_NOTE = (
    "AMSGrad's maximum is over the uncorrected nu: where optax's holds the peak of nu / (1 - b2^t) "
    "of an early step, this one divides by 1 - b2^t of the present, 0.001 at step 1, 0.095 at step "
    "100 and 1 at step 10,000."
)
_OUTSIDE_NOTE = (
    "AdaMax adds eps where it divides instead of inside the maximum: the same once |g| >> eps."
)
_BETAS: dict[str, Any] = {"b1": 0.9, "b2": 0.999}
_ALGORITHM_1: dict[str, Any] = {**_BETAS, "eps": 1e-8, "eps_root": 0.0, "eps_hat": False}
_EPS_HAT_8: dict[str, Any] = {**_ALGORITHM_1, "eps_hat": True}
_EPS_HAT_7: dict[str, Any] = {**_EPS_HAT_8, "eps": 1e-7}
_RAW_MAX: dict[str, Any] = {"raw_max": True}

PAPER = _convention(
    "Kingma & Ba 2015",
    "arXiv:1412.6980, Algorithms 1 and 2",
    f"{_AS_OPTAX} AdaMax has no eps.",
    rates={"adamax": 2e-3},
    adam=_ALGORITHM_1,
    adamax={**_BETAS, "eps": 0.0},
)
OPTAX = _convention(
    "optax",
    "optax/_src/alias.py",
    "Nothing differs, at any step: these are optax's defaults, spelt out.",
    None,
    adam=_ALGORITHM_1,
    adamw={**_ALGORITHM_1, "weight_decay": 1e-4},
    nadam=_ALGORITHM_1,
    nadamw={**_ALGORITHM_1, "weight_decay": 1e-4},
    amsgrad={**_ALGORITHM_1, "raw_max": False},
    adamax={**_BETAS, "eps": 1e-8},
    adamaxw={**_BETAS, "eps": 1e-8, "weight_decay": 1e-4},
    radam={**_ALGORITHM_1, "threshold": 5.0},
)
PYTORCH = _convention(
    "PyTorch",
    "torch/optim/{adam,adamw,nadam,radam,adamax}.py",
    f"{_AS_OPTAX} AdamW decays by 1e-2 where optax's decays by 1e-4. {_RAW_NOTE} "
    f"RAdam: {_HAT_NOTE_8} NAdam, `scheduled_nadam`, warms its momentum up from b1 / 2: 0.4501 at "
    "step 1, 0.457 at step 100 and 0.812 at step 10,000. `weight_decay` of the others is `l2`.",
    rates={"adamax": 2e-3, "scheduled_nadam": 2e-3},
    adam=_ALGORITHM_1,
    adamw={**_ALGORITHM_1, "weight_decay": 1e-2},
    amsgrad={**_ALGORITHM_1, **_RAW_MAX},
    adamax={**_BETAS, "eps": 1e-8},
    radam={**_EPS_HAT_8, "threshold": 5.0},
    scheduled_nadam={**_BETAS, "eps": 1e-8, "momentum_decay": 4e-3},
)
TENSORFLOW1 = _convention(
    "TensorFlow 1",
    "tensorflow/python/training/adam.py",
    _HAT_NOTE_8,
    adam=_EPS_HAT_8,
)
KERAS = _convention(
    "Keras 3",
    "keras/src/optimizers/{adam,adamw,nadam,adamax}.py",
    f"{_HAT_NOTE_7} AdamW decays by 4e-3 where optax's decays by 1e-4. {_RAW_NOTE} {_OUTSIDE_NOTE} "
    "Nadam, `scheduled_nadam`, warms its momentum up: 0.468 at step 1, 0.892 at step 100 and 0.9 "
    "at step 10,000.",
    adam=_EPS_HAT_7,
    adamw={**_EPS_HAT_7, "weight_decay": 4e-3},
    amsgrad={**_EPS_HAT_7, **_RAW_MAX},
    adamax={**_BETAS, "eps": 1e-7, "eps_outside": True},
    scheduled_nadam={**_BETAS, "eps": 1e-7, "momentum_decay": 1.0},
)
KERAS2 = _convention(
    "Keras 2",
    "tensorflow/python/keras/optimizer_v2/adam.py, tf_keras/optimizers/{adam,adamw}.py",
    f"{_HAT_NOTE_7} Its `decay` is `time_decay`; `adaptive_epsilon=True` is `PAPER`'s form.",
    adam=_EPS_HAT_7,
    adamw={**_EPS_HAT_7, "weight_decay": 4e-3},
    amsgrad={**_EPS_HAT_7, **_RAW_MAX},
)
LUA_TORCH = _convention(
    "Torch7",
    "torch/optim (Lua): adam.lua",
    f"{_HAT_NOTE_8} Its `learningRateDecay` is `time_decay`, its `weightDecay` is `l2`.",
    adam=_EPS_HAT_8,
)
LASAGNE = _convention(
    "Lasagne",
    "lasagne/updates.py",
    f"{_HAT_NOTE_8} {_RAW_NOTE} {_OUTSIDE_NOTE}",
    rates={"adamax": 2e-3, "adadelta": 1.0},
    adam=_EPS_HAT_8,
    amsgrad={**_EPS_HAT_8, **_RAW_MAX},
    adamax={**_BETAS, "eps": 1e-8, "eps_outside": True},
    adadelta={"rho": 0.95, "eps": 1e-6},
)
BLOCKS = _convention(
    "Blocks",
    "blocks/algorithms/__init__.py",
    f"{_HAT_NOTE_8} `fading_adam` multiplies b1 by 1 - 1e-8 at each step: 0.01 % less at step "
    "10,000.",
    2e-3,
    fading_adam={**_BETAS, "eps": 1e-8, "decay_factor": 1 - 1e-8},
)
CAFFE = _convention(
    "Caffe",
    "src/caffe/solvers/adam_solver.cpp",
    f"{_HAT_NOTE_8} b1 is the solver's momentum, which is 0 unless it is set.",
    None,
    adam={**_EPS_HAT_8, "b1": 0.0},
)
MXNET = _convention(
    "MXNet",
    "python/mxnet/optimizer/adam.py",
    f"{_HAT_NOTE_8} Its `wd` is `l2`.",
    adam=_EPS_HAT_8,
)
CHAINER = _convention(
    "Chainer",
    "chainer/optimizers/adam.py",
    f"{_HAT_NOTE_8} AdamW's decay is not multiplied by the learning rate, and is 0 by default; "
    "with another `eta`, the learning rate is eta times alpha and the coupling "
    "`couplings.relative(alpha)`.",
    adam=_EPS_HAT_8,
    adamw={**_EPS_HAT_8, "weight_decay": 0.0, "coupling": INDEPENDENT},
)
PADDLE = _convention(
    "Paddle",
    "paddle/phi/kernels/funcs/adam_functors.h, cpu/adamw_kernel.cc",
    f"{_AS_OPTAX} Its documentation prints epsilon-hat; its kernel multiplies epsilon-hat by "
    "sqrt(1 - b2^t). AdamW decays by 1e-2 where optax's decays by 1e-4.",
    adam=_ALGORITHM_1,
    adamw={**_ALGORITHM_1, "weight_decay": 1e-2},
)
JAX_EXAMPLES = _convention(
    "JAX examples",
    "jax/example_libraries/optimizers.py",
    f"{_AS_OPTAX} {_OUTSIDE_NOTE}",
    None,
    adam=_ALGORITHM_1,
    adamax={**_BETAS, "eps": 1e-8, "eps_outside": True},
)
DEEPSPEED = _convention(
    "DeepSpeed",
    "csrc/includes/cpu_adam.h, csrc/adam/cpu_adam_impl.cpp",
    f"{_AS_OPTAX} Its default is AdamW with a decay of 0.",
    adam=_ALGORITHM_1,
    adamw={**_ALGORITHM_1, "weight_decay": 0.0},
)
BITSANDBYTES = _convention(
    "bitsandbytes",
    "csrc/kernels.cu",
    f"{_AS_OPTAX} With states of 32 bits; its `Adam` has decoupled decay, too, 0 by default.",
    adam=_ALGORITHM_1,
)
ODL = _convention(
    "ODL",
    "odl/solvers/smooth/gradient.py",
    "`constant_adam` applies the bias factors of step 1 at every step. From the same moments its "
    "step is epsilon-hat's at step 1, 1.02 times epsilon-hat's at step 100 and 0.316 times at step "
    f"10,000. {_HAT_NOTE_8}",
    constant_adam={**_BETAS, "eps": 1e-8},
)
H2O = _convention(
    "H2O",
    "hex/deeplearning/{DeepLearningModel,Neurons}.java",
    "It has no Adam: ADADELTA has rho 0.99 and eps 1e-8, at every step, where optax has 0.9 and "
    "1e-6.",
    None,
    rates={"adadelta": 1.0},
    adadelta={"rho": 0.99, "eps": 1e-8},
)
MAXTEXT = _convention(
    "MaxText",
    "src/maxtext/optimizers/optimizers.py, configs/base.yml; praxis/optimizers.py: sharded_adam",
    f"{_AS_OPTAX} `adamw` is both of its opt_types, adamw and adam_pax. adam_pax, praxis' form, "
    "has the bias correction in the decay rates, b (1 - b^(t-1)) / (1 - b^t) at step t: its "
    "moments are optax's corrected ones, and its steps optax's. Gradients are clipped before "
    "that, by `ao.clip_by_global_norm(1.0)`. praxis can also cap the step's root mean square, "
    "before the decay: `directions.rms_clipped`. AdamW decays by 0.1 where optax's decays by 1e-4.",
    3e-5,
    adamw={**_ALGORITHM_1, "b2": 0.95, "weight_decay": 0.1},
)
LEVANTER = _convention(
    "Levanter",
    "src/levanter/optim/config.py: AdamConfig, LionConfig",
    f"{_AS_OPTAX} b2 is 0.95 where optax's is 0.999, and the decay 0.1 where optax's is 1e-4. "
    "Gradients are clipped first, by `ao.clip_by_global_norm(1.0)`. `nesterov` is `nadamw`, "
    "`adamc_weight_decay` is `couplings.corrected(peak)`, and `update_rms_clipping` bounds the "
    "step with the decay in it: `directions.clip_by_rms`.",
    6e-4,
    adamw={**_ALGORITHM_1, "b2": 0.95, "weight_decay": 0.1},
    lion={"b1": 0.9, "b2": 0.95, "weight_decay": 0.1},
)
BERT = _convention(
    "BERT",
    "google-research/bert: optimization.py",
    "`uncorrected_adam`: no bias correction, so that a step is 3.16 times optax's at step 1, 3.24 "
    "times at step 100 and 1.00 times at step 10,000. eps is 1e-6, beside the uncorrected root. "
    "The decay is decoupled, times the rate, and 0 unless its `create_optimizer` sets 0.01, for "
    "all but biases and LayerNorm: a `mask`.",
    None,
    uncorrected_adam={**_BETAS, "eps": 1e-6, "correct_nu": False, "weight_decay": 0.01},
)
ADAMD = _convention(
    "AdamD",
    "arXiv:2110.10828",
    "`uncorrected_adam`: nu alone is corrected, so that a step is 0.1 times optax's at step 1 and "
    "1.00 times from step 100 on. eps is epsilon-hat, as descriptions of the paper print it; the "
    "paper's own text was not read.",
    uncorrected_adam={**_BETAS, "eps": 1e-8, "correct_nu": True},
)
OPTIMI = _convention(
    "optimi",
    "warner-benjamin/optimi: optimi/{adam,adamw,stableadamw,radam,lion}.py",
    "As optax in exact arithmetic, at every step: its decay rates carry the bias correction. b2 is "
    "0.99 and eps 1e-6 where optax has 0.999 and 1e-8. AdamW decays by 1e-2; `decouple_lr`, its "
    "fully decoupled decay, is `couplings.relative(max_lr)`, and wants a decay some 1,000 times "
    "smaller. `weight_decay` of Adam and RAdam is `l2`. Its Adan divides by 1 + lr decay, which "
    "cannot be expressed here.",
    None,
    adam={**_ALGORITHM_1, "b2": 0.99, "eps": 1e-6},
    adamw={**_ALGORITHM_1, "b2": 0.99, "eps": 1e-6, "weight_decay": 1e-2},
    stable_adamw={"b1": 0.9, "b2": 0.99, "eps": 1e-6, "weight_decay": 1e-2},
    radam={**_ALGORITHM_1, "b2": 0.99, "eps": 1e-6, "threshold": 5.0},
    lion={"b1": 0.9, "b2": 0.99, "weight_decay": 0.0},
)
_ADAFACTOR: dict[str, Any] = {
    "decay_rate": 0.8,
    "decay_offset": 0,
    "b2_cap": 0.999,
    "clipping_threshold": None,
    "momentum": 0.9,
    "dtype_momentum": jnp.bfloat16,
    "eps": 1e-30,
}
TIMM = _convention(
    "timm",
    "timm/optim/{nadamw,adamp,adafactor_bv}.py, and torch.optim.AdamW",
    f"{_AS_OPTAX} `simplified_nadam` is its NAdamW, whose look-ahead has one bias correction: at "
    "step 1 a step is 1.9 times Adam's, where `nadamw`'s is 1.47 times. `corrected_weight_decay` "
    "is `couplings.corrected(peak)`, `caution` is `directions.cautious`. Its factory has other "
    "numbers than its classes, which are these: a decay of 0 if none is given, and for AdamP "
    "wd_ratio 0.01 and nesterov. AdamP's `channel_axis` is 0 for weights as PyTorch lays them out. "
    "`capped_adafactor` is AdafactorBigVision; its `unscaled_wd` is `couplings.INDEPENDENT`. "
    "Before timm 1.0.30, its `clipping_threshold` divides by min(1, rms times the threshold), "
    "which lengthens short steps and shortens none: that is not here.",
    rates={"capped_adafactor": 1.0},
    adamw={**_ALGORITHM_1, "weight_decay": 1e-2},
    simplified_nadam={**_BETAS, "eps": 1e-8, "weight_decay": 1e-2},
    adamp={
        **_BETAS,
        "eps": 1e-8,
        "delta": 0.1,
        "wd_ratio": 0.1,
        "nesterov": False,
        "weight_decay": 0.0,
    },
    capped_adafactor={"min_dim_size_to_factor": 16, **_ADAFACTOR, "weight_decay": 0.0},
)
BIG_VISION = _convention(
    "big_vision",
    "big_vision/optax.py: scale_by_adafactor, make",
    "`capped_adafactor`: Adafactor whose second moment forgets at least 0.1 % at every step, with "
    "a mean of the steps in bfloat16. `config.wd` follows the schedule and not its peak: "
    "`couplings.relative(config.lr)`, on parameters named `kernel`. Gradients are clipped first, "
    "by `ao.clip_by_global_norm(config.grad_clip_norm)`.",
    None,
    capped_adafactor={"min_dim_size_to_factor": 32, **_ADAFACTOR},
)
MATLAB = _convention(
    "MATLAB",
    "nnet.internal.cnn.solver.SolverADAM of 2017; documentation of trainingOptions, adamupdate",
    f'{_HAT_NOTE_8} So the solver of 2017 wrote it, behind `trainingOptions("adam")`. The '
    "documentation calls Epsilon an offset of the denominator, which leaves open whether the root "
    "is corrected; what `adamupdate` calls was not read. `L2Regularization` is `l2`: 1e-4 by "
    "default, but for biases.",
    adam=_EPS_HAT_8,
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
    MAXTEXT,
    LEVANTER,
    BERT,
    ADAMD,
    OPTIMI,
    TIMM,
    BIG_VISION,
    MATLAB,
)
"""All conventions, in the order of this file."""
