"""Optimisers and transformations made from rules, so that each has what all have."""

import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any

from adam_optax.decay import decoupled
from adam_optax.optimizer import optimizer
from adam_optax.rule import Rule
from adam_optax.transform import Transformation, scale_by

DECAY = ("weight_decay", "mask", "coupling")
STORAGE = ("mu_dtype", "nu_dtype", "storage")
RAISES = """
    Raises:
        ValueError: if a number is out of range, or a tree, shape or state does not fit.
        TypeError: if a parameter or gradient is neither floating nor complex.
"""
ARGUMENTS = {
    "learning_rate": "a number, a scalar array or a schedule `count -> value`, and so may be every "
    "other number; None leaves out the factor and its sign.",
    "b1": "decay rate of the mean of gradients, in [0, 1).",
    "b2": "decay rate of the second average, in [0, 1).",
    "b3": "decay rate of the third average, in [0, 1).",
    "eps": "added to the denominator.",
    "eps_root": "added under the root.",
    "eps_hat": "whether `eps` stands beside the root of the uncorrected nu.",
    "nesterov": "whether the mean is read one step ahead.",
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
    "centered": "whether the square of the mean is subtracted.",
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
    "storage": "a format of `adam_optax.storage`, or a mapping from moment names to formats.",
}


def _documented(summary: str, signature: inspect.Signature) -> str:
    lines = [f"        {name}: {ARGUMENTS[name]}" for name in signature.parameters]
    return "\n".join([f"{summary.strip()}\n", "    Args:", *lines, RAISES])


def made(
    name: str,
    rule: Callable[..., Rule],
    positional: str,
    weight_decay: float | None = None,
    preset: dict[str, Any] | None = None,
    module: str = "adam_optax",
    **defaults: Any,
) -> Callable[..., Transformation]:
    """An optimiser from a rule.

    Args:
        name: its name.
        rule: a `@variant`, whose parameters it takes.
        positional: the names, in optax's order, of what may be given by place.
        weight_decay: the default of that argument.
        preset: arguments of the rule that the optimiser fixes.
        module: where it is found under its name, by pickle for one.
        **defaults: defaults that differ from the rule's.
    """
    fixed = preset or {}
    shared = {"weight_decay": weight_decay, **dict.fromkeys(("mask", "coupling", *STORAGE))}
    signature = _signature(rule, positional.split(), shared | defaults, fixed)

    def make(*args: Any, **kwargs: Any) -> Transformation:
        given = _bound(signature, args, kwargs)
        rate = given.pop("learning_rate")
        decay = decoupled(*(given.pop(n) for n in DECAY))
        how = {n: given.pop(n) for n in STORAGE}
        return optimizer(rule(**given, **fixed), rate, decay=decay, **how)

    return _dressed(make, name, signature, rule.__doc__ or "", module)


def scaled(
    name: str, rule: Callable[..., Rule], positional: str, **defaults: Any
) -> Callable[..., Transformation]:
    """The transformation `scale_by_*` of a rule; defaults are the rule's where optax's are."""
    signature = _signature(rule, positional.split(), dict.fromkeys(STORAGE) | defaults, {})

    def make(*args: Any, **kwargs: Any) -> Transformation:
        given = _bound(signature, args, kwargs)
        how = {n: given.pop(n) for n in STORAGE}
        return scale_by(rule(**given), **how)

    doc = f"{rule.__doc__}\n\n    As rescaled gradients, before learning rate and sign."
    return _dressed(make, name, signature, doc)


def _signature(
    rule: Callable[..., Rule], positional: list[str], more: dict[str, Any], fixed: dict[str, Any]
) -> inspect.Signature:
    known = {n: p.default for n, p in inspect.signature(rule).parameters.items()}
    defaults = {n: d for n, d in (known | more).items() if n not in fixed}
    keywords = [n for n in defaults if n not in positional]
    places = [
        Parameter(n, Parameter.POSITIONAL_OR_KEYWORD, default=defaults.get(n, Parameter.empty))
        for n in positional
    ]
    rest = [Parameter(n, Parameter.KEYWORD_ONLY, default=defaults[n]) for n in keywords]
    return inspect.Signature([*places, *rest])


def _bound(signature: inspect.Signature, args: Any, kwargs: Any) -> dict[str, Any]:
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def _dressed(
    make: Callable[..., Transformation],
    name: str,
    signature: inspect.Signature,
    doc: str,
    module: str = "adam_optax",
) -> Callable[..., Transformation]:
    make.__name__ = make.__qualname__ = name
    make.__module__ = module
    make.__doc__ = _documented(doc, signature)
    make.__signature__ = signature  # type: ignore[attr-defined]
    return make
