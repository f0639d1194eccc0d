"""Tell every convention in one table: defaults from the data, and the place of each thing."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adam_optax.conventions._frameworks import ALL, Convention
from adam_optax.couplings import RATE, Coupling

HAT, RAW, NORM, GRADIENT, SQUARE, AVERAGE = "√ν̂", "√ν", "u", "|g|", "g²", "ν"
"""Beside what eps stands: the root of the corrected or of the raw second moment, AdaMax's norm, the
gradient inside that norm's maximum, the squared gradient, or an average under a root."""
BOTH, MEAN, SECOND, FIRST_STEP, NEITHER = "μ ν", "μ", "ν", "step 1", "none"
"""Which moments are corrected for their bias; all steps as the first one; none of them."""

Options = Mapping[str, Any]
Place = Callable[[Options], str]


@dataclasses.dataclass(frozen=True)
class Row:
    """Hold what the table says of one optimiser of a framework.

    Attributes:
        framework: whose optimiser it is.
        optimizer: the function of this library that computes it.
        learning_rate: the default; None if there is none.
        b1: decay rate of the first moment, or of the mean of the steps; None without one.
        b2: decay rate of the second moment, or its bound; None without one.
        eps: the epsilon; None without one.
        beside: beside what eps stands; empty without one.
        corrected: which moments are corrected for their bias.
        weight_decay: strength of the decoupled decay; None if there is none by default.
        coupling: how the decay goes with the learning rate.
        maximum: of what AMSGrad takes the maximum; empty for others.
    """

    framework: str
    optimizer: str
    learning_rate: float | None
    b1: float | None
    b2: float | None
    eps: float | None
    beside: str
    corrected: str
    weight_decay: float | None
    coupling: Coupling
    maximum: str


def _by_eps_hat(options: Options) -> str:
    return RAW if options["eps_hat"] else HAT


def _adamax(options: Options) -> str:
    return NORM if options.get("eps_outside", False) else GRADIENT


def _uncorrected(options: Options) -> str:
    return SECOND if options["correct_nu"] else NEITHER


_FORMS: Mapping[str, tuple[str | Place, str | Place]] = {
    **dict.fromkeys(("adam", "adamw", "amsgrad", "radam", "nadam", "nadamw"), (_by_eps_hat, BOTH)),
    **dict.fromkeys(("adamax", "adamaxw"), (_adamax, MEAN)),
    **dict.fromkeys(("scheduled_nadam", "simplified_nadam", "adamp", "stable_adamw"), (HAT, BOTH)),
    "fading_adam": (RAW, BOTH),
    "constant_adam": (RAW, FIRST_STEP),
    "uncorrected_adam": (RAW, _uncorrected),
    "capped_adafactor": (SQUARE, NEITHER),
    "adadelta": (AVERAGE, NEITHER),
    "lion": ("", NEITHER),
}
"""Where eps stands and what is corrected, by the function, or by its arguments."""


def rows(conventions: Sequence[Convention] = ALL) -> list[Row]:
    """Return the table's rows, one for each optimiser of each framework.

    Args:
        conventions: the frameworks.
    """
    return [_row(convention, name) for convention in conventions for name in convention.options]


def _row(convention: Convention, name: str) -> Row:
    options = convention.options[name]
    beside, corrected = (x if isinstance(x, str) else x(options) for x in _FORMS[name])
    raw_max = options.get("raw_max")
    return Row(
        framework=convention.name,
        optimizer=name,
        learning_rate=convention.rates.get(name, convention.learning_rate),
        b1=options.get("b1", options.get("momentum")),
        b2=options.get("b2", options.get("b2_cap", options.get("rho"))),
        eps=options.get("eps"),
        beside=beside if options.get("eps") else "",
        corrected=corrected,
        weight_decay=options.get("weight_decay"),
        coupling=options.get("coupling", RATE),
        maximum="" if raw_max is None else "ν" if raw_max else "ν̂",
    )


HEADINGS = ("framework", "optimiser", "rate", "b1", "b2", "eps", "eps by", "bias", "decay", "max")
"""The headings of a table of `cells`."""
MEANINGS: Mapping[str, str] = {
    "rate": "default learning rate; empty: it must be given",
    "b1": "decay rate of the mean of gradients or of steps",
    "b2": "decay rate of the mean of squares, or its bound",
    "eps by": "beside what eps is added: ν̂ is corrected for its bias, ν is not; u is AdaMax's "
    "norm; g has it before the average",
    "bias": "the moments that are corrected for their bias; step 1: by its factors throughout",
    "decay": "decoupled weight decay by default; α: times the learning rate",
    "max": "of what AMSGrad's maximum is",
}
"""What is in the columns that a heading does not explain."""


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as text, in the order of `HEADINGS`.

    Args:
        row: the row.
    """
    decay = _number(row.weight_decay)
    if decay and row.coupling == RATE:
        decay += " α"
    numbers = map(_number, (row.learning_rate, row.b1, row.b2, row.eps))
    return (
        row.framework,
        row.optimizer,
        *numbers,
        row.beside,
        row.corrected,
        decay,
        row.maximum,
    )


def _number(x: float | None) -> str:
    """Write a number as short as it can be: 1e-3, 0.999, 0.

    >>> [_number(x) for x in (1e-3, 0.95, 0.999, 0.0, 3e-5, 1.0, None)]
    ['1e-3', '0.95', '0.999', '0', '3e-5', '1', '']
    """
    if x is None:
        return ""
    mantissa, _, exponent = f"{x:e}".partition("e")
    short = f"{float(mantissa):g}e{int(exponent)}"
    plain = f"{x:g}".replace("e-0", "e-")
    return short if 0 < x < 0.1 and len(short) <= len(plain) else plain
