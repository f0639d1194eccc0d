"""The table of the rest of the family: ours, the oracle's and optax's."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optax

import adam_optax as ao
from tests.support import (
    oracle,
    oracle_factored,
    oracle_family,
    oracle_mars_adamh,
    oracle_other,
    oracle_shared,
)
from tests.support.cases import LEARNING_RATE, gradients

SHAPE = (3, 5)
GRADS = gradients(500, 15).reshape(500, *SHAPE)
START = (np.linspace(-1.0, 1.0, 15) + 0.03).astype(np.float32).astype(np.float64).reshape(SHAPE)


@dataclasses.dataclass(frozen=True)
class Member:
    """A variant with one set of options.

    Attributes:
        name: of the optimiser.
        rule: the oracle's.
        options: ours.
        theirs: the oracle's options where they differ.
        witness: optax's optimiser, or None where it has none or is the inexact side in float64
            too; `why` says which.
        decay: the decoupled weight decay that the oracle adds, for those whose default it is.
        static: numbers that are known when it is made: shapes of a state follow from them.
        rounding: how far a float32 update may be off, by default a few dozen roundings of 6e-8.
    """

    name: str
    rule: Callable[..., oracle.Leaf]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    theirs: Mapping[str, Any] | None = None
    witness: Callable[..., Any] | None = None
    why: str = ""
    decay: float = 0.0
    static: tuple[str, ...] = ()
    rounding: float = 3e-6

    @property
    def id(self) -> str:
        """The name and options, for pytest."""
        return "-".join([self.name, *(f"{n}={v}" for n, v in self.options.items())])

    def ours(self, **more: Any) -> ao.Transformation:
        """The optimiser of this library."""
        made: ao.Transformation = getattr(ao, self.name)(LEARNING_RATE, **{**self.options, **more})
        return made

    def optax(self) -> Any:
        """The optimiser of optax."""
        assert self.witness is not None
        return self.witness(LEARNING_RATE, **self.options)

    def oracle(self, grads: Any, params: Any, **more: Any) -> dict[str, Any]:
        """The float64 run over one leaf."""
        options = {**(self.options if self.theirs is None else self.theirs), **more}
        return oracle.optimise(self.rule(**options), grads, params, LEARNING_RATE, self.decay)


def _paper(name: str) -> str:
    return f"optax has no {name}"


BOUND = {"base_lr": LEARNING_RATE, "gamma": 0.1}
CENTRED = {"centered": True, "momentum": 0.8, "eps": 1e-2, "bias_correction": True}
OF_THE_PARAMETER = 1.2e-5
"""AdamH's step is a hundredth of a parameter, whose rounding of 6e-8 is in it twice."""
WARMED_UP = {
    "alpha": ao.schedules.ademamix_alpha(8.0, 400),
    "b3": ao.schedules.ademamix_b3(0.999, 300),
}
WARMED_UP_BY_PAPER: dict[str, Any] = {
    "alpha": lambda n: oracle_mars_adamh.ademamix_alpha(n, 8.0, 400),
    "b3": lambda n: 1.0 - oracle_mars_adamh.one_minus_b3(n, 0.999, 300),
}
contrib = optax.contrib
MEMBERS = [
    Member("adabelief", oracle_family.AdaBelief, witness=optax.adabelief),
    Member(
        "adabelief",
        oracle_family.AdaBelief,
        {"nesterov": True, "eps": 1e-6, "eps_root": 1e-8},
        witness=optax.adabelief,
    ),
    Member("adam", oracle_family.AdamHat, {"eps_hat": True}, {}, why=_paper("epsilon-hat")),
    Member(
        "adam",
        oracle_family.AdamHat,
        {"eps_hat": True, "nesterov": True, "eps": 1e-2},
        {"nesterov": True, "eps": 1e-2},
        why=_paper("epsilon-hat"),
    ),
    Member("yogi", oracle_family.Yogi, witness=optax.yogi),
    Member("yogi", oracle_family.Yogi, {"b1": 0.8, "eps": 1e-1}, witness=optax.yogi),
    Member("radam", oracle_family.RAdam, why="optax's rho cancels, 1e-11 in float64"),
    Member("radam", oracle_family.RAdam, {"b2": 0.9999, "nesterov": True}, why="the same"),
    Member("radam", oracle_family.RAdam, {"b2": 0.9, "threshold": 4.5}, witness=optax.radam),
    Member("adan", oracle_family.Adan, witness=optax.adan),
    Member("adan", oracle_family.Adan, {"paper": True}, {"as_paper": True}, why=_paper("paper")),
    Member("lamb", oracle_family.Lamb, witness=optax.lamb),
    Member("lamb", oracle_family.Lamb, {"weight_decay": 0.1}, witness=optax.lamb),
    Member("novograd", oracle_family.NovoGrad, witness=optax.novograd),
    Member("novograd", oracle_family.NovoGrad, {"weight_decay": 0.1}, witness=optax.novograd),
    Member("lion", oracle_family.Lion, decay=1e-3, witness=optax.lion),
    Member("adopt", oracle_family.Adopt, witness=contrib.adopt),
    Member(
        "adopt",
        oracle_family.Adopt,
        {"nesterov": True, "use_clipping": False},
        witness=contrib.adopt,
    ),
    Member("ademamix", oracle_family.AdEMAMix, witness=contrib.ademamix),
    Member(
        "simplified_ademamix",
        oracle_family.SimplifiedAdEMAMix,
        {"alpha": 2.0},
        witness=contrib.simplified_ademamix,
    ),
    Member("laprop", oracle_family.LaProp, why=_paper("LaProp")),
    Member(
        "stable_adamw",
        oracle_other.StableAdamW,
        theirs={"weight_decay": 0.01},
        why=_paper("StableAdamW"),
    ),
    Member("adabound", oracle_other.AdaBound, BOUND, why=_paper("AdaBound")),
    Member("amsbound", oracle_other.AMSBound, BOUND, why=_paper("AMSBound")),
    Member("sgd", oracle_other.Momentum, {"momentum": 0.9}, witness=optax.sgd),
    Member("sgd", oracle_other.Momentum, {"momentum": 0.9, "nesterov": True}, witness=optax.sgd),
    Member("adagrad", oracle_other.AdaGrad, witness=optax.adagrad),
    Member("adadelta", oracle_other.AdaDelta, witness=optax.adadelta),
    Member(
        "adafactor",
        oracle_factored.Adafactor,
        {"min_dim_size_to_factor": 0, "eps": 1e-6},
        {"eps": 1e-6},
        why="optax's decay rate is float32 in float64 too; see test_adafactor",
        static=("min_dim_size_to_factor", "decay_offset"),
    ),
    Member("rmsprop", oracle_other.RMSProp, witness=optax.rmsprop),
    Member(
        "rmsprop",
        oracle_other.RMSProp,
        {"momentum": 0.9, "nesterov": True, "eps_in_sqrt": False, "initial_scale": 0.3},
        witness=optax.rmsprop,
    ),
    Member("rmsprop", oracle_other.RMSProp, CENTRED, why="a variance of 0 at the first step"),
    Member("mars", oracle_mars_adamh.Mars, why=_paper("MARS")),
    Member("mars", oracle_mars_adamh.Mars, {"zero_start": True}, why=_paper("MARS")),
    Member(
        "mars",
        oracle_mars_adamh.Mars,
        {"b1": 0.9, "gamma": 0.2, "max_norm": math.inf, "eps": 1e-4, "eps_root": 1e-6},
        why=_paper("MARS"),
    ),
    Member("mars", oracle_mars_adamh.Mars, {"gamma": 0.5, "max_norm": 30.0}, why=_paper("MARS")),
    Member("mars_lion", oracle_mars_adamh.MarsLion, why=_paper("MARS")),
    Member(
        "mars_lion",
        oracle_mars_adamh.MarsLion,
        {"gamma": 0.3, "zero_start": True},
        why=_paper("MARS"),
    ),
    Member("adamh", oracle_mars_adamh.AdamH, why=_paper("AdamH"), rounding=OF_THE_PARAMETER),
    Member(
        "adamh",
        oracle_mars_adamh.AdamH,
        {"nesterov": True, "b1": 0.8, "eps": 1e-3, "eps_root": 1e-4, "weight_decay": 0.1},
        why=_paper("AdamH"),
        rounding=OF_THE_PARAMETER,
    ),
    Member("adam_atan2", oracle_mars_adamh.AdamAtan2, why=_paper("Adam-atan2")),
    Member(
        "adam_atan2",
        oracle_mars_adamh.AdamAtan2,
        {"a": 1.0, "b": 0.5, "b2": 0.99, "nesterov": True},
        why=_paper("Adam-atan2"),
    ),
    Member(
        "ademamix",
        oracle_family.AdEMAMix,
        WARMED_UP,
        WARMED_UP_BY_PAPER,
        why="its warm-ups are the user's",
        rounding=1e-5,  # 1 - b3 of a float32 schedule is off by up to 6e-5 of itself at .999
    ),
    Member("acprop", oracle_family.Acprop, witness=contrib.acprop),
    Member(
        "acprop",
        oracle_family.Acprop,
        {"paper": True, "b2": 0.9, "eps": 1e-6, "eps_root": 1e-8},
        {"as_paper": True, "b2": 0.9, "eps": 1e-6, "eps_root": 1e-8},
        why=_paper("paper"),
    ),
    Member("adam_mini", oracle_shared.AdamMini, theirs={"over": (0,)}, why=_paper("Adam-mini")),
    Member("adam_mini", oracle_shared.AdamMini, {"over": "all"}, why=_paper("Adam-mini")),
    Member(
        "adam_mini",
        oracle_shared.AdamMini,
        {"over": (-1,), "nesterov": True, "eps": 1e-3, "eps_root": 1e-8},
        why=_paper("Adam-mini"),
    ),
    Member("qhadam", oracle_shared.QHAdam, why=_paper("QHAdam")),
    Member(
        "qhadam",
        oracle_shared.QHAdam,
        {"v1": 0.3, "v2": 0.6, "b1": 0.9, "eps": 1e-3, "eps_root": 1e-8},
        why=_paper("QHAdam"),
    ),
    Member("grams", oracle_shared.Grams, why=_paper("Grams")),
    Member("grams", oracle_shared.Grams, {"nesterov": True, "eps_root": 1e-8}, why=_paper("Grams")),
    Member("adamp", oracle_shared.AdamP, why=_paper("AdamP"), static=("channel_axis",)),
    Member(
        "adamp",
        oracle_shared.AdamP,
        {"delta": 0.8, "wd_ratio": 0.3, "weight_decay": 0.1, "channel_axis": 0, "nesterov": True},
        why=_paper("AdamP"),
        static=("channel_axis",),
    ),
    Member("came", oracle_shared.Came, why=_paper("CAME"), static=("min_dim_size_to_factor",)),
    Member(
        "came",
        oracle_shared.Came,
        {"b3": 0.99, "clipping_threshold": None, "eps": 1e-6, "eps_res": 1e-3},
        {"b3": 0.99, "clipping_threshold": float("inf"), "eps": 1e-6, "eps_res": 1e-3},
        why=_paper("CAME"),
        static=("min_dim_size_to_factor",),
    ),
]


def by_id(members: list[Member]) -> dict[str, Any]:
    """Arguments of `pytest.mark.parametrize`."""
    return {"argvalues": members, "ids": [member.id for member in members]}


ONE_EACH = list({member.name: member for member in reversed(MEMBERS)}.values())
