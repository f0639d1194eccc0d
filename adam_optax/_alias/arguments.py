"""What the arguments of the optimisers mean, and why some optimisers lack some of them."""

ARGUMENTS = {
    "learning_rate": "a number, a scalar array or a schedule `count -> value`, and so may be every "
    "other number; None leaves out the factor and its sign.",
    "b1": "decay rate of the mean of gradients, in [0, 1).",
    "b2": "decay rate of the second average, in [0, 1).",
    "b3": "decay rate of the third average, in [0, 1).",
    "eps": "added to the denominator, so in units of the gradient.",
    "eps_root": "added under the root.",
    "eps_hat": "whether `eps` stands beside the root of the uncorrected nu, as in TensorFlow and "
    "Keras: the paper's epsilon-hat, `eps / sqrt(1 - b2^t)` for `eps`.",
    "eps_outside": "whether `eps` is added where nu divides, as in Keras and Lasagne, instead of "
    "to the gradient's magnitude.",
    "nesterov": "whether the mean is read one step ahead.",
    "bias_correction_mu": "whether the reading of mu is corrected for its start.",
    "bias_correction_nu": "whether that of nu is.",
    "raw_max": "take the maximum over the uncorrected nu, and correct it afterwards.",
    "threshold": "the window length from which nu is trusted.",
    "alpha": "weight of the slow mean, or of the newest gradient.",
    "paper": "whether to weigh the difference as the paper does, where optax departs from it.",
    "use_clipping": "whether normalised gradients are bounded.",
    "clip_value_fn": "their bound as a function of the count; None: its fourth root.",
    "initial_accumulator_value": "where the averages or the sum start.",
    "initial_scale": "where nu starts.",
    "final_lr": "the step size that the bounds close in on, at `base_lr`.",
    "gamma": "how fast they do.",
    "base_lr": "the learning rate to which `final_lr` belongs.",
    "decay": "decay rate of the averages, in [0, 1).",
    "eps_in_sqrt": "whether `eps` is added under the root.",
    "centered": "whether to divide by the deviation from the mean.",
    "momentum": "how much of the last step is kept, in [0, 1); None: no memory.",
    "momentum_decay": "how slowly the momentum warms up: the exponent of .96 at each step.",
    "decay_factor": "by which `b1` shrinks at each step.",
    "bias_correction": "whether the averages are corrected for their start.",
    "rho": "decay rate of both averages, in [0, 1).",
    "weight_decay": "decoupled weight decay, times the learning rate unless `coupling` says "
    "otherwise; None: none.",
    "mask": "which parameters decay: a tree of bools, a prefix of one, or a function from the "
    "parameters to one. None: all.",
    "coupling": "how the decay goes with the learning rate, one of `adam_optax.couplings`; None: "
    "times the learning rate.",
    "mu_dtype": "the dtype of the moments that can be negative; float32 by default.",
    "nu_dtype": "the dtype of those that cannot.",
    "storage": "a format of `adam_optax.storage`, a mapping from moment names to formats, or a "
    "function from path and leaf to one of these.",
}

_LONE = "it is the rescaling alone; take the optimiser, or optax.add_decayed_weights"
_UNDER = "its eps is under the root already"
_AHEAD = "its step looks ahead already"
_ROOTLESS = "it takes no root"
_W = "take {name}w, or conventions.l2 to add the decay to the gradient"

_WHY = {
    "weight_decay": {"": _LONE, "adam": _W, "nadam": _W, "adamax": _W},
    "nesterov": {
        "": "its mean is not read by itself",
        "lion": _AHEAD,
        "adan": _AHEAD,
        "simplified_ademamix": _AHEAD,
        "adagrad": "it keeps no mean",
        "adadelta": "it keeps no mean",
        "adabound": "its bounds are made for the plain mean",
        "amsbound": "its bounds are made for the plain mean",
    },
    "eps_root": {
        "": "its eps has another place",
        "adagrad": _UNDER,
        "rmsprop": "eps_in_sqrt=True puts eps under the root",
        "sgd": _ROOTLESS,
        "lion": _ROOTLESS,
        "adamax": _ROOTLESS,
        "adamaxw": _ROOTLESS,
        "adopt": "its eps bounds the root from below",
        "stable_adamw": "its clipping compares the gradient with the plain root",
        "adabound": "its bounds do what it would do",
        "amsbound": "its bounds do what it would do",
    },
    "eps": {"": "nothing is divided"},
    "eps_hat": {"": "epsilon-hat is written in adam, amsgrad and radam only"},
}
_WHY["mask"] = _WHY["coupling"] = _WHY["weight_decay"]


def lacks(name: str, argument: str, known: list[str]) -> str:
    """Why an optimiser does not take an argument, and what there is instead."""
    reasons = _WHY.get(argument, {})
    alone = name.startswith("scale_by_") and reasons.get("") == _LONE
    short = "" if alone else name.removeprefix("scale_by_")
    if why := reasons.get(short, reasons.get("", "")):
        return f"{name} takes no {argument}: {why.format(name=name)}"
    return f"{name} takes no {argument!r}; it takes {', '.join(known)}"
