"""Explain why an optimiser does not take an argument that others take."""

import difflib
from collections.abc import Iterable

_RESCALING = "it is the rescaling alone; take the optimiser, or optax.add_decayed_weights"
_DECAYING = "take {name}w, or conventions.l2 to add the decay to the gradient"
_UNDER_ROOT = "its eps is under the root already"
_LOOKS_AHEAD = "its step looks ahead already"
_NO_ROOT = "it takes no root"
_NO_MEAN = "it keeps no mean"
_PLAIN_MEAN = "its bounds are made for the plain mean"
_BOUNDED = "its bounds do what it would do"

_DECAY = {"": _RESCALING, "adam": _DECAYING, "nadam": _DECAYING, "adamax": _DECAYING}

REASONS = {
    "weight_decay": _DECAY,
    "mask": _DECAY,
    "coupling": _DECAY,
    "nesterov": {
        "": "its mean is not read by itself",
        "lion": _LOOKS_AHEAD,
        "adan": _LOOKS_AHEAD,
        "mars": _LOOKS_AHEAD,
        "mars_lion": _LOOKS_AHEAD,
        "simplified_ademamix": _LOOKS_AHEAD,
        "adagrad": _NO_MEAN,
        "adadelta": _NO_MEAN,
        "adabound": _PLAIN_MEAN,
        "amsbound": _PLAIN_MEAN,
    },
    "eps_root": {
        "": "its eps has another place",
        "adagrad": _UNDER_ROOT,
        "rmsprop": "eps_in_sqrt=True puts eps under the root",
        "sgd": _NO_ROOT,
        "lion": _NO_ROOT,
        "mars_lion": _NO_ROOT,
        "adam_atan2": "nothing is added to its root",
        "adamax": _NO_ROOT,
        "adamaxw": _NO_ROOT,
        "adopt": "its eps bounds the root from below",
        "stable_adamw": "its clipping compares the gradient with the plain root",
        "adabound": _BOUNDED,
        "amsbound": _BOUNDED,
    },
    "eps": {"": "nothing is divided"},
    "eps_hat": {"": "epsilon-hat is written in adam, amsgrad and radam only"},
}
"""Why an argument is missing, by argument and by optimiser; `""` stands for all others."""

ELSEWHERE = {
    "lr": "learning_rate",
    "learn_rate": "learning_rate",
    "wd": "weight_decay",
    "weight_decay_mask": "mask",
    "betas": "b1 and b2",
    "beta1": "b1",
    "beta_1": "b1",
    "beta2": "b2",
    "beta_2": "b2",
    "epsilon": "eps",
    "amsgrad": "the optimiser amsgrad",
    "maximize": "conventions.maximize",
    "use_ema": "the link temporal_average",
    "clipnorm": "clip_by_block_rms or clip_by_global_norm, before it in optax.chain,",
    "global_clipnorm": "the link clip_by_global_norm, before it in optax.chain,",
}
"""What arguments of other libraries are here."""


def explain(name: str, argument: str, known: list[str]) -> str:
    """Return the text of the error for an argument that an optimiser does not take.

    Args:
        name: the optimiser's.
        argument: the argument's name.
        known: the names of the arguments that the optimiser takes.
    """
    reasons = REASONS.get(argument, {})
    rescales = name.startswith("scale_by_") and reasons is _DECAY
    short = "" if rescales else name.removeprefix("scale_by_")
    if why := reasons.get(short, reasons.get("", "")):
        return f"{name} takes no {argument}: {why.format(name=name)}"
    listed = f"it takes {', '.join(known)}"
    if argument in ELSEWHERE:
        return f"{name} takes no {argument!r}, which is {ELSEWHERE[argument]} here; {listed}"
    return f"{name} takes no {argument!r}{did_you_mean(argument, known) or ';'} {listed}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `, did you mean ...?` with the name that is like a word; nothing if none is."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.75)
    return f", did you mean {near[0]}?" if near else ""
